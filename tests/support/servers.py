"""A server of files over real sockets on this machine that misbehaves where a test says so.

Files are in memory, by name. A fault is a function that answers one request in the server's place.
Must not import holdall.
"""

import os
import re
import socket
import socketserver
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import NamedTuple

_TLS = b"\x16"  # how a client of TLS begins
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


class Asked(NamedTuple):
    """A request: the name below the address, its range if it had one, and its headers."""

    name: str
    range: tuple[int, int] | None
    headers: dict[str, str]

    @property
    def length(self) -> int:
        """How many bytes the range has."""
        return self.range[1] - self.range[0] if self.range else 0


@dataclass
class Exchange:
    """One request that is being answered; `data` is all of the file."""

    server: "Server"
    connection: socket.socket
    asked: Asked
    data: bytes

    @property
    def start(self) -> int:
        return self.asked.range[0] if self.asked.range else 0

    @property
    def end(self) -> int:
        return min(self.asked.range[1], len(self.data)) if self.asked.range else len(self.data)

    def head(self, status: int = 0, length: int | None = None, **headers: str) -> None:
        """The first lines of an answer, as they should be unless told otherwise."""
        part = self.asked.range is not None
        status = status or (206 if part else 200)
        lines = {"Content-Length": str(self.end - self.start if length is None else length)}
        if status == 206:
            lines["Content-Range"] = f"bytes {self.start}-{self.end - 1}/{len(self.data)}"
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
        self.connection.sendall(f"HTTP/1.1 {status} Whatever\r\n{text}\r\n".encode())

    def send(self, data: bytes) -> None:
        """A part of the body; counted before anybody can have it."""
        self.server.count(len(data))
        self.connection.sendall(data)

    def body(self) -> None:
        """What the body should be."""
        self.send(self.data[self.start : self.end])

    def reset(self) -> None:
        """Break the connection as a crash does."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())

    def wait(self, seconds: float | None = None) -> bool:
        """Wait; whether the test is over."""
        return self.server.over.wait(seconds)


Fault = Callable[[Exchange], None]


@dataclass
class _Rule:
    pattern: str
    fault: Fault
    after: int
    times: int


@dataclass
class Server:
    """What is served, what goes wrong, and what was asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    address: str = ""
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    sent: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    _rules: "list[_Rule]" = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(
        self, fault: Fault, name: str = "*", *, times: int = 1_000_000, after: int = 0
    ) -> None:
        """Have `fault` answer requests for `name` (a pattern): so many, after so many good ones."""
        self._rules.append(_Rule(name, fault, after, times))

    def heal(self) -> None:
        """Have no faults any more."""
        self._rules.clear()

    def count(self, size: int) -> None:
        with self._lock:
            self.sent += size

    def fault_for(self, name: str) -> Fault:
        with self._lock:
            for rule in self._rules:
                if not fnmatchcase(name, rule.pattern) or not rule.times:
                    continue
                if rule.after:
                    rule.after -= 1
                    continue
                rule.times -= 1
                return rule.fault
        return right


@contextmanager
def serving(
    files: Mapping[str, bytes], *, tls: ssl.SSLContext | None = None, folder: str = ""
) -> Iterator[Server]:
    """A server of these files at 127.0.0.1, below `folder`."""
    state = Server(dict(files))

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            state.connections += 1
            self.connection.settimeout(30)
            with suppress(OSError, ValueError):
                if _peek(self.connection) == _TLS and tls is None:
                    self.connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    return
                while asked := _read(self.rfile, folder):
                    state.asked.append(asked)
                    data = state.files.get(asked.name)
                    exchange = Exchange(state, self.connection, asked, data or b"")
                    fault = state.fault_for(asked.name)
                    (absent if data is None and fault is right else fault)(exchange)

        def finish(self) -> None:
            with suppress(OSError, ValueError):
                super().finish()

    class Listener(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 64

        def get_request(self) -> tuple[socket.socket, object]:
            connection, peer = super().get_request()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is None:
                return connection, peer
            return tls.wrap_socket(connection, server_side=True), peer

        def handle_error(self, request: object, client_address: object) -> None:
            """Faults break connections."""

    with Listener(("127.0.0.1", 0), Handler) as listener:
        scheme = "https" if tls else "http"
        state.address = f"{scheme}://127.0.0.1:{listener.server_address[1]}{folder}"
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield state
        finally:
            state.over.set()
            listener.shutdown()
            thread.join()


@dataclass
class Tunnel:
    """A proxy that passes on what is sent through it."""

    address: str = ""
    connections: int = 0


@contextmanager
def tunnelling() -> Iterator[Tunnel]:
    """A proxy that knows CONNECT only."""
    state = Tunnel()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            line = self.rfile.readline(1000).decode()
            while self.rfile.readline(1000).strip():
                pass
            host, _, port = line.split(" ")[1].rpartition(":")
            with socket.create_connection((host, int(port))) as other:
                state.connections += 1
                self.connection.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
                back = threading.Thread(target=_pass_on, args=(other, self.connection))
                back.start()
                _pass_on(self.connection, other)
                back.join()

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as listener:
        state.address = f"http://127.0.0.1:{listener.server_address[1]}"
        thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield state
        finally:
            listener.shutdown()
            thread.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(2**16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def _peek(connection: socket.socket) -> bytes:
    if isinstance(connection, ssl.SSLSocket):
        return b""
    return connection.recv(1, socket.MSG_PEEK)


def _read(stream: object, folder: str) -> Asked | None:
    """The next request of a connection; None at its end."""
    readline = stream.readline  # type: ignore[attr-defined]  # a file
    line = readline(65536).decode("latin-1")
    if not line.strip():
        return None
    path = line.split(" ")[1]
    headers = {}
    while text := readline(65536).decode("latin-1").strip():
        name, _, value = text.partition(":")
        headers[name.lower()] = value.strip()
    found = _RANGE.fullmatch(headers.get("range", ""))
    asked = (int(found[1]), int(found[2]) + 1) if found else None
    return Asked(path.removeprefix(folder).removeprefix("/"), asked, headers)


# ------------------------------------------------------------------------------------ no faults


def right(exchange: Exchange) -> None:
    """What was asked for."""
    if exchange.start >= len(exchange.data) and exchange.asked.range:
        exchange.head(416, 0, Content_Range=f"bytes */{len(exchange.data)}")
        return
    exchange.head()
    exchange.body()


def absent(exchange: Exchange) -> None:
    """404, with a page about it."""
    exchange.head(404, 4)
    exchange.send(b"gone")


# --------------------------------------------------------------------------------------- faults


def wrong(exchange: Exchange) -> None:
    """As many bytes, each of them another."""
    exchange.head()
    exchange.send(bytes(byte ^ 0xFF for byte in exchange.data[exchange.start : exchange.end]))


def short(exchange: Exchange) -> None:
    """The file as if it had only its first half."""
    exchange.data = exchange.data[: len(exchange.data) // 2]
    right(exchange)


def long(exchange: Exchange) -> None:
    """More than the headers say, and the connection stays."""
    exchange.head()
    exchange.body()
    exchange.send(b"more" * 100)


def longer(exchange: Exchange) -> None:
    """The file as if it went on."""
    exchange.data += b"more" * 100_000
    exchange.asked = exchange.asked._replace(range=None)
    right(exchange)


def empty(exchange: Exchange) -> None:
    """200, and no byte."""
    exchange.head(200, 0)


def silent(exchange: Exchange) -> None:
    """The connection ends without an answer."""
    exchange.connection.shutdown(socket.SHUT_RDWR)


def hanging(exchange: Exchange) -> None:
    """No answer, ever."""
    exchange.wait()


def garbage(exchange: Exchange) -> None:
    """Something that is not HTTP."""
    exchange.connection.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n" + bytes(100))
    exchange.connection.shutdown(socket.SHUT_RDWR)


def endless(exchange: Exchange) -> None:
    """A body that never ends."""
    exchange.head(200, 0, Content_Length="")
    while not exchange.wait(0):
        exchange.send(bytes(2**16))


def no_ranges(exchange: Exchange) -> None:
    """The whole file, whatever was asked for."""
    exchange.asked = exchange.asked._replace(range=None)
    right(exchange)


def chunked(exchange: Exchange) -> None:
    """The right bytes, in chunks."""
    exchange.head(length=0, Content_Length="", Transfer_Encoding="chunked")
    left = exchange.data[exchange.start : exchange.end]
    while left:
        piece, left = left[:70_001], left[70_001:]
        exchange.connection.sendall(b"%x\r\n" % len(piece))
        exchange.send(piece)
        exchange.connection.sendall(b"\r\n")
    exchange.connection.sendall(b"0\r\n\r\n")


def squeezed(exchange: Exchange) -> None:
    """The right bytes, said to be gzip."""
    exchange.head(Content_Encoding="gzip")
    exchange.body()


def other_range(exchange: Exchange) -> None:
    """206 with a range that starts a byte later."""
    text = f"bytes {exchange.start + 1}-{exchange.end}/{len(exchange.data)}"
    exchange.head(206, Content_Range=text)
    exchange.body()


def two_lengths(exchange: Exchange) -> None:
    """206 with the right range and a length that is not the range's."""
    exchange.head(206, exchange.end - exchange.start - 1)
    exchange.body()


def breaking(at: int, *, reset: bool = False) -> Fault:
    """The connection ends after so many bytes of the body."""

    def answer(exchange: Exchange) -> None:
        exchange.head()
        exchange.send(exchange.data[exchange.start : exchange.end][:at])
        if reset:
            exchange.reset()
        else:
            exchange.connection.shutdown(socket.SHUT_RDWR)

    return answer


def pausing(at: int, until: threading.Event | None = None) -> Fault:
    """Nothing comes after so many bytes of the body, or not until something comes to pass."""

    def answer(exchange: Exchange) -> None:
        exchange.head()
        exchange.send(exchange.data[exchange.start : exchange.end][:at])
        if until is None:
            exchange.wait()
            return
        until.wait()
        exchange.send(exchange.data[exchange.start : exchange.end][at:])

    return answer


def stopping(size: int) -> Fault:
    """All answers together have so many bytes of bodies; then nothing comes any more."""
    left, lock = size, threading.Lock()

    def answer(exchange: Exchange) -> None:
        nonlocal left
        with lock:
            given = min(left, exchange.end - exchange.start)
            left -= given
        (right if given == exchange.end - exchange.start else pausing(given))(exchange)

    return answer


def gathering(count: int) -> Fault:
    """No request is answered before so many are here at once; each is in the end."""
    barrier = threading.Barrier(count)

    def answer(exchange: Exchange) -> None:
        with suppress(threading.BrokenBarrierError):
            barrier.wait(20)
        right(exchange)

    return answer


def dripping(pause: float, size: int = 1) -> Fault:
    """So many bytes of the body at a time."""

    def answer(exchange: Exchange) -> None:
        exchange.head()
        for at in range(exchange.start, exchange.end, size):
            exchange.send(exchange.data[at : min(at + size, exchange.end)])
            if exchange.wait(pause):
                return

    return answer


def dripping_head(pause: float) -> Fault:
    """Headers that never end, a byte at a time."""

    def answer(exchange: Exchange) -> None:
        exchange.connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while not exchange.wait(pause):
            exchange.connection.sendall(b"x")

    return answer


def status(number: int, **headers: str) -> Fault:
    """Another status, with a short page."""

    def answer(exchange: Exchange) -> None:
        exchange.head(number, 5, **headers)
        exchange.send(b"sorry")

    return answer


def moved(location: str, number: int = 302) -> Fault:
    """A redirect."""
    return status(number, Location=location)
