"""A whole file from a remote, gone on with where an earlier command was interrupted."""

import os
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256 as new_hash
from typing import TYPE_CHECKING

from holdall.delivery.remote.transport import NoRangesError, Transport
from holdall.errors import CorruptError
from holdall.system.files import write_all

if TYPE_CHECKING:
    from hashlib import _Hash

_PIECE = 2**20
_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


def fetch_file(
    transport: Transport,
    name: str,
    path: str,
    *,
    size: int,
    sha256: str,
    report: Callable[[int], None] = lambda _count: None,
) -> None:
    """Have the file `name` of a remote at `path`, with this size and SHA-256.

    What comes is kept as `path`.part until it is whole, and an interrupted command leaves it to the
    next. `report` gets the bytes there are, those from before at once, as they come, and less than
    nothing where some were of no use; together `size`. Raises as `Transport.pieces`, CorruptError
    when the whole has another SHA-256, of which nothing is kept, and OSError.
    """
    if _is_there(path, size, sha256):
        report(size)
        return
    part = f"{path}.part"
    fd = os.open(part, _OPEN, 0o600)
    try:
        fetch = _Fetch(transport, name, fd, size, report)
        digest, found = fetch.go_on()
        if digest != sha256 and found:  # perhaps what was found is what was wrong
            digest = fetch.begin_again()
        if digest != sha256:
            os.unlink(part)
            raise CorruptError(f"{transport.address}/{name} is not the file that was promised.")
    finally:
        os.close(fd)
    os.rename(part, path)


class _Fetch:
    def __init__(
        self,
        transport: Transport,
        name: str,
        fd: int,
        size: int,
        report: Callable[[int], None],
    ) -> None:
        self._transport = transport
        self._name = name
        self._fd = fd
        self._size = size
        self._report = report
        self._told = 0

    def go_on(self) -> tuple[str, int]:
        """Fetch what is missing; returns the SHA-256 of all, and how much had been there."""
        found = os.fstat(self._fd).st_size
        if found > self._size:
            return self.begin_again(), 0
        self._tell(found)
        try:
            return self._fetch(found, _hash_of(self._fd, found)), found
        except NoRangesError:
            return self.begin_again(), 0

    def begin_again(self) -> str:
        """Fetch all, whatever is there; returns the SHA-256."""
        os.ftruncate(self._fd, 0)
        self._tell(-self._told)
        return self._fetch(0, new_hash())

    def _fetch(self, start: int, hasher: "_Hash") -> str:
        os.lseek(self._fd, start, os.SEEK_SET)
        for piece in self._transport.pieces(self._name, start, self._size):
            write_all(self._fd, piece)
            hasher.update(piece)
            self._tell(len(piece))
        return hasher.hexdigest()

    def _tell(self, count: int) -> None:
        self._told += count
        self._report(count)


def _hash_of(fd: int, size: int) -> "_Hash":
    """The hash of the first `size` bytes of a file, to go on with."""
    hasher, at = new_hash(), 0
    while at < size and (piece := os.pread(fd, min(size - at, _PIECE), at)):
        hasher.update(piece)
        at += len(piece)
    return hasher


def _is_there(path: str, size: int, sha256: str) -> bool:
    with suppress(FileNotFoundError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return os.fstat(fd).st_size == size and _hash_of(fd, size).hexdigest() == sha256
        finally:
            os.close(fd)
    return False
