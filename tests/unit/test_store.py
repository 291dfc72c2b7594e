"""The store: one writer, whole changes, and a memory for trust."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundles import APP, KEY, OTHER, make_bundle, trusting_store
from holdall.errors import BusyError, CorruptError, NotFoundError, UntrustedError, UsageError
from holdall.journeys.host import Host
from holdall.journeys.install import install
from holdall.model.ref import Ref, RefPattern
from holdall.store.catalog import Catalog, Deployment, history, prune_folders, writing
from holdall.store.layout import Layout, default_root
from holdall.store.trust_state import Floor, publisher_of, read_floor, read_keyring, write_floor

STABLE = Ref(APP, "x86_64", "stable")
BETA = Ref(APP, "x86_64", "beta")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A store with two versions of one branch and one of another."""
    host = trusting_store(tmp_path / "store")
    for version, branch in (("1", "stable"), ("2", "stable"), ("3", "beta")):
        path = make_bundle(tmp_path / version, version=version, branch=branch)
        install(str(path), host)
    return host


def test_versions_are_listed_in_the_order_they_came(host: Host) -> None:
    assert [item.version for item in host.catalog.deployments(STABLE)] == ["1", "2"]


def test_what_is_installed_is_found_by_ref(host: Host) -> None:
    assert host.catalog.refs() == [BETA, STABLE]
    assert host.catalog.current(RefPattern.parse(f"{APP}//beta")).version == "3"


def test_a_short_name_for_two_branches_is_refused(host: Host) -> None:
    with pytest.raises(UsageError, match="may mean any of"):
        host.catalog.resolve(RefPattern.parse(APP))


def test_what_is_not_installed_is_not_found(host: Host) -> None:
    with pytest.raises(NotFoundError):
        host.catalog.resolve(RefPattern.parse("org.example.Absent"))


def test_a_version_is_found_by_its_release_too(host: Host) -> None:
    one = host.catalog.deployments(STABLE)[0]
    assert host.catalog.version(STABLE, one.digest[:8]) == one
    with pytest.raises(NotFoundError):
        host.catalog.version(STABLE, one.digest[:7])


def test_a_link_to_a_deployment_that_is_gone_is_nothing_active(host: Host) -> None:
    active = host.catalog.active(STABLE)
    assert active is not None
    Path(active.path).rename(f"{active.path}.gone")
    assert host.catalog.active(STABLE) is None
    assert host.catalog.refs() == [BETA]


def test_a_second_writer_is_told_who_the_first_is(host: Host) -> None:
    with (
        writing(host.layout),
        pytest.raises(BusyError, match=f"Process {os.getpid()} is changing"),
        writing(host.layout, grace=0),
    ):
        pass


def test_a_store_can_be_written_again_after_an_error(host: Host) -> None:
    with pytest.raises(ZeroDivisionError), writing(host.layout):
        raise ZeroDivisionError
    with writing(host.layout, grace=0) as writer:
        assert writer.notes() == []


def test_what_is_staged_is_private_and_never_the_same(host: Host) -> None:
    with writing(host.layout) as writer:
        first, second = Path(writer.stage()), Path(writer.stage())
    assert first != second
    assert first.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mask", [0o000, 0o002, 0o077])
def test_no_mask_makes_a_store_that_others_can_write_to(tmp_path: Path, mask: int) -> None:
    bundle = make_bundle(tmp_path / "one")
    host = trusting_store(tmp_path / "deep/store")
    before = os.umask(mask)
    try:
        install(str(bundle), host)
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    loose = [path for path in (tmp_path / "deep/store").rglob("*") if writable_by_others(path)]
    assert loose == []


def writable_by_others(path: Path) -> bool:
    return not path.is_symlink() and bool(path.stat().st_mode & 0o022)


def test_a_note_is_there_until_it_is_forgotten(host: Host) -> None:
    with writing(host.layout) as writer:
        writer.note(STABLE, {"action": "none"})
        assert writer.notes() == [{"ref": str(STABLE), "action": "none"}]
        writer.forget(STABLE)
        writer.forget(STABLE)
        assert writer.notes() == []


def test_publishing_twice_keeps_the_first(host: Host) -> None:
    digest = "a" * 64
    with writing(host.layout) as writer:
        first, second = writer.stage(), writer.stage()
        Path(first, "lease").touch()
        writer.publish(first, STABLE, digest)
        writer.publish(second, STABLE, digest)
        assert Path(host.layout.deployment(STABLE, digest), "lease").exists()


def test_a_torn_line_of_history_is_left_out(host: Host) -> None:
    path = Path(host.layout.history(STABLE))
    whole = history(host.layout, STABLE)
    with path.open("ab") as file:
        file.write(b'{"time": 1, "act')
    assert history(host.layout, STABLE) == whole
    with writing(host.layout) as writer:
        writer.record(STABLE, {"id": "next"})
    assert [event.get("id") for event in history(host.layout, STABLE)][-1] == "next"


def test_only_empty_folders_are_pruned(tmp_path: Path) -> None:
    (tmp_path / "a/b/c/d").mkdir(parents=True)
    (tmp_path / "a/b/kept").touch()
    prune_folders(str(tmp_path / "a/b/c/d"), str(tmp_path / "a"))
    assert sorted(path.name for path in (tmp_path / "a").rglob("*")) == ["b", "kept"]


def test_a_folder_outside_is_not_pruned(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "store").mkdir()
    prune_folders(str(tmp_path / "other"), str(tmp_path / "store"))
    prune_folders(str(tmp_path / "store"), str(tmp_path / "store"))
    assert {path.name for path in tmp_path.iterdir()} >= {"other", "store"}


# ------------------------------------------------------------------------------ memory for trust


@given(
    st.integers(0, 2**53), st.text("0123456789abc.~-", min_size=1, max_size=9), st.text(max_size=9)
)
def test_a_floor_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, serial: int, version: str, publisher: str
) -> None:
    layout = Layout(str(tmp_path_factory.mktemp("floor")))
    floor = Floor(serial, version, publisher)
    write_floor(layout, STABLE, floor)
    assert read_floor(layout, STABLE) == floor


def test_a_ref_that_never_came_has_no_floor(tmp_path: Path) -> None:
    assert read_floor(Layout(str(tmp_path)), STABLE) is None
    assert publisher_of(Layout(str(tmp_path)), APP) == ""


def test_the_publisher_is_that_of_any_branch(host: Host) -> None:
    assert publisher_of(host.layout, APP) == KEY.public.fingerprint


def test_the_floor_is_the_highest_that_was_accepted(host: Host) -> None:
    assert read_floor(host.layout, STABLE) == Floor(0, "2", KEY.public.fingerprint)


@pytest.mark.parametrize("data", ["", "{}", "[]", '{"serial": "x", "version": "1"}'])
def test_a_floor_that_cannot_be_read_is_never_forgotten(host: Host, data: str) -> None:
    Path(host.layout.floor(STABLE)).write_text(data)
    with pytest.raises(CorruptError):
        read_floor(host.layout, STABLE)


def test_a_store_without_a_keyring_trusts_nobody(tmp_path: Path) -> None:
    assert read_keyring(Layout(str(tmp_path))).grants == ()


def test_what_is_refused_leaves_the_keyring_alone(host: Host, tmp_path: Path) -> None:
    before = Path(host.layout.keyring).read_bytes()
    bundle = make_bundle(tmp_path / "other", id="org.example.New", keys=(OTHER,))
    with pytest.raises(UntrustedError):
        install(str(bundle), host)
    assert Path(host.layout.keyring).read_bytes() == before


# ------------------------------------------------------------------------------ where it stands


@pytest.mark.parametrize("value", ["", "relative", "./here"])
def test_a_data_home_that_is_not_absolute_is_not_used(
    monkeypatch: pytest.MonkeyPatch, isolated_home: Path, value: str
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", value)
    assert default_root() == f"{isolated_home}/.local/share/holdall"


def test_spoiled_facts_are_named(host: Host) -> None:
    active = host.catalog.active(STABLE)
    assert active is not None
    Path(active.path, "release").write_text(json.dumps({"manifest": {}}))
    with pytest.raises(CorruptError):
        active.facts()
    assert active.version == "?"


def test_folders_that_are_no_deployments_are_passed_over(host: Host) -> None:
    folder = Path(f"{host.layout.deployments}/{STABLE}")
    (folder / "not-a-digest").mkdir()
    (folder / ("b" * 64)).mkdir()
    assert all(isinstance(item, Deployment) for item in Catalog(host.layout).deployments(STABLE))
    assert len(host.catalog.deployments(STABLE)) == 2
