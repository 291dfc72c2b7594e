"""Transfers that are killed, real servers, and the command that serves a repository."""

import os
import random
import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pytest

import nginx
import servers
from bundles import APP, make_bundle
from holdall.delivery.bundle import Opened, open_preamble, read_preamble
from holdall.delivery.remote.bundle import RemoteBundle
from holdall.delivery.remote.fetching import fetch_file
from holdall.delivery.remote.http import HttpTransport
from holdall.journeys.build import BuildOptions
from holdall.model.offer import ContentFile
from holdall.trust.envelope import open_envelope
from hostility import Victim
from repositories import Station, files_of
from surroundings import PYTHON, HoldallCli, Require

# The server's threads are here when commands fork their workers, which take no lock of theirs.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")

MEBIBYTE = 2**20
DATA = random.Random(6).randbytes(20_000_000)

_FETCH = """
import sys
from holdall.delivery.remote.fetching import fetch_file
from holdall.delivery.remote.http import HttpTransport
address, name, path, size, sha256 = sys.argv[1:]
total = 0
def report(count):
    global total
    total += count
    print(total, flush=True)
fetch_file(HttpTransport(address), name, path, size=int(size), sha256=sha256, report=report)
"""

_BRING = """
import os, sys
from holdall.delivery.bundle import open_preamble
from holdall.delivery.remote.bundle import RemoteBundle
from holdall.delivery.remote.http import HttpTransport
from holdall.delivery.remote.tally import Tally
from holdall.model.offer import ContentFile
from holdall.trust.envelope import open_envelope
address, sha256, size, head, folder, step = sys.argv[1:]
file = ContentFile(sha256, int(size), int(head))
remote = RemoteBundle(HttpTransport(address), file, folder)
preamble = remote.preamble()
release = open_envelope(preamble.envelope).release
opened = open_preamble(
    preamble,
    tree_sha256=release.packing.tree,
    index_sha256=release.packing.index,
    tree_digest=release.tree_digest.raw,
)
tally = Tally()
def report(count):
    tally.add(count)
    os.write(1, b"%d\\n" % tally.total)  # several threads are here
for frame in remote.bring(opened.index.frames[:: int(step)], report):
    pass
"""


class Sample(NamedTuple):
    """A bundle of about 20 MB, as it is offered."""

    data: bytes
    file: ContentFile
    opened: Opened


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    files = {f"share/{at}.bin": DATA[at * 10**6 : (at + 1) * 10**6] for at in range(20)}
    path = tmp_path_factory.mktemp("bundle") / "it.holdall"
    make_bundle(path, files, options=BuildOptions(level=1, frame_size=2**18))
    data = path.read_bytes()
    with path.open("rb") as stream:
        preamble = read_preamble(stream)
    release = open_envelope(preamble.envelope).release
    opened = open_preamble(
        preamble,
        tree_sha256=release.packing.tree,
        index_sha256=release.packing.index,
        tree_digest=release.tree_digest.raw,
    )
    return Sample(data, ContentFile(sha256(data).hexdigest(), len(data), preamble.first), opened)


def kill_at(share: int, script: str, *argv: object) -> int:
    """Start a script and kill it once it reports so many bytes; returns what it reported last."""
    with subprocess.Popen(
        [PYTHON, "-c", script, *map(str, argv)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        total = 0
        for line in process.stdout:
            total = int(line)
            if total >= share:
                break
        process.kill()
        rest = process.stdout.read().split()
    assert process.returncode == -signal.SIGKILL
    return max(total, *map(int, rest), 0)  # several threads tell it


@pytest.mark.parametrize("percent", [3, 60, 97])
def test_a_killed_download_goes_on_where_it_was(tmp_path: Path, percent: int) -> None:
    digest = sha256(DATA).hexdigest()
    share = len(DATA) * percent // 100
    path = tmp_path / "it"
    told: list[int] = []
    with servers.serving({"file": DATA}) as server:
        server.fault(servers.pausing(share), times=1)
        kill_at(share, _FETCH, server.address, "file", path, len(DATA), digest)
        with closing(HttpTransport(server.address)) as transport:
            fetch_file(
                transport, "file", str(path), size=len(DATA), sha256=digest, report=told.append
            )
            assert transport.received <= len(DATA) - share + MEBIBYTE
    assert sum(told) == len(DATA)
    assert path.read_bytes() == DATA


@pytest.mark.parametrize("step", [1, 3], ids=["whole", "parts"])
def test_a_killed_bundle_goes_on_where_it_was(tmp_path: Path, sample: Sample, step: int) -> None:
    file, frames = sample.file, sample.opened.index.frames[::step]
    total = sum(frame.stored for frame in frames)
    share = total * 60 // 100
    with servers.serving({file.name: sample.data}) as server:
        # The head is none of it; what lies between parts and comes along is no share of it.
        server.fault(servers.stopping(share + total // 100), after=1)
        words = (file.sha256, file.size, file.head, tmp_path, step)
        assert share <= kill_at(share, _BRING, server.address, *words) < total
        server.heal()
        with closing(HttpTransport(server.address)) as transport:
            remote = RemoteBundle(transport, file, str(tmp_path))
            left = remote.wanted(frames)
            assert left <= total - share + MEBIBYTE
            for frame in remote.bring(frames, lambda _count: None):
                place = file.head + frame.offset
                stored = os.pread(remote.spool, frame.stored, place)
                assert stored == sample.data[place : place + frame.stored]
            assert transport.received <= left * 1.005
            remote.close()


def test_a_killed_install_goes_on_where_it_was(
    tmp_path: Path, isolated_home: Path, holdall_cli: HoldallCli
) -> None:
    station = Station(tmp_path / "station", now=datetime.now(UTC))
    files = {f"share/{at}.bin": DATA[at * 10**6 : (at + 1) * 10**6] for at in range(20)}
    station.add(station.bundle(files=files))
    station.publish()
    store = Victim(tmp_path / "store", isolated_home)
    with servers.serving(files_of(station.path)) as server:
        store.accepts("remote", "add", "shop", server.address, "--root", station.made.fingerprint)
        share = 12_000_000
        server.fault(servers.pausing(share), "content/*", times=1, after=1)
        words = [str(PYTHON), "-m", "holdall", "--root", str(store.root), "install", APP]
        with subprocess.Popen(
            words, env=dict(holdall_cli.environment), stderr=subprocess.DEVNULL
        ) as process:
            while there(store.root) < share - MEBIBYTE:
                assert process.poll() is None
                time.sleep(0.01)
            process.kill()
        before = len(server.asked)
        store.accepts("install", APP)
        content = [asked for asked in server.asked[before:] if asked.name.startswith("content/")]
    (frames,) = content  # the head is there
    assert frames.range
    assert frames.range[0] >= share - MEBIBYTE
    assert not (store.root / "partial").exists()


def there(root: Path) -> int:
    """How much of the one bundle that is being fetched is written down as there."""
    for path in root.glob("partial/**/there"):
        data = path.read_bytes()
        records = struct.iter_unpack("<QQ", data[: len(data) - len(data) % 16])
        return max((end for _, end in records), default=0)
    return 0


# --------------------------------------------------------------------------------- real servers


def test_nginx_sends_what_was_planned(tmp_path: Path, sample: Sample, require: Require) -> None:
    program = require("nginx")
    path = tmp_path / "www" / sample.file.name
    path.parent.mkdir(parents=True)
    path.write_bytes(sample.data)
    frames = sample.opened.index.frames[::4]
    (tmp_path / "partial").mkdir()
    with (
        nginx.serving(program, tmp_path / "www", tmp_path / "nginx") as running,
        closing(HttpTransport(running.address)) as transport,
    ):
        remote = RemoteBundle(transport, sample.file, str(tmp_path / "partial"))
        remote.preamble()
        planned = sample.file.head + remote.wanted(frames)
        assert len(list(remote.bring(frames, lambda _count: None))) == len(frames)
        remote.close()
        assert running.body() == transport.received
        assert planned <= running.body() <= planned * 1.005
        assert {request.status for request in running.requests()} == {206}


@contextmanager
def repo_serve(
    cli: HoldallCli, folder: Path, *options: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`holdall repo serve`, and the address it says."""
    with subprocess.Popen(
        [PYTHON, "-m", "holdall", "repo", "serve", folder, "--port", "0", *options],
        env=dict(cli.environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline().strip()
        try:
            yield process, line.rpartition(" ")[2]
        finally:
            process.kill()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "repository").mkdir()
    (tmp_path / "repository/index.html").write_text("hello")
    return tmp_path / "repository"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_repo_serve_serves_until_it_is_ended(
    holdall_cli: HoldallCli, folder: Path, number: signal.Signals
) -> None:
    with repo_serve(holdall_cli, folder) as (process, address):
        assert fetched(address, times=2) == [b"hello"] * 2
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out == ""
    assert err.startswith("127.0.0.1 GET /index.html 200 5 bytes\n")


def test_repo_serve_can_be_quiet(holdall_cli: HoldallCli, folder: Path) -> None:
    with repo_serve(holdall_cli, folder, "--quiet") as (process, address):
        fetched(address, times=2)
        process.terminate()
        assert process.communicate(timeout=60) == ("", "")


def fetched(address: str, *, times: int) -> list[bytes]:
    """The page of a server, over one connection: once it is there again, the first is told."""
    with closing(HttpTransport(address)) as transport:
        return [transport.read("index.html", 100) for _ in range(times)]


def test_repo_serve_says_where_it_cannot(holdall_cli: HoldallCli, folder: Path) -> None:
    with repo_serve(holdall_cli, folder) as (_, address):
        port = address.rpartition(":")[2]
        refused = holdall_cli("repo", "serve", folder, "--port", port, expect=2)
    assert "address already in use" in refused.stderr
    absent = holdall_cli("repo", "serve", folder / "absent", expect=3)
    assert "There is no folder" in absent.stderr
