"""The port to a remote's files, and which module serves an address.

A name is relative, made of our own parts (see docs/reference/formats/repository.md). Knows nothing
of what the files mean.
"""

from collections.abc import Iterator
from typing import Protocol

from holdall.errors import CorruptError, UsageError


class NoRangesError(CorruptError):
    """A server sends files only from their beginning; who asked may take one whole."""


class Transport(Protocol):
    """The files below one address; may be used by several threads, and on both sides of a fork."""

    @property
    def address(self) -> str:
        """Where the files are, without a slash at its end."""
        ...

    @property
    def received(self) -> int:
        """The bytes of all bodies that came, in all threads and in forked processes, too."""
        ...

    def read(self, name: str, limit: int) -> bytes:
        """A whole file of at most `limit` bytes.

        Raises NotFoundError when there is none, CorruptError when it is longer, NetworkError when
        it cannot be had after all tries.
        """
        ...

    def pieces(self, name: str, start: int, end: int) -> Iterator[bytes]:
        """The bytes from `start` up to `end` of a file, as they come, at most 1 MiB at once.

        Goes on where a connection broke. Raises as `read`; CorruptError when the file ends before
        `end` or the server sends anything but what was asked for; NoRangesError where it sends
        the file from its beginning, and `start` is further from there than is worth reading over.
        """
        ...

    def close(self) -> None:
        """End all connections."""
        ...


def open_transport(address: str) -> Transport:
    """The transport for an address: http, https or file; raises UsageError for any other."""
    scheme = address.partition(":")[0].lower()
    if scheme in {"http", "https"}:
        from holdall.delivery.remote.http import HttpTransport

        return HttpTransport(address)
    if scheme == "file":
        from holdall.delivery.remote.folder import FolderTransport

        return FolderTransport(address)
    raise UsageError(f"{address} is no address of a repository: use http://, https:// or file://.")


def parts_of(name: str) -> list[str]:
    """The elements of a file's name; raises CorruptError for one that leads anywhere else."""
    parts = name.split("/")
    if any(part in {"", ".", ".."} or not part.isprintable() for part in parts):
        raise CorruptError(f"{name!a} is no name of a file in a repository.")
    return parts
