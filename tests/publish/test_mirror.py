"""A mirror: part of a repository in a folder, which a client without network takes for it."""

import random
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bundles import APP, REF, snapshot
from holdall.errors import HoldallError, NotFoundError, UntrustedError, UsageError
from holdall.journeys.host import Host, root_host
from holdall.journeys.mirror import Mirrored, MirrorOptions, mirror
from holdall.journeys.remotes import add_remote
from holdall.journeys.repository import publish
from holdall.journeys.repository_care import collect, list_apps
from holdall.journeys.repository_keys import KeyChanges
from holdall.model.ref import RefPattern
from increments import make_increment
from repositories import Client, Station

OTHERS = [f"org.example.App{number}" for number in range(12)]


@pytest.fixture
def station(tmp_path: Path) -> Station:
    """A repository of today with an app in two versions, an increment, and other apps."""
    station = Station(tmp_path, bits=3, now=datetime.now(UTC))
    one, two = station.bundle("1.0"), station.bundle("2.0")
    increment = make_increment(station.folder / "i.holdall", [one], two)
    station.add(one, two, increment, *(station.bundle(app=app_id) for app_id in OTHERS))
    station.publish()
    return station


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """The store of somebody who mirrors."""
    return root_host(str(tmp_path / "elsewhere"))


def mirrored(station: Station, host: Host, *refs: str, **options: object) -> Mirrored:
    chosen = MirrorOptions(root=station.made.fingerprint)._replace(**options)  # type: ignore[arg-type]  # passed on
    patterns = [RefPattern.parse(ref) for ref in refs]
    return mirror(str(station.path), str(stick(station)), host, patterns, options=chosen)


def stick(station: Station) -> Path:
    return station.folder / "stick"


def client_of(station: Station) -> Client:
    memory = station.folder / f"client-{len(list(station.folder.iterdir()))}"
    return Client(stick(station), memory).refresh(station.now)


def contents(folder: Path) -> int:
    return len(list(folder.glob("content/*/*")))


def test_a_mirror_of_everything_is_the_repository(station: Station, host: Host) -> None:
    made = mirrored(station, host, all_versions=True)
    assert len(made.refs) == 13
    assert contents(stick(station)) == 15
    client = client_of(station)
    assert all(client.offer(app_id) for app_id in (APP, *OTHERS))
    assert len(client.catalogue()) == 13
    for path in stick(station).rglob("*"):
        name = path.relative_to(stick(station))
        if path.is_file() and name.parts[0] != ".holdall":
            assert path.read_bytes() == (station.path / name).read_bytes(), name


def test_a_part_has_the_newest_release_and_what_leads_to_it(station: Station, host: Host) -> None:
    made = mirrored(station, host, APP)
    assert made.refs == (REF,)
    assert made.root == station.made.fingerprint
    assert contents(stick(station)) == 2
    target = client_of(station).target(f"apps/{APP}.json")
    assert target is not None
    assert [row.ref for row in list_apps(str(stick(station)))] == [REF]


def test_a_mirror_follows_its_source_and_fetches_only_what_is_new(
    station: Station, host: Host
) -> None:
    mirrored(station, host, all_versions=True)
    assert mirrored(station, host, all_versions=True).fetched == 0
    KeyChanges(str(station.path), station.host, now=station.now).rotate("root")
    KeyChanges(str(station.path), station.host, now=station.now).rotate("timestamp")
    third = station.bundle("3.0")
    station.add(third)
    station.publish()
    client = client_of(station)
    made = mirror(
        str(station.path), str(stick(station)), host, options=MirrorOptions(all_versions=True)
    )
    assert made.fetched == third.stat().st_size
    assert client.refresh(station.now).offer(APP)
    assert len(list_apps(str(stick(station)))) == 13


def test_a_remote_of_the_store_is_mirrored_by_its_name(station: Station, host: Host) -> None:
    add_remote("main", str(station.path), host, root=station.made.fingerprint)
    assert mirror("main", str(stick(station)), host, [RefPattern.parse(APP)]).refs == (REF,)
    assert client_of(station).target(f"apps/{APP}.json")


def test_what_is_older_than_the_store_knows_is_not_mirrored(station: Station, host: Host) -> None:
    old = station.folder / "old"
    shutil.copytree(station.path, old)
    station.add(station.bundle("3.0"))
    station.publish()
    add_remote("main", str(station.path), host, root=station.made.fingerprint)
    shutil.rmtree(station.path)
    old.rename(station.path)
    with pytest.raises(UntrustedError, match="older"):
        mirror("main", str(stick(station)), host)
    assert not (stick(station) / "metadata").exists()


def test_another_root_is_refused(station: Station, host: Host) -> None:
    with pytest.raises(UntrustedError, match="fingerprint"):
        mirrored(station, host, root="0" * 64)
    with pytest.raises(UsageError, match="--trust-root"):
        mirrored(station, host, root="")
    assert not (stick(station) / "root.json").exists()


def test_nothing_is_mirrored_that_was_changed(station: Station, host: Host) -> None:
    mirrored(station, host, all_versions=True)
    names = [
        path.relative_to(stick(station))
        for path in sorted(stick(station).rglob("*"))
        if path.is_file() and ".holdall" not in path.parts and path.name != "1.root.json"
    ]
    assert len(names) > 30
    for name in names:
        shutil.rmtree(stick(station))
        path = station.path / name
        data = path.read_bytes()
        path.write_bytes(data[:-2] + bytes([data[-2] ^ 1]) + data[-1:])
        with pytest.raises(HoldallError) as failed:
            mirrored(station, host, all_versions=True)
        assert failed.value.exit_code == 4, name
        assert not (stick(station) / "metadata").exists(), name
        path.write_bytes(data)


def test_an_interrupted_copy_goes_on_where_it_was(station: Station, host: Host) -> None:
    big = station.bundle("4.0", files={"bin/editor": random.Random(1).randbytes(300_000)})
    station.add(big)
    station.publish()
    sha = next(
        path.stem
        for path in station.path.glob("content/*/*")
        if path.stat().st_size == big.stat().st_size
    )
    part = stick(station) / ".holdall/incoming" / f"{sha}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(big.read_bytes()[:200_000])
    made = mirrored(station, host, APP)
    assert made.fetched == big.stat().st_size - 200_000
    assert client_of(station).target(f"apps/{APP}.json")


def test_a_damaged_beginning_is_thrown_away(station: Station, host: Host) -> None:
    sha = next(path.stem for path in station.path.glob("content/*/*"))
    part = stick(station) / ".holdall/incoming" / f"{sha}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"something else")
    with pytest.raises(HoldallError, match="not what its name says"):
        mirrored(station, host, all_versions=True)
    mirrored(station, host, all_versions=True)
    assert client_of(station).offer(APP)


def test_runtimes_come_along(station: Station, host: Host) -> None:
    runtime = "org.example.Platform/x86_64/stable"
    station.add(
        station.bundle(app="org.example.Platform", kind="runtime", command=""),
        station.bundle(app="org.example.Guest", runtime=runtime),
    )
    station.publish()
    made = mirrored(station, host, "org.example.Guest")
    assert made.refs == ("org.example.Guest/x86_64/stable", runtime)


def test_an_app_that_is_not_there_is_named(station: Station, host: Host) -> None:
    with pytest.raises(NotFoundError, match=r"has no org\.example\.Nothing"):
        mirrored(station, host, "org.example.Nothing")
    with pytest.raises(NotFoundError, match="aarch64"):
        mirrored(station, host, f"{APP}/aarch64/stable")


def test_a_dry_run_only_says_what_it_takes(station: Station, host: Host) -> None:
    made = mirrored(station, host, APP, dry_run=True)
    assert made.fetched == made.size > 0
    assert not (stick(station) / "content").exists()
    assert not (stick(station) / "metadata").exists()


def test_other_folders_are_left_alone(station: Station, host: Host, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("")
    before = snapshot(mine)
    root = MirrorOptions(root=station.made.fingerprint)
    with pytest.raises(UsageError, match="is not empty"):
        mirror(str(station.path), str(mine), host, options=root)
    assert snapshot(mine) == before
    other = Station(tmp_path / "other")
    with pytest.raises(UsageError, match="of your own"):
        mirror(str(station.path), str(other.path), host, options=root)


def test_a_mirror_is_not_published(station: Station, host: Host) -> None:
    mirrored(station, host, APP)
    with pytest.raises(UsageError, match="is a mirror"):
        publish(str(stick(station)), station.host)


def test_rubbish_of_a_mirror_is_collected(station: Station, host: Host) -> None:
    mirrored(station, host, APP)
    station.add(station.bundle("3.0"))
    station.publish()
    mirrored(station, host, APP)
    removed = collect(str(stick(station)), now=station.now + timedelta(days=2))
    assert removed.files
    assert client_of(station).target(f"apps/{APP}.json")
