"""nginx on loopback over a folder, and what it says it has sent."""

import contextlib
import http.client
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CONFIGURATION = """
daemon off; master_process off; pid {work}/pid; error_log {work}/errors;
worker_rlimit_nofile 8192;
events {{ worker_connections 2048; }}
http {{
    log_format exact '$request_method $uri $status $bytes_sent $body_bytes_sent';
    access_log {work}/requests exact;
    sendfile on; keepalive_requests 100000;
    client_body_temp_path {work}/body; proxy_temp_path {work}/proxy;
    fastcgi_temp_path {work}/fastcgi; uwsgi_temp_path {work}/uwsgi; scgi_temp_path {work}/scgi;
    server {{ listen 127.0.0.1:{port}; root {folder}; {extra} }}
}}
"""


@dataclass(frozen=True, slots=True)
class Request:
    """A line of the log; ``sent`` counts the head, too, ``body`` does not."""

    method: str
    path: str
    status: int
    sent: int
    body: int


_MARK = "/mark-"
_PATIENCE = 60  # seconds


@dataclass(frozen=True, slots=True)
class Nginx:
    """A running server."""

    address: str
    log: Path

    def requests(self) -> list[Request]:
        """What was asked for since the start, or since ``forget``.

        A request is logged a moment after its answer is there: one more is made and waited for,
        as those before it are logged before it.
        """
        mark = _MARK + secrets.token_hex(8)
        _ask(self.address, mark)
        end = time.monotonic() + _PATIENCE
        while f"GET {mark} " not in (logged := self.log.read_text()):
            assert time.monotonic() < end, "nginx does not log what it is asked"
            time.sleep(0.002)
        requests = map(_request, logged.splitlines())
        return [request for request in requests if not request.path.startswith(_MARK)]

    def body(self) -> int:
        """The bytes of all bodies."""
        return sum(request.body for request in self.requests())

    def forget(self) -> None:
        """Begin the log anew."""
        os.truncate(self.log, 0)


@contextlib.contextmanager
def serving(program: Path, folder: Path, work: Path, *, extra: str = "") -> Iterator[Nginx]:
    """nginx over ``folder``, with its own files in ``work``; ``extra`` goes into the server."""
    work.mkdir(parents=True, exist_ok=True)
    settings, port, process = work / "settings", 0, None
    while process is None or not _answers(port, process):
        assert process is None or "already in use" in (work / "errors").read_text(), "no nginx"
        port = free_port()
        (work / "errors").unlink(missing_ok=True)
        settings.write_text(
            _CONFIGURATION.format(work=work, folder=folder, port=port, extra=extra),
            encoding="utf-8",
        )
        process = subprocess.Popen([program, "-c", settings, "-e", work / "errors"])
    try:
        yield Nginx(f"http://127.0.0.1:{port}", work / "requests")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_PATIENCE)


def _request(line: str) -> Request:
    method, rest = line.split(" ", 1)
    path, status, sent, body = rest.rsplit(" ", 3)
    return Request(method, path, int(status), int(sent), int(body))


def _ask(address: str, path: str) -> None:
    connection = http.client.HTTPConnection(address.removeprefix("http://"))
    with contextlib.closing(connection):
        connection.request("GET", path)
        connection.getresponse().read()


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(port: int, process: "subprocess.Popen[bytes]") -> bool:
    """Whether a server that was started comes to answer, instead of ending."""
    end = time.monotonic() + _PATIENCE
    while process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        assert time.monotonic() < end, "nginx did not start"
        time.sleep(0.02)
    return False
