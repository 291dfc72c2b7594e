"""The attacks that TUF names, by a real server on a user who has an app from it.

Each is refused in one sentence, changes nothing, and is over when the server is right again.
"""

import datetime as clock
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from tuf.api.metadata import Metadata, Snapshot, Timestamp
from tuf.ngclient._internal import trusted_metadata_set

import servers
from bundles import APP
from holdall.publish.repository.keys import read_keys
from hostility import Victim
from patience import GENEROUS, STRICT, clients
from repositories import files_of
from shops import Shop, done, fails, join, opened, stays, versions

# The server's threads are here when commands fork their workers, which take no lock of theirs.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")

TIMESTAMP = "metadata/timestamp.json"

Files = dict[str, bytes]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A shop that offers 1.0."""
    with clients(GENEROUS), opened(tmp_path) as shop:
        shop.publish(shop.bundle("1.0"))
        yield shop


@pytest.fixture
def user(shop: Shop, tmp_path: Path, isolated_home: Path) -> Victim:
    """A user who has it."""
    victim = Victim(tmp_path / "store", isolated_home)
    join(victim, shop)
    victim.accepts("install", APP)
    return victim


def recovers(shop: Shop, user: Victim, version: str) -> None:
    """The server is right again, and the user gets the newest version."""
    shop.serve()
    done(user, "update")
    assert versions(user) == {APP: version}


def the(files: Files, pattern: str) -> str:
    """The newest version of a role's file."""
    start, end = pattern.split("*")
    found = [name for name in files if name.startswith(start) and name.endswith(end)]
    return max(found, key=lambda name: int(name.removeprefix("metadata/").partition(".")[0]))


def signed(shop: Shop, role: str, data: bytes, change: Callable[[Metadata], None]) -> bytes:  # type: ignore[type-arg]  # of any role
    """Metadata changed and signed anew by whoever has the keys of a role."""
    metadata = Metadata.from_bytes(data)
    change(metadata)
    metadata.signatures.clear()
    keys = read_keys([str(shop.station.keys)])
    root = Metadata.from_bytes(shop.server.files[the(shop.server.files, "metadata/*.root.json")])
    for signer in keys.signers(root.signed.roles[role].keyids):
        metadata.sign(signer, append=True)
    return metadata.to_bytes()


# --------------------------------------------------------------------------------------- rollback


def test_rollback_of_all(shop: Shop, user: Victim) -> None:
    old = dict(shop.server.files)
    shop.publish(shop.bundle("2.0"))
    done(user, "update")
    shop.server.files = old
    assert "older than it said before" in stays(user, "update", code=4).message
    recovers(shop, user, "2.0")


def test_rollback_of_the_snapshot_by_a_stolen_timestamp_key(shop: Shop, user: Victim) -> None:
    old = dict(shop.server.files)
    shop.publish(shop.bundle("2.0"))
    done(user, "update")
    new = shop.server.files
    old_meta = cast("Timestamp", Metadata.from_bytes(old[TIMESTAMP]).signed).snapshot_meta

    def back(metadata: Metadata[Timestamp]) -> None:
        metadata.signed.version += 1
        metadata.signed.snapshot_meta = old_meta

    forged = signed(shop, "timestamp", new[TIMESTAMP], back)
    shop.server.files = new | old | {TIMESTAMP: forged}
    assert stays(user, "update", code=4).kind == "UntrustedError"
    recovers(shop, user, "2.0")


def test_rollback_of_an_offer_by_a_stolen_snapshot_key(shop: Shop, user: Victim) -> None:
    shop.publish(shop.bundle("2.0"))
    done(user, "update")
    files = shop.server.files
    name = the(files, "metadata/*.snapshot.json")

    def back(metadata: Metadata[Snapshot]) -> None:
        metadata.signed.version += 1
        for role, meta in metadata.signed.meta.items():
            if role.startswith("bin-") and meta.version > 1:
                meta.version -= 1

    snapshot = signed(shop, "snapshot", files[name], back)

    def forward(metadata: Metadata[Timestamp]) -> None:
        metadata.signed.version += 1
        meta = metadata.signed.snapshot_meta
        meta.version += 1
        meta.length, meta.hashes = None, None

    version = int(name.removeprefix("metadata/").partition(".")[0]) + 1
    forged = {
        f"metadata/{version}.snapshot.json": snapshot,
        TIMESTAMP: signed(shop, "timestamp", files[TIMESTAMP], forward),
    }
    shop.server.files = files | forged
    assert stays(user, "update", code=4).kind == "UntrustedError"


# ----------------------------------------------------------------------------------------- freeze


def later(monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    """Have python-tuf's clock be ahead."""
    now = clock.datetime.now(clock.UTC) + clock.timedelta(days=days)
    ahead = SimpleNamespace(
        datetime=SimpleNamespace(now=lambda _zone: now), timezone=clock.timezone
    )
    monkeypatch.setattr(trusted_metadata_set, "datetime", ahead)


def test_freeze_at_a_state_that_was_good_once(
    shop: Shop, user: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = dict(shop.server.files)
    shop.publish(shop.bundle("2.0"))
    shop.server.files = frozen
    with monkeypatch.context() as moved:
        later(moved, days=15)
        message = stays(user, "update", code=4).message
        expiry = shop.station.now + clock.timedelta(days=14)
        assert f"nothing new since {expiry:%Y-%m-%d}" in message
        assert "freeze" in message
        stays(user, "install", APP, code=4)
        stays(user, "search", "editor", "--refresh", code=4)
    recovers(shop, user, "2.0")


def test_a_state_that_expired_is_not_added(
    shop: Shop, user: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    user.accepts("remote", "remove", "shop")
    words = ("remote", "add", "shop", shop.server.address, "--root", shop.fingerprint)
    with monkeypatch.context() as moved:
        later(moved, days=15)
        user.refuses(*words)
    user.accepts(*words)


def test_an_expired_catalogue_is_not_searched_without_asking(
    shop: Shop, user: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = clock.datetime.now(clock.UTC).timestamp() + 15 * 86400
    monkeypatch.setattr("holdall.journeys.searching.time", SimpleNamespace(time=lambda: ahead))
    shop.asked()
    done(user, "search", "editor")
    assert TIMESTAMP in shop.asked()


# -------------------------------------------------------------------------------- mix and match


@pytest.mark.parametrize("role", ["snapshot", "bin-*"])
def test_mix_and_match_of_an_old_role_under_a_new_name(shop: Shop, user: Victim, role: str) -> None:
    old = dict(shop.server.files)
    shop.publish(shop.bundle("2.0"))
    (new,) = (
        name
        for name in shop.server.files.keys() - old.keys()
        if role.rstrip("*") in name and name.startswith("metadata/")
    )
    version, _, rest = new.removeprefix("metadata/").partition(".")
    before = old[f"metadata/{int(version) - 1}.{rest}"]
    shop.server.files = shop.server.files | {new: before}
    assert stays(user, "update", code=4).kind in {"CorruptError", "UntrustedError"}
    recovers(shop, user, "2.0")


def test_mix_and_match_of_an_old_offer_under_a_new_name(shop: Shop, user: Victim) -> None:
    old = dict(shop.server.files)
    shop.publish(shop.bundle("2.0"))
    offers = [name for name in shop.server.files if name.startswith("targets/apps/")]
    (new,) = (name for name in offers if name not in old)
    (before,) = (name for name in offers if name in old)
    shop.server.files = shop.server.files | {new: old[before]}
    assert stays(user, "update", code=4).kind == "CorruptError"
    recovers(shop, user, "2.0")


# ---------------------------------------------------------------------------- endless, and slow


@pytest.mark.parametrize(
    "name",
    ["root.json", TIMESTAMP, "metadata/*.snapshot.json", "metadata/*.targets.json", "targets/*"],
)
def test_endless_data_while_a_remote_is_added(shop: Shop, user: Victim, name: str) -> None:
    user.accepts("remote", "remove", "shop")
    words = ("remote", "add", "shop", shop.server.address, "--root", shop.fingerprint)
    shop.server.fault(servers.endless, name)
    user.refuses(*words)
    shop.server.heal()
    user.accepts(*words)


def test_endless_roots(shop: Shop, user: Victim) -> None:
    shop.server.fault(servers.endless, "metadata/2.root.json")
    stays(user, "update", code=4)
    shop.server.heal()
    assert done(user, "update") == []


def test_slow_retrieval(shop: Shop, user: Victim) -> None:
    shop.server.fault(servers.dripping(0.05), TIMESTAMP)
    with clients(STRICT):
        assert stays(user, "update", code=1).kind == "NetworkError"
    shop.server.heal()
    assert done(user, "update") == []


# ------------------------------------------------------------------------------------------- keys


def test_another_repository_at_the_same_address(shop: Shop, user: Victim, tmp_path: Path) -> None:
    with opened(tmp_path / "evil") as other:
        other.publish(shop.bundle("2.0"))
        shop.server.files = files_of(other.station.path)
        assert "not signed by enough" in stays(user, "update", code=4).message
    shop.station.add(shop.bundle("2.0"))
    shop.station.publish()
    recovers(shop, user, "2.0")


def test_a_timestamp_signed_by_a_key_of_another_role(shop: Shop, user: Victim) -> None:
    def newer(metadata: Metadata[Timestamp]) -> None:
        metadata.signed.version += 1

    forged = signed(shop, "snapshot", shop.server.files[TIMESTAMP], newer)
    shop.server.files = shop.server.files | {TIMESTAMP: forged}
    assert "not signed by enough" in stays(user, "update", code=4).message


def test_a_compromise_below_the_threshold(shop: Shop, user: Victim) -> None:
    from holdall.journeys.repository_keys import KeyChanges

    changes = KeyChanges(str(shop.station.path), shop.station.host, now=shop.station.now)
    changes.add("timestamp")
    changes.set_threshold("timestamp", 2)
    shop.publish()
    assert done(user, "update") == []

    def newer(metadata: Metadata[Timestamp]) -> None:
        metadata.signed.version += 1

    forged = Metadata.from_bytes(signed(shop, "timestamp", shop.server.files[TIMESTAMP], newer))
    assert len(forged.signatures) == 2
    forged.signatures.popitem()
    shop.server.files = shop.server.files | {TIMESTAMP: forged.to_bytes()}
    assert "not signed by enough" in stays(user, "update", code=4).message
    shop.publish(shop.bundle("2.0"))
    recovers(shop, user, "2.0")


def test_the_root_rotates_over_three_versions(shop: Shop, user: Victim) -> None:
    for number in (2, 3, 4):
        shop.rotate("root")
        shop.rotate("timestamp")
        shop.publish(shop.bundle(f"{number}.0"))
    recovers(shop, user, "4.0")
    shop.asked()
    assert done(user, "update") == []
    newest = int(the(shop.server.files, "metadata/*.root.json").split("/")[1].split(".")[0])
    assert newest >= 4
    assert shop.asked() == [f"metadata/{newest + 1}.root.json", TIMESTAMP]


def test_what_signed_before_a_rotation_signs_no_more(shop: Shop, user: Victim) -> None:
    from holdall.publish.repository.metadata import sign

    stolen = read_keys([str(shop.station.keys)])
    shop.rotate("timestamp")
    shop.publish()
    assert done(user, "update") == []
    forged = Metadata.from_bytes(shop.server.files[TIMESTAMP])
    forged.signed.version += 1
    forged.signatures.clear()
    sign(forged, stolen, stolen.ids)
    shop.server.files = shop.server.files | {TIMESTAMP: forged.to_bytes()}
    assert stays(user, "update", code=4).kind == "UntrustedError"
    recovers(shop, user, "1.0")


def test_a_root_that_only_its_own_keys_sign(shop: Shop, user: Victim, tmp_path: Path) -> None:
    with opened(tmp_path / "evil") as other:
        for _ in range(2):
            other.rotate("root")
            other.publish()
        forged = other.server.files["metadata/2.root.json"]
    shop.server.files = shop.server.files | {"metadata/2.root.json": forged}
    assert stays(user, "update", code=4).kind == "UntrustedError"
    recovers(shop, user, "1.0")


def test_a_bundle_by_the_repositorys_own_hand(shop: Shop, user: Victim) -> None:
    """Whoever holds all keys of a repository cannot put a program into an app."""
    from bundles import OTHER

    user.accepts("remote", "remove", "shop")
    folder = shop.station.folder / "taken"
    folder.mkdir()
    with opened(folder, "taken") as taken:
        taken.publish(taken.bundle("2.0", keys=(OTHER,)))
        join(user, taken)
        assert fails(user, "install", APP, "--remote", "taken", code=4).kind == "ChangedKeyError"
    assert versions(user) == {APP: "1.0"}
