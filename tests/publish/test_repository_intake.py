"""What a repository takes in, what it refuses, which increments it gets, what it throws away."""

import os
import random
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from bundles import APP, KEY, OTHER, REF, Parts, snapshot
from holdall.errors import (
    CorruptError,
    HoldallError,
    NotFoundError,
    UntrustedError,
    UsageError,
)
from holdall.journeys.arrival import arriving
from holdall.journeys.build import BuildOptions
from holdall.journeys.host import Event
from holdall.journeys.repository_care import collect, details, list_apps, show
from holdall.journeys.repository_deltas import make_deltas
from holdall.journeys.repository_intake import IntakeOptions, add
from holdall.journeys.supply import read_size
from holdall.model.ref import RefPattern
from holdall.publish.repository.pending import Pending
from increments import make_increment
from repositories import Station


@pytest.fixture
def station(tmp_path: Path) -> Station:
    return Station(tmp_path)


def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def refused(station: Station, error: type[HoldallError], match: str, *paths: Path) -> None:
    """Adding must fail and leave the repository as it was."""
    before = snapshot(station.path)
    with pytest.raises(error, match=match):
        add(str(station.path), [str(path) for path in paths], now=station.now)
    after = snapshot(station.path)
    lock = f"{station.path}/.holdall/lock"
    assert {key: after[key] for key in after if key != lock} == {
        key: before[key] for key in before if key != lock
    }


def test_content_files_have_their_digest_as_name_and_are_copies(station: Station) -> None:
    path = station.bundle()
    (added,) = add(str(station.path), [str(path)], now=station.now)
    assert added.sha256 == sha256(path.read_bytes()).hexdigest()
    content = Path(station.layout.content(added.sha256))
    assert content.read_bytes() == path.read_bytes()
    assert content.stat().st_ino != path.stat().st_ino
    assert content.stat().st_mode & 0o777 == 0o644
    assert added.signers == (KEY.public.fingerprint,)


def test_hard_links_are_taken_on_request(station: Station) -> None:
    path = station.bundle()
    (added,) = add(
        str(station.path), [str(path)], options=IntakeOptions(link=True), now=station.now
    )
    assert Path(station.layout.content(added.sha256)).stat().st_ino == path.stat().st_ino


def test_the_same_file_twice_is_nothing_to_do(station: Station) -> None:
    path = station.bundle()
    station.add(path)
    station.publish()
    (again,) = add(str(station.path), [str(path)], now=station.now)
    assert not again.new
    assert station.publish().is_empty


def test_a_dry_run_checks_and_changes_nothing(station: Station) -> None:
    path = station.bundle()
    before = snapshot(station.path / "content", station.path / ".holdall/pending")
    options = IntakeOptions(dry_run=True)
    (would,) = add(str(station.path), [str(path)], options=options, now=station.now)
    assert would.new
    assert snapshot(station.path / "content", station.path / ".holdall/pending") == before


def test_progress_ends_at_its_exact_total(station: Station) -> None:
    events: list[Event] = []
    add(
        str(station.path),
        [str(station.bundle("1.0")), str(station.bundle("2.0"))],
        report=events.append,
        now=station.now,
    )
    dones = [event.done for event in events if event.total]
    assert dones == sorted(dones)
    assert dones[-1] == events[-1].total > 0


# ------------------------------------------------------------------ refused


def test_an_unsigned_bundle_is_refused(station: Station) -> None:
    refused(station, UntrustedError, "is not signed", station.bundle(keys=()))


def test_another_publishers_key_is_refused_unless_allowed(station: Station) -> None:
    station.add(station.bundle("1.0"))
    station.publish()
    other = station.bundle("2.0", keys=(OTHER,))
    refused(station, UntrustedError, "--allow-new-signer", other)
    options = IntakeOptions(allow_new_signer=True)
    add(str(station.path), [str(other)], options=options, now=station.now)
    station.publish()
    assert station.versions() == ["2.0", "1.0"]


def test_a_publisher_changes_keys_over_a_release_that_both_signed(station: Station) -> None:
    station.add(station.bundle("1.0"))
    station.add(station.bundle("2.0", keys=(KEY, OTHER)))
    station.add(station.bundle("3.0", keys=(OTHER,)))
    refused(station, UntrustedError, "signed nothing", station.bundle("4.0", keys=(KEY,)))


def test_another_release_of_the_same_version_is_refused(station: Station) -> None:
    station.add(station.bundle("1.0"))
    other = Station(station.folder / "other").bundle("1.0", files={"bin/editor": b"else"})
    refused(station, UsageError, "another release of", other)


def test_an_expired_release_is_refused(station: Station) -> None:
    path = station.bundle(options=BuildOptions(expires="2026-01-01T00:00:00+00:00"))
    refused(station, UntrustedError, "expired", path)


def test_increments_need_what_they_start_from_and_what_they_make(station: Station) -> None:
    one, two = station.bundle("1.0"), station.bundle("2.0")
    increment = make_increment(station.folder / "i.holdall", [one], two)
    refused(station, UsageError, "makes a release", increment)
    station.add(two)
    refused(station, UsageError, "starts from a release", increment)
    station.add(one)
    station.add(increment)
    station.publish()
    offer = station.look().offer(APP)
    assert offer is not None
    assert [len(item.bases) for item in offer.increments] == [1]


def test_all_can_be_given_at_once_in_any_order(station: Station) -> None:
    one, two = station.bundle("1.0"), station.bundle("2.0")
    increment = make_increment(station.folder / "i.holdall", [one], two)
    station.add(increment, two, one)
    station.publish()
    assert station.versions() == ["2.0", "1.0"]


def test_an_increment_that_others_signed_is_refused(station: Station) -> None:
    one, two = station.bundle("1.0"), station.bundle("2.0")
    station.add(one, two)
    increment = make_increment(station.folder / "i.holdall", [one], two, keys=(OTHER,))
    refused(station, UntrustedError, "not signed by a key that signed the release", increment)


IGNORED = range(20, 28)  # of a head: flags that readers pass over, see the format


@pytest.mark.parametrize("full", [True, False], ids=["full", "increment"])
def test_every_byte_of_a_file_counts(station: Station, full: bool) -> None:  # noqa: FBT001
    one, two = station.bundle("1.0"), station.bundle("2.0")
    path = two if full else make_increment(station.folder / "i.holdall", [one], two)
    if not full:
        station.add(one, two)
    data = path.read_bytes()
    damaged = station.folder / "damaged.holdall"
    before = snapshot(station.path / "content", station.path / ".holdall/pending")
    step = max(1, len(data) // 200)
    for at in (*range(0, len(data), step), len(data) - 1):
        if at in IGNORED:
            continue
        damaged.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(HoldallError) as error:
            add(str(station.path), [str(damaged)], now=station.now)
        assert error.value.exit_code in {2, 4}, at
        damaged.write_bytes(data[:at])
        with pytest.raises(CorruptError):
            add(str(station.path), [str(damaged)], now=station.now)
    assert snapshot(station.path / "content", station.path / ".holdall/pending") == before


def test_contents_that_are_not_what_the_tree_says_are_refused(station: Station) -> None:
    """The frames are those that were signed; what is in one is not."""
    one = Parts.of(station.bundle("1.0", files={"bin/editor": b"a" * 5000}).read_bytes())
    two = Parts.of(station.bundle("2.0", files={"bin/editor": b"b" * 5000}).read_bytes())
    mixed = Parts(one.envelope, one.tree, two.index, two.frames).signed(KEY)
    path = station.folder / "mixed.holdall"
    path.write_bytes(mixed.bytes)
    refused(station, CorruptError, "a content that is not what its publisher signed", path)


def test_one_bad_file_keeps_the_others_out(station: Station) -> None:
    good, bad = station.bundle("1.0"), station.bundle("2.0")
    bad.write_bytes(bad.read_bytes()[:-1] + b"?")
    refused(station, CorruptError, "is not what the publisher signed", good, bad)


def test_what_is_no_bundle_is_refused(station: Station) -> None:
    path = station.folder / "text"
    path.write_text("hello")
    refused(station, CorruptError, "not a holdall bundle|cut short", path)
    refused(station, NotFoundError, "no bundle", station.folder / "nothing")
    os.mkfifo(station.folder / "fifo")
    refused(station, UsageError, "no regular file", station.folder / "fifo")


# ------------------------------------------------------------------ ranges


def test_ranges_are_what_a_client_would_read(station: Station) -> None:
    same = {f"share/{number}": noise(20_000, number) for number in range(50)}
    options = BuildOptions(level=1, frame_size=65_536)
    paths = [
        station.bundle(version, files={**same, "bin/editor": noise(9000, at)}, options=options)
        for at, version in enumerate(("1.0", "2.0", "3.0"))
    ]
    # the one in the middle comes last
    for path in (paths[0], paths[2], paths[1]):
        station.add(path)
    station.publish()
    offer = station.look().offer(APP)
    assert offer is not None
    with arriving(str(paths[2])) as new, arriving(str(paths[0])) as old:
        opened = new.open()
        wanted = opened.tree.contents.keys() - old.open().tree.contents.keys()
        expected = read_size(opened, wanted)
    newest = offer.releases[0]
    assert 0 < expected < newest.bundle.size / 3
    assert newest.ranges == {
        offer.releases[1].release: expected,
        offer.releases[2].release: expected,
    }
    assert offer.releases[1].ranges.keys() == {offer.releases[2].release}
    assert newest.bundle.head == new.preamble.first


# ------------------------------------------------------------------ increments by policy


def wares(station: Station, *versions: tuple[str, str]) -> list[Path]:
    """Releases with the dates they were made at; each with a little of its own."""
    base = noise(200_000, 1)
    return [
        station.bundle(
            version,
            files={"bin/editor": base[:100_000] + version.encode() * 100 + base[100_000:]},
            options=BuildOptions(level=1, created=created),
        )
        for version, created in versions
    ]


def test_increments_come_from_the_release_before_and_from_those_that_lasted(
    station: Station,
) -> None:
    station.own_key()
    dates = ("2025-09-01", "2025-11-01", "2025-11-05", "2025-11-09", "2025-12-20")
    made = wares(station, *((f"{at}.0", f"{day}T00:00:00+00:00") for at, day in enumerate(dates)))
    station.add(*made)
    deltas = make_deltas(str(station.path), station.host)
    # 3.0 is the one before; it lasted, as 0.0 did; 1.0 and 2.0 were soon replaced
    assert [(item.base, item.version, item.outcome) for item in deltas] == [
        ("3.0", "4.0", "made"),
        ("0.0", "4.0", "made"),
    ]
    assert all(0 < item.size < item.full / 2 for item in deltas)
    station.publish()
    offer = station.look().offer(APP)
    assert offer is not None
    assert len(offer.increments) == 2
    again = make_deltas(str(station.path), station.host)
    assert [item.outcome for item in again] == ["there", "there"]
    deeper = make_deltas(str(station.path), station.host, depth=2, dry_run=True)
    assert [(item.base, item.outcome) for item in deeper] == [
        ("3.0", "there"),
        ("2.0", "made"),
        ("0.0", "there"),
    ]
    assert station.publish().is_empty


def test_an_increment_that_saves_nothing_is_tried_once(station: Station) -> None:
    station.own_key()
    station.add(
        station.bundle("1.0", files={"bin/editor": noise(50_000, 1)}),
        station.bundle("2.0", files={"bin/editor": noise(50_000, 2)}),
    )
    assert [item.outcome for item in make_deltas(str(station.path), station.host)] == ["useless"]
    planned = make_deltas(str(station.path), station.host, dry_run=True)
    assert [item.outcome for item in planned] == ["useless"]
    planned = make_deltas(str(station.path), station.host, again=True, dry_run=True)
    assert [item.outcome for item in planned] == ["made"]


def test_only_the_publisher_makes_increments(station: Station) -> None:
    station.own_key(OTHER)
    station.add(*wares(station, ("1.0", ""), ("2.0", "")))
    with pytest.raises(UntrustedError, match="only their publishers"):
        make_deltas(str(station.path), station.host)


def test_increments_for_an_app_that_is_not_there_are_an_error(station: Station) -> None:
    station.own_key()
    with pytest.raises(NotFoundError, match=r"has no org\.example\.Nothing"):
        make_deltas(str(station.path), station.host, [RefPattern.parse("org.example.Nothing")])


# ------------------------------------------------------------------ what is there


def test_apps_are_listed_with_what_the_next_publication_does(station: Station) -> None:
    station.add(station.bundle("1.0"), station.bundle(app="org.example.Other"))
    station.publish()
    station.add(station.bundle("2.0"), station.bundle(app="org.example.Third"))
    rows = {
        row.ref: (row.version, row.releases, row.waiting) for row in list_apps(str(station.path))
    }
    assert rows == {
        REF: ("2.0", 2, "changed"),
        "org.example.Other/x86_64/stable": ("1.0", 1, ""),
        "org.example.Third/x86_64/stable": ("1.0", 1, "new"),
    }
    only = list_apps(str(station.path), [RefPattern.parse(APP)])
    assert [row.ref for row in only] == [REF]
    assert [item.version for item in details(str(station.path), RefPattern.parse(APP))[0].releases]
    with pytest.raises(NotFoundError):
        details(str(station.path), RefPattern.parse("org.example.Nothing"))


def test_a_repository_is_shown_with_its_roles(station: Station) -> None:
    station.add(station.bundle())
    shown = show(str(station.path))
    assert shown.fingerprint == station.made.fingerprint
    assert [role.role for role in shown.roles] == [
        "root",
        "targets",
        "apps",
        "snapshot",
        "timestamp",
    ]
    assert (shown.apps, shown.bins, shown.waiting) == (0, 2, (APP,))


# ------------------------------------------------------------------ what nobody needs

TOMORROW = datetime.now(UTC) + timedelta(days=2)


def test_what_was_replaced_is_removed_a_day_later(station: Station) -> None:
    for version in ("1.0", "2.0", "3.0"):
        station.add(station.bundle(version))
        station.publish()
    assert not collect(str(station.path)).files
    before = set(station.path.rglob("*.json"))
    removed = collect(str(station.path), now=TOMORROW)
    assert removed.files
    names = {Path(item.path).name for item in removed.files}
    assert {"1.snapshot.json", "2.snapshot.json", "3.snapshot.json"} <= names
    assert not any("root" in name or name.endswith(".holdall") for name in names)
    assert set(station.path.rglob("*.json")) < before
    assert station.versions() == ["3.0", "2.0", "1.0"]
    assert not collect(str(station.path), now=TOMORROW).files


def test_a_client_that_still_reads_the_state_before_finds_all_of_it(station: Station) -> None:
    station.add(station.bundle("1.0"))
    station.publish()
    client = station.newcomer()
    collect(str(station.path), keep=1)
    station.add(station.bundle("2.0"))
    collect(str(station.path), keep=1)
    station.publish()
    collect(str(station.path))
    assert client.offer(APP)
    assert station.versions() == ["2.0"]
    removed = collect(str(station.path), now=TOMORROW)
    assert sum(item.path.endswith(".holdall") for item in removed.files) == 1
    assert station.versions() == ["2.0"]


def test_old_releases_are_dropped_but_what_leads_from_them_stays(station: Station) -> None:
    station.own_key()
    station.add(*wares(station, ("1.0", ""), ("2.0", ""), ("3.0", "")))
    make_deltas(str(station.path), station.host)
    station.publish()
    assert collect(str(station.path), keep=1, dry_run=True).apps == (APP,)
    assert not Pending(station.layout).app_ids()
    assert collect(str(station.path), keep=1).apps == (APP,)
    assert station.versions() == ["3.0", "2.0", "1.0"]
    station.publish()
    assert station.versions() == ["3.0"]
    offer = station.look().offer(APP)
    assert offer is not None
    assert len(offer.increments) == 1
    collect(str(station.path), now=TOMORROW)
    assert len(list(station.path.glob("content/*/*"))) == 2
    assert station.versions() == ["3.0"]


def test_what_waits_is_not_rubbish(station: Station) -> None:
    station.add(station.bundle())
    assert not collect(str(station.path), now=TOMORROW).files
    assert not collect(str(station.path), grace=0, now=TOMORROW).files
    station.publish()
    assert station.versions() == ["1.0"]


def test_files_that_are_not_the_repositorys_are_left_alone(station: Station) -> None:
    for name in ("index.html", "metadata/README", "content/ab/notes.txt", "catalogue/x.json.zst"):
        path = station.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    stray = station.path / "content" / "ab" / f"ab{'0' * 62}.holdall"
    stray.write_text("")
    (station.path / "metadata" / f".{'0' * 16}.tmp").write_text("")
    removed = collect(str(station.path), now=TOMORROW).files
    assert {Path(item.path).name for item in removed} == {stray.name, f".{'0' * 16}.tmp"}
    assert (station.path / "content/ab/notes.txt").exists()
