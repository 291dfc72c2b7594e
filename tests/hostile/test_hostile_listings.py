"""Squashfs images whose names, targets and metadata are made to mislead who lists them."""

import contextlib
import os
from pathlib import Path

import pytest

from bundles import forge_image, write_source
from holdall.errors import CorruptError, UnsupportedError
from holdall.model.digest import digest_of
from holdall.model.tree import Directory, Entry, File, Symlink, Tree
from holdall.system import images
from holdall.system.erofs_image import Found
from hostility import Victim
from surroundings import Require

PROGRAM = b"#!/bin/sh\necho hi\n"
LIMIT = 2**16
LINE = "\n-rw-r--r-- 0/0                    5 1970-01-01 00:00 /zz"
"""What a lister writes of a file."""


@pytest.fixture(autouse=True)
def programs(require: Require) -> None:
    require("mksquashfs")


def image_of(folder: Path, target: Path, level: int = 1) -> bytes:
    images.make("squashfs", str(folder), str(target), name=bytes(16), level=level)
    return target.read_bytes()


def listed(path: Path) -> dict[str, Found]:
    with path.open("rb") as file:
        return images.listing("squashfs", file.fileno(), 0, path.stat().st_size, limit=LIMIT)


@pytest.mark.parametrize("level", [0, 1])
def test_every_kind_of_name_is_listed(tmp_path: Path, level: int) -> None:
    folder = tmp_path / "files"
    (folder / "deep" / ("d" * 255)).mkdir(parents=True)
    for number in range(700):
        (folder / "deep" / f"{number}-{'n' * 60}").write_bytes(bytes(number))
    (folder / "a -> b").symlink_to("c -> d")
    (folder / "new\nline").write_bytes(b"x" * 200_000)
    (folder / "far").symlink_to("x" * 4000)
    (folder / "run").write_bytes(PROGRAM)
    (folder / "run").chmod(0o755)
    (folder / "deep/again").hardlink_to(folder / "run")
    image_of(folder, tmp_path / "image", level)
    found = listed(tmp_path / "image")
    assert found.pop("") == Found("drwxr-xr-x", 0)
    assert found.pop("deep") == found.pop("deep/" + "d" * 255) == Found("drwxr-xr-x", 0)
    assert found.pop("a -> b") == Found("lrwxrwxrwx", 6, "c -> d")
    assert found.pop("far") == Found("lrwxrwxrwx", 4000, "x" * 4000)
    assert found.pop("new\nline") == Found("-rw-r--r--", 200_000)
    assert found.pop("run") == found.pop("deep/again") == Found("-rwxr-xr-x", len(PROGRAM))
    sizes = {path: Found("-rw-r--r--", int(path[5:].partition("-")[0])) for path in found}
    assert found == sizes
    assert len(found) == 700


def forged(folder: Path) -> Tree:
    """A link whose name and target tell of a file that is not there."""
    named = "r" * (len(LINE) - 4)
    (folder / f"p -> {named}").symlink_to(f"x{LINE}")
    return tree_with(Symlink("p", f"{named} -> x"))


def tree_with(entry: Symlink) -> Tree:
    zz = File("zz", digest_of(b"gone\n"), 5, executable=False)
    editor = File("bin/editor", digest_of(PROGRAM), len(PROGRAM), executable=True)
    entries: list[Entry] = [Directory("bin"), editor, entry, zz]
    return Tree(tuple(sorted(entries, key=lambda one: one.path)))


@pytest.mark.parametrize("form", ["tree", pytest.param("image", marks=pytest.mark.root)])
def test_a_listing_cannot_be_forged(victim: Victim, tmp_path: Path, form: str) -> None:
    folder = write_source(tmp_path / "source", {"bin/editor": PROGRAM}) / "files"
    tree = forged(folder)
    path = tmp_path / "lie.holdall"
    path.write_bytes(forge_image(tree, image_of(folder, tmp_path / "image")))
    allowed = ("--allow-kernel-parser",) if form == "image" else ()
    refused = victim.refuses("install", path, "--form", form, *allowed)
    assert (refused.kind, "names" in refused.message) == ("CorruptError", True)


@pytest.mark.parametrize("level", [0, 1])
def test_what_reads_the_names_survives_anything(tmp_path: Path, level: int) -> None:
    folder = write_source(tmp_path / "app", links={"share/link": "words.txt"}) / "files"
    data = image_of(folder, tmp_path / "image", level)
    work = tmp_path / "work"
    with work.open("w+b") as file:
        for at in range(len(data)):
            for flip in (0xFF, 0x01, 0x80):
                changed = bytearray(data)
                changed[at] ^= flip
                os.pwrite(file.fileno(), changed, 0)
                with contextlib.suppress(CorruptError):
                    found = images.listing("squashfs", file.fileno(), 0, len(data), limit=LIMIT)
                    assert all("/../" not in f"/{path}/" for path in found)


@pytest.mark.parametrize("said", [b"share/words", b"share\0words"])
def test_a_name_no_file_may_have_is_refused(tmp_path: Path, said: bytes) -> None:
    folder = write_source(tmp_path / "app", {"share_words": b"x"}) / "files"
    data = image_of(folder, tmp_path / "image", 0)
    assert b"share_words" in data
    (tmp_path / "work").write_bytes(data.replace(b"share_words", said))
    with pytest.raises(CorruptError, match="no file may have"):
        listed(tmp_path / "work")


def test_a_folder_in_itself_ends(tmp_path: Path) -> None:
    folder = write_source(tmp_path / "app", {"share/words": b"x"}) / "files"
    (folder / "share/words").unlink()
    (folder / "share/inner").mkdir()
    data = bytearray(image_of(folder, tmp_path / "image", 0))
    # share and what is in it change their names in the folders: share holds itself then
    share = data.index(b"share") - 8
    inner = data.index(b"inner") - 8
    data[inner : inner + 2] = data[share : share + 2]
    (tmp_path / "work").write_bytes(data)
    with pytest.raises(CorruptError, match="more files"):
        listed(tmp_path / "work")


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    folder = write_source(tmp_path / "app") / "files"
    data = bytearray(image_of(folder, tmp_path / "image", 0))
    table = int.from_bytes(data[48:56], "little")
    place = int.from_bytes(data[table : table + 8], "little")
    data[place + 2] = 1
    (tmp_path / "work").write_bytes(data)
    with pytest.raises(CorruptError, match="others than root"):
        listed(tmp_path / "work")


def test_a_name_too_long_for_one_kind_is_said_with_the_other(
    tmp_path: Path, require: Require
) -> None:
    require("mkfs.erofs")
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / ("x" * 255)).touch()
    said = ""
    try:
        images.make("erofs", str(folder), str(tmp_path / "image"), name=bytes(16), level=1)
    except UnsupportedError as refused:
        said = str(refused)
    # newer programs can
    assert "--image squashfs" in said or (tmp_path / "image").stat().st_size
    assert image_of(folder, tmp_path / "other")
