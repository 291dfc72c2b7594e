"""A remote's files over HTTP, from any server of static files.

Asks again with growing pauses where a connection breaks or a server is in trouble, and goes on
where it was; refuses answers that are not what was asked for. Nothing here is checked against a
digest: who asked does that.
"""

import random
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urljoin

from urllib3 import exceptions as failures
from urllib3 import make_headers
from urllib3.util import Url, parse_url

from holdall import __version__
from holdall.delivery.remote.connections import (
    AUTHORITIES,
    PATIENT,
    Connections,
    Timing,
    TooSlowError,
)
from holdall.delivery.remote.tally import Tally
from holdall.delivery.remote.transport import NoRangesError, parts_of
from holdall.errors import CorruptError, NetworkError, NotFoundError, UsageError

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

_PIECE = 2**20
_READ_OVER = 2**20  # what may be thrown away where a server knows no ranges
_PROGRESS = 2**16  # a try that brings as much does not count
_DRAINED = 2**16  # the body of an error that is read, so that its connection can be kept
_REDIRECTS = 5
_MOVED = {301, 302, 303, 307, 308}
_ABSENT = {403, 404, 410}  # object stores say 403 of what is not there
_TROUBLE = {408, 425, 429}  # and all from 500 on
_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")


class HttpTransport:
    """A `Transport` over http:// or https://."""

    def __init__(self, address: str, *, timing: Timing = PATIENT) -> None:
        self.address = address.rstrip("/")
        self._base = _parsed(address)
        self._shown = self._base._replace(auth=None).url
        self._timing = timing
        self._connections = Connections(timing)
        self._tally = Tally()
        self._headers = {"User-Agent": f"holdall/{__version__}", "Accept-Encoding": "identity"}

    @property
    def received(self) -> int:
        """The bytes of all bodies that came."""
        return self._tally.total

    def close(self) -> None:
        """End all connections."""
        self._connections.close()

    def read(self, name: str, limit: int) -> bytes:
        """A whole file of at most `limit` bytes; see `Transport`."""
        url, where = self._url(name), f"{self._shown}/{name}"
        tries = _Tries(self._timing, f"{where} cannot be had")
        while True:
            try:
                with self._answer(url, where, {"Cache-Control": "no-cache"}) as response:
                    return self._whole(response, where, limit)
            except _TryAgainError as error:
                tries.failed(error)

    def pieces(self, name: str, start: int, end: int) -> Iterator[bytes]:
        """The bytes from `start` up to `end` of a file, as they come; see `Transport`."""
        url, where = self._url(name), f"{self._shown}/{name}"
        tries = _Tries(self._timing, f"{where} cannot be had")
        while start < end:
            try:
                with self._answer(url, where, {"Range": f"bytes={start}-{end - 1}"}) as response:
                    skip = _skipped(response, where, start, end)
                    for piece in self._body(response, skip + end - start):
                        if skip >= len(piece):
                            skip -= len(piece)
                            continue
                        wanted, skip = piece[skip:] if skip else piece, 0
                        start += len(wanted)
                        tries.brought(len(wanted))
                        yield wanted
            except _TryAgainError as error:
                tries.failed(error)

    def _url(self, name: str) -> Url:
        path = "/".join(quote(part, safe="") for part in parts_of(name))
        return self._base._replace(auth=None, path=f"{self._base.path or ''}/{path}")

    @contextmanager
    def _answer(self, url: Url, where: str, extra: dict[str, str]) -> "Iterator[BaseHTTPResponse]":
        """The answer with the file or a part of it, redirects followed; closed at the end.

        Raises _TryAgainError for whatever may be better next time.
        """
        with _in_words(where, self._timing):
            for _ in range(_REDIRECTS + 1):
                response = self._connections.get(url, self._headers_for(url) | extra)
                try:
                    if response.status not in _MOVED:
                        self._check_status(response, where)
                        yield response
                        return
                    self._drain(response)
                finally:
                    if not _finished(response):
                        response.close()
                url = _moved(url, response.headers.get("location"))
        raise NetworkError(f"{where} cannot be had: one redirect leads to the next.")

    def _headers_for(self, url: Url) -> dict[str, str]:
        here = (url.scheme, url.host, url.port) == self._base[:1] + self._base[2:4]
        if self._base.auth and here:
            return self._headers | make_headers(basic_auth=unquote(self._base.auth))
        return self._headers

    def _check_status(self, response: "BaseHTTPResponse", where: str) -> None:
        status = response.status
        if status in {200, 206}:
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise CorruptError(f"{where} comes in an encoding that nobody asked for.")
            return
        self._drain(response)
        if status in _ABSENT:
            raise NotFoundError(f"There is no {where}.")
        if status == 416:
            raise CorruptError(f"{where} is shorter than was promised.")
        said = f"it answers {status}{_phrase(status)}"
        if status not in _TROUBLE and status < 500:
            raise NetworkError(f"{where} cannot be had: {said}.")
        wait = _asked_for(response.headers.get("retry-after"))
        if wait > self._timing.longest_pause:
            raise NetworkError(f"{where} cannot be had: {said}; try again in {wait:.0f} seconds.")
        raise _TryAgainError(said, wait)

    def _drain(self, response: "BaseHTTPResponse") -> None:
        """Read the short body of an answer that is of no use, so that its connection is."""
        left = _length(response)
        if left is None or left > _DRAINED:
            return
        with suppress(_TryAgainError, failures.HTTPError):
            for _ in self._body(response, left):
                pass

    def _whole(self, response: "BaseHTTPResponse", where: str, limit: int) -> bytes:
        length = _length(response)
        if response.status == 206:
            raise CorruptError(f"{where} comes in part where all was asked for.")
        if length is None or length <= limit:
            size = limit + 1 if length is None else length
            data = b"".join(self._body(response, size, exact=length is not None))
            if len(data) <= limit:
                return data
        raise CorruptError(f"{where} is longer than the {limit} bytes allowed.")

    def _body(
        self, response: "BaseHTTPResponse", size: int, *, exact: bool = True
    ) -> Iterator[bytes]:
        """The next `size` bytes of a body; raises _TryAgainError where `exact` and there are less.

        The last read sees the end, which gives the connection back.
        """
        left = size
        while left:
            piece = response.read1(min(left, _PIECE))
            if not piece:
                if exact:
                    raise _TryAgainError("the connection breaks off")
                return
            self._tally.add(len(piece))
            left -= len(piece)
            yield piece
        if exact and response.length_remaining is None and response.chunked:
            response.read1(1)  # the last chunk, which is empty


class _TryAgainError(Exception):
    """Something that may be better next time, and after how many seconds at the earliest."""

    def __init__(self, reason: str, wait: float = 0) -> None:
        super().__init__(reason)
        self.wait = wait


class _Tries:
    """How often something may fail in a row; `what` begins the sentence said in the end."""

    def __init__(self, timing: Timing, what: str) -> None:
        self._timing = timing
        self._what = what
        self._failed = 0
        self._brought = 0

    def brought(self, count: int) -> None:
        """A try brought so many bytes."""
        self._brought += count

    def failed(self, error: _TryAgainError) -> None:
        """Wait for the next try; raises NetworkError when there were enough."""
        self._failed = 1 if self._brought >= _PROGRESS else self._failed + 1
        self._brought = 0
        if self._failed >= self._timing.tries:
            raise NetworkError(
                f"{self._what}: {error}; check the connection or try again later."
            ) from error
        pause = self._timing.pause * 2 ** (self._failed - 1) * random.uniform(0.5, 1)  # noqa: S311
        time.sleep(max(pause, error.wait))


@contextmanager
def _in_words(where: str, timing: Timing) -> Iterator[None]:
    """Turn urllib3's errors into ours."""
    try:
        yield
    except TooSlowError as error:
        raise NetworkError(f"{where} comes too slowly: {error}; try again later.") from error
    except failures.LocationValueError as error:
        raise NetworkError(f"{where} is not on a server that can be asked.") from error
    except failures.HTTPError as error:
        cause = error.original_error if isinstance(error, failures.ProxyError) else error
        if isinstance(cause, failures.SSLError) and _is_of_certificate(cause):
            raise NetworkError(
                f"{where} comes from a server whose certificate nobody here trusts "
                f"({_certificate(cause)}); {AUTHORITIES} can name a file with its authority."
            ) from error
        prefix = "the proxy: " if isinstance(error, failures.ProxyError) else ""
        raise _TryAgainError(prefix + _reason(cause, timing)) from error


def _reason(error: BaseException, timing: Timing) -> str:
    match error:
        case failures.NameResolutionError():
            said = "its name cannot be resolved"
        case failures.NewConnectionError() | failures.ProtocolError() | OSError():
            said = _strerror(error) or "the connection breaks off"
        case failures.ConnectTimeoutError():
            said = f"no connection in {timing.connect:g} seconds"
        case failures.ReadTimeoutError():
            said = f"nothing came for {timing.answer:g} seconds"
        case failures.SSLError():
            said = "a secure connection cannot be made"
        case _:
            said = "its answer makes no sense"
    return said


def _strerror(error: BaseException) -> str:
    """The operating system's words for what is behind an error, if it has any."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and (words := seen.strerror or str(seen)):
            return words.lower()
        seen = seen.__cause__ or seen.__context__
    return ""


def _is_of_certificate(error: failures.SSLError) -> bool:
    return bool(error.args) and isinstance(error.args[0], ssl.SSLCertVerificationError)


def _certificate(error: failures.SSLError) -> str:
    return str(getattr(error.args[0], "verify_message", "") or "it cannot be verified").rstrip(".")


def _parsed(address: str) -> Url:
    try:
        url = parse_url(address.rstrip("/"))
    except failures.HTTPError as error:
        raise UsageError(f"{address} is no address of a server.") from error
    if url.scheme not in {"http", "https"} or not url.host or url.query or url.fragment:
        raise UsageError(f"{address} is no address of a server's folder.")
    return url


def _moved(url: Url, location: str | None) -> Url:
    """Where a redirect leads; raises NetworkError for where it must not."""
    try:
        target = parse_url(urljoin(url.url, location or ""))
    except (failures.HTTPError, ValueError) as error:
        raise NetworkError(f"{url.host} redirects to what is no address.") from error
    if not location or not target.host or target.scheme not in {"http", "https"}:
        raise NetworkError(f"{url.host} redirects to what is no address of a server.")
    if url.scheme == "https" and target.scheme != "https":
        raise NetworkError(
            f"{url.host} redirects to {target.host} without encryption, which is refused."
        )
    return target._replace(auth=None, fragment=None)


def _skipped(response: "BaseHTTPResponse", where: str, start: int, end: int) -> int:
    """How many bytes of a body come before what was asked for; raises CorruptError."""
    length = _length(response)
    if response.status == 200:
        if length is not None and length < end:
            raise CorruptError(f"{where} is {length} bytes long; {end} were promised.")
        if start > _READ_OVER:
            raise NoRangesError(f"{where} comes only from its beginning, not in parts.")
        return start
    said = response.headers.get("content-range", "")
    found = _RANGE.fullmatch(said)
    if found is None or int(found[1]) != start or int(found[2]) != end - 1:
        if found and found[3] != "*" and int(found[1]) == start and int(found[3]) < end:
            raise CorruptError(f"{where} is {found[3]} bytes long; {end} were promised.")
        raise CorruptError(f"{where} comes in another part than was asked for.")
    if length not in {None, end - start} or (found[3] != "*" and int(found[3]) < end):
        raise CorruptError(f"{where} comes with two lengths that differ.")
    return 0


def _length(response: "BaseHTTPResponse") -> int | None:
    """What the headers say of the length of a body, if they do."""
    return response.length_remaining


def _finished(response: "BaseHTTPResponse") -> bool:
    """Whether a body was read to its end, so that its connection went back to the others."""
    return bool(response.closed)


def _asked_for(header: str | None) -> float:
    """The seconds in Retry-After; 0 where it makes no sense."""
    if header is None:
        return 0
    if header.strip().isdecimal():
        return float(header[:9])
    with suppress(ValueError, TypeError, OverflowError):
        return max(0, parsedate_to_datetime(header).timestamp() - time.time())
    return 0


def _phrase(status: int) -> str:
    with suppress(ValueError):
        return f" ({HTTPStatus(status).phrase})"
    return ""
