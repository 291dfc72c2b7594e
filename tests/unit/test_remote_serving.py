"""The server to try a repository out: what it gives, and what it does not."""

import http.client
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdall.delivery.remote.http import HttpTransport
from holdall.delivery.remote.serving import FolderServer, Served
from holdall.errors import NotFoundError, UsageError
from patience import GENEROUS

CONTENT = "content/ab/" + "ab" * 32 + ".holdall"
DATA = bytes(range(256)) * 4000
NEVER = "public, max-age=31536000, immutable"


class Running:
    """A server of `folder`, what it told, and a connection to it."""

    def __init__(self, server: FolderServer, folder: Path, told: list[Served]) -> None:
        self.address = server.address
        self.folder = folder
        self.told = told
        self.connection = http.client.HTTPConnection(server.address.removeprefix("http://"))

    def ask(
        self, path: str, method: str = "GET", **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers of an answer, over the same connection."""
        self.connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers.items():
            self.connection.putheader(name, value)
        self.connection.endheaders()
        answer = self.connection.getresponse()
        return answer.status, answer.read(), {k.lower(): v for k, v in answer.getheaders()}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("served") / "repository"
    for name, data in {
        CONTENT: DATA,
        "metadata/timestamp.json": b"{}",
        "metadata/7.snapshot.json": b"{}",
        "targets/apps/" + "cd" * 32 + ".org.example.Editor.json": b"{}",
        "root.json": b"{}",
        "index.html": b"<p>all",
        "apps/org.example.Editor/index.html": b"<p>one",
        "apps/größe 100%.html": b"<p>odd",
        ".holdall/pending": b"secret",
        "content/.hidden": b"secret",
        "../secret": b"secret",
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    told: list[Served] = []
    server = FolderServer(str(folder), "127.0.0.1", 0, told.append)
    thread = threading.Thread(target=server.serve)
    thread.start()
    made = Running(server, folder, told)
    yield made
    server.stop()
    thread.join()
    server.close()


@pytest.fixture
def running(server: Running) -> Iterator[Running]:
    """The server with a new connection."""
    server.told.clear()
    yield server
    server.connection.close()


def test_a_file_is_given(running: Running) -> None:
    status, body, headers = running.ask(f"/{CONTENT}")
    assert (status, body) == (200, DATA)
    assert headers["content-length"] == str(len(DATA))
    assert headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=1000-1999", 1000, 2000),
        ("bytes=1000-", 1000, len(DATA)),
        ("bytes=-10", len(DATA) - 10, len(DATA)),
        (f"bytes=5-{10**17}", 5, len(DATA)),
        (f"bytes=-{10**17}", 0, len(DATA)),
    ],
)
def test_a_range_is_given(running: Running, asked: str, start: int, end: int) -> None:
    status, body, headers = running.ask(f"/{CONTENT}", Range=asked)
    assert (status, body) == (206, DATA[start:end])
    assert headers["content-range"] == f"bytes {start}-{end - 1}/{len(DATA)}"


@pytest.mark.parametrize("asked", [f"bytes={len(DATA)}-", "bytes=-0"])
def test_a_range_with_nothing_in_it_is_refused(running: Running, asked: str) -> None:
    status, _, headers = running.ask(f"/{CONTENT}", Range=asked)
    assert (status, headers["content-range"]) == (416, f"bytes */{len(DATA)}")


@pytest.mark.parametrize("asked", ["bytes=0-1,3-4", "bytes=9-3", "lines=1-2", "bytes=x-", "x"])
def test_what_is_no_single_range_gets_all(running: Running, asked: str) -> None:
    assert running.ask(f"/{CONTENT}", Range=asked)[0] == 200


def test_head_gives_no_body(running: Running) -> None:
    status, body, headers = running.ask(f"/{CONTENT}", "HEAD")
    assert (status, body, headers["content-length"]) == (200, b"", str(len(DATA)))
    assert running.ask("/absent", "HEAD")[:2] == (404, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/absent",
        "/.holdall/pending",
        "/content/.hidden",
        "/../secret",
        "/%2e%2e/secret",
        "/content/../../secret",
        "/content%2f..%2f..%2fsecret",
        "/content",
        "/content/",
        "/content//x",
        "//secret",
        "/a%00b",
        "/index.html/x",
        "http://elsewhere.example/",
    ],
)
def test_nothing_else_is_given(running: Running, path: str) -> None:
    status, body, headers = running.ask(path)
    assert status == 404
    assert b"secret" not in body
    assert headers["cache-control"] == "no-cache"


def test_links_and_what_is_no_file_are_not_given(running: Running) -> None:
    (running.folder / "link").symlink_to("index.html")
    (running.folder / "out").symlink_to("..")
    os.mkfifo(running.folder / "fifo")
    for path in ("/link", "/out/secret", "/fifo"):
        assert running.ask(path)[0] == 404


def test_a_folder_is_its_page(running: Running) -> None:
    assert running.ask("/")[1] == b"<p>all"
    assert running.ask("/apps/org.example.Editor/?a#b")[1] == b"<p>one"
    status, _, headers = running.ask("/apps/org.example.Editor")
    assert (status, headers["location"]) == (301, "./org.example.Editor/")


def test_names_are_decoded(running: Running) -> None:
    assert running.ask("/apps/gr%C3%B6%C3%9Fe%20100%25.html")[1] == b"<p>odd"


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        (f"/{CONTENT}", NEVER),
        ("/metadata/7.snapshot.json", NEVER),
        ("/targets/apps/" + "cd" * 32 + ".org.example.Editor.json", NEVER),
        ("/metadata/timestamp.json", "no-cache"),
        ("/root.json", "no-cache"),
        ("/", "no-cache"),
    ],
)
def test_caches_are_told_what_changes(running: Running, path: str, kept: str) -> None:
    assert running.ask(path)[2]["cache-control"] == kept


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/root.json", "application/json"),
        (f"/{CONTENT}", "application/octet-stream"),
    ],
)
def test_a_file_has_its_kind(running: Running, path: str, kind: str) -> None:
    assert running.ask(path)[2]["content-type"] == kind


def test_a_connection_stays(running: Running) -> None:
    running.ask("/")
    socket = running.connection.sock
    running.ask("/absent")
    running.ask(f"/{CONTENT}", Range="bytes=0-9")
    assert running.connection.sock is socket is not None


def test_only_reading_is_possible(running: Running) -> None:
    assert running.ask("/", "DELETE")[0] == 501
    assert (running.folder / "index.html").exists()


def test_each_request_is_told(running: Running) -> None:
    running.ask("/absent")
    running.ask(f"/{CONTENT}", Range="bytes=0-9")
    running.ask("/", "HEAD")
    running.ask("/")  # told are those before, for sure
    assert [item[1:] for item in running.told[:3]] == [
        ("GET", "/absent", 404, 14),
        ("GET", f"/{CONTENT}", 206, 10),
        ("HEAD", "/", 200, 0),
    ]


def test_our_own_transport_reads_from_it(running: Running) -> None:
    transport = HttpTransport(running.address, timing=GENEROUS._replace(tries=1))
    assert b"".join(transport.pieces(CONTENT, 7, 500_007)) == DATA[7:500_007]
    with pytest.raises(NotFoundError):
        transport.read("metadata/9.root.json", 5)
    transport.close()


def test_a_port_that_is_taken_is_said(running: Running) -> None:
    port = int(running.address.rpartition(":")[2])
    with pytest.raises(UsageError, match="address already in use"):
        FolderServer(str(running.folder), "127.0.0.1", port)


@pytest.mark.parametrize(("bind", "port"), [("192.0.2.1", 0), ("no.invalid", 0), ("::1", 70000)])
def test_where_nobody_can_listen_is_said(tmp_path: Path, bind: str, port: int) -> None:
    with pytest.raises(UsageError, match="cannot be listened at"):
        FolderServer(str(tmp_path), bind, port)


@pytest.mark.parametrize("name", ["absent", "file"])
def test_what_is_no_folder_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotFoundError):
        FolderServer(str(tmp_path / name), "127.0.0.1", 0)
