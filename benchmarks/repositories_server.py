"""nginx on loopback over a repository, and what its log says has gone over the wire."""

import contextlib
import http.client
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import BenchmarkError

_CONFIGURATION = """
daemon off; master_process off; pid {work}/pid; error_log {work}/errors;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    log_format exact '$request_uri $status $request_length $bytes_sent $body_bytes_sent';
    access_log {work}/requests exact;
    sendfile on; keepalive_requests 100000;
    client_body_temp_path {work}/body; proxy_temp_path {work}/proxy;
    fastcgi_temp_path {work}/fastcgi; uwsgi_temp_path {work}/uwsgi; scgi_temp_path {work}/scgi;
    server {{ listen 127.0.0.1:{port}; root {folder}; }}
}}
"""
_MARK = "/mark-"


@dataclass(frozen=True, slots=True)
class Request:
    """A line of the log: bytes of the request, of the answer with its head, of its body alone."""

    path: str
    status: int
    received: int
    sent: int
    body: int


@dataclass(frozen=True, slots=True)
class Traffic:
    """Some requests. What is not a content file is metadata: roles, offers, the catalogue."""

    requests: Sequence[Request]

    @property
    def bodies(self) -> int:
        return sum(request.body for request in self.requests)

    @property
    def wire(self) -> int:
        """All bytes both ways, heads too; what TCP adds is not in the log."""
        return sum(request.received + request.sent for request in self.requests)

    @property
    def content(self) -> "Traffic":
        return Traffic([request for request in self.requests if _is_content(request)])

    @property
    def metadata(self) -> "Traffic":
        return Traffic([request for request in self.requests if not _is_content(request)])


def _is_content(request: Request) -> bool:
    return request.path.startswith("/content/")


@dataclass(frozen=True, slots=True)
class Server:
    """A running nginx."""

    address: str
    log: Path

    def traffic(self) -> Traffic:
        """What was asked for since the last time.

        A line is written after its answer was sent: one more is asked for and waited for, as those
        of requests before it are written before it.
        """
        mark = _MARK + secrets.token_hex(8)
        _ask(self.address, mark)
        while f"{mark} " not in (logged := self.log.read_text()):
            time.sleep(0.002)
        os.truncate(self.log, 0)
        requests = map(_request, logged.splitlines())
        return Traffic([request for request in requests if not request.path.startswith(_MARK)])


@contextlib.contextmanager
def serving(folder: Path, work: Path) -> Iterator[Server]:
    """Have nginx hand out ``folder``, with its own files in ``work``."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if program is None:
        raise BenchmarkError("programs are missing: apt install nginx")
    work.mkdir()
    port = _free_port()
    settings = work / "settings"
    settings.write_text(_CONFIGURATION.format(work=work, folder=folder, port=port))
    process = subprocess.Popen([program, "-c", settings, "-e", work / "errors"])
    try:
        _wait(port, process)
        yield Server(f"http://127.0.0.1:{port}", work / "requests")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _request(line: str) -> Request:
    path, *numbers = line.rsplit(" ", 4)
    status, received, sent, body = map(int, numbers)
    return Request(path, status, received, sent, body)


def _ask(address: str, path: str) -> None:
    connection = http.client.HTTPConnection(address.removeprefix("http://"))
    with contextlib.closing(connection):
        connection.request("GET", path)
        connection.getresponse().read()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(port: int, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(400):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise BenchmarkError("nginx did not start")
