"""Remotes as people meet them: nginx, the command, a user without privileges, a terminal."""

import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import nginx
from bundles import APP, QUICK, make_bundle
from increments import make_increment
from nginx import Nginx
from repositories import Station
from surroundings import PYTHON, HoldallCli, OrdinaryUser, Require

CHANCE = random.Random(7)
SAME = {f"share/{number}": CHANCE.randbytes(300_000) for number in range(12)}
OLD = CHANCE.randbytes(900_000)
SMALL = QUICK._replace(frame_size=2**18)
_TERMINAL = """
import os, pty, sys
answer, *argv = sys.argv[1:]
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.executable, [sys.executable, "-m", "holdall", *argv])
said = b""
while True:
    try:
        piece = os.read(terminal, 65536)
    except OSError:
        break
    if not piece:
        break
    said += piece
    if b"[y/N]" in said and answer:
        os.write(terminal, answer.encode() + b"\\n")
        answer = ""
sys.stdout.buffer.write(said)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


@pytest.fixture
def station(tmp_path: Path) -> Station:
    """A repository with 1.0; 2.0 is made, too."""
    station = Station(tmp_path / "station", now=datetime.now(UTC))
    station.add(bundle(station, "1.0"))
    station.publish()
    bundle(station, "2.0")
    return station


@pytest.fixture
def server(station: Station, require: Require, tmp_path: Path) -> Iterator[Nginx]:
    """nginx over it."""
    with nginx.serving(require("nginx"), station.path, tmp_path / "nginx") as running:
        yield running


def bundle(station: Station, version: str, **fields: object) -> Path:
    """A bundle of some size; versions differ in one file."""
    path = station.folder / "bundles" / f"{version}.holdall"
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        at = 1000 * int(version[0])
        changed = {"share/changed": OLD[:at] + b"new" + OLD[at:]}
        make_bundle(path, SAME | changed, options=SMALL, version=version, **fields)  # type: ignore[arg-type]  # passed on
    return path


def rows(cli: HoldallCli, *argv: str | Path) -> list[dict[str, object]]:
    answer = cli.json(*argv)
    assert isinstance(answer, list)
    return answer


def bytes_since(server: Nginx) -> int:
    """The bytes of all bodies since the last time."""
    sent = server.body()
    server.forget()
    return sent


@pytest.mark.root
def test_an_ordinary_user_installs_updates_and_searches(
    station: Station, server: Nginx, ordinary_user: OrdinaryUser
) -> None:
    cli = ordinary_user.holdall
    cli("remote", "add", "shop", server.address, "--root", station.made.fingerprint)
    (found,) = rows(cli, "search", "editor")
    assert found["id"] == APP
    bytes_since(server)

    (row,) = rows(cli, "install", APP)
    sent = bytes_since(server)
    assert row["downloaded"] == row["download"]
    assert sent == pytest.approx(row["download"], rel=0.01)

    station.add(bundle(station, "2.0"))
    station.publish()
    (told,) = rows(cli, "update", "--dry-run")
    bytes_since(server)
    (row,) = rows(cli, "update")
    sent = bytes_since(server)
    assert row["download"] == told["download"]
    assert sent == pytest.approx(row["download"], rel=0.01)
    assert sent < 1_300_000
    cli("verify")
    assert cli("path", APP).stdout.startswith(str(ordinary_user.home))


def test_an_increment_costs_what_was_planned(
    station: Station, server: Nginx, holdall_cli: HoldallCli
) -> None:
    cli = holdall_cli
    cli("remote", "add", "shop", server.address, "--root", station.made.fingerprint)
    cli("install", APP)
    old, new = bundle(station, "1.0"), bundle(station, "2.0")
    increment = make_increment(station.folder / "one.inc", [old], new)
    station.add(new, increment)
    station.publish()
    bytes_since(server)
    (row,) = rows(cli, "update")
    assert row["downloaded"] == row["download"] == increment.stat().st_size
    assert bytes_since(server) < increment.stat().st_size + 20_000
    assert rows(cli, "update") == []
    assert bytes_since(server) < 2_000


def test_two_updates_at_once_do_it_once(
    station: Station, server: Nginx, holdall_cli: HoldallCli
) -> None:
    cli = holdall_cli
    cli("remote", "add", "shop", server.address, "--root", station.made.fingerprint)
    cli("install", APP)
    station.add(bundle(station, "2.0"))
    station.publish()
    argv: list[str | Path] = [PYTHON, "-m", "holdall", "--wait", "--json", "update"]
    both = [
        subprocess.Popen(argv, env=dict(cli.environment), stdout=subprocess.PIPE) for _ in range(2)
    ]
    printed = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    fetched = [row["downloaded"] for text in printed for row in json.loads(text)]
    assert min(fetched) == 0 or len(fetched) == 1
    cli("verify")


@pytest.mark.parametrize("answer", ["y", "n"])
def test_a_person_is_asked_once_about_more_permissions(
    station: Station, server: Nginx, holdall_cli: HoldallCli, answer: str
) -> None:
    cli = holdall_cli
    cli("remote", "add", "shop", server.address, "--root", station.made.fingerprint)
    cli("install", APP)
    greedy = bundle(station, "3.0", permissions={"network": True, "filesystem": ["home"]})
    old = bundle(station, "1.0")
    station.add(greedy, make_increment(station.folder / "one.inc", [old], greedy))
    station.publish()
    done = subprocess.run(
        [PYTHON, "-c", _TERMINAL, answer, "update"],
        env=dict(cli.environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.count("asks for more permissions") == 1, done.stdout
    assert "to use the network" in done.stdout
    assert "to read and change your home" in done.stdout
    (row,) = rows(cli, "list")
    assert (row["version"], done.returncode) == (("3.0", 0) if answer == "y" else ("1.0", 4))


@pytest.mark.root
def test_a_machines_store_is_searched_by_all_and_changed_by_its_owner(
    station: Station, server: Nginx, holdall_cli: HoldallCli, ordinary_user: OrdinaryUser
) -> None:
    store = ordinary_user.home.parent / "machine"
    words = ("remote", "add", "shop", server.address, "--root", station.made.fingerprint)
    holdall_cli("--root", store, *words)
    holdall_cli("--root", store, "install", APP)
    theirs = ("--root", store)
    cli = ordinary_user.holdall
    assert len(rows(cli, *theirs, "search", "editor")) == 1
    assert rows(cli, *theirs, "remote", "list")[0]["name"] == "shop"
    said = cli(*theirs, "search", "editor", "--refresh").stderr
    assert "is searched" in said
    cli(*theirs, "update", expect=6)
    cli(*theirs, "remote", "remove", "shop", expect=6)
    shutil.rmtree(store)
