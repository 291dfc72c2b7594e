"""Answering the kernel's requests for a file system that never changes.

Pure: a request's bytes in, the reply's pieces out. Whatever the bytes are, there is an answer.
"""

import errno
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from holdall.system.fuse import wire

Pieces = Sequence[bytes | memoryview]


class FileSystem(Protocol):
    """What is served. Inodes are numbers from `wire.ROOT` on; errors are OSError with a number."""

    def find(self, folder: int, name: bytes) -> bytes:
        """The `wire.entry` of a name in a folder, or `wire.NO_ENTRY`."""
        ...

    def attributes(self, inode: int) -> bytes:
        """The `wire.attributes` of an inode."""
        ...

    def listing(self, folder: int, position: int, room: int, *, plus: bool) -> Pieces:
        """As many names of a folder as there is room for in bytes, from a position on.

        The positions that are told begin with 1; with `plus` each has its entry before it.
        """
        ...

    def target(self, inode: int) -> bytes:
        """Where a symbolic link leads."""
        ...

    def read(self, inode: int, offset: int, size: int) -> Pieces:
        """That much of a file; less only at its end."""
        ...


Attribute = Callable[[int, bytes], bytes]
"""The value of an inode's extended attribute of a name; raises OSError (ENODATA for none)."""


class Answers:
    """A reply for every request; for any number of threads if the file system is.

    Without `attribute` nothing has extended attributes, and the kernel asks for none.
    """

    def __init__(self, files: FileSystem, attribute: Attribute | None = None) -> None:
        self._files = files
        self._handlers: dict[int, Callable[[int, bytes], Pieces]] = {
            wire.LOOKUP: self._find,
            wire.GETATTR: self._attributes,
            wire.READLINK: self._target,
            wire.READ: self._read,
            wire.READDIR: self._list,
            wire.READDIRPLUS: self._list_plus,
            wire.STATFS: lambda _inode, _data: (wire.STATISTICS,),
            wire.INIT: _initialise,
            wire.RELEASE: _nothing,
            wire.RELEASEDIR: _nothing,
            wire.DESTROY: _nothing,
        }
        if attribute:
            self._handlers[wire.GETXATTR] = partial(_value, attribute)

    def answer(self, data: bytes) -> Pieces | None:
        """The reply to a request, to be written at once; None where the kernel wants none.

        What is not known here is answered with ENOSYS, which the kernel mostly asks only once: so
        opening costs nothing (OPEN, OPENDIR, FLUSH), nor does asking for extended attributes.
        """
        try:
            opcode, unique, inode = wire.request(data)
        except wire.MalformedError:
            return None
        handler = self._handlers.get(opcode)
        if handler is None:
            return None if opcode in wire.SILENT else wire.failure(unique, _unknown(opcode))
        return _tried(handler, unique, inode, data)

    def _find(self, inode: int, data: bytes) -> Pieces:
        return (self._files.find(inode, wire.name_in(data)),)

    def _attributes(self, inode: int, _data: bytes) -> Pieces:
        return (wire.attributes_reply(self._files.attributes(inode)),)

    def _target(self, inode: int, _data: bytes) -> Pieces:
        return (self._files.target(inode),)

    def _read(self, inode: int, data: bytes) -> Pieces:
        return self._files.read(inode, *wire.span_in(data))

    def _list(self, inode: int, data: bytes) -> Pieces:
        return self._files.listing(inode, *wire.span_in(data), plus=False)

    def _list_plus(self, inode: int, data: bytes) -> Pieces:
        return self._files.listing(inode, *wire.span_in(data), plus=True)


def _tried(handler: Callable[[int, bytes], Pieces], unique: int, inode: int, data: bytes) -> Pieces:
    try:
        return wire.reply(unique, handler(inode, data))
    except wire.MalformedError:
        return wire.failure(unique, errno.EINVAL)
    except MemoryError:
        return wire.failure(unique, errno.ENOMEM)
    except OSError as error:
        return wire.failure(unique, error.errno or errno.EIO)


def _value(attribute: Attribute, inode: int, data: bytes) -> Pieces:
    room, name = wire.attribute_in(data)
    value = attribute(inode, name)
    if not room:
        return (wire.value_size(len(value)),)
    if room < len(value):
        raise OSError(errno.ERANGE, "")
    return (value,)


def _unknown(opcode: int) -> int:
    return errno.EROFS if opcode in wire.CHANGES else errno.ENOSYS


def _initialise(_inode: int, data: bytes) -> Pieces:
    agreed = wire.initialised(data)
    if agreed is None:
        raise OSError(errno.EPROTO, "")
    return (agreed,)


def _nothing(_inode: int, _data: bytes) -> Pieces:
    return ()
