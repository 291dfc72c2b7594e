"""Where a file, a folder or a program's argument should be, something else is."""

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bundles import APP, FILES, Parts, make_bundle
from hostility import Victim, call, differences, read_refusal
from surroundings import HoldallCli, OrdinaryUser

pytestmark = pytest.mark.slow

READERS = ["install", "update", "inspect", "repair --from"]
FOLDERS = ["staging", "partial", "trash", "journal", "deployments", "active", "state"]


@pytest.fixture
def update(tmp_path: Path) -> Path:
    """Version 2.0, with something new."""
    return make_bundle(tmp_path / "two.holdall", {**FILES, "share/new": b"new\n"}, version="2.0")


def is_found_faulty(victim: Victim) -> bool:
    """Whether ``verify`` finds something, having changed nothing."""
    before = victim.seen()
    status, _, _ = call("--json", "--root", victim.root, "verify")
    assert differences(before, victim.seen()) == []
    return status == 4


def fifo(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def terminal(path: Path) -> None:
    path.symlink_to("/dev/ptmx")


def loop(path: Path) -> None:
    path.symlink_to(path)


def folder(path: Path) -> None:
    path.mkdir()


def nowhere(path: Path) -> None:
    path.symlink_to("/nonexistent")


Make = Callable[[Path], None]
CODES: dict[Make, int] = {fifo: 2, unix_socket: 2, device: 2, terminal: 2, folder: 2}
CODES |= {loop: 2, nowhere: 3}


@pytest.mark.parametrize("command", READERS)
@pytest.mark.parametrize("make", CODES)
def test_what_is_no_file_is_refused_at_once(
    victim: Victim, tmp_path: Path, command: str, make: Make
) -> None:
    path = tmp_path / "strange.holdall"
    make(path)
    victim.refuses(*command.split(), path, code=CODES[make])


@pytest.mark.integration
def test_a_pipe_that_nobody_writes_to_does_not_hold_up_the_program(
    victim: Victim, tmp_path: Path, holdall_cli: HoldallCli
) -> None:
    fifo(tmp_path / "pipe.holdall")
    victim.refuses_as_a_program(holdall_cli, "install", tmp_path / "pipe.holdall", code=2)


@pytest.mark.integration
def test_a_stream_may_begin_in_the_middle_of_a_file(
    victim: Victim, update: Path, tmp_path: Path
) -> None:
    """Standard input that can be read anywhere, but not from its beginning."""
    behind = tmp_path / "behind"
    behind.write_bytes(b"#!/bin/sh\n" + update.read_bytes())
    before = os.dup(0)
    with behind.open("rb") as file:
        os.dup2(file.fileno(), 0)
        os.lseek(0, 10, os.SEEK_SET)
        try:
            victim.accepts("install", "-")
        finally:
            os.dup2(before, 0)
            os.close(before)


# ------------------------------------------------------------------------------ the store


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_of_the_store_that_is_a_link_is_refused(
    victim: Victim, update: Path, tmp_path: Path, name: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    (victim.root / name).mkdir(exist_ok=True)
    shutil.move(victim.root / name, elsewhere)
    (elsewhere / "precious").write_text("mine")
    (victim.root / name).symlink_to(elsewhere)
    victim.refuses("install", update)
    victim.refuses("gc")
    assert (elsewhere / "precious").read_text() == "mine"


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_of_the_store_that_everybody_may_write_to_is_refused(
    victim: Victim, update: Path, name: str
) -> None:
    (victim.root / name).mkdir(exist_ok=True)
    (victim.root / name).chmod(0o777)
    victim.refuses("install", update)


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o757])
def test_a_store_that_everybody_may_write_to_is_refused(
    victim: Victim, update: Path, mode: int
) -> None:
    victim.root.chmod(mode)
    assert victim.refuses("install", update).kind == "UntrustedError"


@pytest.mark.parametrize("name", FOLDERS)
def test_a_file_where_the_store_has_a_folder_is_refused(
    victim: Victim, update: Path, name: str
) -> None:
    shutil.rmtree(victim.root / name, ignore_errors=True)
    (victim.root / name).write_text("in the way")
    victim.refuses("install", update)


def test_the_lock_is_not_written_through_a_link(
    victim: Victim, update: Path, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("do not write here")
    (victim.root / "lock").unlink()
    (victim.root / "lock").symlink_to(precious)
    status, _, complaints = call("--json", "--root", victim.root, "install", update)
    assert status != 0, complaints
    assert precious.read_text() == "do not write here"


@pytest.mark.root
def test_root_keeps_out_of_the_store_of_somebody_else(victim: Victim, update: Path) -> None:
    os.chown(victim.root, 65534, 65534)
    assert victim.refuses("install", update).kind == "UntrustedError"


@pytest.mark.root
@pytest.mark.integration
def test_a_folder_that_another_user_made_before_is_refused(
    ordinary_user: OrdinaryUser, update: Path
) -> None:
    bundle = ordinary_user.home / "two.holdall"
    shutil.copy(update, bundle)
    bundle.chmod(0o644)
    root = ordinary_user.home / "store"
    (root / "staging").mkdir(parents=True)
    ordinary_user.give(root)
    os.chown(root / "staging", 65534, 65534)
    done = ordinary_user.holdall(
        "--json", "--root", root, "install", "--insecure-unsigned", bundle, expect=4
    )
    assert read_refusal(done.stderr).kind == "UntrustedError"


@pytest.mark.parametrize("target", ["/etc", "..", "../../../..", "nowhere", ""])
def test_an_active_link_that_leads_out_of_the_store_is_no_deployment(
    victim: Victim, target: str
) -> None:
    link = next(path for path in (victim.root / "active").rglob("stable"))
    link.unlink()
    link.symlink_to(target or "x" * 200)
    victim.refuses("info", APP, code=3)
    victim.refuses("path", APP, code=3)


# ------------------------------------------------------------------------------ installed files


@pytest.fixture
def files(victim: Victim) -> Path:
    """The installed files of the app."""
    return next((victim.root / "active").rglob("stable")).resolve() / "files"


def swapped(path: Path) -> None:
    kept = path.with_name(path.name + ".kept")
    path.rename(kept)
    path.symlink_to(kept.name)


def to_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def executable(path: Path) -> None:
    path.chmod(0o755)


def setuid(path: Path) -> None:
    path.chmod(0o4644)


def overwritten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[::-1])


def gone(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    "spoil", [swapped, to_fifo, executable, setuid, overwritten, gone], ids=lambda it: it.__name__
)
def test_an_installed_file_that_was_changed_is_found_and_not_passed_on(
    victim: Victim, files: Path, update: Path, installed_bundle: Path, spoil: Make
) -> None:
    spoil(files / "share/words.txt")
    assert is_found_faulty(victim)
    victim.accepts("install", update)
    new = next((victim.root / "active").rglob("stable")).resolve() / "files/share/words.txt"
    assert new.read_bytes() == FILES["share/words.txt"]
    assert new.lstat().st_mode == 0o100644
    victim.accepts("repair", installed_bundle)
    victim.accepts("verify")


def test_a_folder_of_an_app_swapped_for_a_link_leads_nobody_out(
    victim: Victim, files: Path, installed_bundle: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    shutil.copytree(files / "share", outside)
    (outside / "words.txt").write_bytes(b"precious")
    shutil.rmtree(files / "share")
    (files / "share").symlink_to(outside)
    assert is_found_faulty(victim)
    victim.accepts("repair", installed_bundle)
    victim.accepts("verify")
    assert (outside / "words.txt").read_bytes() == b"precious"


@pytest.mark.parametrize("name", ["release", "envelope", "tree"])
@pytest.mark.parametrize("data", [b"", b"{}", b"\xff\xfe", b"[" * 200_000])
def test_signed_files_beside_an_app_that_were_changed_are_found(
    victim: Victim, files: Path, name: str, data: bytes, installed_bundle: Path
) -> None:
    (files.parent / name).write_bytes(data)
    assert is_found_faulty(victim)
    victim.accepts("repair", installed_bundle)
    victim.accepts("verify")


@pytest.mark.parametrize("command", ["list", "info", "history", "du", "path", "rollback", "remove"])
@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff\xfe"])
def test_a_spoiled_release_is_a_sentence_for_every_command(
    victim: Victim, files: Path, command: str, data: bytes
) -> None:
    (files.parent / "release").write_bytes(data)
    words = [command] if command in {"list", "du"} else [command, APP]
    status, _, complaints = call("--json", "--root", victim.root, *words)
    if status:
        assert read_refusal(complaints).code in {3, 4}


# ------------------------------------------------------------------------------ nothing left over


def test_a_refused_bundle_leaves_no_new_store_but_its_lock(tmp_path: Path, update: Path) -> None:
    root = tmp_path / "fresh"
    damaged = Parts.of(update.read_bytes())
    path = tmp_path / "damaged.holdall"
    path.write_bytes(damaged.bytes[:-600])
    status, _, complaints = call("--json", "--root", root, "install", path)
    assert status == 4, complaints
    assert {file.name for file in root.rglob("*") if not file.is_dir()} <= {"lock"}


@pytest.fixture
def masked() -> Iterator[None]:
    """A process that lets nobody but its user read what it makes."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.usefixtures("masked")
def test_the_mask_of_the_process_changes_nothing_that_is_installed(
    victim: Victim, update: Path
) -> None:
    victim.accepts("install", update)
    victim.accepts("verify")


def test_several_bundles_are_judged_one_by_one(
    victim: Victim, tmp_path: Path, update: Path
) -> None:
    bad = tmp_path / "bad.holdall"
    bad.write_bytes(b"no bundle")
    before = victim.seen()
    status, _, complaints = call("--json", "--root", victim.root, "install", bad, update)
    assert status == 4
    assert read_refusal(complaints).kind == "CorruptError"
    assert differences(before, victim.seen())
