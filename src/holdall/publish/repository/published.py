"""What a repository hands out now, read as far as it is asked for.

The publisher's own files: what they name is checked by digest where it is used, signatures are not.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from hashlib import sha256

from tuf.api.metadata import (
    DelegatedRole,
    Metadata,
    Root,
    Snapshot,
    SuccinctRoles,
    TargetFile,
    Targets,
    Timestamp,
)

from holdall.errors import CorruptError, NotFoundError
from holdall.model import catalogue as catalogues
from holdall.model import offer as offers
from holdall.model.catalogue import Catalogue
from holdall.model.offer import Offer
from holdall.publish.repository.layout import Layout
from holdall.publish.repository.metadata import read
from holdall.system.files import read_regular

APPS = "apps"
PREFIX = "bin"
_DIGEST = "sha256"


class Published:
    """One state of a repository; `role` is the publisher whose copy it is, if it is one's."""

    def __init__(self, layout: Layout, *, role: str = "") -> None:
        self.layout = layout
        self._role = role
        self._roles: dict[str, Metadata[Targets] | None] = {}

    @cached_property
    def root(self) -> Metadata[Root]:
        """The newest root."""
        version = 1
        while os.path.exists(self.layout.role("root", version + 1)):
            version += 1
        return read(self.layout.role("root", version), Root)

    @cached_property
    def timestamp(self) -> Metadata[Timestamp]:
        """The timestamp."""
        return read(self.layout.timestamp, Timestamp)

    @cached_property
    def snapshot(self) -> Metadata[Snapshot]:
        """The snapshot the timestamp names."""
        version = self.timestamp.signed.snapshot_meta.version
        return read(self.layout.role("snapshot", version), Snapshot)

    def version(self, role: str) -> int:
        """A role's version in the snapshot; 0 for one it does not have."""
        held = self.snapshot.signed.meta.get(f"{role}.json")
        return held.version if held else 0

    @cached_property
    def targets(self) -> Metadata[Targets]:
        """The role that delegates."""
        return self._at("targets", self.version("targets"))

    @cached_property
    def apps(self) -> Metadata[Targets]:
        """The role that says how many bins there are."""
        return self._at(APPS, self.version(APPS))

    @property
    def bins(self) -> SuccinctRoles:
        """The bins."""
        return bins_of(self.apps.signed)

    @property
    def publishers(self) -> dict[str, DelegatedRole]:
        """The publishers' roles."""
        return publishers_of(self.targets.signed)

    def answering(self, target: str) -> str:
        """The role that answers for a target."""
        return answering(self.targets.signed, self.bins, target)

    def role(self, name: str) -> Metadata[Targets] | None:
        """A bin's or a publisher's metadata; None for a publisher that has published nothing.

        A publisher's newest that can be read, even where no snapshot has it yet.
        """
        if name not in self._roles:
            self._roles[name] = self._read_role(name)
        return self._roles[name]

    def _read_role(self, name: str) -> Metadata[Targets] | None:
        known = self.version(name)
        for version in range(known if is_bin(name) else self.newest(name), known, -1):
            with suppress(CorruptError):
                return self._at(name, version)
        return self._at(name, known) if known else None

    def newest(self, name: str) -> int:
        """The newest version of a publisher's role for which there is a file."""
        version = self.version(name)
        while os.path.exists(self.layout.role(name, version + 1)):
            version += 1
        return version

    def at(self, name: str, version: int) -> Metadata[Targets]:
        """One version of a role."""
        return self._at(name, version)

    def target(self, name: str) -> TargetFile | None:
        """What its role says of a target."""
        if self._role and (own := self.role(self._role)) and name in own.signed.targets:
            return own.signed.targets[name]
        metadata = self.role(self.answering(name))
        return metadata.signed.targets.get(name) if metadata else None

    def offer(self, app_id: str) -> Offer | None:
        """What is offered of an app."""
        name = offers.target_name(app_id)
        target = self.target(name)
        if target is None:
            return None
        return offers.parse(read_target(self.layout, name, target), app_id)

    def catalogue(self) -> Catalogue:
        """The catalogue."""
        target = self.target(catalogues.TARGET)
        if target is None:
            return Catalogue()
        return catalogues.parse(read_target(self.layout, catalogues.TARGET, target))

    def roles(self) -> Iterator[tuple[str, Metadata[Targets]]]:
        """All bins and publishers' roles that there are; costly in a large repository.

        In a mirror some are missing, which is no error here.
        """
        for name in (*self.publishers, *self.bins.get_roles()):
            with suppress(*([NotFoundError] if self._is_mirror else [])):
                if metadata := self.role(name):
                    yield name, metadata

    @cached_property
    def _is_mirror(self) -> bool:
        return os.path.exists(self.layout.mirrored)

    def app_ids(self) -> list[str]:
        """All apps that are offered (by a mirror: that it has), sorted.

        Costly in a large repository.
        """
        return sorted(
            app_id
            for role, metadata in self.roles()
            for name, line in metadata.signed.targets.items()
            if (app_id := app_of(name)) and self.answering(name) == role and self._has(name, line)
        )

    def _has(self, name: str, line: TargetFile) -> bool:
        path = self.layout.target(name, digest_in(line))
        return not self._is_mirror or os.path.exists(path)

    def _at(self, name: str, version: int) -> Metadata[Targets]:
        path = self.layout.role(name, version)
        metadata = read(path, Targets)
        if metadata.signed.version != version:
            raise CorruptError(f"{path} has version {metadata.signed.version}.")
        return metadata


def answering(targets: Targets, bins: SuccinctRoles, target: str) -> str:
    """The role that answers for a target: the first publisher it belongs to, else a bin."""
    for name, role in publishers_of(targets).items():
        if role.is_delegated_path(target):
            return name
    return bins.get_role_for_target(target)


def publishers_of(targets: Targets) -> dict[str, DelegatedRole]:
    """The roles before `apps`, in order."""
    delegations = targets.delegations
    roles = (delegations.roles if delegations else None) or {}
    return {name: role for name, role in roles.items() if name != APPS}


def bins_of(apps: Targets) -> SuccinctRoles:
    """The bins that `apps` delegates to; raises CorruptError."""
    if apps.delegations is None or apps.delegations.succinct_roles is None:
        raise CorruptError("The role apps of the repository delegates to no bins.")
    return apps.delegations.succinct_roles


def is_bin(name: str) -> bool:
    """Whether a role is a bin; no publisher's name looks like one."""
    return name.startswith(f"{PREFIX}-")


def app_of(target: str) -> str:
    """The id of the app a target is the offer of, or nothing."""
    head, _, last = target.partition("/")
    return last.removesuffix(".json") if head == "apps" else ""


def digest_in(target: TargetFile) -> str:
    """The SHA-256 of a target; raises CorruptError where it has none."""
    if _DIGEST not in target.hashes:
        raise CorruptError(f"The target {target.path} has no SHA-256.")
    return target.hashes[_DIGEST]


def read_target(layout: Layout, name: str, target: TargetFile) -> bytes:
    """The bytes of a target; raises CorruptError or NotFoundError."""
    digest = digest_in(target)
    path = layout.target(name, digest)
    try:
        data = read_regular(path, limit=offers.MAX_BYTES)
    except FileNotFoundError as error:
        raise NotFoundError(f"The repository lacks {path}.") from error
    except ValueError as error:
        raise CorruptError(f"{path} is no regular file, or too long.") from error
    if sha256(data).hexdigest() != digest:
        raise CorruptError(f"{path} was changed; put the file back, or add the app again.")
    return data
