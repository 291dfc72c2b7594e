"""The tar headers of a bundle's stream.

Enough for any tar to unpack it, nothing that could differ between builds.

POSIX pax format (IEEE Std 1003.1, pax, "ustar Interchange Format"); owner 0, fixed time, canonical
modes.
"""

import tarfile
from typing import assert_never

from holdall.model.tree import Directory, Entry, File, Symlink

END = bytes(2 * tarfile.BLOCKSIZE)
_TIME = 1  # GNU tar warns about 0


def header(entry: Entry) -> bytes:
    """The header block or blocks that stand before an entry's content."""
    member = tarfile.TarInfo(entry.path)
    member.mtime = _TIME
    match entry:
        case Directory():
            member.type, member.mode = tarfile.DIRTYPE, 0o755
        case File(_, _, size, executable):
            member.size, member.mode = size, 0o755 if executable else 0o644
        case Symlink(_, target):
            member.type, member.mode, member.linkname = tarfile.SYMTYPE, 0o777, target
        case _:
            assert_never(entry)
    return member.tobuf(tarfile.PAX_FORMAT)


def link_header(file: File, first: str) -> bytes:
    """The header of a file that equals the one at `first`, which comes before it."""
    member = tarfile.TarInfo(file.path)
    member.mtime, member.mode = _TIME, 0o755 if file.executable else 0o644
    member.type, member.linkname = tarfile.LNKTYPE, first
    return member.tobuf(tarfile.PAX_FORMAT)


def padding(size: int) -> bytes:
    """What follows a content of `size` bytes up to the next block."""
    return bytes(-size % tarfile.BLOCKSIZE)
