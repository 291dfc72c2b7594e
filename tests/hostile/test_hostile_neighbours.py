"""What other users of a machine can do to a store that they may read, or write to by a group."""

import fcntl
import os
from pathlib import Path

import pytest

from bundles import FILES, make_bundle
from hostility import Victim, call, read_refusal
from surroundings import OrdinaryUser

FOLDERS = ["staging", "trash", "deployments", "active", "state"]


@pytest.fixture
def update(tmp_path: Path) -> Path:
    """Version 2.0, with something new."""
    return make_bundle(tmp_path / "two.holdall", {**FILES, "share/new": b"new\n"}, version="2.0")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("before", [0o644, 0o666])
def test_a_lock_that_others_could_take_is_closed_to_them(
    victim: Victim, update: Path, before: int
) -> None:
    assert mode(victim.root / "lock") == 0o600
    (victim.root / "lock").chmod(before)
    victim.accepts("install", update)
    assert mode(victim.root / "lock") == 0o600


def test_who_only_locks_is_not_called_by_another_s_number(victim: Victim) -> None:
    lock = os.open(victim.root / "lock", os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # one that is alive, and has nothing to do with it
        os.pwrite(lock, b"1         \n", 0)
        status, _, complaints = call("--json", "--root", victim.root, "gc")
    finally:
        os.close(lock)
    assert status == 5
    told = read_refusal(complaints).message
    assert told.startswith("Another process is changing the store")


@pytest.mark.root
@pytest.mark.parametrize("name", ["", *FOLDERS])
def test_what_a_group_may_write_to_is_not_root_s_store(
    victim: Victim, update: Path, name: str
) -> None:
    folder = victim.root / name
    folder.mkdir(exist_ok=True)
    folder.chmod(0o775)
    assert victim.refuses("install", update).kind == "UntrustedError"


@pytest.mark.root
@pytest.mark.integration
@pytest.mark.parametrize("own", [True, False])
def test_a_group_of_one_s_own_may_write_and_no_other(
    ordinary_user: OrdinaryUser, *, own: bool
) -> None:
    root = ordinary_user.home / "store"
    root.mkdir()
    os.chown(root, ordinary_user.uid, ordinary_user.gid if own else 65534)
    root.chmod(0o775)
    done = ordinary_user.holdall("--json", "--root", root, "gc", expect=0 if own else 4)
    if not own:
        assert "written by a group" in read_refusal(done.stderr).message
