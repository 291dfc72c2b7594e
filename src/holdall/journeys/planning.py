"""What installing will do, worked out before anything is changed; and how its contents arrive."""

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from holdall.delivery.bundle import BundleSource, Opened
from holdall.errors import CorruptError, CutShortError, HoldallError, NotFoundError
from holdall.forms import seeding
from holdall.journeys.arrival import Arrival, Fetching
from holdall.journeys.forming import Decision
from holdall.journeys.host import Event, Host, Report
from holdall.journeys.imaging import ImageSource
from holdall.journeys.installed import known_tree
from holdall.journeys.shipment import Shipment
from holdall.journeys.supply import Contents, Meter, Shelf, read_size, source_of, whole_of
from holdall.model.ref import Ref

if TYPE_CHECKING:
    from holdall.journeys.way import Way


class Step(NamedTuple):
    """An increment that is applied on the way: from which version to which.

    Bytes read of it, and made by it.
    """

    before: str
    version: str
    read: int
    produced: int


class InstallPlan(NamedTuple):
    """What an install will do; sizes in bytes.

    `bundle` is the size of the bundle, or of all increments on the way, which are the `steps`;
    `read` is what is needed of frames and units, `produced` what is made of those, `linked` what is
    shared with older versions. Of what comes from a `remote`, `download` is what has to be fetched,
    and `downloaded` what was. Where it was installed in another form, that is `converted`. `stored`
    is the size of the one file that has it all, once that is there.
    """

    ref: Ref
    version: str
    digest: str
    before: str | None
    files: int
    size: int
    bundle: int
    read: int
    produced: int
    linked: int
    already: bool
    steps: tuple[Step, ...] = ()
    remote: str = ""
    download: int = 0
    downloaded: int = 0
    form: str = ""
    converted: str = ""
    stored: int = 0


class Quote(NamedTuple):
    """What a release at a remote costs, before it is fetched; sizes in bytes.

    `steps` are the increments on the way, each with its size. `may` are words for what it is
    allowed, `permissions` for what the active version is not.
    """

    ref: Ref
    version: str
    digest: str
    before: str | None
    remote: str
    download: int
    size: int
    steps: tuple[int, ...]
    may: tuple[str, ...]
    permissions: tuple[str, ...]
    kind: str
    runtime: str
    already: bool


class Outcome(NamedTuple):
    """How it went with one app: a plan that was carried out, a quote, or an error."""

    ref: str
    plan: InstallPlan | None = None
    quote: Quote | None = None
    error: HoldallError | None = None


class Already(NamedTuple):
    """The release is installed; it only becomes the active one."""

    plan: InstallPlan


class Direct(NamedTuple):
    """All that no installed version has comes from the full bundle of the release.

    With `whole`, a form that keeps a bundle keeps that one.
    """

    plan: InstallPlan
    arrival: Arrival
    decision: Decision
    opened: Opened
    layup: seeding.Layup
    whole: bool = True

    @contextmanager
    def contents(self, _host: Host, staged: str, report: Report) -> Iterator[Contents]:
        """The contents, while they are laid down in the folder `staged`."""
        with source_of(self.arrival, self.opened, staged) as source:
            total = self.layup.fresh_size
            if remote := self.arrival.remote:
                total += _to_fetch(remote, self.opened, source, self.layup)
            meter = _meter(self.arrival, total, report)
            section = self.arrival.preamble.tree
            if isinstance(source, ImageSource):
                yield Contents(section, self.layup, source, meter, parcel=source.parcel())
            else:
                whole = whole_of(self.arrival, self.opened, source) if self.whole else None
                yield Contents(section, self.layup, source, meter, whole=whole)


class Made(NamedTuple):
    """Increments make the release of an older one."""

    plan: InstallPlan
    arrival: Arrival
    decision: Decision
    way: "Way"
    shelf: Shelf
    work: int

    def contents(
        self, host: Host, _staged: str, report: Report
    ) -> AbstractContextManager[Contents]:
        """The contents, while they are laid down."""
        from holdall.journeys.compose import composed

        meter = _meter(self.arrival, self.plan.produced + self.work, report)
        return composed(host, self.way, self.shelf, self.arrival.release, meter)


Delivery = Already | Direct | Made


def planned(
    host: Host,
    shipment: Shipment,
    decision: Decision,
    report: Report,
    *,
    only_update: bool,
    spent: Collection[bytes] = (),
) -> Delivery:
    """How the target of a shipment that was let in will be installed.

    Over increments from places that are not `spent`; without increments, where one of them is
    damaged and the full bundle is there.
    Raises CorruptError, and NotFoundError when it cannot be made of what is at hand, or (with
    `only_update`) when its ref is not installed.
    """
    arrival = shipment.target
    ref = arrival.release.ref
    active = host.catalog.active(ref)
    if only_update and active is None:
        raise NotFoundError(f"{ref} is not installed; `holdall install` installs it.")
    older = host.catalog.deployments(ref)
    before = active.version if active else None
    for deployment in older:
        if deployment.digest == arrival.digest:
            known = known_tree(deployment) if arrival.is_increment else arrival.open().tree
            plan = _plan(arrival, before, len(known.files) if known else 0)
            return Already(plan._replace(already=True, form=deployment.form))
    shelf = Shelf(host, shipment, decision)
    if shipment.increments and (made := _over_increments(host, shipment, shelf, report, spent)):
        return made
    opened = arrival.open()
    whole = True
    if arrival.remote and arrival.remote.bundle:
        layup, whole = fetched(arrival, opened, shelf)
    elif _keeps(decision, opened):
        layup = seeding.plan(opened.tree)
    else:
        seed = shelf.seed(active or older[-1]) if older else None
        layup = seeding.plan(opened.tree, (seed,) if seed else ())
    plan = _plan(arrival, before, len(opened.tree.files))._replace(
        bundle=arrival.preamble.size,
        read=_read_size(arrival, opened, layup),
        produced=layup.fresh_size,
        linked=layup.linked_size,
        form=decision.form.TRAITS.name,
    )
    return Direct(plan, arrival, decision, opened, layup, whole)


def fetched(arrival: Arrival, opened: Opened, shelf: Shelf) -> tuple[seeding.Layup, bool]:
    """How a bundle at a remote is laid down, and whether a form that keeps one keeps all of it.

    It does unless most of what is in the frames is here: then those it lacks are fetched, and it is
    packed anew. An image is kept as it is, in any case.
    """
    keeps = _keeps(shelf.decision, opened)
    if not (keeps and opened.image):
        layup = shelf.lay(opened.tree)
        if not keeps or 2 * _read_size(arrival, opened, layup) < opened.stored:
            return layup, False
    return seeding.plan(opened.tree), True


def _keeps(decision: Decision, opened: Opened) -> bool:
    traits = decision.form.TRAITS
    return traits.parcel if opened.image else traits.whole


def another(
    host: Host,
    shipment: Shipment,
    failed: Direct | Made,
    *,
    spent: set[bytes],
    error: CorruptError | NotFoundError,
    report: Report,
) -> Direct | Made:
    """How else it will be installed, after what was planned before met with `error`.

    Where there is no other way, that is raised. Adds to `spent` where the last way began.
    """
    target = shipment.target
    if not isinstance(failed, Made) or (isinstance(error, CutShortError) and target.is_increment):
        raise error
    spent.add(failed.way.place)
    shipment.pass_by_streams()
    try:
        found = planned(host, shipment, failed.decision, report, only_update=False, spent=spent)
    except (CorruptError, NotFoundError):
        raise error from None
    if isinstance(found, Already):
        raise error
    instead = "The full bundle is used instead."
    if isinstance(found, Made):
        instead = f"It is made from {found.way.version} instead."
    report(Event(f"{_without_advice(error)} {instead}", loud=True))
    return found


def _without_advice(error: HoldallError) -> str:
    """What went wrong, without what could be done about it."""
    return f"{str(error).partition(';')[0].removesuffix('.')}."


def _over_increments(
    host: Host,
    shipment: Shipment,
    shelf: Shelf,
    report: Report,
    spent: Collection[bytes],
) -> Made | None:
    """How increments will make it; None where the full bundle does better, or has to do."""
    from holdall.journeys.way import find_way

    try:
        way = find_way(host, shipment, shelf, spent)
        return _made(host, shipment.target, way, shelf) if way else None
    except CorruptError as error:
        shipment.do_without_increments(error, report)
        return None


def _read_size(arrival: Arrival, opened: Opened, layup: seeding.Layup) -> int:
    """The bytes of the frames that will be read."""
    if not arrival.seekable:
        return opened.stored
    if arrival.remote:
        return sum(frame.stored for frame in arrival.source(opened).frames(layup.fresh))
    return read_size(opened, layup.fresh)


def _made(host: Host, arrival: Arrival, way: "Way", shelf: Shelf) -> Made:
    estimate = way.estimate(shelf)
    active = host.catalog.active(arrival.release.ref)
    before = active.version if active else None
    plan = _plan(arrival, before, estimate.files)._replace(
        form=shelf.decision.form.TRAITS.name,
        bundle=sum(leg.arrival.preamble.size for leg in way.legs),
        read=estimate.read,
        produced=estimate.produced,
        linked=estimate.linked if shelf.shares else 0,
        steps=tuple(
            Step(leg.before, leg.arrival.release.manifest.version, leg.read, leg.produced)
            for leg in way.legs
        ),
    )
    return Made(plan, arrival, shelf.decision, way, shelf, estimate.work)


def _plan(arrival: Arrival, before: str | None, files: int) -> InstallPlan:
    """A plan that does nothing yet."""
    return InstallPlan(
        ref=arrival.release.ref,
        version=arrival.release.manifest.version,
        digest=arrival.digest,
        before=before,
        files=files,
        size=arrival.release.size,
        bundle=arrival.preamble.size,
        read=0,
        produced=0,
        linked=0,
        already=False,
    )


def _to_fetch(
    remote: Fetching,
    opened: Opened,
    source: BundleSource | ImageSource,
    layup: seeding.Layup,
) -> int:
    """The bytes that are still to come over the network."""
    if remote.bundle is None:
        return opened.stored
    return remote.bundle.wanted(source.frames(layup.fresh))


def _meter(arrival: Arrival, total: int, report: Report) -> Meter:
    manifest = arrival.release.manifest
    text = f"Installing {manifest.id} {manifest.version}"
    return Meter(text, total, report, arrival.remote.received if arrival.remote else int)
