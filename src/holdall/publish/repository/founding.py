"""The first state of a repository: every role in its first version, and no app yet."""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Key,
    Metadata,
    MetaFile,
    Root,
    Snapshot,
    SuccinctRoles,
    T,
    TargetFile,
    Targets,
    Timestamp,
)

from holdall.model import catalogue as catalogues
from holdall.model.catalogue import Catalogue
from holdall.publish.repository.keys import HeldKey, Keys, tuf_key
from holdall.publish.repository.layout import Layout
from holdall.publish.repository.metadata import encode, sign
from holdall.publish.repository.published import APPS, PREFIX
from holdall.publish.repository.settings import Settings
from holdall.trust.keys import SigningKey

ROLES = ("root", "targets", APPS, "snapshot", "timestamp")
PATHS = ["apps/*.json", catalogues.TARGET]


class Founded(NamedTuple):
    """The files of a new repository by path, and the bytes of its timestamp and its root."""

    files: dict[str, bytes]
    timestamp: bytes
    root: bytes

    @property
    def fingerprint(self) -> str:
        """What users are told of the root."""
        return sha256(self.root).hexdigest()


def found(
    layout: Layout, settings: Settings, keys: Mapping[str, SigningKey], bits: int, now: datetime
) -> Founded:
    """Make a new repository's files, signed by one key for each of `ROLES`."""
    return _Founding(layout, settings, keys, now).make(bits)


class _Founding:
    def __init__(
        self, layout: Layout, settings: Settings, keys: Mapping[str, SigningKey], now: datetime
    ) -> None:
        self._layout = layout
        self._settings = settings
        self._keys: dict[str, Key] = {role: tuf_key(key.public) for role, key in keys.items()}
        self._held = Keys(HeldKey(key, "") for key in keys.values())
        self._now = now
        self._files: dict[str, bytes] = {}

    def make(self, bits: int) -> Founded:
        bins = SuccinctRoles([self._keys[APPS].keyid], 1, bits, PREFIX)
        catalogue = catalogues.encode(Catalogue())
        digest = sha256(catalogue).hexdigest()
        self._files[self._layout.target(catalogues.TARGET, digest)] = catalogue
        line = TargetFile(len(catalogue), {"sha256": digest}, catalogues.TARGET)
        meta = {}
        for name in bins.get_roles():
            mine = bins.get_role_for_target(catalogues.TARGET) == name
            body = Targets(targets={catalogues.TARGET: line} if mine else {})
            meta[name] = self._put(name, body, APPS)
        keys = {self._keys[APPS].keyid: self._keys[APPS]}
        apps = Targets(delegations=Delegations(keys, succinct_roles=bins))
        meta[APPS] = self._put(APPS, apps, APPS)
        role = DelegatedRole(APPS, list(keys), 1, terminating=True, paths=PATHS)
        targets = Targets(delegations=Delegations(keys, roles={APPS: role}))
        meta["targets"] = self._put("targets", targets, "targets")
        snapshot = Snapshot(meta={f"{name}.json": MetaFile(1) for name in meta})
        data = self._put("snapshot", snapshot, "snapshot")
        named = MetaFile(1, len(data), {"sha256": sha256(data).hexdigest()})
        timestamp = self._sign("timestamp", Timestamp(snapshot_meta=named), "timestamp")
        root = self._put("root", self._root(), "root")
        return Founded(self._files, timestamp, root)

    def _root(self) -> Root:
        root = Root(consistent_snapshot=True)
        for role, key in self._keys.items():
            if role != APPS:
                root.add_key(key, role)
        return root

    def _put(self, name: str, body: T, role: str) -> bytes:
        data = self._sign(name, body, role)
        self._files[self._layout.role(name, 1)] = data
        return data

    def _sign(self, name: str, body: T, role: str) -> bytes:
        body.expires = self._settings.expires(name, self._now)
        return encode(sign(Metadata(body), self._held, [self._keys[role].keyid]))
