"""Several files that were given together: full bundles and increments of one app.

What they are for, and whether they may be used.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property

from holdall.errors import HoldallError, UsageError
from holdall.journeys.arrival import STREAM, Arrival, arriving
from holdall.journeys.host import Host, Report
from holdall.journeys.trusting import (
    Accepted,
    TrustChoice,
    accept,
    accept_beside,
    accept_statement,
    vouched,
)
from holdall.store import partial
from holdall.store.layout import Layout
from holdall.trust.envelope import SignedStatement, open_statement


def by_ref(paths: Sequence[str]) -> list[tuple[str, ...]]:
    """Paths that were given together, those of one app beside each other, in order of first use.

    One that cannot be read stands alone, so that it is refused alone. With standard input, which is
    read only once, all are taken for one app's.
    """
    if len(paths) == 1 or STREAM in paths:
        return [tuple(paths)]
    groups: dict[str, list[str]] = {}
    for path in paths:
        name = path
        with suppress(HoldallError, OSError), arriving(path) as arrival:
            name = str(arrival.release.ref)
        groups.setdefault(name, []).append(path)
    return [tuple(group) for group in groups.values()]


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
        self.arrivals = tuple(arrivals)
        self.target = min(top, key=lambda arrival: arrival.is_increment)

    @property
    def fulls(self) -> tuple[Arrival, ...]:
        """The full bundles that can be read anywhere, the newest first."""
        found = [item for item in self.arrivals if item.seekable and not item.is_increment]
        return tuple(sorted(found, key=lambda item: item.release.order, reverse=True))

    @property
    def increments(self) -> tuple[Arrival, ...]:
        """The increments, in the order they were given."""
        return tuple(arrival for arrival in self.arrivals if arrival.is_increment)

    @cached_property
    def statements(self) -> tuple[SignedStatement, ...]:
        """What is said of each increment; whether it may be believed, `admit` says."""
        return tuple(open_statement(item.preamble.statement) for item in self.increments)

    def forget(self, layout: Layout) -> None:
        """Remove what a command that was killed after its work was done had kept."""
        for arrival in self.increments:
            partial.drop(partial.folder_of(layout, arrival.release.ref, arrival.preamble.index))

    def admit(self, host: Host, choice: TrustChoice, report: Report) -> Accepted:
        """Judge the target as any bundle, and all the others by that; changes nothing.

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
        for arrival, said in zip(self.increments, self.statements, strict=True):
            accept_statement(vouched(arrival.signed, arrival.digest, said), accepted, host.layout)
        return accepted
