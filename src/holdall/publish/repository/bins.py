"""The bins: offers by the hash of their name, in as many parts as keep each short."""

from copy import deepcopy
from datetime import datetime
from typing import NamedTuple

from tuf.api.metadata import Delegations, SuccinctRoles, TargetFile, Targets

from holdall.model import catalogue as catalogues
from holdall.publish.repository.metadata import is_signed, keys_of
from holdall.publish.repository.published import APPS, PREFIX, Published, bins_of
from holdall.publish.repository.settings import Settings

MAX_BITS = 15  # all in a snapshot of at most 2 MB; then bins grow


class MadeBins(NamedTuple):
    """Bins to sign by name, what delegates to them, and that if it changed."""

    bodies: dict[str, Targets]
    delegator: Targets
    apps: Targets | None


class Bins:
    """The bins of the next state; reads those that change, and all of them where it must."""

    def __init__(
        self, published: Published, targets: Targets, settings: Settings, now: datetime
    ) -> None:
        self._was = published
        self._targets = targets
        self._settings = settings
        self._now = now
        self._bits = published.bins.bit_length
        self._lines: dict[str, dict[str, TargetFile]] = {}

    def change(self, name: str, lines: dict[str, TargetFile | None]) -> None:
        """Apply changed lines to a bin."""
        merged: dict[str, TargetFile | None] = {**self._read(name), **lines}
        self._lines[name] = {key: line for key, line in merged.items() if line is not None}

    def finish(self, *, scan: bool) -> MadeBins:
        """What is to be signed; with `scan`, also what expires soon."""
        if self._must_split():
            self._split()
        apps = self._apps()
        if apps is not None and self._is_other(bins_of(apps)):
            for name in bins_of(apps).get_roles():
                self._lines.setdefault(name, dict(self._read(name)))
        elif scan:
            self._add_due()
        bodies = {
            name: Targets(
                version=self._was.version(name) + 1,
                expires=self._settings.expires(name, self._now),
                targets=lines,
            )
            for name, lines in self._lines.items()
        }
        return MadeBins(bodies, apps or self._was.apps.signed, apps)

    def _must_split(self) -> bool:
        most = self._settings.most_apps
        return self._bits < MAX_BITS and any(
            len(lines.keys() - {catalogues.TARGET}) > most for lines in self._lines.values()
        )

    def _split(self) -> None:
        """Double the bins until each is short."""
        names = self._was.bins.get_roles()
        lines = [self._lines[name] if name in self._lines else self._read(name) for name in names]
        every = {key: line for part in lines for key, line in part.items()}
        while self._must_split():
            self._bits += 1
            bins = self._bins()
            self._lines = {name: {} for name in bins.get_roles()}
            for key, line in every.items():
                self._lines[bins.get_role_for_target(key)][key] = line

    def _bins(self) -> SuccinctRoles:
        role = self._targets.get_delegated_role(APPS)
        return SuccinctRoles(list(role.keyids), role.threshold, self._bits, PREFIX)

    def _apps(self) -> Targets | None:
        """The next version of `apps`, if there is one."""
        current, bins = self._was.apps, self._bins()
        if (
            not self._is_other(bins)
            and is_signed(self._targets, APPS, current)
            and not self._settings.is_due(APPS, current.signed.expires, self._now)
        ):
            return None
        body = deepcopy(current.signed)
        body.version += 1
        body.expires = self._settings.expires(APPS, self._now)
        body.delegations = Delegations(keys_of(self._targets, APPS), succinct_roles=bins)
        return body

    def _is_other(self, bins: SuccinctRoles) -> bool:
        return bins != self._was.bins

    def _add_due(self) -> None:
        for name in self._was.bins.get_roles():
            if name in self._lines:
                continue
            body = self._was.at(name, self._was.version(name)).signed
            if self._settings.is_due(name, body.expires, self._now):
                self._lines[name] = body.targets

    def _read(self, name: str) -> dict[str, TargetFile]:
        held = self._was.role(name)
        return held.signed.targets if held else {}
