"""Remotes: added with a root, searched; apps from them by ref, in as few bytes as it takes."""

import json
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import servers
from bundles import APP, KEY, OTHER, REF, snapshot
from holdall.journeys.build import BuildOptions
from holdall.system.means import Means
from hostility import Victim, call
from patience import GENEROUS, clients
from shops import Shop, done, fails, join, opened, stays, versions
from updates import files, spoil

# The server's threads are here when commands fork their workers, which take no lock of theirs.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")

SMALL = BuildOptions(level=1, frame_size=2**16)
OLD = random.Random(1).randbytes(200_000)
FILES = {
    "1.0": {"bin/editor": b"#!/bin/sh\n", "large": OLD, "same": random.Random(2).randbytes(90_000)},
}
FILES["2.0"] = FILES["1.0"] | {"large": OLD[:90_000] + b"inserted" + OLD[90_000:]}
FILES["3.0"] = FILES["2.0"] | {"large": b"more" + FILES["2.0"]["large"]}
NOTHING_NEW = ["metadata/2.root.json", "metadata/timestamp.json"]
OTHER_APP = "org.example.Other"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    """A shop that offers 1.0 of the app; 2.0 and 3.0 are made too."""
    with clients(GENEROUS), opened(tmp_path) as shop:
        for version, contents in FILES.items():
            shop.bundle(version, files=contents, options=SMALL)
        shop.publish(shop.bundle("1.0"))
        yield shop


@pytest.fixture
def newcomer(tmp_path: Path, isolated_home: Path) -> Victim:
    """A user with a store that has nothing in it."""
    victim = Victim(tmp_path / "store", isolated_home)
    victim.accepts("gc")
    (victim.root / "staging").mkdir(mode=0o700)
    return victim


@pytest.fixture
def user(shop: Shop, newcomer: Victim) -> Victim:
    """A user who has 1.0 from the shop."""
    join(newcomer, shop)
    newcomer.accepts("install", APP)
    shop.asked()
    return newcomer


# ------------------------------------------------------------------------------------ the remotes


def test_a_remote_is_added_by_the_fingerprint_of_its_root(shop: Shop, newcomer: Victim) -> None:
    join(newcomer, shop)
    (row,) = done(newcomer, "remote", "list")
    assert (row["name"], row["url"], row["root"]) == ("shop", shop.server.address, shop.fingerprint)
    shown = json.loads(newcomer.accepts("remote", "show", "shop"))
    assert (shown["apps"], shown["root_version"], shown["installed"]) == (1, 1, [])
    assert shown["refreshed"] <= time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    assert shown["expires"] > shown["refreshed"]


def test_a_remote_is_added_by_its_root_as_a_file_and_its_folder(
    shop: Shop, newcomer: Victim
) -> None:
    root = shop.station.path / "root.json"
    newcomer.accepts("remote", "add", "stick", shop.station.path, "--root", root)
    assert done(newcomer, "remote", "list")[0]["url"] == f"file://{shop.station.path}"
    newcomer.accepts("install", APP)
    assert versions(newcomer) == {APP: "1.0"}


@pytest.mark.parametrize(
    ("name", "root", "code"),
    [
        ("shop", "0" * 64, 4),
        ("shop", "0" * 63, 2),
        ("shop", "00000000000000000000", 2),
        ("shop", "no-such-file", 3),
        ("../shop", "", 2),
        (".shop", "", 2),
        ("a/b", "", 2),
        ("-x", "", 2),
    ],
)
def test_what_cannot_be_trusted_is_not_added(
    shop: Shop, newcomer: Victim, name: str, root: str, code: int
) -> None:
    words = ("remote", "add", shop.server.address, "--root", root or shop.fingerprint)
    newcomer.refuses(*words, "--", name, code=code) if name == "-x" else newcomer.refuses(
        "remote", "add", name, *words[2:], code=code
    )


def test_a_server_without_a_repository_is_not_added(shop: Shop, newcomer: Victim) -> None:
    words = ("remote", "add", "shop", f"{shop.server.address}/nowhere", "--root")
    newcomer.refuses(*words, shop.fingerprint, code=3)
    newcomer.refuses(*words, shop.station.path / "root.json", code=3)
    with socket.socket() as deaf:  # its port is nobody else's meanwhile
        deaf.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        newcomer.refuses("remote", "add", "shop", address, "--root", shop.fingerprint, code=1)
    newcomer.refuses("remote", "add", "shop", "ftp://x/y", "--root", shop.fingerprint, code=2)
    newcomer.refuses("remote", "add", "shop", "/nowhere", "--root", shop.fingerprint, code=2)


@pytest.mark.parametrize("name", ["timestamp", "*.snapshot", "*.targets", "*.apps", "*.bin-?"])
def test_a_remote_that_is_not_whole_is_not_added(shop: Shop, newcomer: Victim, name: str) -> None:
    words = ("remote", "add", "shop", shop.server.address, "--root", shop.fingerprint)
    shop.server.fault(servers.short, f"metadata/{name}.json")
    newcomer.refuses(*words)
    shop.server.heal()
    shop.server.fault(servers.absent, f"metadata/{name}.json")
    newcomer.refuses(*words, code=3)
    shop.server.heal()
    newcomer.accepts(*words)


def test_a_password_in_an_address_is_not_shown(shop: Shop, newcomer: Victim) -> None:
    address = shop.server.address.replace("://", "://me:secret@")
    printed = newcomer.accepts("remote", "add", "shop", address, "--root", shop.fingerprint)
    printed += newcomer.accepts("remote", "list") + newcomer.accepts("remote", "show", "shop")
    assert "secret" not in printed
    kept = newcomer.root / "state/remotes/shop/remote.json"
    assert "secret" in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0
    assert {asked.headers["authorization"] for asked in shop.server.asked} == {"Basic bWU6c2VjcmV0"}


def test_a_name_is_given_once(shop: Shop, user: Victim) -> None:
    user.refuses("remote", "add", "shop", shop.server.address, "--root", shop.fingerprint, code=2)


def test_apps_stay_when_their_remote_goes(shop: Shop, user: Victim) -> None:
    gone = json.loads(user.accepts("remote", "remove", "shop"))
    assert gone["installed"] == [REF]
    assert done(user, "remote", "list") == []
    assert versions(user) == {APP: "1.0"}
    user.refuses("remote", "remove", "shop", code=3)
    user.refuses("update", APP, code=3)
    assert done(user, "update") == []
    join(user, shop)
    assert done(user, "update") == []


def test_a_remote_that_was_spoiled_can_be_removed(shop: Shop, user: Victim) -> None:
    (user.root / "state/remotes/shop/remote.json").write_text("{")
    user.refuses("remote", "show", "shop")
    user.accepts("remote", "remove", "shop")
    join(user, shop)


def test_a_root_that_was_changed_on_the_disk_is_not_believed(user: Victim) -> None:
    (user.root / "state/remotes/shop/root.json").write_text("{}")
    user.refuses("update")


def test_a_remote_moves_to_another_address_of_the_same_repository(
    shop: Shop, user: Victim, tmp_path: Path
) -> None:
    with opened(tmp_path, "other") as other:
        fails(user, "remote", "set", "shop", "--url", other.server.address, code=4)
    user.accepts("remote", "set", "shop", "--url", shop.station.path)
    assert done(user, "remote", "list")[0]["url"] == f"file://{shop.station.path}"
    assert done(user, "update") == []


# -------------------------------------------------------------------------------------- searching


def test_every_word_must_be_somewhere_and_the_best_comes_first(
    shop: Shop, newcomer: Victim
) -> None:
    about = {"name": "Writer", "summary": "An editor for letters", "developer": "The Painters"}
    shop.publish(
        shop.bundle(app=OTHER_APP, about=about), shop.bundle(app="org.example.Third", about={})
    )
    join(newcomer, shop)
    assert [row["id"] for row in done(newcomer, "search", "editor")] == [APP, OTHER_APP]
    assert [row["id"] for row in done(newcomer, "search", "WRITER")] == [OTHER_APP]
    assert [row["id"] for row in done(newcomer, "search", "painters", "letter")] == [OTHER_APP]
    assert done(newcomer, "search", "editor", "nothing") == []
    assert shop.asked() == []
    newcomer.accepts("install", OTHER_APP)
    (row,) = done(newcomer, "search", "writer")
    assert (row["installed"], row["version"], row["remote"]) == ("1.0", "1.0", "shop")


def test_a_search_asks_again_after_an_hour_or_when_told(shop: Shop, user: Victim) -> None:
    shop.publish(shop.bundle(app=OTHER_APP))
    assert done(user, "search", "other") == []
    assert shop.asked() == []
    assert len(done(user, "search", "other", "--refresh")) == 1
    assert len([name for name in shop.asked() if name.startswith("catalogue/")]) == 1
    age(user)
    assert len(done(user, "search", "other")) == 1
    assert shop.asked() == NOTHING_NEW


def test_an_update_does_not_make_an_old_catalogue_new(shop: Shop, user: Victim) -> None:
    shop.publish(shop.bundle(app=OTHER_APP))
    age(user)
    done(user, "update")
    assert len(done(user, "search", "other")) == 1


def test_a_catalogue_that_was_spoiled_is_put_together_again(shop: Shop, user: Victim) -> None:
    (user.root / "state/remotes/shop/catalogue/entries").write_bytes(b"?")
    assert len(done(user, "search", "editor")) == 1
    assert shop.asked() == NOTHING_NEW


def test_a_search_without_network_uses_what_there_is(shop: Shop, user: Victim) -> None:
    age(user)
    shop.server.fault(servers.silent)
    status, printed, said = call("--json", "--root", user.root, "search", "editor")
    assert (status, len(json.loads(printed))) == (0, 1)
    assert "is searched" in said
    user.refuses("search", "editor", "--remote", "none", code=3)


def test_a_search_needs_a_remote(newcomer: Victim) -> None:
    newcomer.refuses("search", "editor", code=3)
    newcomer.refuses("install", APP, code=3)


def age(user: Victim) -> None:
    """Have the last answer be of two hours ago."""
    path = user.root / "state/remotes/shop/freshness.json"
    table = json.loads(path.read_text())
    path.write_text(json.dumps(table | {"catalogued": table["catalogued"] - 7200}))


# ------------------------------------------------------------------------------------- installing


def test_an_app_is_installed_by_its_name_and_its_publisher_introduced(
    shop: Shop, newcomer: Victim
) -> None:
    join(newcomer, shop)
    (row,) = done(newcomer, "install", APP)
    assert (row["ref"], row["version"], row["remote"]) == (REF, "1.0", "shop")
    assert row["downloaded"] == row["download"] == (shop.bundle("1.0")).stat().st_size
    assert (newcomer.root / f"state/origins/{REF}").read_text() == "shop\n"
    (key,) = done(newcomer, "key", "list")
    assert (key["fingerprint"], key["patterns"]) == (KEY.public.fingerprint, [APP])
    newcomer.accepts("verify")
    assert not (newcomer.root / "partial").exists()


def test_installing_again_fetches_nothing(shop: Shop, user: Victim) -> None:
    (row,) = done(user, "install", APP)
    assert (row["already"], row["downloaded"]) == (True, 0)
    assert shop.asked() == NOTHING_NEW


def test_a_version_can_be_chosen(shop: Shop, newcomer: Victim) -> None:
    shop.publish(shop.bundle("2.0"), shop.bundle("3.0"))
    join(newcomer, shop)
    done(newcomer, "install", APP, "--version", "2.0")
    assert versions(newcomer) == {APP: "2.0"}
    assert (
        "it has 3.0, 2.0, 1.0" in stays(newcomer, "install", APP, "--version", "9", code=3).message
    )
    fails(newcomer, "install", APP, "--version", "1.0", code=4)
    done(newcomer, "install", APP, "--version", "1.0", "--allow-downgrade")
    assert versions(newcomer) == {APP: "1.0"}


def test_branches_and_architectures_are_the_usual_ones(shop: Shop, newcomer: Victim) -> None:
    line = "org.example.Line"
    station = shop.station
    made = [
        station.bundle("1", app=line, branch="beta"),
        station.bundle("2", app=line, branch="nightly"),
        station.bundle("3", app="org.example.Elsewhere", arch="vax"),
    ]
    shop.publish(*made)
    join(newcomer, shop)
    assert "may mean any of" in stays(newcomer, "install", line, code=2).message
    shop.publish(station.bundle("4", app=line))
    done(newcomer, "install", line)
    assert versions(newcomer)[line] == "4"
    done(newcomer, "install", f"{line}//beta")
    assert "vax" in fails(newcomer, "install", "org.example.Elsewhere", code=3).message
    done(newcomer, "install", "org.example.Elsewhere/vax")


def test_what_nobody_offers_is_not_found(user: Victim) -> None:
    stays(user, "install", "org.example.Absent", code=3)
    stays(user, "install", "absent.holdall", code=3)
    stays(user, "info", "org.example.Absent", code=3)


def test_a_runtime_comes_along(shop: Shop, newcomer: Victim) -> None:
    runtime = "org.example.Platform"
    app = shop.bundle("1.0", app=OTHER_APP, runtime=f"{runtime}/x86_64/stable")
    shop.publish(app, shop.bundle("5", app=runtime, kind="runtime", command=""))
    join(newcomer, shop)
    rows = done(newcomer, "install", OTHER_APP, "--dry-run")
    assert [row["version"] for row in rows] == ["5", "1.0"]
    assert versions(newcomer) == {}
    done(newcomer, "install", OTHER_APP)
    assert versions(newcomer) == {runtime: "5", OTHER_APP: "1.0"}


def test_a_runtime_can_be_left_out(shop: Shop, newcomer: Victim) -> None:
    runtime = "org.example.Platform"
    app = shop.bundle("1.0", app=OTHER_APP, runtime=f"{runtime}/x86_64/stable")
    shop.publish(app, shop.bundle("5", app=runtime, kind="runtime", command=""))
    join(newcomer, shop)
    done(newcomer, "install", OTHER_APP, "--no-runtime")
    assert versions(newcomer) == {OTHER_APP: "1.0"}


def test_where_several_remotes_offer_it_one_is_named(
    shop: Shop, newcomer: Victim, tmp_path: Path
) -> None:
    with opened(tmp_path, "other") as other:
        other.publish(shop.bundle("2.0"))
        join(newcomer, shop)
        join(newcomer, other)
        assert "--remote" in stays(newcomer, "install", APP, code=2).message
        done(newcomer, "install", APP, "--remote", "shop")
        assert done(newcomer, "update") == []
        assert versions(newcomer) == {APP: "1.0"}
        done(newcomer, "install", APP, "--remote", "other")
        assert versions(newcomer) == {APP: "2.0"}
        other.publish(shop.bundle("3.0"))
        done(newcomer, "update")
        assert versions(newcomer) == {APP: "3.0"}


def test_a_remote_that_is_away_does_not_keep_others_from_answering(
    shop: Shop, user: Victim, tmp_path: Path
) -> None:
    with opened(tmp_path, "other") as other:
        other.publish(shop.bundle(app=OTHER_APP))
        join(user, other)
        shop.server.fault(servers.silent)
        done(user, "install", OTHER_APP)
        assert versions(user) == {APP: "1.0", OTHER_APP: "1.0"}
        fails(user, "install", "org.example.Absent", code=1)


def test_a_key_that_a_remote_names_does_not_replace_the_publishers(
    shop: Shop, user: Victim
) -> None:
    user.accepts("remote", "remove", "shop")
    folder = shop.station.folder / "forged"
    folder.mkdir()
    with opened(folder, "forged") as forged:
        forged.publish(forged.bundle("2.0", keys=(OTHER,)))
        join(user, forged)
        refusal = fails(user, "install", APP, code=4)
        assert refusal.kind == "ChangedKeyError"
        assert versions(user) == {APP: "1.0"}


def test_a_bundle_at_an_address_is_installed_under_the_rules_for_files(
    shop: Shop, newcomer: Victim
) -> None:
    shop.server.files |= {"it.holdall": shop.bundle("1.0").read_bytes()}
    shop.server.files |= {"it.inc": b"", "a%20b.holdall": shop.bundle("2.0").read_bytes()}
    address = shop.server.address
    newcomer.refuses("install", f"{address}/it.holdall")
    newcomer.refuses("install", f"{address}/none.holdall", code=3)
    newcomer.refuses("install", f"{address}/it.holdall?x=1", code=2)
    newcomer.refuses("install", f"{address}/root.json")
    trust = ("--trust-key", KEY.public.fingerprint)
    (row,) = done(newcomer, "install", f"{address}/it.holdall", *trust)
    assert row["downloaded"] == shop.bundle("1.0").stat().st_size
    done(newcomer, "update", f"{address}/a%20b.holdall")
    assert versions(newcomer) == {APP: "2.0"}


def test_an_increment_at_an_address_is_applied(shop: Shop, user: Victim) -> None:
    increment = shop.increment("1.0", "2.0")
    shop.server.files |= {"it.inc": increment.read_bytes()}
    (row,) = done(user, "update", f"{shop.server.address}/it.inc")
    assert (row["version"], row["downloaded"]) == ("2.0", increment.stat().st_size)


# --------------------------------------------------------------------------------------- updating


def test_an_update_with_nothing_new_is_two_small_requests(shop: Shop, user: Victim) -> None:
    assert done(user, "update") == []
    assert shop.server.sent < 2000
    assert shop.asked() == NOTHING_NEW


def test_an_update_fetches_its_increment_alone(shop: Shop, user: Victim) -> None:
    increment = shop.increment("1.0", "2.0")
    shop.publish(shop.bundle("2.0"), increment)
    (row,) = done(user, "update")
    assert row["downloaded"] == row["download"] == increment.stat().st_size
    assert len(shop.content()) == 1
    assert versions(user) == {APP: "2.0"}
    user.accepts("verify")
    assert not (user.root / "partial").exists()


def test_an_update_goes_over_a_chain_of_increments(shop: Shop, user: Victim) -> None:
    steps = [shop.increment("1.0", "2.0"), shop.increment("2.0", "3.0")]
    shop.publish(shop.bundle("2.0"), shop.bundle("3.0"), *steps)
    (told,) = done(user, "update", "--dry-run")
    assert told["steps"] == [step.stat().st_size for step in steps]
    assert shop.content() == []
    (row,) = done(user, "update", APP)
    assert row["downloaded"] == told["download"] == sum(step.stat().st_size for step in steps)
    assert versions(user) == {APP: "3.0"}
    user.accepts("verify")


def test_without_an_increment_only_what_is_missing_is_fetched(shop: Shop, user: Victim) -> None:
    shop.publish(shop.bundle("2.0"))
    (told,) = done(user, "update", "--dry-run")
    (row,) = done(user, "update")
    assert row["downloaded"] == row["download"] == told["download"]
    assert int(str(row["downloaded"])) < shop.bundle("2.0").stat().st_size - 80_000


@pytest.mark.parametrize("size", [5000, 400_000])
def test_a_form_that_keeps_the_bundle_fetches_what_is_announced(
    shop: Shop, user: Victim, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Of one that is mostly here only the rest; of one that is mostly new all of it, to keep it."""
    for fact in ("fuse", "user_namespaces"):
        monkeypatch.setattr(Means, fact, True)
    user.accepts("convert", APP, "--form", "live")
    new = FILES["1.0"] | {"more": random.Random(9).randbytes(size)}
    bundle = shop.bundle("9.0", files=new, options=SMALL)
    shop.publish(bundle)
    (told,) = done(user, "update", "--dry-run")
    (row,) = done(user, "update")
    assert row["downloaded"] == row["download"] == told["download"]
    active = next(user.root.glob(f"active/{APP}/*/*")).resolve()
    if size < 100_000:
        assert int(str(row["downloaded"])) < bundle.stat().st_size - 200_000
    else:
        assert (active / "bundle").read_bytes() == bundle.read_bytes()
    user.accepts("verify")


def test_a_damaged_bundle_does_not_keep_from_updating(
    shop: Shop, user: Victim, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fact in ("fuse", "user_namespaces"):
        monkeypatch.setattr(Means, fact, True)
    user.accepts("convert", APP, "--form", "live")
    held = next(user.root.glob(f"active/{APP}/*/*")).resolve() / "bundle"
    with held.open("r+b") as file:
        file.seek(-150_000, 2)
        file.write(b"damaged")
    new = FILES["1.0"] | {"more": random.Random(9).randbytes(5000)}
    shop.publish(shop.bundle("9.0", files=new, options=SMALL))
    user.accepts("update")
    assert versions(user) == {APP: "9.0"}
    user.accepts("remove", APP, "--version", "1.0")
    user.accepts("verify")


def test_what_was_installed_from_a_file_counts_too(shop: Shop, newcomer: Victim) -> None:
    shop.publish(shop.bundle("2.0"))
    other = shop.bundle("0.9", files=FILES["1.0"] | {"another": b"one"})
    newcomer.accepts("install", other, "--trust-key", KEY.public.fingerprint)
    join(newcomer, shop)
    (told,) = done(newcomer, "update", APP, "--dry-run")
    (row,) = done(newcomer, "update", APP)
    assert row["downloaded"] == row["download"] == told["download"]
    assert int(str(row["downloaded"])) < shop.bundle("2.0").stat().st_size - 80_000


def broken_increment(shop: Shop) -> str:
    """Publish 2.0 with an increment; returns the increment's name."""
    shop.publish(shop.bundle("2.0"))
    before = shop.server.files.keys()
    shop.publish(shop.increment("1.0", "2.0"))
    (name,) = (item for item in shop.server.files.keys() - before if item.startswith("content/"))
    return name


@pytest.mark.parametrize(
    "fault",
    [servers.absent, servers.wrong, servers.short, servers.garbage],
    ids=lambda it: it.__name__,
)
def test_an_increment_that_is_no_good_falls_through_to_the_bundle(
    shop: Shop, user: Victim, fault: servers.Fault
) -> None:
    shop.server.fault(fault, broken_increment(shop))
    done_or_away = call("--json", "--root", user.root, "update")
    if fault is servers.garbage:
        assert done_or_away[0] == 1
        assert versions(user) == {APP: "1.0"}
        return
    assert done_or_away[0] == 0
    assert "The full bundle is used instead." in done_or_away[2]
    assert versions(user) == {APP: "2.0"}
    user.accepts("verify")
    assert not (user.root / "partial").exists()


def test_an_increment_that_is_missing_is_asked_for_once(shop: Shop, user: Victim) -> None:
    name = broken_increment(shop)
    del shop.server.files[name]
    done(user, "update")
    assert shop.content().count(name) == 1


def test_an_increment_over_a_spoiled_version_is_helped_by_the_bundle(
    shop: Shop, user: Victim
) -> None:
    broken_increment(shop)
    spoil(files(user, "1.0") / "large")
    (row,) = done(user, "update")
    assert row["version"] == "2.0"
    user.accepts("verify", "--active")
    assert not (user.root / "partial").exists()


def test_several_apps_update_and_one_that_fails_does_not_stop_them(
    shop: Shop, user: Victim
) -> None:
    third = "org.example.Third"
    shop.publish(shop.bundle(app=OTHER_APP), shop.bundle(app=third))
    done(user, "install", OTHER_APP, third)
    before = shop.server.files.keys()
    shop.publish(shop.bundle("2.0", app=OTHER_APP))
    (bad,) = (item for item in shop.server.files.keys() - before if item.startswith("content/"))
    shop.publish(shop.bundle("2.0"), shop.bundle("2.0", app=third))
    shop.server.fault(servers.wrong, bad)
    shop.asked()
    fails(user, "update", code=4)
    assert versions(user) == {APP: "2.0", OTHER_APP: "1.0", third: "2.0"}
    assert shop.asked().count("metadata/timestamp.json") == 1
    shop.server.heal()
    done(user, "update")
    assert versions(user) == {APP: "2.0", OTHER_APP: "2.0", third: "2.0"}


def test_a_remote_that_is_away_changes_nothing(shop: Shop, user: Victim) -> None:
    shop.server.fault(servers.silent)
    user.refuses("update", code=1)
    user.refuses("list", "--updates", code=1)
    user.refuses("info", OTHER_APP, code=1)


def test_only_what_is_installed_is_updated(shop: Shop, user: Victim) -> None:
    shop.publish(shop.bundle(app=OTHER_APP))
    user.refuses("update", OTHER_APP, code=3)


def test_what_is_newer_can_be_listed(shop: Shop, user: Victim) -> None:
    assert done(user, "list", "--updates") == []
    shop.publish(shop.bundle("2.0", permissions={"network": True}))
    (row,) = done(user, "list", "--updates")
    assert (row["before"], row["version"], row["remote"]) == ("1.0", "2.0", "shop")
    assert "network" in str(row["note"]) or row["permissions"] == []
    assert versions(user) == {APP: "1.0"}


def test_what_is_offered_can_be_read_before(shop: Shop, newcomer: Victim) -> None:
    shop.publish(
        shop.bundle(app=OTHER_APP, permissions={"network": True}, about={"summary": "Another"})
    )
    join(newcomer, shop)
    facts = json.loads(newcomer.accepts("info", OTHER_APP))
    assert (facts["version"], facts["installed"], facts["remote"]) == ("1.0", None, "shop")
    assert facts["download"] == shop.bundle(app=OTHER_APP).stat().st_size
    assert (facts["summary"], facts["versions"]) == ("Another", ["1.0"])
    assert facts["may"] == ["use the network"]
    assert facts["signers"] == [KEY.public.fingerprint]
    assert shop.content() == []


@pytest.fixture
def returned(shop: Shop, user: Victim) -> Victim:
    """The user, who has updated to 2.0 and gone back to 1.0."""
    shop.publish(shop.bundle("2.0"))
    done(user, "update")
    user.accepts("rollback", APP)
    shop.asked()
    return user


def test_an_app_that_was_rolled_back_stays_until_there_is_something_newer(
    shop: Shop, returned: Victim
) -> None:
    assert done(returned, "update") == []
    assert done(returned, "list", "--updates") == []
    assert versions(returned) == {APP: "1.0"}
    shop.publish(shop.bundle("3.0"))
    done(returned, "update")
    assert versions(returned) == {APP: "3.0"}


def test_a_rolled_back_app_that_is_named_takes_the_newest_again_without_a_download(
    shop: Shop, returned: Victim
) -> None:
    (row,) = done(returned, "update", APP)
    assert (row["version"], row["downloaded"]) == ("2.0", 0)
    assert versions(returned) == {APP: "2.0"}
    assert shop.content() == []


# ---------------------------------------------------------------------------------------- consent


def greedy(shop: Shop) -> None:
    """Publish a version that asks for more."""
    wanted = {"network": True, "filesystem": ["home:ro"]}
    shop.publish(shop.bundle("2.1", files=FILES["2.0"], permissions=wanted))


def test_an_update_that_asks_for_more_waits_for_consent(shop: Shop, user: Victim) -> None:
    greedy(shop)
    (row,) = done(user, "list", "--updates")
    assert row["permissions"] == ["use the network", "read your home"]
    refusal = stays(user, "update", code=4)
    assert refusal.kind == "ConsentError"
    assert "use the network, to read your home" in refusal.message
    assert versions(user) == {APP: "1.0"}
    assert shop.content() == []
    done(user, "update", "--yes-permissions")
    assert versions(user) == {APP: "2.1"}


def test_a_file_that_asks_for_more_waits_for_consent(shop: Shop, user: Victim) -> None:
    more = shop.bundle("2.1", files=FILES["2.0"], permissions={"x11": True})
    assert user.refuses("update", more).kind == "ConsentError"
    user.accepts("update", more, "--yes-permissions")


def test_what_a_user_installs_is_consented_to(shop: Shop, user: Victim) -> None:
    greedy(shop)
    done(user, "install", APP)
    assert versions(user) == {APP: "2.1"}


@pytest.mark.parametrize("command", [("update", "--yes-permissions"), ("install", APP)])
def test_what_may_do_more_than_its_offer_says_is_refused(
    shop: Shop, user: Victim, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    from msgspec.structs import replace

    from holdall.journeys import repository_intake
    from holdall.model.manifest import Permissions

    honest = repository_intake._offered  # noqa: SLF001 - a repository that lies is made so

    def lying(*arguments: object) -> object:
        return replace(honest(*arguments), permissions=Permissions())  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(repository_intake, "_offered", lying)
    greedy(shop)
    assert done(user, "list", "--updates")[0]["permissions"] == []
    assert stays(user, *command, code=4).kind == "CorruptError"
    assert versions(user) == {APP: "1.0"}


@pytest.mark.parametrize(
    "change", [{"release": "0" * 64}, {"version": "9.0"}, {"serial": 7}, {"branch": "beta"}]
)
def test_a_bundle_that_is_not_the_one_offered_is_refused(
    shop: Shop, user: Victim, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
) -> None:
    from msgspec.structs import replace

    from holdall.journeys import repository_intake

    honest = repository_intake._offered  # noqa: SLF001 - a repository that lies is made so

    def lying(*arguments: object) -> object:
        return replace(honest(*arguments), **change)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(repository_intake, "_offered", lying)
    shop.publish(shop.bundle("2.0"))
    before = snapshot(user.root / "deployments", user.root / "active")
    name = f"{APP}//beta" if "branch" in change else APP
    assert fails(user, "install", name, code=4).kind == "CorruptError"
    assert snapshot(user.root / "deployments", user.root / "active") == before
