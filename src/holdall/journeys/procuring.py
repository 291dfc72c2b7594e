"""Installing what a remote offers, by the way that costs least on the network.

That is over increments, or out of the full bundle, of which only what is missing is fetched. Where
increments are of no use, their contents come out of the full bundle; what was made before is kept.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from holdall.delivery.remote.bundle import RemoteBundle
from holdall.delivery.remote.fetching import fetch_file
from holdall.errors import (
    ConsentError,
    CorruptError,
    HoldallError,
    NotFoundError,
    UntrustedError,
)
from holdall.journeys.arrival import Arrival, Fetching, arrived, arriving
from holdall.journeys.choosing import Chosen
from holdall.journeys.consent import check_consent
from holdall.journeys.forming import ANY_FORM, Wanted, decide
from holdall.journeys.host import Event, Host, Report
from holdall.journeys.install import Wish, deploy, reactivate
from holdall.journeys.planning import InstallPlan, fetched
from holdall.journeys.recovery import recover
from holdall.journeys.route import Edge, cheapest
from holdall.journeys.shipment import Shipment
from holdall.journeys.supply import Meter, Shelf
from holdall.journeys.trusting import withhold
from holdall.model.offer import OfferedIncrement
from holdall.model.release import order_of
from holdall.store import partial
from holdall.store.catalog import Deployment, Writer, writing
from holdall.system.files import plain_errors


class Means(NamedTuple):
    """How a release is fetched: over increments, or out of its full bundle.

    `download` are the bytes that takes, `exact` unless that can only be said once the head of the
    full bundle was read; with `installed`, it is here already.
    """

    increments: tuple[OfferedIncrement, ...]
    download: int
    exact: bool = True
    installed: Deployment | None = None


def means_to(host: Host, chosen: Chosen) -> Means:
    """The cheapest way to what was chosen, by what is installed."""
    release, ref = chosen.release, chosen.ref
    installed = {item.digest: item for item in host.catalog.deployments(ref)}
    if release.release in installed:
        return Means((), 0, installed=installed[release.release])
    bundle = release.bundle
    parts = [release.ranges[digest] for digest in installed if digest in release.ranges]
    whole = min([bundle.size, *(bundle.head + size for size in parts)])
    usable = [item for item in chosen.offer.increments_of(ref) if _leads_up(chosen, item)]
    edges = [
        Edge(bytes.fromhex(base), bytes.fromhex(item.release), item.size, number, at)
        for number, item in enumerate(usable)
        for at, base in enumerate(item.bases)
    ]
    goal = bytes.fromhex(release.release)
    starts = {bytes.fromhex(digest): 0 for digest in installed} | {goal: whole}
    route = cheapest(starts, edges, goal)
    if route is None or not route.steps:
        return Means((), whole, exact=bool(parts) or not installed)
    steps = dict.fromkeys(usable[step.increment] for step in route.steps)
    return Means(tuple(steps), sum(step.size for step in steps))


def _leads_up(chosen: Chosen, increment: OfferedIncrement) -> bool:
    """Whether an increment makes what was chosen or an older release that is offered, too."""
    orders = {item.release: item.order for item in chosen.offer.releases_of(chosen.ref)}
    made = orders.get(increment.release)
    return made is not None and (
        made < chosen.release.order or increment.release == chosen.release.release
    )


def obtain(chosen: Chosen, host: Host, wish: Wish, report: Report) -> InstallPlan:
    """Fetch and install what was chosen.

    Raises as `install`; what was fetched is kept for the next try where the network failed, the
    command was ended, or nobody has agreed to more permissions yet.
    """
    wire = chosen.connection.transport
    before = wire.received
    wish = wish._replace(
        choice=wish.choice._replace(introduced=frozenset(chosen.release.signers)),
        origin=chosen.remote,
    )
    with (
        plain_errors(f"{chosen.ref} cannot be installed"),
        writing(host.layout, wait=host.wait) as writer,
    ):
        recover(host, writer, report)
        means = means_to(host, chosen)
        _check_foreseen(host, chosen, wish)
        if means.installed:
            plan = reactivate(means.installed, host, writer, wish, report)
        else:
            plan = _Purchase(chosen, host, writer, wish, report).make(means)
    return plan._replace(remote=chosen.remote, downloaded=wire.received - before)


def _check_foreseen(host: Host, chosen: Chosen, wish: Wish) -> None:
    """Do not fetch what would wait for consent, by what is offered; what is signed counts later."""
    active = host.catalog.active(chosen.ref)
    if wish.only_update and active and wish.choice.consent is withhold:
        release = chosen.release
        check_consent(active, chosen.ref, release.version, release.permissions, wish.choice)


class _Purchase:
    """One release on its way into a store; for the holder of the store's lock."""

    def __init__(
        self, chosen: Chosen, host: Host, writer: Writer, wish: Wish, report: Report
    ) -> None:
        self._chosen, self._host, self._writer = chosen, host, writer
        self._wish, self._report = wish, report

    def make(self, means: Means) -> InstallPlan:
        """Install over increments, or where they lead nowhere, out of the full bundle."""
        try:
            plan = self._by_increments(means) if means.increments else None
            plan = plan or self._by_bundle()
        except ConsentError:
            raise
        except (CorruptError, NotFoundError, UntrustedError):
            partial.finish(self._host.layout, self._chosen.ref)
            raise
        partial.finish(self._host.layout, self._chosen.ref)
        return plan

    def _by_increments(self, means: Means) -> InstallPlan | None:
        """Over increments alone, then with the full bundle beside them; None where both fail."""
        try:
            paths = self._fetch(means.increments)
        except (CorruptError, NotFoundError) as error:
            self._tell(error, "The full bundle is used instead.")
            return None
        for way, instead in (
            (self._over_increments, "What it lacks is fetched from the full bundle."),
            (self._over_both, "The full bundle is used instead."),
        ):
            try:
                return way(means, paths)
            except (CorruptError, NotFoundError, UntrustedError) as error:
                if not _is_of_the_way(error):
                    raise
                self._tell(error, instead)
        return None

    def _tell(self, error: HoldallError, instead: str) -> None:
        self._report(Event(f"{error} {instead}", loud=True))

    def _over_increments(self, means: Means, paths: Sequence[str]) -> InstallPlan:
        with self._opened(means.increments, paths) as arrivals:
            plan = self._deploy(Shipment(arrivals, patient=True))
        return plan._replace(download=means.download)

    def _over_both(self, means: Means, paths: Sequence[str]) -> InstallPlan:
        with self._opened(means.increments, paths) as arrivals, self._bundle() as full:
            plan = self._deploy(Shipment((*arrivals, full), patient=True))
        return plan._replace(download=means.download + full.preamble.first + plan.read)

    def _by_bundle(self) -> InstallPlan:
        with self._bundle() as full:
            plan = self._deploy(Shipment((full,)))
        return plan._replace(download=full.preamble.first + plan.read)

    def _deploy(self, shipment: Shipment) -> InstallPlan:
        _check_offered(shipment.target, self._chosen)
        with shipment.views:
            return deploy(shipment, self._host, self._writer, self._wish, self._report)

    def _fetch(self, increments: Sequence[OfferedIncrement]) -> list[str]:
        """Have increments in files; returns their paths."""
        release, ref = self._chosen.release, self._chosen.ref
        text = f"Downloading {ref.id} {release.version}"
        meter = Meter(text, sum(item.size for item in increments), self._report)
        paths = []
        for item in increments:
            folder = partial.fetched_folder(self._host.layout, ref, item.sha256)
            paths.append(f"{folder}/increment")
            fetch_file(
                self._chosen.connection.transport,
                item.name,
                paths[-1],
                size=item.size,
                sha256=item.sha256,
                report=meter.add,
            )
        return paths

    @contextmanager
    def _opened(
        self, increments: Sequence[OfferedIncrement], paths: Sequence[str]
    ) -> Iterator[tuple[Arrival, ...]]:
        with ExitStack() as stack:
            arrivals = tuple(stack.enter_context(arriving(path)) for path in paths)
            for arrival, item in zip(arrivals, increments, strict=True):
                if arrival.digest != item.release or not arrival.is_increment:
                    raise CorruptError(
                        f"The increment {item.sha256[:16]}… of {self._chosen.remote} is not the one"
                        " it offers."
                    )
            yield arrivals

    @contextmanager
    def _bundle(self) -> Iterator[Arrival]:
        file = self._chosen.release.bundle
        folder = partial.fetched_folder(self._host.layout, self._chosen.ref, file.sha256)
        with remote_arrival(self._chosen, folder) as arrival:
            yield arrival


@contextmanager
def remote_arrival(chosen: Chosen, folder: str) -> Iterator[Arrival]:
    """The full bundle of what was chosen, with only its head fetched, into `folder`."""
    transport, file = chosen.connection.transport, chosen.release.bundle
    bundle = RemoteBundle(transport, file, folder)
    try:
        name = f"{transport.address}/{file.name}"
        preamble = bundle.preamble()
        with os.fdopen(os.dup(bundle.spool), "rb") as stream:
            arrival = arrived(name, stream, preamble)
            yield arrival._replace(seekable=True, remote=Fetching(transport, bundle))
    finally:
        bundle.close()


def exact_download(host: Host, chosen: Chosen, folder: str, wanted: Wanted = ANY_FORM) -> int:
    """The bytes that are fetched of a full bundle, head and all; fetches the head into `folder`."""
    with remote_arrival(chosen, folder) as arrival:
        _check_offered(arrival, chosen)
        opened = arrival.open()
        shipment = Shipment((arrival,))
        with shipment.views:
            shelf = Shelf(host, shipment, decide(host, chosen.ref, wanted))
            layup, _ = fetched(arrival, opened, shelf)
        frames = arrival.source(opened).frames(layup.fresh)
        return arrival.preamble.first + sum(frame.stored for frame in frames)


def _check_offered(arrival: Arrival, chosen: Chosen) -> None:
    """Raise CorruptError unless a bundle's release is the one that is offered, as it is offered."""
    release, offered = arrival.release, chosen.release
    said = order_of(offered.serial, offered.version)
    if (arrival.digest, release.ref, release.order) != (offered.release, chosen.ref, said):
        raise CorruptError(
            f"{chosen.remote} offers {chosen.ref} {offered.version}, and sends another release; "
            "nothing of it is used."
        )
    if release.manifest.permissions != offered.permissions:
        raise CorruptError(
            f"{chosen.remote} says of {chosen.ref} {offered.version} that it may do other things "
            "than its publisher signed; nothing of it is used."
        )


def _is_of_the_way(error: HoldallError) -> bool:
    """Whether another way to the same release may do better."""
    return isinstance(error, CorruptError | NotFoundError) or type(error) is UntrustedError
