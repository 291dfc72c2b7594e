"""A bundle at an address as a stream: asked for in order, and no further than it says it goes."""

from collections.abc import Generator
from io import RawIOBase
from urllib.parse import unquote, urlsplit

from holdall.delivery.layout import (
    HEAD_SIZE,
    MAX_ENVELOPE,
    SECTION_HEADER,
    Head,
    parse_head,
    section_length,
)
from holdall.delivery.remote.transport import Transport
from holdall.errors import UsageError

_STATEMENT = 4


class BundleStream(RawIOBase):
    """The bundle `name` of a transport, read forwards; where it ends, its own head says.

    Raises as `Transport.pieces`, and CorruptError for what is no bundle.
    """

    def __init__(self, transport: Transport, name: str) -> None:
        super().__init__()
        self._transport = transport
        self._name = name
        self._at = 0
        self._known = HEAD_SIZE  # up to where bytes may be asked for
        self._seen = bytearray()  # of what was read last, where that says how it goes on
        self._head: Head | None = None
        self._whole = False
        self._pieces = transport.pieces(name, 0, HEAD_SIZE)
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """Only forwards."""
        return False

    def close(self) -> None:
        """End the request that is under way."""
        self._end_request()
        super().close()

    def _end_request(self) -> None:
        if isinstance(self._pieces, Generator):
            self._pieces.close()

    def read(self, size: int = -1) -> bytes:
        """At most so many of the next bytes, at least one before the end."""
        if self._at == self._known and not self._whole:
            self._learn()
        while not self._piece and self._at < self._known:
            self._piece = memoryview(next(self._pieces))
        data = bytes(self._piece[: size if size >= 0 else None])
        self._piece = self._piece[len(data) :]
        self._at += len(data)
        if not self._whole:
            self._seen += data
        return data

    def _learn(self) -> None:
        """Find out how far the bundle goes on, by what came last."""
        if self._head is None:
            head = self._head = parse_head(bytes(self._seen))
            self._whole = not head.is_increment
            self._known = head.first_frame + SECTION_HEADER if head.is_increment else head.size
        else:
            header = bytes(self._seen[-SECTION_HEADER:])
            self._whole = True
            self._known += section_length(_STATEMENT, header, MAX_ENVELOPE) + self._head.content
        self._seen.clear()
        self._end_request()
        self._pieces = self._transport.pieces(self._name, self._at, self._known)


def folder_and_name(address: str) -> tuple[str, str]:
    """The address of a file as that of its folder, and its name there; raises UsageError."""
    try:
        parts = urlsplit(address)
    except ValueError as error:
        raise UsageError(f"{address} is no address.") from error
    folder, slash, name = address.rpartition("/")
    if parts.query or parts.fragment or not parts.path.strip("/") or not slash or not name:
        raise UsageError(
            f"{address} is no address of a file: it may have no ? or #, and no / last."
        )
    return folder, unquote(name)
