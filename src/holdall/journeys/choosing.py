"""Which release of which remote is meant by what a user writes."""

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from holdall.errors import CorruptError, HoldallError, NotFoundError, UsageError
from holdall.journeys.host import Event, Host, Report
from holdall.journeys.refreshing import Answers, Connection
from holdall.model.manifest import HOST
from holdall.model.offer import Offer, OfferedRelease
from holdall.model.ref import Ref, RefPattern
from holdall.store import remotes as records

STABLE = "stable"


class Chosen(NamedTuple):
    """A release that a remote offers; nothing of it was fetched yet."""

    connection: Connection
    ref: Ref
    offer: Offer
    release: OfferedRelease

    @property
    def remote(self) -> str:
        """The remote's name."""
        return self.connection.remote.name


class Market(NamedTuple):
    """The remotes that were asked, and what they say; for as long as they are asked."""

    host: Host
    connections: Sequence[Connection]
    answers: Answers
    report: Report

    def choose(self, pattern: RefPattern, *, version: str | None = None) -> Chosen:
        """The newest release of what is meant, or its `version`.

        Without an architecture, the machine's is meant; without a branch, "stable" or the only one.
        Raises NotFoundError where nobody has it, UsageError where it is not clear, and what kept a
        remote from answering that may have it.
        """
        offers, failures = self._offers(pattern.id)
        ref = _ref(pattern, sorted({ref for offer in offers.values() for ref in offer.refs}))
        if ref is None:
            for failure in failures.values():
                raise failure
            raise NotFoundError(_nobody(pattern, offers))
        having = [name for name, offer in offers.items() if ref in offer.refs]
        return self._chosen(self._remote(ref, having, failures), offers, ref, version)

    def newest(self, ref: Ref, origin: str) -> Chosen:
        """The newest release of an installed ref at the remote it is from.

        Raises NotFoundError, and what kept the remote from answering.
        """
        offers, failures = self._offers(ref.id, origin)
        if origin in failures:
            raise failures[origin]
        if origin not in offers or ref not in offers[origin].refs:
            raise NotFoundError(f"The remote {origin} does not offer {ref} any more.")
        return self._chosen(origin, offers, ref, None)

    def runtime(self, chosen: Chosen) -> Chosen | None:
        """The runtime a release takes and the store lacks, from its remote or any other.

        None where none is lacking, or where nobody has it, which is told loudly.
        """
        if chosen.release.runtime == HOST:
            return None
        try:
            ref = Ref.parse(chosen.release.runtime)
        except UsageError as error:
            raise CorruptError(f"The offer of {chosen.ref.id} is no good: {error}") from error
        if self.host.catalog.active(ref):
            return None
        offers, _ = self._offers(ref.id)
        having = [name for name, offer in offers.items() if ref in offer.refs]
        if not having:
            self.report(Event(f"No remote offers {ref}, on which {chosen.ref.id} runs.", loud=True))
            return None
        name = chosen.remote if chosen.remote in having else having[0]
        return self._chosen(name, offers, ref, None)

    def _offers(
        self, app_id: str, only: str = ""
    ) -> tuple[dict[str, Offer], dict[str, HoldallError]]:
        """What each remote offers of an app, and why some cannot be understood or asked."""
        found, failures = {}, dict(self.answers.failures)
        for name, trusted in self.answers.trusted.items():
            if only in {"", name}:
                try:
                    if offer := trusted.offer(app_id):
                        found[name] = offer
                except HoldallError as error:
                    failures[name] = error
        return found, failures

    def _remote(self, ref: Ref, having: list[str], failures: Mapping[str, HoldallError]) -> str:
        """From which of several remotes: where it is installed, from the one it is from."""
        installed = self.host.catalog.active(ref)
        origin = records.read_origin(self.host.layout, ref) if installed else ""
        if origin in failures:
            raise failures[origin]
        if origin in having:
            return origin
        if len(having) > 1:
            raise UsageError(
                f"{ref} is offered by {' and '.join(having)}; say which is meant: --remote "
                f"{having[0]}."
            )
        return having[0]

    def _chosen(self, name: str, offers: dict[str, Offer], ref: Ref, version: str | None) -> Chosen:
        releases = offers[name].releases_of(ref)
        if version is not None:
            releases = tuple(item for item in releases if item.version == version)
            if not releases:
                have = ", ".join(item.version for item in offers[name].releases_of(ref)[:20])
                raise NotFoundError(f"{name} offers no {ref} {version}; it has {have}.")
        connection = next(item for item in self.connections if item.remote.name == name)
        newest = max(releases, key=lambda item: item.order)
        return Chosen(connection, ref, offers[name], newest)


def _ref(pattern: RefPattern, refs: Sequence[Ref]) -> Ref | None:
    """The one that is meant; raises UsageError where several may be."""
    machine = pattern.arch or os.uname().machine
    fitting = [ref for ref in refs if pattern.matches(ref) and ref.arch == machine]
    if len(fitting) > 1:
        stable = [ref for ref in fitting if ref.branch == STABLE]
        if not stable:
            names = ", ".join(str(ref) for ref in fitting)
            raise UsageError(f"{pattern} may mean any of {names}; write more of it.")
        return stable[0]
    return fitting[0] if fitting else None


def _nobody(pattern: RefPattern, offers: dict[str, Offer]) -> str:
    others = sorted({str(ref) for offer in offers.values() for ref in offer.refs})
    if others:
        return f"No remote offers {pattern} for this machine; there is {', '.join(others)}."
    return f"No remote offers {pattern}; `holdall search` finds apps, a file is given by its path."
