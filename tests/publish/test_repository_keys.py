"""Keys change hands: rotation, thresholds, offline roots, publishers' own roles."""

import itertools
import shutil
from datetime import datetime
from pathlib import Path

import pytest
from tuf.api.exceptions import DownloadError, RepositoryError
from tuf.api.metadata import Delegations, Metadata

from bundles import APP, KEY, OTHER, key_of, snapshot
from holdall.errors import NotFoundError, UntrustedError, UsageError
from holdall.journeys.repository import PublishOptions, publish
from holdall.journeys.repository_intake import add
from holdall.journeys.repository_keys import KeyChanges, KeyPlaces, listed
from holdall.publish.repository.keys import read_keys
from holdall.publish.repository.metadata import LIMITS, sign
from holdall.publish.repository.published import Published
from holdall.trust.keys import SigningKey
from repositories import Client, Station, ended_at

pytestmark = pytest.mark.slow

ROLES = ("root", "targets", "apps", "snapshot", "timestamp")


@pytest.fixture
def station(tmp_path: Path) -> Station:
    """A repository with an app."""
    station = Station(tmp_path)
    station.add(station.bundle("1.0"))
    station.publish()
    return station


def changes(station: Station, *keys: Path, root_keys: tuple[Path, ...] = ()) -> KeyChanges:
    places = KeyPlaces(tuple(map(str, keys)), tuple(map(str, root_keys)))
    return KeyChanges(str(station.path), station.host, places, now=station.now)


def keyids(station: Station, role: str) -> list[str]:
    return [row.keyid for row in listed(str(station.path))[0] if row.role == role]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_rotates_over_three_versions(station: Station, role: str) -> None:
    slow = Client(station.path, station.folder / "slow").refresh(station.now)
    seen = {*keyids(station, role)}
    for number in range(3):
        changed = changes(station).rotate(role)
        assert [item.is_complete for item in changed.waiting] == [True]
        station.publish()
        assert station.versions()[0] == f"{1 + number}.0"
        station.add(station.bundle(f"{2 + number}.0"))
        station.publish()
        seen |= {*keyids(station, role)}
    assert len(seen) == 4
    assert station.versions() == ["4.0", "3.0", "2.0", "1.0"]
    # one that slept over all of it
    offer = slow.refresh(station.now).offer(APP)
    assert offer is not None
    assert offer.releases[0].version == "4.0"


def test_all_roles_rotate_in_one_publication(station: Station) -> None:
    for role in ROLES:
        changes(station).rotate(role)
    edition = station.publish()
    names = {role.role for role in edition.roles}
    assert names == {"root", "targets", "apps", "bin-0", "bin-1", "snapshot", "timestamp"}
    assert station.versions() == ["1.0"]


def test_a_client_between_two_renames_of_a_rotation_sees_a_whole_state(station: Station) -> None:
    """The timestamp comes before the root that has its new key, so it has the old one's, too."""
    for role in ("snapshot", "timestamp", "targets"):
        changes(station).rotate(role)
    station.add(station.bundle("2.0"))
    station.publish()
    newest = station.path / "metadata/2.root.json"
    newest.rename(station.path / "metadata/away")
    assert station.versions() == ["2.0", "1.0"]
    (station.path / "metadata/away").rename(newest)
    assert station.versions() == ["2.0", "1.0"]


def test_a_rotation_may_end_at_any_step(tmp_path: Path) -> None:
    for rename in itertools.count(1):
        station = Station(tmp_path / str(rename))
        station.add(station.bundle("1.0"))
        station.publish()
        assert station.versions() == ["1.0"]
        for role in ROLES:
            changes(station).rotate(role)
        station.add(station.bundle("2.0"))
        ended = ended_at(rename, station.publish)
        assert station.versions() in (["1.0"], ["2.0", "1.0"])
        station.publish()
        assert station.versions() == ["2.0", "1.0"]
        assert station.publish().is_empty
        if not ended:
            break
    assert rename > 8


@pytest.mark.parametrize("role", ROLES)
def test_a_role_may_need_two_signatures(station: Station, role: str) -> None:
    changes(station).add(role)
    changes(station).set_threshold(role, 2)
    station.publish()
    station.add(station.bundle("2.0"))
    station.publish()
    assert station.versions() == ["2.0", "1.0"]
    second = station.keys / f"{role}-2.pem"
    second.rename(station.folder / "away.pem")
    station.later(360)
    if role == "root":
        assert any("root" in note for note in station.publish().notes)
    elif role == "targets":
        assert any("targets" in note for note in station.publish().notes)
    else:
        with pytest.raises(UntrustedError, match=r"needs 2 signatures and has 1"):
            station.publish()


def test_a_key_that_leaks_below_the_threshold_signs_nothing(station: Station) -> None:
    changes(station).add("timestamp")
    changes(station).set_threshold("timestamp", 2)
    station.publish()
    one = station.layout.timestamp
    path = Path(one)
    text = path.read_text()
    first = text.index('"keyid"')
    second = text.index('"keyid"', first + 1)
    assert second > first
    # only one of both signatures is left
    start, end = text.rindex("{", 0, second), text.index("}", second) + 1
    path.write_text(text[: start - 1] + text[end:])
    with pytest.raises(RepositoryError, match="1/2 keys"):
        station.newcomer()


def test_a_key_is_removed(station: Station) -> None:
    changes(station).add("snapshot")
    first = keyids(station, "snapshot")[0]
    changes(station).remove("snapshot", first[:16])
    station.publish()
    assert first not in keyids(station, "snapshot")
    assert station.versions() == ["1.0"]


@pytest.mark.parametrize("role", ROLES)
def test_the_last_key_of_a_role_stays(station: Station, role: str) -> None:
    with pytest.raises(UsageError, match="needs 1 signatures and has 1 keys"):
        changes(station).remove(role, keyids(station, role)[0])


def test_thresholds_fit_the_keys(station: Station) -> None:
    for number in (0, 2):
        with pytest.raises(UsageError, match="has 1 keys"):
            changes(station).set_threshold("root", number)
    with pytest.raises(NotFoundError, match="no role bins"):
        changes(station).set_threshold("bins", 1)


# ------------------------------------------------------------------ keys that are elsewhere


def test_an_offline_root_is_brought_for_one_command(station: Station) -> None:
    stick = station.folder / "stick"
    stick.mkdir()
    (station.keys / "root-1.pem").rename(stick / "root-1.pem")
    changed = changes(station, root_keys=(stick,)).rotate("timestamp")
    assert changed.waiting[0].is_complete
    assert changed.files == (f"{station.keys}/timestamp-2.pem",)
    station.publish()
    assert station.versions() == ["1.0"]
    changed = changes(station, root_keys=(stick,)).rotate("root")
    assert changed.files == (f"{stick}/root-2.pem",)
    station.publish()
    assert station.versions() == ["1.0"]


def test_a_root_gathers_signatures_of_two_people(station: Station) -> None:
    mine, theirs = station.folder / "mine", station.folder / "theirs"
    mine.mkdir()
    theirs.mkdir()
    (station.keys / "root-1.pem").rename(mine / "root-1.pem")
    changes(station, mine, root_keys=(theirs,)).add("root")
    changes(station, mine, theirs).set_threshold("root", 2)
    station.publish(root_keys=(str(mine), str(theirs)))
    assert Published(station.layout).root.signed.roles["root"].threshold == 2

    changes(station).rotate("timestamp")
    waiting = listed(str(station.path))[1]
    assert [(item.signatures, item.threshold) for item in waiting] == [(0, 2)]
    edition = station.publish()
    assert any("The new root waits" in note for note in edition.notes)
    assert not edition.roles
    assert [item.signatures for item in changes(station, mine).sign().waiting] == [1]
    assert not station.publish().roles
    assert [item.is_complete for item in changes(station, theirs).sign().waiting] == [True]
    assert "root" in {role.role for role in station.publish().roles}
    assert station.versions() == ["1.0"]
    assert not changes(station).sign().waiting


def test_what_waits_for_signatures_does_not_keep_apps_back(station: Station) -> None:
    (station.keys / "root-1.pem").rename(station.folder / "away.pem")
    changes(station).rotate("snapshot")
    station.add(station.bundle("2.0"))
    edition = station.publish()
    assert edition.apps == (APP,)
    assert edition.notes
    assert station.versions() == ["2.0", "1.0"]


def test_targets_kept_offline_wait_for_their_signature(station: Station) -> None:
    stick = station.folder / "stick"
    stick.mkdir()
    (station.keys / "targets-1.pem").rename(stick / "targets-1.pem")
    changes(station).rotate("apps")
    station.add(station.bundle("2.0"))
    edition = station.publish()
    assert any("The new targets wait" in note for note in edition.notes)
    assert station.versions() == ["2.0", "1.0"]
    changes(station, stick).sign()
    assert "targets" in {role.role for role in station.publish().roles}
    assert station.versions() == ["2.0", "1.0"]


# ------------------------------------------------------------------ publishers


PUBLISHER = key_of(7)


class Publisher:
    """Somebody with a key of their own, who works on a copy of a repository."""

    def __init__(self, station: Station, key: SigningKey = PUBLISHER, name: str = "acme") -> None:
        self.station = station
        self.name = name
        self.copy = station.folder / f"copy-{name}"
        self.keys = station.folder / f"keys-{name}"
        self.keys.mkdir()
        (self.keys / "acme.pem").write_bytes(key.pem)
        self.public = station.folder / f"{name}.pub"
        self.public.write_text(key.public.export())
        self.key = key

    def fetch(self) -> None:
        """Copy what the repository hands out."""
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(self.station.path, self.copy, ignore=shutil.ignore_patterns(".holdall"))

    def release(self, *bundles: Path, now: datetime | None = None) -> tuple[str, ...]:
        """Add bundles to the copy and sign; returns the notes."""
        now = now or self.station.now
        if bundles:
            add(str(self.copy), [str(path) for path in bundles], now=now)
        options = PublishOptions(keys=(str(self.keys),), role=self.name)
        return publish(str(self.copy), self.station.host, options=options, now=now).notes

    def hand_over(self) -> None:
        """Put all that is new beside what the operator has; nothing of theirs is overwritten."""
        for path in sorted(self.copy.rglob("*")):
            target = self.station.path / path.relative_to(self.copy)
            if path.is_file() and ".holdall" not in path.parts and not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)


@pytest.fixture
def publisher(station: Station) -> Publisher:
    """The publisher of org.acme.*, who has published org.acme.Saw 1.0."""
    publisher = Publisher(station)
    changes(station).delegate("acme", ("org.acme.*",), (str(publisher.public),))
    publisher.fetch()
    publisher.release(saw(station, "1.0"))
    publisher.hand_over()
    station.publish()
    return publisher


def saw(station: Station, version: str, key: SigningKey = PUBLISHER) -> Path:
    return station.bundle(version, app="org.acme.Saw", keys=(key,))


def test_a_delegation_waits_for_what_the_publisher_signs(station: Station) -> None:
    publisher = Publisher(station)
    changes(station).delegate("acme", ("org.acme.*",), (str(publisher.public),))
    notes = station.publish().notes
    assert any("waits for what it signs" in note for note in notes)
    assert station.versions() == ["1.0"]


def test_a_publisher_answers_for_its_own_apps(publisher: Publisher) -> None:
    station = publisher.station
    assert "acme" in Published(station.layout).publishers
    assert station.versions("org.acme.Saw") == ["1.0"]
    assert set(station.look().catalogue()) == {APP, "org.acme.Saw"}
    publisher.fetch()
    publisher.release(saw(station, "2.0"))
    publisher.hand_over()
    assert station.versions("org.acme.Saw") == ["1.0"]
    edition = station.publish()
    assert edition.apps == ("org.acme.Saw",)
    assert station.versions("org.acme.Saw") == ["2.0", "1.0"]


def test_a_publisher_may_sign_again_before_the_operator_publishes(publisher: Publisher) -> None:
    publisher.fetch()
    publisher.release(saw(publisher.station, "2.0"))
    publisher.release(saw(publisher.station, "3.0"))
    publisher.hand_over()
    publisher.station.publish()
    assert publisher.station.versions("org.acme.Saw") == ["3.0", "2.0", "1.0"]


def test_a_publisher_that_is_not_there_yet_may_sign_twice(station: Station) -> None:
    publisher = Publisher(station)
    changes(station).delegate("acme", ("org.acme.*",), (str(publisher.public),))
    publisher.fetch()
    publisher.release(saw(station, "1.0"))
    publisher.release(saw(station, "2.0"))
    publisher.hand_over()
    station.publish()
    assert station.versions("org.acme.Saw") == ["2.0", "1.0"]


def test_the_operator_cannot_answer_for_a_publishers_apps(publisher: Publisher) -> None:
    station = publisher.station
    station.add(saw(station, "2.0"))
    edition = station.publish()
    assert edition.is_empty
    assert any("org.acme.Saw waits" in note for note in edition.notes)
    assert station.versions("org.acme.Saw") == ["1.0"]


def test_a_publisher_cannot_answer_for_others_apps(publisher: Publisher) -> None:
    publisher.fetch()
    station = publisher.station
    notes = publisher.release(station.bundle("9.0"), saw(station, "2.0"))
    assert any(f"{APP} waits" in note for note in notes)
    publisher.hand_over()
    station.publish()
    assert station.versions() == ["1.0"]
    assert station.versions("org.acme.Saw") == ["2.0", "1.0"]


def test_what_another_key_signed_for_a_publisher_is_left_out(publisher: Publisher) -> None:
    station = publisher.station
    publisher.fetch()
    publisher.release(saw(station, "2.0"))
    path = publisher.copy / "metadata/2.acme.json"
    path.write_text(path.read_text().replace('"sig":"', '"sig":"00'))
    publisher.hand_over()
    edition = station.publish()
    assert edition.is_empty
    assert any("is left out: it has 0 of 1 signatures" in note for note in edition.notes)
    assert station.versions("org.acme.Saw") == ["1.0"]


def test_what_was_handed_over_in_part_is_left_out(publisher: Publisher) -> None:
    station = publisher.station
    before = set(station.path.rglob("*"))
    publisher.fetch()
    publisher.release(saw(station, "2.0"))
    publisher.hand_over()
    new = [path for path in station.path.rglob("*") if path.is_file() and path not in before]
    assert len(new) == 3  # metadata, the offer, the bundle
    for path in new:
        data = path.read_bytes()
        for damaged in (None, data[:-1], data[:-1] + b"?"):
            path.unlink()
            if damaged is not None:
                path.write_bytes(damaged)
            assert station.publish().is_empty
            assert station.versions("org.acme.Saw") == ["1.0"]
            path.write_bytes(data)
    station.publish()
    assert station.versions("org.acme.Saw") == ["2.0", "1.0"]


def test_a_publishers_role_may_need_two_people(station: Station) -> None:
    one, two = Publisher(station), Publisher(station, key_of(8), "second")
    keys = (str(one.public), str(two.public))
    changes(station).delegate("acme", ("org.acme.*",), keys)
    changes(station).set_threshold("acme", 2)
    one.fetch()
    one.release(saw(station, "1.0"))
    one.hand_over()
    assert any("has 1 of 2 signatures" in note for note in station.publish().notes)
    (station.path / "metadata/1.acme.json").unlink()
    one.keys = two.keys
    one.release()
    one.hand_over()
    station.publish()
    assert station.versions("org.acme.Saw") == ["1.0"]


def test_apps_that_are_there_move_to_their_publisher_with_what_it_signs(station: Station) -> None:
    publisher = Publisher(station, KEY)
    changes(station).delegate("acme", (APP,), (str(publisher.public),))
    publisher.fetch()
    publisher.release()
    publisher.hand_over()
    assert any(f"lacks {APP}" in note for note in station.publish().notes)
    assert station.versions() == ["1.0"]
    publisher.release(station.bundle("2.0"))
    publisher.hand_over()
    station.publish()
    assert station.versions() == ["2.0", "1.0"]
    published = Published(station.layout)
    assert published.answering(f"apps/{APP}.json") == "acme"
    assert published.app_ids() == [APP]


def test_a_publisher_that_goes_takes_its_apps_along(publisher: Publisher) -> None:
    station = publisher.station
    changes(station).undelegate("acme")
    station.publish()
    assert station.versions("org.acme.Saw") == []
    assert set(station.look().catalogue()) == {APP}


def test_the_operator_may_keep_the_apps_of_a_publisher_that_goes(publisher: Publisher) -> None:
    station = publisher.station
    assert changes(station).undelegate("acme", keep=True).apps == ("org.acme.Saw",)
    station.publish()
    assert station.versions("org.acme.Saw") == ["1.0"]
    assert set(station.look().catalogue()) == {APP, "org.acme.Saw"}
    station.add(saw(station, "2.0"))
    station.publish()
    assert station.versions("org.acme.Saw") == ["2.0", "1.0"]


def test_a_publisher_comes_back_with_higher_versions(publisher: Publisher) -> None:
    station = publisher.station
    changes(station).undelegate("acme")
    station.publish()
    station.look()
    changes(station).delegate("acme", ("org.acme.*",), (str(publisher.public),))
    station.publish()
    assert station.versions("org.acme.Saw") == ["1.0"]


def test_a_publisher_changes_its_key(publisher: Publisher) -> None:
    station = publisher.station
    successor = Publisher(station, key_of(9), "successor")
    changes(station).add("acme", str(successor.public))
    changes(station).remove("acme", PUBLISHER.public.fingerprint)
    assert any("waits: it has 0 of 1" in note for note in station.publish().notes)
    assert station.versions("org.acme.Saw") == ["1.0"]
    publisher.fetch()
    publisher.keys = successor.keys
    with pytest.raises(UntrustedError, match="None of the keys"):
        publisher.release()


def test_what_a_publisher_signed_is_renewed_by_it_alone(publisher: Publisher) -> None:
    station = publisher.station
    station.later(300)
    assert any("its publisher must sign it anew" in note for note in station.publish().notes)
    publisher.fetch()
    publisher.release()
    publisher.hand_over()
    assert "acme" in {role.role for role in station.publish().roles}
    station.later(80)
    station.publish()
    assert station.versions("org.acme.Saw") == ["1.0"]


def test_metadata_under_another_version_than_its_own_is_left_out(publisher: Publisher) -> None:
    station = publisher.station
    publisher.fetch()
    publisher.release(saw(station, "2.0"))
    (publisher.copy / "metadata/2.acme.json").rename(publisher.copy / "metadata/3.acme.json")
    shutil.copyfile(station.path / "metadata/1.acme.json", publisher.copy / "metadata/2.acme.json")
    publisher.hand_over()
    edition = station.publish()
    assert edition.is_empty
    assert any("is left out" in note for note in edition.notes)
    assert station.versions("org.acme.Saw") == ["1.0"]


def test_a_publisher_does_not_delegate_further(publisher: Publisher) -> None:
    station = publisher.station
    body = Published(station.layout).at("acme", 1).signed
    body.version = 2
    body.delegations = Delegations({}, roles={})
    signed = sign(Metadata(body), read_keys([str(publisher.keys)]), [PUBLISHER.public.fingerprint])
    (station.path / "metadata/2.acme.json").write_bytes(signed.to_bytes())
    edition = station.publish()
    assert any("it delegates to others" in note for note in edition.notes)
    assert edition.is_empty


def test_a_part_that_clients_would_not_read_is_refused(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, "targets", 300)
    station.add(station.bundle("2.0"))
    with pytest.raises(UsageError, match="clients read no more than 300"):
        station.publish()
    assert station.versions() == ["1.0"]


@pytest.mark.parametrize("name", ["root", "apps", "bin-1", "Acme", "a/b", "..", "", "-x"])
def test_a_name_that_cannot_be_a_role_is_refused(station: Station, name: str) -> None:
    publisher = Publisher(station)
    before = snapshot(station.path / "metadata")
    with pytest.raises(UsageError, match="no name for a publisher's role"):
        changes(station).delegate(name, ("org.acme.*",), (str(publisher.public),))
    assert snapshot(station.path / "metadata") == before
    assert not (station.path / ".holdall/pending/roles").exists()


@pytest.mark.parametrize("pattern", ["*", "org.*.Saw", "../x", "org.acme.[a]*", "acme"])
def test_a_pattern_that_is_not_of_ids_is_refused(station: Station, pattern: str) -> None:
    publisher = Publisher(station)
    with pytest.raises(UsageError, match="is not an app id"):
        changes(station).delegate("acme", (pattern,), (str(publisher.public),))


def test_two_publishers_do_not_answer_for_one_app(publisher: Publisher) -> None:
    other = Publisher(publisher.station, OTHER, "other")
    for pattern in ("org.acme.Saw", "org.acme.tools.*", "org.acme.*", "org.*"):
        with pytest.raises(UsageError, match="would belong to acme, too"):
            changes(publisher.station).delegate("other", (pattern,), (str(other.public),))


def test_a_client_of_a_repository_whose_publisher_vanished_gets_an_error(
    publisher: Publisher,
) -> None:
    """Nobody else answers for an app that was delegated, not even when the publisher's is gone."""
    (publisher.station.path / "metadata/1.acme.json").unlink()
    client = publisher.station.newcomer()
    with pytest.raises((DownloadError, RepositoryError)):
        client.offer("org.acme.Saw")
    assert client.offer(APP)
