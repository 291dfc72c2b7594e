"""Several files that were given together: full bundles and increments of one app.

What they are for, and whether they may be used.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from holdall.errors import CorruptError, HoldallError, NotFoundError, UsageError
from holdall.forms.viewing import Views
from holdall.journeys.arrival import STREAM, Arrival, arriving, remains_of
from holdall.journeys.host import Event, Host, Report
from holdall.journeys.trusting import (
    Accepted,
    TrustChoice,
    accept,
    accept_beside,
    accept_statement,
    vouched,
)
from holdall.model.ref import Ref
from holdall.store import partial
from holdall.store.layout import Layout
from holdall.trust.envelope import SignedStatement, open_statement


def by_ref(paths: Sequence[str]) -> list[tuple[str, ...]]:
    """Paths that were given together, those of one app beside each other, in order of first use.

    One that cannot be read stands alone, so that it is refused alone; but a damaged increment
    stands with those of its app, or where it does not say of which, of the only one. With standard
    input, which is read only once, all are taken for one app's. Raises NotFoundError where one is
    not there.
    """
    if len(paths) == 1:
        return [tuple(paths)]
    for path in paths:
        if path != STREAM and "://" not in path and not os.path.exists(path):
            raise NotFoundError(f"There is no bundle {path}; nothing was done.")
    if STREAM in paths:
        return [tuple(paths)]
    groups: dict[str, list[str]] = {}
    nameless: list[str] = []
    for path in paths:
        if name := _name_of(path):
            groups.setdefault(name, []).append(path)
        else:
            nameless.append(path)
    if len(groups) == 1:
        next(iter(groups.values())).extend(nameless)
    else:
        groups |= {path: [path] for path in nameless}
    return [tuple(group) for group in groups.values()]


def _name_of(path: str) -> str:
    """The ref of a bundle, or what stands for one; "" for a damaged increment of any app."""
    try:
        with arriving(path) as arrival:
            return str(arrival.release.ref)
    except CorruptError:
        remains = remains_of(path)
    except (HoldallError, OSError):
        return path
    if remains is None:
        return path
    return str(remains.release.ref) if remains.release else ""


@contextmanager
def given_together(paths: Sequence[str], report: Report) -> Iterator["Shipment"]:
    """Open files of one app.

    Increments that are damaged are left out where the full bundle of the newest release is there.
    Raises as `arriving`, and UsageError for what does not belong together.
    """
    if paths.count(STREAM) > 1:
        raise UsageError("Only one bundle can come from standard input.")
    with ExitStack() as stack:
        arrivals: list[Arrival] = []
        damaged: list[tuple[str, CorruptError]] = []
        for path in paths:
            try:
                arrivals.append(stack.enter_context(arriving(path)))
            except CorruptError as error:
                damaged.append((path, error))
        if not arrivals:
            raise damaged[0][1]
        shipment = Shipment(arrivals)
        for path, reason in damaged:
            if shipment.needs(path):
                raise reason
            report(Event(f"{reason} The full bundle is used instead.", loud=True))
        with shipment.views:
            yield shipment


class Shipment:
    """Files of one ref; what is to be installed is the newest release among them.

    Where it fails, and is `patient`, what was made of it is kept: there is another way.
    """

    def __init__(self, arrivals: Sequence[Arrival], *, patient: bool = False) -> None:
        self.patient = patient
        refs = sorted({str(arrival.release.ref) for arrival in arrivals})
        if len(refs) > 1:
            raise UsageError(f"These are of {' and '.join(refs)}; install one after the other.")
        newest = max(arrival.release.order for arrival in arrivals)
        top = [arrival for arrival in arrivals if arrival.release.order == newest]
        if len({arrival.digest for arrival in top}) > 1:
            raise UsageError(
                f"{top[0].path} and {top[-1].path} are different releases of the same version, "
                f"{top[0].release.manifest.version}; give one of them."
            )
        self.arrivals = self._given = tuple(arrivals)
        self._statements: tuple[SignedStatement, ...] | None = None
        self.views = Views()
        self.target = min(top, key=lambda arrival: arrival.is_increment)

    @property
    def ref(self) -> Ref:
        """What it is of."""
        return self.target.release.ref

    @property
    def fulls(self) -> tuple[Arrival, ...]:
        """The full bundles that can be read anywhere, the newest first."""
        found = [item for item in self.arrivals if item.seekable and not item.is_increment]
        return tuple(sorted(found, key=lambda item: item.release.order, reverse=True))

    @property
    def increments(self) -> tuple[Arrival, ...]:
        """The increments, in the order they were given."""
        return tuple(arrival for arrival in self.arrivals if arrival.is_increment)

    @property
    def statements(self) -> tuple[SignedStatement, ...]:
        """What is said of each increment; whether it may be believed, `admit` says."""
        if self._statements is None:
            self._statements = tuple(
                open_statement(item.preamble.statement) for item in self.increments
            )
        return self._statements

    def needs(self, path: str) -> bool:
        """Whether a damaged file may be more than an increment that can be done without."""
        if self.target.is_increment or (remains := remains_of(path)) is None:
            return True
        release, newest = remains.release, self.target.release
        return release is not None and (release.ref != newest.ref or release.order > newest.order)

    def do_without_increments(self, error: CorruptError, report: Report) -> None:
        """Say that they are damaged and leave them out; without the full bundle raises `error`."""
        if self.target.is_increment:
            raise error
        report(Event(f"{error} The full bundle is used instead.", loud=True))
        self._keep(tuple(arrival for arrival in self.arrivals if not arrival.is_increment))

    def pass_by_streams(self) -> None:
        """Leave out increments that can be read only once, and were."""
        kept = (item for item in self.arrivals if item.seekable or not item.is_increment)
        self._keep(tuple(kept))

    def _keep(self, arrivals: tuple[Arrival, ...]) -> None:
        self.arrivals = arrivals
        self._statements = None

    def forget(self, layout: Layout) -> None:
        """Remove what a command that was killed after its work was done had kept."""
        for arrival in filter(lambda item: item.is_increment, self._given):
            partial.drop(partial.folder_of(layout, arrival.release.ref, arrival.preamble.index))

    def admit(self, host: Host, choice: TrustChoice, report: Report) -> Accepted:
        """Judge the target as any bundle, and all the others by that; changes nothing in the store.

        Raises CorruptError and UntrustedError.
        """
        accepted = accept(self.target.signed, host.layout, choice, report)
        for arrival in self.arrivals:
            if arrival.digest != self.target.digest:
                accept_beside(
                    arrival.signed,
                    accepted,
                    host.layout,
                    choice,
                    on_the_way=arrival.is_increment,
                )
        try:
            for arrival, said in zip(self.increments, self.statements, strict=True):
                told = vouched(arrival.signed, arrival.digest, said)
                accept_statement(told, accepted, host.layout)
        except CorruptError as error:
            self.do_without_increments(error, report)
        return accepted
