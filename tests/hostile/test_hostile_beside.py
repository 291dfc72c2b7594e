"""What stands beside an installed version's files, spoiled: said in a sentence, and mended.

The record of its form, its release, envelope and tree, and the image.
"""

import json
import os
from pathlib import Path

import pytest

from bundles import APP
from holdall.forms.table import FORMS
from holdall.store.record import NEEDED, parse
from hostility import Victim, call, read_refusal
from surroundings import Require

IMAGE = {
    "form": "local-image",
    "kind": "erofs",
    "compress": True,
    "offset": 0,
    "size": 4096,
    "digest": "sha256-4k:" + 64 * "0",
    "whole": "sha256-4k:" + 64 * "0",
    "verity": False,
    "local": True,
}
WRONG: list[object] = [
    {**IMAGE, "offset": -4096},
    {**IMAGE, "offset": 1},
    {**IMAGE, "offset": 2**70},
    {**IMAGE, "offset": True},
    {**IMAGE, "offset": "0"},
    {**IMAGE, "size": 0},
    {**IMAGE, "size": 1.5},
    {**IMAGE, "kind": "vfat"},
    {**IMAGE, "kind": ["erofs"]},
    {**IMAGE, "digest": None},
    {**IMAGE, "digest": "sha256-4k:" + 64 * "g"},
    {**IMAGE, "verity": "no"},
    {**IMAGE, "compress": 1},
    {name: value for name, value in IMAGE.items() if name != "local"},
    {"form": "local-image"},
    {"form": "image", **{name: value for name, value in IMAGE.items() if name != "form"}},
    {"form": "composefs", "digest": "", "pool": "store", "verity": False},
    {"form": "pool", "pool": "../..", "share": "link"},
    {"form": "btrfs", "native": 0, "change": 1},
    {"form": "heap"},
    {"form": ["tree"]},
    {"form": {}},
    {},
    [],
    None,
]


@pytest.fixture
def beside(victim: Victim) -> Path:
    """The folder of the installed version."""
    (found,) = victim.root.glob("deployments/*/*/*/*")
    return found


def store(victim: Victim, *argv: str | Path) -> tuple[int, str, str]:
    return call("--json", "--root", victim.root, *argv)


def test_every_form_has_a_record() -> None:
    assert NEEDED.keys() == FORMS.keys()


def test_the_record_of_an_image_is_taken() -> None:
    assert parse(json.dumps(IMAGE).encode()) == IMAGE


@pytest.mark.parametrize("table", WRONG, ids=repr)
def test_a_record_no_form_writes_is_none(table: object) -> None:
    assert parse(json.dumps(table).encode()) is None


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_record_is_none(data: bytes) -> None:
    assert parse(data) is None


@pytest.mark.parametrize("command", [("path", APP), ("convert", APP, "--form", "pool")])
@pytest.mark.parametrize("table", [{**IMAGE, "offset": -4096}, {"form": "heap"}], ids=repr)
def test_a_spoiled_record_is_named(
    victim: Victim, beside: Path, table: object, command: tuple[str, ...]
) -> None:
    (beside / "form").write_text(json.dumps(table))
    told = victim.refuses(*command)
    assert f"{beside}/form was changed" in told.message
    assert "holdall repair" in told.message


def test_verifying_goes_on_with_the_others(victim: Victim, beside: Path) -> None:
    other = beside.with_name(64 * "0")
    other.mkdir()
    (other / "lease").touch()
    (beside / "form").write_text("{}")
    status, printed, _ = store(victim, "verify")
    assert status == 4
    assert len(json.loads(printed)) == 2


def test_a_spoiled_record_is_mended(victim: Victim, beside: Path, installed_bundle: Path) -> None:
    (beside / "form").write_text('{"form": "heap"}')
    mended = json.loads(victim.accepts("repair", installed_bundle))
    assert [item["paths"] for item in mended] == [["form"]]
    victim.accepts("verify")


@pytest.mark.parametrize("name", ["form", "release", "envelope", "tree"])
@pytest.mark.parametrize("made", [os.mkfifo, os.mkdir], ids=["a pipe", "a folder"])
def test_something_else_in_the_place_of_a_file_is_found_and_mended(
    victim: Victim, beside: Path, installed_bundle: Path, name: str, made: object
) -> None:
    (beside / name).unlink(missing_ok=True)
    assert callable(made)
    made(beside / name)
    assert store(victim, "list")[0] == 0
    assert store(victim, "verify")[0] == 4
    victim.accepts("repair", installed_bundle)
    victim.accepts("verify")


@pytest.mark.parametrize("form", ["local-image", pytest.param("composefs", marks=pytest.mark.root)])
@pytest.mark.root
def test_a_link_in_the_place_of_an_image_is_refused(
    victim: Victim, beside: Path, form: str, require: Require, installed_bundle: Path
) -> None:
    require("mkfs.erofs")
    victim.accepts("convert", APP, "--form", form)
    image = beside / ("image" if form == "local-image" else "meta.erofs")
    image.rename(victim.home / "image")
    image.symlink_to(victim.home / "image")
    assert store(victim, "verify")[0] == 4
    status, _, complaints = store(victim, "mount", APP, victim.home / "seen")
    assert (status, read_refusal(complaints).kind) == (4, "CorruptError")
    victim.accepts("repair", installed_bundle)
    victim.accepts("verify")
    assert not image.is_symlink()


@pytest.mark.root
def test_where_no_folder_has_its_files_none_is_told(victim: Victim, require: Require) -> None:
    require("mksquashfs")
    before = json.loads(victim.accepts("info", APP))["path"]
    victim.accepts("convert", APP, "--form", "local-image", "--image", "squashfs")
    assert before.endswith("/files")
    assert json.loads(victim.accepts("info", APP))["path"] == ""
    shown = call("--root", victim.root, "info", APP)[1]
    assert f"path: none; `holdall mount {APP} DIR`" in shown


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"signatures": [1]}', b"\xff"])
def test_an_envelope_that_was_spoiled_is_named(victim: Victim, beside: Path, data: bytes) -> None:
    (beside / "envelope").write_bytes(data)
    assert "envelope was changed" in victim.refuses("info", APP).message
