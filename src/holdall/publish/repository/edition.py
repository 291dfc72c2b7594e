"""The files of one publication, and how they are put out: complete before anything names them.

Order: offers and segments, the roles that name them, the snapshot; then the timestamp, by one
rename; then a new root. While keys change, roles are signed by the old and the new ones, so a
client that has the old root and one that has the new root both accept what is there.
"""

import os
from typing import NamedTuple

from holdall.publish.repository.layout import Layout
from holdall.system.files import sync_folder, write_atomic
from holdall.system.kernel import sync_filesystem

_MANY = 64  # files; from there on one syncfs costs less than an fsync for each


class RoleVersion(NamedTuple):
    """A version of a role that is put out, and when it expires, as RFC 3339."""

    role: str
    version: int
    expires: str


class Edition(NamedTuple):
    """What a publication puts out: `files` by path, in order, and the two that are put last.

    `apps` are the ids of apps that changed; `offers` and `pending` say which changes and roles do
    not wait any longer; `notes` are sentences about what had to be left.
    """

    files: dict[str, bytes]
    timestamp: bytes | None
    root: tuple[str, bytes] | None
    roles: tuple[RoleVersion, ...]
    apps: tuple[str, ...]
    offers: tuple[str, ...]
    pending: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to put out."""
        return not (self.files or self.timestamp or self.root)


def put_out(layout: Layout, edition: Edition) -> None:
    """Write an edition's files; killed or cut short anywhere, clients see the old state or it."""
    put_files(layout, edition.files)
    if edition.timestamp is not None:
        write_atomic(layout.timestamp, edition.timestamp, durable=True)
    if edition.root is not None:
        path, data = edition.root
        write_atomic(path, data, durable=True)


def put_files(layout: Layout, files: dict[str, bytes]) -> None:
    """Write files that nothing names yet, and have them on the disk."""
    few = len(files) <= _MANY
    for path, data in files.items():
        write_atomic(path, data, whole=few)
    if few:
        for folder in sorted({os.path.dirname(path) for path in files}):
            sync_folder(folder)
        return
    fd = os.open(layout.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_filesystem(fd)
    finally:
        os.close(fd)
