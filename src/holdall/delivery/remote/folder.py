"""A remote's files in a folder: on a stick, on a network file system, or a mirror on this machine.

What is there may be anybody's: only regular files are read, no symbolic link is followed, and
nothing is waited for.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote_to_bytes

from holdall.delivery.remote.tally import Tally
from holdall.delivery.remote.transport import parts_of
from holdall.errors import CorruptError, DeniedError, NetworkError, NotFoundError, UsageError
from holdall.system.kernel import open_beneath

_PIECE = 2**20
_ABSENT = {errno.ENOENT, errno.ENOTDIR}
_NO_FILE = {errno.ELOOP, errno.EXDEV, errno.ENXIO, errno.ENODEV, errno.EISDIR}
_DENIED = {errno.EACCES, errno.EPERM}


class FolderTransport:
    """A `Transport` over file://."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self._path = _path(address)
        self._tally = Tally()

    @property
    def received(self) -> int:
        """The bytes that were read."""
        return self._tally.total

    def close(self) -> None:
        """Nothing is kept open."""

    def read(self, name: str, limit: int) -> bytes:
        """A whole file of at most `limit` bytes; see `Transport`."""
        with self._opened(name) as fd:
            data = b"".join(self._body(fd, name, 0, limit + 1))
        if len(data) > limit:
            raise CorruptError(f"{self._path}/{name} is longer than the {limit} bytes allowed.")
        return data

    def pieces(self, name: str, start: int, end: int) -> Iterator[bytes]:
        """The bytes from `start` up to `end` of a file; see `Transport`."""
        with self._opened(name) as fd:
            for piece in self._body(fd, name, start, end):
                start += len(piece)
                yield piece
        if start < end:
            raise CorruptError(f"{self._path}/{name} is shorter than the {end} bytes promised.")

    @contextmanager
    def _opened(self, name: str) -> Iterator[int]:
        parts_of(name)
        try:
            folder = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            reason = (error.strerror or "").lower()
            raise NetworkError(
                f"The repository {self._path} cannot be opened: {reason}; is what it is on there?"
            ) from error
        try:
            fd = open_beneath(folder, name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            raise self._refusal(error, name) from error
        finally:
            os.close(folder)
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise CorruptError(f"{self._path}/{name} is no regular file.")
            yield fd
        finally:
            os.close(fd)

    def _refusal(self, error: OSError, name: str) -> Exception:
        if error.errno in _ABSENT:
            return NotFoundError(f"{self._path} has no {name}.")
        if error.errno in _NO_FILE:
            return CorruptError(f"{self._path}/{name} is no regular file, or behind a link.")
        if error.errno in _DENIED:
            return DeniedError(f"You may not read {self._path}/{name}.")
        return NetworkError(f"{self._path}/{name} cannot be read: {error.strerror}.")

    def _body(self, fd: int, name: str, start: int, end: int) -> Iterator[bytes]:
        """What there is of the bytes from `start` to `end`."""
        while start < end:
            try:
                piece = os.pread(fd, min(end - start, _PIECE), start)
            except OSError as error:
                raise self._refusal(error, name) from error
            if not piece:
                return
            self._tally.add(len(piece))
            start += len(piece)
            yield piece


def _path(address: str) -> str:
    """The folder an address names; raises UsageError for one on another machine."""
    rest = address.partition(":")[2]
    path = rest.removeprefix("//localhost") if rest.startswith("//localhost/") else rest
    path = path.removeprefix("//")
    decoded = os.fsdecode(unquote_to_bytes(path))
    if not decoded.startswith("/") or "\0" in decoded:
        raise UsageError(f"{address} is no address of a folder: use file:///path/to/it.")
    return decoded.rstrip("/") or "/"
