"""A whole file from a remote: gone on with, checked, put in its place."""

import random
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

import servers
from holdall.delivery.remote.fetching import fetch_file
from holdall.delivery.remote.http import HttpTransport
from holdall.errors import CorruptError, NetworkError, NotFoundError
from patience import GENEROUS
from servers import Server

DATA = random.Random(5).randbytes(4_000_000)
DIGEST = sha256(DATA).hexdigest()


@pytest.fixture
def server() -> Iterator[Server]:
    with servers.serving({"file": DATA, "empty": b""}) as running:
        yield running


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder/it"


def fetch(server: Server, path: Path) -> int:
    """Fetch the file; returns what was reported in all."""
    told: list[int] = []
    transport = HttpTransport(server.address, timing=GENEROUS)
    try:
        fetch_file(transport, "file", str(path), size=len(DATA), sha256=DIGEST, report=told.append)
    finally:
        transport.close()
    return sum(told)


def listed(path: Path) -> list[str]:
    return sorted(item.name for item in path.parent.iterdir())


def test_a_file_is_fetched_to_its_place(server: Server, path: Path) -> None:
    assert fetch(server, path) == len(DATA)
    assert path.read_bytes() == DATA
    assert listed(path) == ["it"]


def test_an_empty_file_is_fetched(server: Server, path: Path) -> None:
    transport = HttpTransport(server.address)
    fetch_file(transport, "empty", str(path), size=0, sha256=sha256(b"").hexdigest())
    assert path.read_bytes() == b""


@pytest.mark.parametrize("there", [1, 2_400_000, len(DATA) - 1, len(DATA)])
def test_what_is_there_is_not_fetched_again(server: Server, path: Path, there: int) -> None:
    path.with_name("it.part").write_bytes(DATA[:there])
    assert fetch(server, path) == len(DATA)
    assert path.read_bytes() == DATA
    assert server.sent == len(DATA) - there


def test_a_file_that_is_whole_is_not_asked_for(server: Server, path: Path) -> None:
    path.write_bytes(DATA)
    assert fetch(server, path) == len(DATA)
    assert not server.asked


def test_a_file_that_was_spoiled_is_fetched_anew(server: Server, path: Path) -> None:
    path.write_bytes(DATA[:-1] + bytes([DATA[-1] ^ 1]))
    assert fetch(server, path) == len(DATA)
    assert path.read_bytes() == DATA


@pytest.mark.parametrize("part", [b"not what it was", bytes(2_000_000), DATA + b"and more"])
def test_a_part_that_is_of_no_use_costs_a_download_and_nothing_else(
    server: Server, path: Path, part: bytes
) -> None:
    path.with_name("it.part").write_bytes(part)
    assert fetch(server, path) == len(DATA)
    assert path.read_bytes() == DATA
    assert listed(path) == ["it"]


def test_another_file_than_was_promised_is_not_kept(server: Server, path: Path) -> None:
    server.fault(servers.wrong)
    with pytest.raises(CorruptError, match="not the file that was promised"):
        fetch(server, path)
    assert listed(path) == []
    server.heal()
    assert fetch(server, path) == len(DATA)


def test_a_lost_server_is_gone_on_with_later(server: Server, path: Path) -> None:
    server.fault(servers.breaking(2_500_000), times=1)
    server.fault(servers.status(500))
    with pytest.raises(NetworkError):
        fetch(server, path)
    assert path.with_name("it.part").read_bytes() == DATA[:2_500_000]
    server.heal()
    assert fetch(server, path) == len(DATA)
    assert server.asked[-1].range == (2_500_000, len(DATA))
    assert path.read_bytes() == DATA


def test_without_ranges_a_file_is_fetched_from_its_beginning(server: Server, path: Path) -> None:
    path.with_name("it.part").write_bytes(DATA[:2_400_000])
    server.fault(servers.no_ranges)
    assert fetch(server, path) == len(DATA)
    assert path.read_bytes() == DATA


def test_a_file_that_is_gone_leaves_no_name(server: Server, path: Path) -> None:
    server.files.clear()
    with pytest.raises(NotFoundError):
        fetch(server, path)
    assert not path.exists()


def test_a_link_in_the_place_of_the_part_is_not_written_through(
    server: Server, path: Path, tmp_path: Path
) -> None:
    (tmp_path / "victim").write_text("mine")
    path.with_name("it.part").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"):
        fetch(server, path)
    assert (tmp_path / "victim").read_text() == "mine"
