"""What commands say when something small is in the way: in a sentence, or not at all."""

import errno
import os
import subprocess
from pathlib import Path

import pytest

from bundles import APP, KEY, make_bundle, trusting_store
from holdall.system.files import in_words, replace_symlink, write_atomic
from hostility import call, read_refusal
from surroundings import PYTHON, environment_for


def test_a_file_in_the_working_directory_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_atomic("pub.key", b"key")
    assert (tmp_path / "pub.key").read_bytes() == b"key"


def test_a_link_in_the_working_directory_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    replace_symlink("link", "there")
    assert (tmp_path / "link").readlink() == Path("there")


def test_a_key_is_exported_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusting_store(tmp_path / "store")
    monkeypatch.chdir(tmp_path)
    fingerprint = KEY.public.fingerprint
    argv = ("--root", tmp_path / "store", "key", "export", fingerprint, "-o", "pub.key")
    assert call(*argv)[0] == 0
    assert (tmp_path / "pub.key").read_text() == KEY.public.export()


def test_a_link_too_long_for_the_file_system_is_named_without_its_target() -> None:
    refused = OSError(errno.ENAMETOOLONG, "File name too long", "x" * 4000, None, "share/link")
    assert str(in_words(refused, "It cannot be made")) == (
        "It cannot be made: file name too long (share/link)."
    )


def test_a_name_that_is_too_long_is_cut() -> None:
    refused = OSError(errno.ENAMETOOLONG, "File name too long", "x" * 4000)
    assert len(str(in_words(refused, "It cannot be made"))) < 400


@pytest.mark.parametrize("command", [("verify",), ("info", APP)])
def test_a_reader_that_goes_away_is_no_error(
    tmp_path: Path, isolated_home: Path, command: tuple[str, ...]
) -> None:
    trusting_store(tmp_path / "store")
    call("--root", tmp_path / "store", "install", make_bundle(tmp_path / "one"))
    says, tells = os.pipe()
    os.close(says)
    try:
        ended = subprocess.run(
            [PYTHON, "-u", "-m", "holdall", "--root", tmp_path / "store", *command],
            env=environment_for(isolated_home),
            stdout=tells,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(tells)
    assert b"holdall:" not in ended.stderr
    assert b"refused" not in ended.stderr


def test_what_was_removed_wholly_is_no_advice_to_roll_back(tmp_path: Path) -> None:
    store = ("--json", "--root", tmp_path / "store")
    trusting_store(tmp_path / "store")
    older = make_bundle(tmp_path / "1", version="1")
    call(*store, "install", make_bundle(tmp_path / "2", version="2"))
    there = read_refusal(call(*store, "install", older)[2])
    call(*store, "remove", APP)
    gone = read_refusal(call(*store, "install", older)[2])
    assert "rollback" in there.message
    assert "rollback" not in gone.message
    assert "--allow-downgrade" in gone.message
