"""Many clients that update at once from nginx, while a publisher publishes: no half states."""

import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import nginx
from repositories import Station
from surroundings import PYTHON, HoldallCli, Require

CLIENTS = 12
APPS = ("org.example.Chess", "org.example.Mines", "org.example.Paint")
NEWEST = 5


def put_out(station: Station, version: int) -> None:
    """Publish a version of all apps at once."""
    for app in APPS:
        station.add(station.bundle(f"{version}.0", app=app))
    station.publish()


def furnished(cli: HoldallCli, folder: Path, station: Station, address: str) -> list[Path]:
    """The stores of all clients, copies of one with the apps as they are offered now."""
    first = folder / "first"
    root = ("--root", station.made.fingerprint)
    cli("--root", first, "remote", "add", "shop", address, *root)
    cli("--root", first, "install", *APPS)
    stores = [folder / f"client-{number}" for number in range(CLIENTS)]
    for store in stores:
        shutil.copytree(first, store, symlinks=True)
    return stores


def start(cli: HoldallCli, store: Path) -> tuple[Path, "subprocess.Popen[bytes]"]:
    """A client that updates all it has."""
    argv: list[str | Path] = [PYTHON, "-m", "holdall", "--json", "--root", store, "update"]
    pipe = subprocess.PIPE
    return store, subprocess.Popen(argv, env=dict(cli.environment), stdout=pipe, stderr=pipe)


def versions(cli: HoldallCli, store: Path) -> dict[str, str]:
    """What is installed and active, by ref."""
    listed = cli.json("--root", store, "list")
    assert isinstance(listed, list)
    return {row["ref"]: row["version"] for row in listed}


def test_clients_that_update_during_publications_each_get_one_published_state(
    holdall_cli: HoldallCli, require: Require, tmp_path: Path
) -> None:
    station = Station(tmp_path / "station", now=datetime.now(UTC))
    for version in range(1, NEWEST + 1):
        for app in APPS:
            station.bundle(f"{version}.0", app=app)
    put_out(station, 1)
    with nginx.serving(require("nginx"), station.path, tmp_path / "nginx") as server:
        stores = furnished(holdall_cli, tmp_path, station, server.address)
        put_out(station, 2)
        running = []
        for version in range(3, NEWEST + 1):
            running += [start(holdall_cli, stores.pop()) for _ in range(CLIENTS // (NEWEST - 2))]
            put_out(station, version)
        ended = [(store, *process.communicate(timeout=120)) for store, process in running]

        assert [process.returncode for _, process in running] == [0] * CLIENTS
        assert [said for _, _, said in ended] == [b""] * CLIENTS
        for store, printed, _ in ended:
            told = {row["ref"]: row["version"] for row in json.loads(printed)}
            assert versions(holdall_cli, store) == told
            assert len(told) == len(APPS)
            assert len(set(told.values())) == 1, "apps of two publications"
            assert set(told.values()) <= {f"{version}.0" for version in range(2, NEWEST + 1)}

        for store, _, _ in ended[::4]:
            holdall_cli("--root", store, "verify")
            holdall_cli("--root", store, "update")
            assert set(versions(holdall_cli, store).values()) == {f"{NEWEST}.0"}
