"""A publication: the next state of a repository, made in memory from what is there and what waits.

Touches only what changed: of ten thousand apps it reads the bins and offers of those that did.
"""

from collections.abc import Iterable
from copy import deepcopy
from datetime import datetime
from hashlib import sha256

from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, T, TargetFile, Targets

from holdall.errors import CorruptError
from holdall.model import catalogue as catalogues
from holdall.model import offer as offers
from holdall.model.catalogue import Entry
from holdall.model.offer import Offer
from holdall.publish.repository import succession
from holdall.publish.repository.bins import Bins
from holdall.publish.repository.edition import Edition, RoleVersion
from holdall.publish.repository.keys import Keys
from holdall.publish.repository.metadata import check_signed, encode, is_signed, keys_of, sign
from holdall.publish.repository.pending import Pending
from holdall.publish.repository.published import (
    APPS,
    Published,
    answering,
    app_of,
    bins_of,
    is_bin,
    publishers_of,
    read_target,
)
from holdall.publish.repository.publishers import refusal, stray
from holdall.publish.repository.segments import entry_of, extend
from holdall.publish.repository.settings import Settings

Lines = dict[str, TargetFile | None]


class Publication:
    """What is to be put out after `published`; nothing is written here."""

    def __init__(
        self, published: Published, settings: Settings, keys: Keys, now: datetime, *, scan: bool
    ) -> None:
        self._was = published
        self._settings = settings
        self._keys = keys
        self._now = now
        self._scan = scan
        self._pending = Pending(published.layout)
        self._files: dict[str, bytes] = {}
        self._made: dict[str, Metadata[Targets]] = {}
        self._taken: dict[str, int] = {}
        self._changed: dict[str, Entry] = {}
        self._lines: dict[str, Lines] = {}
        self._roles: list[RoleVersion] = []
        self._notes: list[str] = []
        self._refused: set[str] = set()
        self._offers: list[str] = []
        self._root: Metadata[Root] = published.root
        self._targets: Targets = published.targets.signed

    def compose(self) -> Edition:
        """Make the edition; raises UntrustedError where keys that it takes are not at hand."""
        succeeded = succession.next_root(
            self._was.root, self._pending, self._settings, self._keys, self._now
        )
        self._notes += succeeded.notes
        self._root = succeeded.role or self._was.root
        self._take_targets()
        self._take_publishers()
        self._take_offers()
        self._take_gone()
        self._take_catalogue()
        self._take_lines()
        timestamp = self._finish()
        root = None
        if succeeded.role:
            version = succeeded.role.signed.version
            root = (self._was.layout.role("root", version), encode(succeeded.role))
            self._note_role("root", succeeded.role)
        return Edition(
            files=self._files,
            timestamp=timestamp,
            root=root,
            roles=tuple(self._roles),
            apps=tuple(sorted(self._changed)),
            offers=tuple(self._offers),
            pending=self._published_roles(root is not None),
            notes=tuple(self._notes),
        )

    # -------------------------------------------------------------- the roles that delegate

    def _take_targets(self) -> None:
        succeeded = succession.next_targets(
            self._was, self._root.signed, self._settings, self._keys, self._now
        )
        self._notes += succeeded.notes
        if succeeded.role:
            self._targets = succeeded.role.signed
            self._made["targets"] = succeeded.role

    def _take_publishers(self) -> None:
        """Take in what publishers have signed since the last snapshot."""
        for name in publishers_of(self._targets):
            known, newest = self._was.version(name), self._was.newest(name)
            if newest == known:
                self._check_due(name)
                continue
            try:
                metadata = self._was.at(name, newest)
                why = refusal(self._was, self._targets, name, metadata)
            except CorruptError as error:
                why = str(error)
            if why:
                self._notes.append(f"What {name} has signed is left out: {why}")
                self._refused.add(name)
            else:
                self._take_publisher(name, self._was.at(name, newest))

    def _take_publisher(self, name: str, metadata: Metadata[Targets]) -> None:
        known = self._was.version(name)
        old = self._was.at(name, known).signed.targets if known else {}
        self._taken[name] = metadata.signed.version
        self._note_role(name, metadata)
        for target in {**old, **metadata.signed.targets}:
            line = metadata.signed.targets.get(target)
            if line != old.get(target) and (app_id := app_of(target)):
                self._changed[app_id] = self._entry(target, line)

    def _entry(self, target: str, line: TargetFile | None) -> Entry:
        app_id = app_of(target)
        if line is None:
            return Entry(app_id, gone=True)
        return entry_of(offers.parse(read_target(self._was.layout, target, line), app_id))

    def _check_due(self, name: str) -> None:
        metadata = self._was.role(name)
        if metadata and self._settings.is_due(name, metadata.signed.expires, self._now):
            if self._can_sign(name):
                self._lines.setdefault(name, {})
            else:
                self._notes.append(
                    f"What {name} has signed expires at {metadata.signed.expires.isoformat()}: its"
                    f" publisher must sign it anew with `repo publish --role {name}`."
                )

    # -------------------------------------------------------------- offers and the catalogue

    def _take_offers(self) -> None:
        for app_id in self._pending.app_ids():
            offer = self._pending.offer(app_id)
            if offer is None:
                continue
            target = offers.target_name(app_id)
            role = answering(self._targets, self._was.bins, target)
            if not is_bin(role) and not self._can_sign(role):
                self._notes.append(
                    f"{app_id} waits: it belongs to {role}, whose key must sign it:"
                    f" `repo publish --role {role}`."
                )
                continue
            self._offers.append(app_id)
            self._change(role, target, offer)

    def _change(self, role: str, target: str, offer: Offer) -> None:
        line = None
        if offer.releases:
            line = self._file(target, offers.encode(offer))
        if line != self._line(role, target):
            self._lines.setdefault(role, {})[target] = line
            self._changed[offer.id] = entry_of(offer)

    def _line(self, role: str, target: str) -> TargetFile | None:
        metadata = self._was.role(role)
        return metadata.signed.targets.get(target) if metadata else None

    def _file(self, target: str, data: bytes) -> TargetFile:
        digest = sha256(data).hexdigest()
        self._files[self._was.layout.target(target, digest)] = data
        return TargetFile(len(data), {"sha256": digest}, target)

    def _take_gone(self) -> None:
        """Where delegations changed, take out what nobody who answers for it offers any more."""
        if publishers_of(self._targets) == self._was.publishers:
            return
        for role, target in stray(self._was, self._targets):
            app_id = app_of(target)
            if is_bin(role):
                self._lines.setdefault(role, {})[target] = None
            elif app_id not in self._changed:
                self._changed[app_id] = Entry(app_id, gone=True)

    def _take_catalogue(self) -> None:
        extended = extend(self._was.layout, self._was.catalogue(), self._changed)
        for segment, data in extended.fresh.items():
            self._files[self._was.layout.segment(segment)] = data
        if extended.catalogue != self._was.catalogue():
            role = self._was.bins.get_role_for_target(catalogues.TARGET)
            line = self._file(catalogues.TARGET, catalogues.encode(extended.catalogue))
            self._lines.setdefault(role, {})[catalogues.TARGET] = line

    # -------------------------------------------------------------- bins and publishers at hand

    def _take_lines(self) -> None:
        """Apply the lines that changed to their roles, and sign these."""
        bins = Bins(self._was, self._targets, self._settings, self._now)
        for role, lines in self._lines.items():
            if is_bin(role):
                bins.change(role, lines)
            else:
                self._make_publisher(role, lines)
        made = bins.finish(scan=self._scan)
        if made.apps:
            self._made[APPS] = self._signed(made.apps, keys_of(self._targets, APPS))
            check_signed(self._targets, APPS, self._made[APPS], self._where)
        keyids = bins_of(made.delegator).keyids
        for name, body in made.bodies.items():
            self._made[name] = self._signed(body, keyids)
            check_signed(made.delegator, name, self._made[name], self._where)

    def _make_publisher(self, role: str, lines: Lines) -> None:
        held = self._was.role(role)
        body = deepcopy(held.signed) if held else Targets()
        body.version = self._was.newest(role) + 1
        body.expires = self._settings.expires(role, self._now)
        body.targets = applied(body.targets, lines)
        self._made[role] = self._signed(body, keys_of(self._targets, role))
        check_signed(self._targets, role, self._made[role], self._where)

    def _can_sign(self, role: str) -> bool:
        if role in self._refused:
            return False
        delegated = self._targets.get_delegated_role(role)
        return len(self._keys.ids & set(delegated.keyids)) >= delegated.threshold

    def _signed(self, body: Targets, keyids: Iterable[str]) -> Metadata[Targets]:
        return sign(Metadata(body), self._keys, keyids)

    @property
    def _where(self) -> str:
        return " and ".join(self._settings.keys) or "no folder that this repository knows"

    # -------------------------------------------------------------- snapshot and timestamp

    def _finish(self) -> bytes | None:
        for name, metadata in self._made.items():
            body = metadata.signed
            self._files[self._was.layout.role(name, body.version)] = encode(metadata)
            self._taken[name] = body.version
            self._note_role(name, metadata)
        snapshot = self._next_snapshot()
        if snapshot is None and not self._is_due("timestamp", self._was.timestamp):
            return None
        stamp = deepcopy(self._was.timestamp.signed)
        if snapshot is not None:
            data = encode(snapshot)
            version = snapshot.signed.version
            self._files[self._was.layout.role("snapshot", version)] = data
            stamp.snapshot_meta = MetaFile(version, len(data), {"sha256": sha256(data).hexdigest()})
            self._note_role("snapshot", snapshot)
        timestamp = self._top("timestamp", stamp)
        self._note_role("timestamp", timestamp)
        return encode(timestamp)

    def _next_snapshot(self) -> Metadata[Snapshot] | None:
        if not self._taken and not self._is_due("snapshot", self._was.snapshot):
            return None
        body = deepcopy(self._was.snapshot.signed)
        for name, version in self._taken.items():
            body.meta[f"{name}.json"] = MetaFile(version)
        return self._top("snapshot", body)

    def _is_due(self, role: str, metadata: Metadata[T]) -> bool:
        """Whether it expires soon, or lacks signatures under the root that holds from now on."""
        soon = self._settings.is_due(role, metadata.signed.expires, self._now)
        return soon or not is_signed(self._root.signed, role, metadata)

    def _top(self, role: str, body: T) -> Metadata[T]:
        """The next version of a role that the root names."""
        body.version += 1
        body.expires = self._settings.expires(role, self._now)
        keyids = succession.keyids(role, self._root.signed, self._was.root.signed)
        metadata = sign(Metadata(body), self._keys, keyids)
        check_signed(self._root.signed, role, metadata, self._where)
        return metadata

    def _note_role(self, name: str, metadata: Metadata[T]) -> None:
        body = metadata.signed
        self._roles.append(RoleVersion(name, body.version, body.expires.isoformat()))

    def _published_roles(self, new_root: bool) -> tuple[str, ...]:  # noqa: FBT001 - one caller
        done = []
        waiting = self._pending.root
        if waiting and (new_root or waiting.signed.version <= self._was.root.signed.version):
            done.append("root")
        targets = self._pending.targets
        if targets and targets.signed.version <= self._targets.version:
            done.append("targets")
        return tuple(done)


def applied(targets: dict[str, TargetFile], lines: Lines) -> dict[str, TargetFile]:
    """Targets after some lines changed."""
    merged: Lines = {**targets, **lines}
    return {name: line for name, line in merged.items() if line is not None}
