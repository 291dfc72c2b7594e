"""Reading the files of a source folder into a tree.

Anything an installed app may not have is refused here.
"""

import os
import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple

from holdall.errors import UsageError
from holdall.model.digest import Hasher
from holdall.model.tree import Directory, Entry, File, Symlink, Tree, check_link, check_path

_PIECE = 2**20


class Scan(NamedTuple):
    """A folder as a tree.

    `read` gives a file's bytes again and raises UsageError when they changed since.
    """

    folder: str
    tree: Tree

    def read(self, file: File) -> Iterator[bytes]:
        """The bytes of a file in pieces of 1 MiB."""
        hasher = Hasher()
        with open(f"{self.folder}/{file.path}", "rb", buffering=0) as stream:
            while piece := stream.read(_PIECE):
                hasher.update(piece)
                yield piece
        if hasher.digest() != file.digest:
            raise UsageError(
                f"{file.path} changed while it was packed; build again when nothing writes to the "
                "folder."
            )


def scan(folder: str, report: Callable[[int], None] = lambda _size: None) -> Scan:
    """Read `folder` into a tree; `report` gets the bytes of each file read.

    Raises UsageError naming what may not be.
    """
    entries: list[Entry] = []
    links: dict[tuple[int, int], list[str]] = {}
    counts: dict[tuple[int, int], int] = {}
    for path, status in _walk(folder, ""):
        try:
            path.encode()
        except UnicodeEncodeError as error:
            raise UsageError(f"The name {path!a} is not valid UTF-8.") from error
        check_path(path)
        full = f"{folder}/{path}"
        _check_mode(path, status.st_mode)
        if stat.S_ISDIR(status.st_mode):
            entries.append(Directory(path))
        elif stat.S_ISLNK(status.st_mode):
            target = os.readlink(full)
            check_link(path, target)
            entries.append(Symlink(path, target))
        else:
            entries.append(_file(full, path, status))
            report(status.st_size)
            if status.st_nlink > 1:
                inode = (status.st_dev, status.st_ino)
                links.setdefault(inode, []).append(path)
                counts[inode] = status.st_nlink
    for inode, paths in links.items():
        if len(paths) != counts[inode]:
            raise UsageError(
                f"{paths[0]} has a hard link outside of the folder; copy the file instead."
            )
    return Scan(folder, Tree(tuple(sorted(entries))))


def _walk(folder: str, prefix: str) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(f"{folder}/{prefix}" if prefix else folder) as listing:
        items = sorted(listing, key=lambda item: item.name)
    for item in items:
        path = f"{prefix}/{item.name}" if prefix else item.name
        status = item.stat(follow_symlinks=False)
        yield path, status
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(folder, path)


def _check_mode(path: str, mode: int) -> None:
    if stat.S_ISLNK(mode):
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UsageError(
            f"{path} is a device, FIFO or socket; an app has files, folders and symbolic links "
            "only."
        )
    if mode & stat.S_ISUID or (stat.S_ISREG(mode) and mode & stat.S_ISGID):
        raise UsageError(f"{path} is setuid or setgid; no app may be.")
    if mode & stat.S_IWOTH:
        raise UsageError(f"{path} may be written by everybody; take that permission away.")


def _file(full: str, path: str, status: os.stat_result) -> File:
    hasher, size = Hasher(), 0
    fd = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        while piece := os.read(fd, _PIECE):
            hasher.update(piece)
            size += len(piece)
    finally:
        os.close(fd)
    return File(path, hasher.digest(), size, bool(status.st_mode & 0o111))
