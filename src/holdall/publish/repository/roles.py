"""Who answers for what: changes to the root and to `targets`, which wait for signatures.

The root says which keys the roles at the top have, `targets` those of `apps` and of publishers.
"""

from copy import deepcopy
from datetime import datetime
from typing import NamedTuple

from tuf.api.metadata import DelegatedRole, Delegations, Key, Metadata, Root, Targets

from holdall.errors import CorruptError, NotFoundError, UsageError
from holdall.model.offer import target_name
from holdall.model.ref import checked_id
from holdall.publish.repository.keys import Keys
from holdall.publish.repository.layout import Layout
from holdall.publish.repository.metadata import sign, signatures
from holdall.publish.repository.pending import Pending
from holdall.publish.repository.published import APPS, Published, app_of, publishers_of
from holdall.publish.repository.publishers import checked_role
from holdall.publish.repository.settings import Settings
from holdall.publish.repository.succession import keyids

TOP = ("root", "targets", "snapshot", "timestamp")
_SHORTEST = 8


class RoleKeys(NamedTuple):
    """Who signs for a role: key ids, and how many of them must; `paths` of a publisher's apps."""

    role: str
    keyids: tuple[str, ...]
    threshold: int
    paths: tuple[str, ...] = ()


class Waiting(NamedTuple):
    """A role that waits: the signatures it has and needs, by its own keys and the former root's."""

    role: str
    version: int
    signatures: int
    threshold: int
    former: int = 0
    former_threshold: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether the next publication can put it out."""
        return self.signatures >= self.threshold and self.former >= self.former_threshold


class Roles:
    """The root and `targets` that will follow, over those that are published.

    Every change drops the signatures there were, and `keep` adds those of the keys at hand.
    """

    def __init__(self, layout: Layout, settings: Settings, keys: Keys, now: datetime) -> None:
        self._published = Published(layout)
        self._pending = Pending(layout)
        self._settings = settings
        self._keys = keys
        self._now = now
        self._root = self._waiting_root()
        self._targets = self._waiting_targets()

    def use(self, keys: Keys) -> None:
        """Sign with these keys from now on."""
        self._keys = keys

    def listed(self) -> list[RoleKeys]:
        """Every role with its keys, as they will be."""
        root, targets = self._root_body(), self._targets_body()
        rows = [
            RoleKeys(role, tuple(root.roles[role].keyids), root.roles[role].threshold)
            for role in TOP
        ]
        for name in (APPS, *publishers_of(targets)):
            role = delegated(targets)[name]
            paths = () if name == APPS else tuple(role.paths or ())
            rows.append(RoleKeys(name, tuple(role.keyids), role.threshold, paths))
        return rows

    def waiting(self) -> list[Waiting]:
        """The roles that wait, and how far their signatures are."""
        found = []
        if self._root:
            root = self._root
            mine = signatures(root.signed, "root", root)
            former = signatures(self._published.root.signed, "root", root)
            found.append(Waiting("root", root.signed.version, *mine, *former))
        if self._targets:
            root_body = self._root_body()
            made = signatures(root_body, "targets", self._targets)
            found.append(Waiting("targets", self._targets.signed.version, *made))
        return found

    def keys_of(self, role: str) -> RoleKeys:
        """One role's keys; raises NotFoundError."""
        for row in self.listed():
            if row.role == role:
                return row
        raise NotFoundError(
            f"There is no role {role}: " + ", ".join(row.role for row in self.listed()) + "."
        )

    def add(self, role: str, key: Key) -> None:
        """Let a key sign for a role."""
        if key.keyid in self.keys_of(role).keyids:
            raise UsageError(f"The key {key.keyid} signs for {role} already.")
        if role in TOP:
            self._change_root().add_key(key, role)
        else:
            self._change_targets().add_key(key, role)

    def remove(self, role: str, keyid: str) -> str:
        """Let a key, given by the beginning of its id, not sign for a role any more."""
        row = self.keys_of(role)
        found = [item for item in row.keyids if item.startswith(keyid.lower())]
        if len(found) != 1 or len(keyid) < _SHORTEST:
            raise NotFoundError(f"{keyid} does not name one key of {role}.")
        if len(row.keyids) <= row.threshold:
            raise UsageError(
                f"{role} needs {row.threshold} signatures and has {len(row.keyids)} keys; add a key"
                " or lower the threshold first."
            )
        if role in TOP:
            self._change_root().revoke_key(found[0], role)
        else:
            self._change_targets().revoke_key(found[0], role)
        return found[0]

    def replace(self, role: str, old: str, new: Key) -> None:
        """Let one key sign in the place of another."""
        self.add(role, new)
        self.remove(role, old)

    def set_threshold(self, role: str, number: int) -> None:
        """Ask for so many signatures."""
        row = self.keys_of(role)
        if not 1 <= number <= len(row.keyids):
            raise UsageError(f"{role} has {len(row.keyids)} keys; it cannot need {number} of them.")
        if role in TOP:
            self._change_root().roles[role].threshold = number
        else:
            delegated(self._change_targets())[role].threshold = number

    def delegate(self, name: str, patterns: tuple[str, ...], keys: tuple[Key, ...]) -> None:
        """Let a publisher answer for apps: ids, or all that begin with something (``org.x.*``).

        What was delegated under the name before is replaced. All its apps are its alone.
        """
        checked_role(name)
        paths = [path_of(pattern) for pattern in patterns]
        body = self._change_targets()
        others = {key: role for key, role in delegated(body).items() if key not in {name, APPS}}
        for other in others.values():
            for path in paths:
                mine = DelegatedRole(name, [], 1, terminating=True, paths=[path])
                if other.is_delegated_path(path) or any(
                    mine.is_delegated_path(theirs) for theirs in other.paths or ()
                ):
                    raise UsageError(f"{app_of(path)} would belong to {other.name}, too.")
        role = DelegatedRole(name, [key.keyid for key in keys], 1, terminating=True, paths=paths)
        self._set_delegations({**others, name: role}, keys)

    def undelegate(self, name: str, *, keep: bool) -> list[str]:
        """Let a publisher answer for nothing; with `keep`, its apps become the operator's.

        Returns the ids of those.
        """
        if name not in publishers_of(self._targets_body()):
            raise NotFoundError(f"There is no publisher's role {name}.")
        self._change_targets()
        others = delegated(self._targets_body())
        self._set_delegations(
            {key: role for key, role in others.items() if key not in {name, APPS}}, ()
        )
        taken = []
        metadata = self._published.role(name) if name in self._published.publishers else None
        for target in metadata.signed.targets if keep and metadata else ():
            offer = self._published.offer(app_of(target))
            if offer:
                self._pending.put_offer(offer)
                taken.append(offer.id)
        return taken

    def keep(self) -> list[Waiting]:
        """Sign what waits with the keys at hand and keep it; says how far it is."""
        former = self._published.root.signed
        if self._root:
            sign(self._root, self._keys, keyids("root", self._root.signed, former))
            self._pending.put_role("root", self._root)
        if self._targets:
            sign(self._targets, self._keys, keyids("targets", self._root_body(), former))
            self._pending.put_role("targets", self._targets)
        return self.waiting()

    # ------------------------------------------------------------------ what waits

    def _waiting_root(self) -> Metadata[Root] | None:
        waiting = self._pending.root
        current = self._published.root.signed.version
        return waiting if waiting and waiting.signed.version > current else None

    def _waiting_targets(self) -> Metadata[Targets] | None:
        waiting = self._pending.targets
        current = self._published.targets.signed.version
        return waiting if waiting and waiting.signed.version > current else None

    def _root_body(self) -> Root:
        return (self._root or self._published.root).signed

    def _targets_body(self) -> Targets:
        return (self._targets or self._published.targets).signed

    def _change_root(self) -> Root:
        """The body of the root that follows, unsigned."""
        body = deepcopy(self._root_body())
        body.version = self._published.root.signed.version + 1
        body.expires = self._settings.expires("root", self._now)
        self._root = Metadata(body)
        return body

    def _change_targets(self) -> Targets:
        """The same of `targets`."""
        body = deepcopy(self._targets_body())
        body.version = self._published.targets.signed.version + 1
        body.expires = self._settings.expires("targets", self._now)
        self._targets = Metadata(body)
        return body

    def _set_delegations(self, publishers: dict[str, DelegatedRole], keys: tuple[Key, ...]) -> None:
        """Put publishers before `apps`, with the keys that all of them have."""
        body = self._targets_body()
        held = delegations_of(body)
        roles = {**publishers, APPS: delegated(body)[APPS]}
        known = {**held.keys, **{key.keyid: key for key in keys}}
        used = {keyid for role in roles.values() for keyid in role.keyids}
        body.delegations = Delegations(
            {keyid: known[keyid] for keyid in known if keyid in used}, roles
        )


def path_of(pattern: str) -> str:
    """The path of the targets a pattern of ids means; raises UsageError."""
    if pattern.endswith(".*"):
        checked_id(f"{pattern[:-2]}.a.b")
    else:
        checked_id(pattern)
    return target_name(pattern)


def delegations_of(targets: Targets) -> Delegations:
    """What `targets` delegates; raises CorruptError when that is nothing."""
    if targets.delegations is None or targets.delegations.roles is None:
        raise CorruptError("The role targets of the repository delegates to nobody.")
    return targets.delegations


def delegated(targets: Targets) -> dict[str, DelegatedRole]:
    """The roles `targets` delegates to, in order."""
    roles = delegations_of(targets).roles
    return roles if roles is not None else {}
