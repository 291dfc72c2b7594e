"""A tree of names and contents as a file system to be answered for: `system.fuse.answers`.

Every path is an inode of its own: the top folder is `wire.ROOT`, the entries of the tree follow in
order. Replies are made of columns when they are asked for, so that a large tree is there at once.
"""

import errno
import os
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from holdall.errors import HoldallError
from holdall.model.tree import DIRECTORY, FILE, PROGRAM, SYMLINK, Outline
from holdall.store.contents import RandomContents
from holdall.system.fuse import wire

if TYPE_CHECKING:
    from holdall.forms.port import Shelved

_MODES: Final = {
    DIRECTORY: stat.S_IFDIR | 0o755,
    FILE: stat.S_IFREG | 0o644,
    PROGRAM: stat.S_IFREG | 0o755,
    SYMLINK: stat.S_IFLNK | 0o777,
}
_FIRST: Final = wire.ROOT + 1
_DOTS: Final = (b".", b"..")

Complain = Callable[[str], None]


def names_of(shelved: "Shelved", title: str, complain: Complain) -> "Names":
    """The file system that a bundle is, all of it this user's; complaints begin with its title."""
    owner = (os.geteuid(), os.getegid())
    return Names(
        shelved.outline, shelved.contents, owner, lambda line: complain(f"{title}: {line}")
    )


class Names:
    """The file system that a tree is, with contents from where they are.

    All of it is the `owner`'s, by numbers of user and group. What cannot be read as it was signed
    is an input error for who reads it, and `complain` gets a line that says which file, from where
    on, and why.
    """

    def __init__(
        self,
        outline: Outline,
        contents: RandomContents,
        owner: tuple[int, int],
        complain: Complain,
    ) -> None:
        self._outline, self._contents = outline, contents
        self._owner, self._complain = owner, complain
        self._children: dict[int, list[int]] = {wire.ROOT: []}
        self._above = {wire.ROOT: wire.ROOT}
        self._found: dict[int, dict[bytes, int]] = {}
        # of a file the number of its content, of a link that of its target
        self._column = [0] * len(outline.paths)
        self._place()

    def find(self, folder: int, name: bytes) -> bytes:
        """See `holdall.system.fuse.answers.FileSystem`."""
        found = self._found.get(folder)
        if found is None:
            children = self._folder(folder)
            found = self._found[folder] = {self._name(child): child for child in children}
        inode = found.get(name)
        return wire.NO_ENTRY if inode is None else wire.entry(inode, self.attributes(inode))

    def attributes(self, inode: int) -> bytes:
        """See `holdall.system.fuse.answers.FileSystem`."""
        kind = self._kind(inode)
        return wire.attributes(inode, _MODES[kind], self._size(inode, kind), self._owner)

    def listing(
        self, folder: int, position: int, room: int, *, plus: bool
    ) -> list[bytes | memoryview]:
        """See `holdall.system.fuse.answers.FileSystem`."""
        children = self._folder(folder)
        made: list[bytes | memoryview] = []
        for at in range(position, len(children) + len(_DOTS)):
            if at < len(_DOTS):
                inode, name = (folder, self._above[folder])[at], _DOTS[at]
                record = wire.listed(inode, at + 1, stat.S_IFDIR, name)
                known = wire.NOTHING_KNOWN
            else:
                inode = children[at - len(_DOTS)]
                mode = _MODES[self._kind(inode)]
                record = wire.listed(inode, at + 1, mode, self._name(inode))
                known = wire.entry(inode, self.attributes(inode)) if plus else b""
            if plus:
                record = known + record
            room -= len(record)
            if room < 0:
                break
            made.append(record)
        return [b"".join(made)]

    def target(self, inode: int) -> bytes:
        """See `holdall.system.fuse.answers.FileSystem`."""
        if self._kind(inode) != SYMLINK:
            raise OSError(errno.EINVAL, "")
        return os.fsencode(self._outline.targets[self._column[inode - _FIRST]])

    def read(self, inode: int, offset: int, size: int) -> list[memoryview]:
        """See `holdall.system.fuse.answers.FileSystem`."""
        kind = self._kind(inode)
        if kind not in {FILE, PROGRAM}:
            raise OSError(errno.EISDIR if kind == DIRECTORY else errno.EINVAL, "")
        number = self._column[inode - _FIRST]
        size = min(size, self._outline.sizes[number] - offset)
        if size <= 0:
            return []
        try:
            return self._contents.read(self._outline.digests[number], offset, size)
        except (HoldallError, OSError) as error:
            path = self._outline.paths[inode - _FIRST]
            self._complain(f"{path} cannot be read at {offset}: {error}")
            raise OSError(errno.EIO, "") from error

    def number(self, inode: int) -> int | None:
        """The number of a file's content; None for what is no file."""
        return self._column[inode - _FIRST] if self._kind(inode) in {FILE, PROGRAM} else None

    def _place(self) -> None:
        """Put every entry in its folder, and find what stands of it in other columns."""
        paths, kinds, numbers, _, _, targets = self._outline
        column, children = self._column, self._children
        files, links = iter(numbers), iter(range(len(targets)))
        folders = {"": wire.ROOT}
        for at, path in enumerate(paths):
            inode = at + _FIRST
            above = folders[path.rpartition("/")[0]]
            children[above].append(inode)
            kind = kinds[at]
            if kind == DIRECTORY:
                folders[path] = inode
                children[inode] = []
                self._above[inode] = above
            else:
                column[at] = next(links if kind == SYMLINK else files)

    def _folder(self, inode: int) -> list[int]:
        children = self._children.get(inode)
        if children is None:
            self._kind(inode)
            raise OSError(errno.ENOTDIR, "")
        return children

    def _kind(self, inode: int) -> int:
        if inode == wire.ROOT:
            return DIRECTORY
        at = inode - _FIRST
        if not 0 <= at < len(self._column):
            raise OSError(errno.ESTALE, "")
        return self._outline.kinds[at]

    def _name(self, inode: int) -> bytes:
        return os.fsencode(self._outline.paths[inode - _FIRST].rpartition("/")[2])

    def _size(self, inode: int, kind: int) -> int:
        if kind == DIRECTORY:
            return 4096
        at = self._column[inode - _FIRST]
        if kind == SYMLINK:
            return len(os.fsencode(self._outline.targets[at]))
        return self._outline.sizes[at]
