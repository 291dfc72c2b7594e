"""The FUSE protocol as bytes: reading requests, making replies. No input or output.

Names and numbers are those of the Linux UAPI header (linux/fuse.h); all integers are the machine's
own. What is served never changes, so the kernel may keep names and attributes for good.
"""

import stat
import struct
from collections.abc import Iterable
from typing import Final

ROOT: Final = 1
"""The inode of the top folder."""

REQUEST_SIZE: Final = 16384
"""The bytes a request may have; the kernel wants to be given room for 8192."""

FOREVER: Final = 365 * 86400
"""Seconds that the kernel may keep what it was told."""

LOOKUP, FORGET, GETATTR, SETATTR, READLINK, SYMLINK = 1, 2, 3, 4, 5, 6
MKNOD, MKDIR, UNLINK, RMDIR, RENAME, LINK, OPEN, READ, WRITE, STATFS = (
    8,
    9,
    10,
    11,
    12,
    *range(13, 18),
)
RELEASE, FSYNC, SETXATTR, GETXATTR, LISTXATTR, REMOVEXATTR, FLUSH, INIT = 18, *range(20, 27)
OPENDIR, READDIR, RELEASEDIR, FSYNCDIR, ACCESS, CREATE, INTERRUPT = 27, 28, 29, 30, 34, 35, 36
DESTROY, BATCH_FORGET, FALLOCATE, READDIRPLUS, RENAME2, COPY_FILE_RANGE = 38, 42, 43, 44, 45, 47
TMPFILE = 51

SILENT: Final = frozenset({FORGET, BATCH_FORGET, INTERRUPT})
"""What the kernel wants no reply to."""

CHANGES: Final = frozenset(
    {SETATTR, SYMLINK, MKNOD, MKDIR, UNLINK, RMDIR, RENAME, LINK, WRITE, SETXATTR, REMOVEXATTR}
    | {CREATE, FALLOCATE, RENAME2, COPY_FILE_RANGE, TMPFILE}
)
"""What would change something; the kernel asks for none of it in a mount that is read-only."""

_HEAD = struct.Struct("=IIQQ")  # the beginning of fuse_in_header
_OUT = struct.Struct("=IiQ")  # fuse_out_header
_ATTRIBUTES = struct.Struct("=6Q10I")  # fuse_attr
_ENTRY = struct.Struct("=QQQQII")  # fuse_entry_out without its fuse_attr
_ATTRIBUTES_OUT = struct.pack("=QII", FOREVER, 0, 0)  # fuse_attr_out without its fuse_attr
_LISTED = struct.Struct("=QQII")  # fuse_dirent without its name
_READ = struct.Struct("=QQI")  # the beginning of fuse_read_in
_GETXATTR = struct.Struct("=II")  # fuse_getxattr_in
_INIT_IN = struct.Struct("=IIII")  # the beginning of fuse_init_in
_INIT_OUT = struct.Struct("=IIIIHHIIHHI7I")
_STATFS = struct.Struct("=5Q4I6I")

HEADER: Final = 40  # fuse_in_header
_MAJOR, _MINOR, _OLDEST = 7, 38, 31
_MAX_PIECES = 1024  # IOV_MAX
_MAX_WRITE, _MAX_PAGES, _BACKGROUND = 4096, 256, 16
_ASYNC_READ, _READDIRPLUS, _ASYNC_DIO, _NO_OPEN, _PARALLEL = 1, 1 << 13, 1 << 15, 1 << 17, 1 << 18
_PAGES, _CACHE_LINKS, _NO_OPENDIR, _INIT_EXT = 1 << 22, 1 << 23, 1 << 24, 1 << 30
_WANTED = (
    _ASYNC_READ | _READDIRPLUS | _ASYNC_DIO | _NO_OPEN | _PARALLEL | _PAGES | _CACHE_LINKS
    | _NO_OPENDIR
)  # fmt: skip


class MalformedError(ValueError):
    """A request that no kernel would send."""


def request(data: bytes) -> tuple[int, int, int]:
    """What is asked for, the request's own number, and the inode it is about.

    Raises MalformedError where it is cut short or of another length.
    """
    if len(data) < HEADER:
        raise MalformedError
    length, opcode, unique, inode = _HEAD.unpack_from(data)
    if length != len(data):
        raise MalformedError
    return opcode, unique, inode


def name_in(data: bytes) -> bytes:
    """The name in a LOOKUP; raises MalformedError."""
    end = data.find(0, HEADER)
    if end != len(data) - 1:
        raise MalformedError
    return data[HEADER:end]


def attribute_in(data: bytes) -> tuple[int, bytes]:
    """The room there is for the value, and the name, in a GETXATTR; raises MalformedError."""
    start = HEADER + _GETXATTR.size
    if data.find(0, start) != len(data) - 1:
        raise MalformedError
    return _GETXATTR.unpack_from(data, HEADER)[0], data[start:-1]


def span_in(data: bytes) -> tuple[int, int]:
    """Offset and size of a READ, READDIR or READDIRPLUS; raises MalformedError."""
    if len(data) < HEADER + _READ.size:
        raise MalformedError
    _, offset, size = _READ.unpack_from(data, HEADER)
    return offset, size


def initialised(data: bytes) -> bytes | None:
    """The answer to INIT: what both sides can; None for a kernel that is too old.

    One that is newer than major version 7 is told so, and asks again.
    """
    if len(data) < HEADER + _INIT_IN.size:
        raise MalformedError
    major, minor, readahead, flags = _INIT_IN.unpack_from(data, HEADER)
    if major < _MAJOR or (major == _MAJOR and minor < _OLDEST):
        return None
    return _INIT_OUT.pack(
        *(_MAJOR, min(minor, _MINOR) if major == _MAJOR else _MINOR, readahead, flags & _WANTED),
        *(_BACKGROUND, _BACKGROUND * 3 // 4, _MAX_WRITE, 1, _MAX_PAGES, 0, 0, *([0] * 7)),
    )


def attributes(inode: int, mode: int, size: int, owner: tuple[int, int]) -> bytes:
    """The attributes of an inode that never changes: all times are 0."""
    links = 2 if stat.S_ISDIR(mode) else 1
    blocks = (size + 511) // 512
    return _ATTRIBUTES.pack(inode, size, blocks, 0, 0, 0, 0, 0, 0, mode, links, *owner, 0, 4096, 0)


def attributes_reply(found: bytes) -> bytes:
    """The answer to GETATTR."""
    return _ATTRIBUTES_OUT + found


def entry(inode: int, found: bytes) -> bytes:
    """The answer to LOOKUP, from the `attributes` of what was found."""
    return _ENTRY.pack(inode, 0, FOREVER, FOREVER, 0, 0) + found


NO_ENTRY: Final = _ENTRY.pack(0, 0, FOREVER, 0, 0, 0) + bytes(_ATTRIBUTES.size)
"""The answer to LOOKUP for a name there is not, which the kernel may keep, too."""

NOTHING_KNOWN: Final = bytes(_ENTRY.size + _ATTRIBUTES.size)
"""The entry of a listed name that the kernel is told nothing more of."""


def listed(inode: int, position: int, mode: int, name: bytes) -> bytes:
    """One name of a READDIR; `position` is where the listing goes on after it.

    A READDIRPLUS has its `entry` before it.
    """
    head = _LISTED.pack(inode, position, len(name), mode >> 12)
    return head + name + bytes(-len(name) % 8)


def value_size(size: int) -> bytes:
    """The answer to a GETXATTR that has no room for a value, but asks how much it takes."""
    return _GETXATTR.pack(size, 0)


STATISTICS: Final = _STATFS.pack(0, 0, 0, 0, 0, 4096, 255, 4096, *([0] * 7))
"""The answer to STATFS."""


def reply(unique: int, pieces: Iterable[bytes | memoryview]) -> list[bytes | memoryview]:
    """A reply with these pieces, ready to be written at once."""
    whole = [b"", *pieces]
    whole[0] = _OUT.pack(_OUT.size + sum(map(len, whole)), 0, unique)
    return whole if len(whole) <= _MAX_PIECES else [b"".join(whole)]


def failure(unique: int, code: int) -> list[bytes | memoryview]:
    """A reply that something failed, with an error's number."""
    return [_OUT.pack(_OUT.size, -code, unique)]
