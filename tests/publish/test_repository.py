"""A repository in each of its states, as python-tuf's own client sees it."""

import itertools
import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata

from bundles import APP, snapshot
from holdall.errors import BusyError, NotFoundError, UntrustedError, UsageError
from holdall.journeys.repository import init
from holdall.publish.repository.layout import Layout, holding
from holdall.publish.repository.published import Published
from repositories import Station, ended_at

pytestmark = pytest.mark.slow


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path)


def test_a_new_repository_is_accepted_and_empty(station: Station) -> None:
    client = station.look()
    assert client.offer(APP) is None
    assert client.catalogue() == {}


def test_what_was_added_is_not_handed_out_before_it_is_published(station: Station) -> None:
    station.add(station.bundle())
    assert station.versions() == []


def test_what_was_published_is_handed_out(station: Station) -> None:
    station.add(station.bundle())
    edition = station.publish()
    assert edition.apps == (APP,)
    assert station.versions() == ["1.0"]
    entry = station.look().catalogue()[APP]
    assert entry.refs["x86_64/stable"].version == "1.0"


def test_a_second_publication_follows_the_first(station: Station) -> None:
    station.add(station.bundle("1.0"))
    station.publish()
    assert station.versions() == ["1.0"]
    station.add(station.bundle("2.0"))
    station.publish()
    assert station.versions() == ["2.0", "1.0"]
    assert station.look().catalogue()[APP].refs["x86_64/stable"].version == "2.0"


def test_an_older_release_takes_its_place_behind_newer_ones(station: Station) -> None:
    station.add(station.bundle("2.0"))
    station.publish()
    station.add(station.bundle("1.0"))
    station.publish()
    assert station.versions() == ["2.0", "1.0"]


def test_nothing_is_published_where_nothing_waits(station: Station) -> None:
    station.add(station.bundle())
    station.publish()
    before = snapshot(station.path, without=(station.path / ".holdall",))
    assert station.publish().is_empty
    assert snapshot(station.path, without=(station.path / ".holdall",)) == before


def test_a_dry_run_changes_nothing(station: Station) -> None:
    station.add(station.bundle())
    before = snapshot(station.folder)
    assert station.publish(dry_run=True).apps == (APP,)
    after = snapshot(station.folder)
    assert {path for path in after if not path.endswith("/lock")} == {
        path for path in before if not path.endswith("/lock")
    }
    assert station.versions() == []


def test_one_publication_reads_and_writes_only_what_changed(tmp_path: Path) -> None:
    station = Station(tmp_path, bits=6)
    station.add(*(station.bundle(app=f"org.example.App{number}") for number in range(20)))
    station.publish()
    station.add(station.bundle("2.0", app="org.example.App7"))
    edition = station.publish()
    names = [role.role for role in edition.roles]
    assert names[-2:] == ["snapshot", "timestamp"]
    assert len(names) in {3, 4}  # the bin of the app, and that of the catalogue
    assert sum("/targets/apps/" in path for path in edition.files) == 1
    assert station.versions("org.example.App7") == ["2.0", "1.0"]
    assert station.versions("org.example.App8") == ["1.0"]


def settle_for_few(station: Station, most: int) -> None:
    """Have bins of at most so many apps."""
    path = station.path / ".holdall/settings.json"
    table = json.loads(path.read_text())
    path.write_text(json.dumps(table | {"most-apps": most}))


def test_bins_double_while_one_has_too_many_apps(station: Station) -> None:
    settle_for_few(station, 2)
    ids: list[str] = []
    for count in (3, 12, 40):
        ids = [f"org.example.App{number}" for number in range(count)]
        station.add(*(station.bundle(app=app_id) for app_id in ids))
        station.publish()
        client = station.look()
        assert all(client.offer(app_id) for app_id in ids)
        assert set(client.catalogue()) == set(ids)
    published = Published(station.layout)
    assert published.bins.bit_length > 4
    for name, metadata in published.roles():
        assert len([line for line in metadata.signed.targets if line != "catalogue.json"]) <= 2, (
            name
        )
    assert published.app_ids() == sorted(ids)
    assert station.newcomer().offer("org.example.App39")


def test_segments_of_the_catalogue_stay_few(station: Station) -> None:
    ids = [f"org.example.App{number}" for number in range(40)]
    for app_id in ids:
        station.add(station.bundle(app=app_id))
        station.publish()
    assert set(station.look().catalogue()) == set(ids)
    assert len(Published(station.layout).catalogue().segments) <= 4


# ------------------------------------------------------------------ time


def test_the_timestamp_and_the_snapshot_are_renewed_before_they_expire(station: Station) -> None:
    station.add(station.bundle())
    station.publish()
    station.later(9)
    assert station.publish().is_empty
    station.later(1)
    assert [role.role for role in station.publish().roles] == ["timestamp"]
    station.later(11)
    assert {role.role for role in station.publish().roles} == {"snapshot", "timestamp"}
    assert station.versions() == ["1.0"]


def test_every_role_is_renewed_in_its_time_for_three_years(station: Station) -> None:
    station.add(station.bundle())
    station.publish()
    for _ in range(120):
        station.later(9.3)
        station.publish()
        assert station.look().offer(APP)
    assert station.newcomer().offer(APP)
    published = Published(station.layout)
    assert published.root.signed.version > 3
    assert published.version("targets") > 3
    assert published.version("bin-0") > 12


def test_a_root_whose_keys_are_away_is_announced_and_renewed_with_them(station: Station) -> None:
    offline = station.folder / "stick"
    offline.mkdir()
    (station.keys / "root-1.pem").rename(offline / "root-1.pem")
    station.later(300)
    notes = station.publish().notes
    assert any("The role root expires" in note for note in notes)
    edition = station.publish(root_keys=(str(offline),))
    assert [role.role for role in edition.roles] == ["root"]
    assert not station.publish().notes
    assert station.look().offer(APP) is None


def test_lifetimes_are_the_publishers_choice(station: Station) -> None:
    station.later(10)
    station.publish(expiry=("timestamp=100", "bins=10"))
    published = Published(station.layout)
    days = (published.timestamp.signed.expires - station.now).days
    assert days == 100
    station.later(78)
    assert "bin-0" in {role.role for role in station.publish().roles}
    expires = Published(station.layout).at("bin-0", 2).signed.expires
    assert (expires - station.now).days == 10


def test_a_lifetime_for_a_role_that_is_not_there_is_refused(station: Station) -> None:
    for words in ("timestmp=3", "timestamp", "timestamp=0", "timestamp=x", "=3"):
        with pytest.raises(UsageError):
            station.publish(expiry=(words,))
    assert station.publish().is_empty


# ------------------------------------------------------------------ keys and locks


def test_private_keys_lie_outside_and_only_their_owner_reads_them(station: Station) -> None:
    names = sorted(path.name for path in station.keys.iterdir())
    assert names == [
        f"{role}-1.pem" for role in ("apps", "root", "snapshot", "targets", "timestamp")
    ]
    assert {path.stat().st_mode & 0o777 for path in station.keys.iterdir()} == {0o600}
    assert not station.keys.is_relative_to(station.path)
    private = [path.read_bytes() for path in station.keys.iterdir()]
    for path in files_below(station.path):
        data = path.read_bytes()
        assert not any(key in data for key in private), path


def files_below(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def test_keys_within_the_repository_are_refused(tmp_path: Path, station: Station) -> None:
    with pytest.raises(UsageError, match="everybody can read"):
        init(str(tmp_path / "other"), station.host, keys=str(tmp_path / "other/keys"))
    assert not (tmp_path / "other").exists()


def test_without_the_keys_nothing_is_published(station: Station) -> None:
    station.add(station.bundle())
    (station.keys / "snapshot-1.pem").rename(station.folder / "elsewhere.pem")
    before = snapshot(station.path, without=(station.path / ".holdall",))
    with pytest.raises(UntrustedError, match="The role snapshot needs 1 signatures and has 0"):
        station.publish()
    assert snapshot(station.path, without=(station.path / ".holdall",)) == before


def test_keys_can_be_named_that_are_elsewhere(station: Station) -> None:
    elsewhere = station.folder / "elsewhere"
    station.keys.rename(elsewhere)
    station.add(station.bundle())
    station.publish(keys=(str(elsewhere),))
    assert station.versions() == ["1.0"]
    with pytest.raises(NotFoundError, match="no folder of keys"):
        station.publish(keys=(str(station.folder / "nowhere"),))


def test_a_repository_is_not_made_twice(station: Station) -> None:
    with pytest.raises(UsageError, match="is a repository already"):
        init(str(station.path), station.host)


def test_a_folder_that_is_no_repository_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="is not a repository"), holding(Layout(str(tmp_path))):
        pass


def test_two_do_not_change_a_repository_at_once(station: Station) -> None:
    with holding(station.layout), pytest.raises(BusyError, match="--wait"):
        station.publish()


def test_the_fingerprint_is_that_of_the_first_root_for_ever(station: Station) -> None:
    root = (station.path / "root.json").read_bytes()
    assert sha256(root).hexdigest() == station.made.fingerprint
    assert (station.path / "metadata/1.root.json").read_bytes() == root
    assert Metadata.from_bytes(root).signed.version == 1


# ------------------------------------------------------------------ ends


def test_a_publication_may_end_at_any_step(tmp_path: Path) -> None:
    for rename in itertools.count(1):
        station = Station(tmp_path / str(rename))
        settle_for_few(station, 1)
        station.add(station.bundle("1.0"), station.bundle(app="org.example.Other"))
        station.publish()
        assert station.versions() == ["1.0"]
        others = [station.bundle(app=f"org.example.App{number}") for number in range(4)]
        station.add(station.bundle("2.0"), *others)
        ended = ended_at(rename, station.publish)
        assert station.versions() in (["1.0"], ["2.0", "1.0"])
        station.publish()
        assert station.versions() == ["2.0", "1.0"]
        assert len(station.look().catalogue()) == 6
        assert station.publish().is_empty
        if not ended:
            break
    assert rename > 10


def test_making_a_repository_may_end_at_any_step(tmp_path: Path) -> None:
    for rename in itertools.count(1):
        folder = tmp_path / str(rename)
        if not ended_at(rename, lambda: Station(folder)):  # noqa: B023 - done in this round
            break
        station = Station(folder)
        station.add(station.bundle())
        station.publish()
        assert station.versions() == ["1.0"]
    assert rename > 10
