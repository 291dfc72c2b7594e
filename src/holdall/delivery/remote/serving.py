"""A server for a repository's folder, to try it out: ranges, connections that stay, no settings.

Serves what any server of static files would, of regular files that are not behind a symbolic link,
and nothing whose name begins with a dot. Knows what changes in a repository, so that caches do.
"""

import os
import re
import socket
import socketserver
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import FileIO
from typing import ClassVar, NamedTuple, cast
from urllib.parse import quote, unquote_to_bytes

from holdall import __version__
from holdall.errors import DeniedError, NotFoundError, UsageError
from holdall.system.kernel import open_beneath

_PIECE = 2**24
_IDLE = 60  # seconds a connection may have nothing to say
_ONE_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{1,18})?|-(\d{1,18}))")
_UNCHANGING = re.compile(
    r"content/.*|catalogue/.*|metadata/\d+\.[^/]*|targets/(?:[^/]+/)*[0-9a-f]{64}\.[^/]*"
)
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".webp": "image/webp",
    ".xml": "application/xml",
    ".txt": "text/plain; charset=utf-8",
    ".gz": "application/gzip",
    ".zst": "application/zstd",
}


class Served(NamedTuple):
    """A request that was answered: who asked for what, the status, the bytes of the body sent."""

    client: str
    method: str
    path: str
    status: int
    sent: int


class FolderServer:
    """Listens at `bind`:`port` (0 for any that is free) for requests for what is in `folder`.

    `told` is called for each, in the thread that answered it. Raises NotFoundError, UsageError and
    DeniedError where it cannot.
    """

    def __init__(
        self, folder: str, bind: str, port: int, told: Callable[[Served], None] = lambda _: None
    ) -> None:
        try:
            self._folder = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFoundError(f"There is no folder {folder}.") from error
        try:
            self._server = _listening(bind, port)
        except BaseException:
            os.close(self._folder)
            raise
        self._server.folder, self._server.told = self._folder, told
        host, chosen = self._server.server_name, self._server.server_port
        self.address = f"http://[{host}]:{chosen}" if ":" in host else f"http://{host}:{chosen}"

    def serve(self) -> None:
        """Answer until `stop` is called in another thread, or something is raised in this one."""
        self._server.serve_forever(poll_interval=0.1)

    def stop(self) -> None:
        """Have `serve` return."""
        self._server.shutdown()

    def close(self) -> None:
        """Listen no more."""
        self._server.server_close()
        os.close(self._folder)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    folder: int
    told: Callable[[Served], None]

    def server_bind(self) -> None:
        """Without asking for the name of this machine, which may take long."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """Nobody is told of a connection that broke."""


class _Server6(_Server):
    address_family: int = socket.AF_INET6


def _listening(bind: str, port: int) -> _Server:
    try:
        return (_Server6 if ":" in bind else _Server)((bind, port), _Handler)
    except PermissionError as error:
        raise DeniedError(f"You may not listen at port {port}; choose one from 1024 on.") from error
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"{bind} cannot be listened at with port {port}: {reason.lower()}."
        ) from error


class _Handler(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    protocol_version = "HTTP/1.1"
    timeout: ClassVar[float | None] = _IDLE
    disable_nagle_algorithm = True

    @property
    def _listener(self) -> _Server:
        return cast("_Server", self.server)

    def do_GET(self) -> None:
        self._listener.told(self._answered())

    def do_HEAD(self) -> None:
        self._listener.told(self._answered())

    def version_string(self) -> str:
        return f"holdall/{__version__}"

    def log_message(self, *_: object) -> None:
        """`told` is told."""

    def _answered(self) -> Served:
        if "content-length" in self.headers or "transfer-encoding" in self.headers:
            self.close_connection = True  # nobody reads what a client sends with a GET
        status, sent = self._answer()
        client = str(self.client_address[0])
        return Served(client, self.command, self.path, int(status), sent)

    def _answer(self) -> tuple[HTTPStatus, int]:
        name = _name(self.path)
        if name is None:
            return self._refuse(HTTPStatus.NOT_FOUND)
        try:
            with _opened(self._listener.folder, name) as (file, size):
                return self._send(name, file, size)
        except IsADirectoryError:
            return self._send_on(name)
        except PermissionError:
            return self._refuse(HTTPStatus.FORBIDDEN)
        except FileNotFoundError:
            return self._refuse(HTTPStatus.NOT_FOUND)

    def _send(self, name: str, file: FileIO, size: int) -> tuple[HTTPStatus, int]:
        start, end = 0, size
        status = HTTPStatus.OK
        if self.command == "GET" and (asked := _range(self.headers.get("range"), size)):
            start, end = asked
            if start >= end:
                return self._refuse(
                    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, content_range=f"bytes */{size}"
                )
            status = HTTPStatus.PARTIAL_CONTENT
        kind = _KINDS.get(os.path.splitext(name)[1].lower(), "application/octet-stream")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(end - start))
        self.send_header("Accept-Ranges", "bytes")
        if status is HTTPStatus.PARTIAL_CONTENT:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.send_header("Cache-Control", _cached(name))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        return status, 0 if self.command == "HEAD" else self._body(file, start, end)

    def _body(self, file: FileIO, start: int, end: int) -> int:
        """Send it; returns how much was sent, which is less where the client went away."""
        at = start
        with suppress(OSError):
            while at < end:
                sent = self.connection.sendfile(file, at, min(end - at, _PIECE))
                if not sent:
                    break
                at += sent
        if at < end:
            self.close_connection = True
        return at - start

    def _send_on(self, name: str) -> tuple[HTTPStatus, int]:
        """To the page of a folder, where it has one."""
        try:
            with _opened(self._listener.folder, f"{name}/index.html"):
                last = quote(name.rpartition("/")[2].encode("utf-8", "surrogateescape"))
        except OSError:
            return self._refuse(HTTPStatus.NOT_FOUND)
        return self._refuse(HTTPStatus.MOVED_PERMANENTLY, location=f"./{last}/")

    def _refuse(self, status: HTTPStatus, **headers: str) -> tuple[HTTPStatus, int]:
        body = f"{status.value} {status.phrase}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-cache")
        for name, value in headers.items():
            self.send_header(name.replace("_", "-").title(), value)
        self.end_headers()
        if self.command == "HEAD":
            return status, 0
        self.wfile.write(body)
        return status, len(body)


def _name(path: str) -> str | None:
    """The file a request is for, below the folder; None for one that is not given out."""
    decoded = os.fsdecode(unquote_to_bytes(path.partition("?")[0].partition("#")[0]))
    if not decoded.startswith("/") or "\0" in decoded:
        return None
    name = decoded[1:]
    if not name or name.endswith("/"):
        name += "index.html"
    if any(not part or part.startswith(".") for part in name.split("/")):
        return None
    return name


@contextmanager
def _opened(folder: int, name: str) -> Iterator[tuple[FileIO, int]]:
    """A regular file and its size.

    Raises FileNotFoundError for all that is none, but IsADirectoryError for a folder.
    """
    try:
        fd = open_beneath(folder, name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except PermissionError:
        raise
    except OSError as error:
        raise FileNotFoundError(name) from error
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        raise (IsADirectoryError if stat.S_ISDIR(status.st_mode) else FileNotFoundError)(name)
    with open(fd, "rb", buffering=0) as file:
        yield file, status.st_size


def _range(header: str | None, size: int) -> tuple[int, int] | None:
    """The one range that is asked for, empty where there are no such bytes; None to send all."""
    found = _ONE_RANGE.fullmatch(header.strip()) if header else None
    if found is None:
        return None
    first, last, final = found.groups()
    if final is not None:
        return max(0, size - int(final)), size
    if last is not None and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1) if last is not None else size


def _cached(name: str) -> str:
    """How long a cache may keep a file without asking again."""
    if _UNCHANGING.fullmatch(name):
        return "public, max-age=31536000, immutable"
    return "no-cache"
