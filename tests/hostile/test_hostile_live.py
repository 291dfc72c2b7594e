"""Apps that lie in their bundle: spoiled in the store, or made with an index that is wrong."""

import os
import socket
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

import pytest

from bundles import forge_tree
from holdall.delivery.bundle import read_preamble
from holdall.delivery.index import Place as Lying
from holdall.errors import CorruptError
from holdall.forms import live
from holdall.forms.port import Filled, Older, Place
from holdall.journeys import bundling, packing
from holdall.model.digest import digest_of
from holdall.model.tree import File, Tree
from shown import Kept, keep

FIRST, SIZE = 2, 3  # where they stand in a record's packing


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return keep(tmp_path, {"a": b"words " * 20_000, "b": b"b"})


def link(bundle: Path) -> None:
    bundle.rename(bundle.with_name("elsewhere"))
    bundle.symlink_to("elsewhere")


def listen(bundle: Path) -> None:
    bundle.unlink()
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(f"/proc/self/fd/{os.open(bundle.parent, os.O_PATH)}/bundle")


def pipe(bundle: Path) -> None:
    bundle.unlink()
    os.mkfifo(bundle)


def folder(bundle: Path) -> None:
    bundle.unlink()
    bundle.mkdir()


def lengthen(bundle: Path) -> None:
    os.truncate(bundle, 2**40)


@pytest.mark.parametrize("harm", [link, listen, pipe, folder, lengthen])
def test_something_else_in_place_of_the_bundle_is_a_fault_that_can_be_mended(
    kept: Kept, harm: Callable[[Path], None]
) -> None:
    harm(kept.bundle)
    with pytest.raises(CorruptError, match="is not what was installed"):
        kept.mounted()
    faults = live.inspect(kept.place, Tree(()), fast=True)
    assert faults == [("", "bundle is missing or was changed")]


def lead_out(objects: Path) -> None:
    (objects.parent / "elsewhere").mkdir()
    (objects.parent / "elsewhere/precious").touch()
    objects.symlink_to("elsewhere")


@pytest.mark.parametrize("harm", [lead_out, os.mkfifo, Path.touch])
def test_something_else_in_place_of_what_is_shared_is_a_fault(
    kept: Kept, harm: Callable[[Path], None]
) -> None:
    harm(kept.bundle.with_name("objects"))
    assert live.inspect(kept.place, Tree(()), fast=False) == [("", "objects is no folder any more")]


def recorded(kept: Kept, at: int, value: object) -> Kept:
    told = list(kept.place.record["packing"])
    told[at] = value
    place = Place(*kept.place[:2], {**kept.place.record, "packing": told}, kept.place.bundles)
    return replace(kept, place=place)


@pytest.mark.parametrize("at", [FIRST, SIZE])
@pytest.mark.parametrize("value", [0, 2**40, 2**61])
def test_lengths_that_a_record_makes_up_are_not_read(kept: Kept, at: int, value: int) -> None:
    with pytest.raises(CorruptError, match="is not what was installed"):
        recorded(kept, at, value).mounted()


@pytest.mark.parametrize("at", [0, 1])
def test_a_record_that_takes_one_section_for_another_is_found_out(kept: Kept, at: int) -> None:
    spoiled = recorded(kept, at, kept.place.record["packing"][1 - at])
    with pytest.raises(CorruptError, match="cannot be read"):
        spoiled.shown()
    with (
        pytest.raises(CorruptError, match="cannot be read"),
        live.contents(spoiled.place, Tree(())),
    ):
        pass


def test_frames_are_not_carried_from_an_index_that_puts_a_content_elsewhere(
    tmp_path: Path,
) -> None:
    right, other = b"r" * 1024, b"o" * 1024
    tree = Tree(
        tuple(
            File(name, digest_of(data), len(data), executable=False)
            for name, data in (("a", right), ("b", other))
        )
    )
    # the first content is said to be where the second is, and the other way round
    crossed = [Lying(1, 0, 1024), Lying(0, 1024, 1024)]
    older, newer = tmp_path / "older", tmp_path / "newer"
    older.write_bytes(forge_tree(tree, stream=right + other, places=crossed))
    asked: list[bytes] = []

    def fill(left: Collection[bytes]) -> Filled:
        asked.extend(left)
        (tmp_path / "a").write_bytes(right)
        (tmp_path / "b").write_bytes(other)
        return Filled(str(tmp_path), [file for file in tree.files if file.digest in left], b"")

    with older.open("rb") as file:
        preamble = read_preamble(file)
        lies = bundling.packing_of(preamble, [2048])
        packing.pack(tree, str(newer), fill, Older(file.fileno(), lies, preamble.data))
    assert asked == list(tree.contents)
