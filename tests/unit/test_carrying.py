"""Frames of an older bundle that go into a new one: which, where to, and what they say there."""

import io
import os
import random
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdall.delivery import carrying
from holdall.delivery import index as indexes
from holdall.delivery.bundle import read_preamble
from holdall.delivery.carrying import Copy, Laid
from holdall.delivery.index import UNIT, Group, Index, chart
from holdall.delivery.layout import BLOCK
from holdall.delivery.pack import pack as pack_frames
from holdall.delivery.random import FrameContents
from holdall.delivery.zstandard import decompress, unpack
from holdall.errors import CorruptError
from holdall.forms.port import Filled, Older, Packing
from holdall.journeys import packing
from holdall.model import tree as trees
from holdall.model.digest import digest_of
from holdall.model.tree import File, Tree

TINY = 64 * 2**10
FIRST = 1234  # where frames begin in the file of the older bundle


def noise(number: int, size: int) -> bytes:
    return random.Random(number).randbytes(size)


def tree_of(files: Mapping[str, bytes]) -> Tree:
    return Tree(
        tuple(
            File(path, digest_of(data), len(data), executable=False)
            for path, data in sorted(files.items())
        )
    )


def packed(files: Mapping[str, bytes], frame: int = TINY) -> tuple[Tree, Index, bytes]:
    tree = tree_of(files)
    out = io.BytesIO()

    def pieces(file: File) -> list[bytes]:
        data = files[file.path]
        return [data[at : at + 5000] for at in range(0, len(data), 5000)]

    made = pack_frames(tree, lambda file: iter(pieces(file)), out, frame_size=frame, level=1)
    return tree, indexes.parse(made.index, list(tree.contents.values())), out.getvalue()


def wanted(tree: Tree, new: Tree) -> set[int]:
    return {number for number, digest in enumerate(tree.contents) if digest in new.contents}


def size_of(tree: Tree) -> int:
    return carrying.stream_size(tree.contents.values())


def chosen(index: Index, tree: Tree, new: Tree) -> list[Group]:
    return carrying.worth_carrying(index, wanted(tree, new), size_of(new))


def written(laid: Laid, stored: bytes) -> bytes:
    file = bytes(FIRST) + stored
    return b"".join(
        part if isinstance(part, bytes) else file[part.offset : part.offset + part.size]
        for part in laid.parts
    )


def stream_of(frames: Sequence[tuple[int, int, bytes]], stored: bytes) -> bytes:
    """What frames decode to; each is what is said of it."""
    at, pieces = 0, []
    for raw, length, digest in frames:
        frame = stored[at : at + length]
        assert sha256(frame).digest() == digest
        pieces.append(decompress(frame, raw))
        at += length
    assert at == len(stored)
    return b"".join(pieces)


@st.composite
def updates(draw: st.DrawFn) -> tuple[dict[str, bytes], dict[str, bytes], int]:
    """Files, what they become, and how long frames are."""
    sizes = st.sampled_from([0, 1, 300, 511, 512, 4096, 20_000, 70_000, 150_000])
    old = {
        f"{number % 3}/{number}.{'ab'[number % 2]}": noise(number, size)
        for number, size in enumerate(draw(st.lists(sizes, max_size=40)))
    }
    new = dict(old)
    for path in draw(st.sets(st.sampled_from(sorted(old)))) if old else ():
        del new[path]
    for number, size in enumerate(draw(st.lists(sizes, max_size=5))):
        new[f"new/{number}"] = noise(1000 + number, size)
    return old, new, draw(st.sampled_from([TINY, TINY + 100, 2 * TINY + 511]))


@settings(max_examples=150, deadline=None)
@given(updates())
def test_whatever_is_carried_lies_where_the_index_says(
    update: tuple[dict[str, bytes], dict[str, bytes], int],
) -> None:
    old, new, frame = update
    tree, index, stored = packed(old, frame)
    after = tree_of(new)
    groups = chosen(index, tree, after)
    digests = list(tree.contents)
    numbers = {digest: number for number, digest in enumerate(after.contents)}
    held = {place.content: digests[place.content] for group in groups for place in group.places}
    laid = carrying.lay(groups, {one: numbers[digest] for one, digest in held.items()}, FIRST)
    left = {path: data for path, data in new.items() if digest_of(data) not in held.values()}
    rest, rest_index, rest_stored = packed(left)
    own = {number: numbers[digest] for number, digest in enumerate(rest.contents)}
    whole = carrying.add(laid, rest_index, own)

    sizes = list(after.contents.values())
    found = indexes.parse(indexes.encode(whole.frames, whole.places), sizes)
    stream = stream_of(whole.frames, written(whole, stored) + rest_stored)
    contents = [
        digest_of(stream[place.start : place.start + place.size])
        for place in sorted(found.places, key=lambda place: place.content)
    ]
    assert contents == list(after.contents)
    assert laid.stored == len(written(laid, stored))


@settings(max_examples=100, deadline=None)
@given(updates())
def test_no_more_than_a_fifth_of_what_is_carried_and_made_is_dead(
    update: tuple[dict[str, bytes], dict[str, bytes], int],
) -> None:
    old, new, frame = update
    tree, index, _ = packed(old, frame)
    after = tree_of(new)
    groups = chosen(index, tree, after)
    sizes = list(tree.contents.values())
    dead = 0
    for group in groups:
        raw = sum(frame.raw for frame in group.frames)
        mine = sum(
            UNIT + sizes[place.content] + -sizes[place.content] % UNIT for place in group.places
        )
        assert 2 * mine >= raw
        dead += max(0, raw - mine)
    assert carrying.WASTE * dead <= size_of(after)
    assert groups == sorted(groups, key=lambda group: group.frames[0].start)


def test_all_is_carried_when_nothing_changed() -> None:
    tree, index, stored = packed({f"{n}": noise(n, 30_000) for n in range(30)})
    groups = chosen(index, tree, tree)
    laid = carrying.lay(groups, {n: n for n in range(30)}, FIRST)
    assert [part for part in laid.parts if isinstance(part, Copy)] == [Copy(FIRST, len(stored))]
    assert sum(isinstance(part, bytes) for part in laid.parts) == 1, "what brings it to its block"


def test_frames_of_which_less_than_half_is_wanted_are_not_carried() -> None:
    files = {f"{n:02}": noise(n, 15_000) for n in range(40)}
    tree, index, _ = packed(files)
    kept = {path: data for path, data in files.items() if int(path) % 4 == 0}
    assert chosen(index, tree, tree_of(kept)) == []


def test_what_has_the_greatest_dead_part_is_packed_anew_first() -> None:
    files = {f"{n:02}": noise(n, 15_000) for n in range(40)}
    tree, index, _ = packed(files)
    kept = {path: data for path, data in files.items() if int(path) < 20 or int(path) % 2}
    groups = chosen(index, tree, tree_of(kept))
    whole = [group for group in groups if len(group.places) == 4]
    assert len(whole) == 5
    assert len(groups) > 5, "some waste is borne"


def test_a_long_content_that_goes_does_not_hold_what_lies_behind_it() -> None:
    files = {"long": noise(1, 200_000), **{f"z{n}": noise(n, 15_000) for n in range(2, 20)}}
    tree, index, _ = packed(files)
    (long,) = (at for at, one in enumerate(index.places) if one.size == 200_000)
    assert long == 0
    del files["long"]
    groups = chosen(index, tree, tree_of(files))
    assert sum(len(group.places) for group in groups) == len(files)
    assert all(place.size == 15_000 for group in groups for place in group.places)


def test_a_long_content_that_stays_takes_along_the_little_that_does_not() -> None:
    files = {"long": noise(1, 200_000), "z": noise(2, 40_000)}
    tree, index, _ = packed(files)
    groups = chosen(index, tree, tree_of({"long": files["long"]}))
    assert [place.size for group in groups for place in group.places] == [200_000]


def test_long_runs_lie_as_they_did_in_their_blocks() -> None:
    files = {f"{n:03}": noise(n, 20_000) for n in range(100)}
    tree, index, _ = packed(files)
    kept = {path: data for path, data in files.items() if int(path) // 12 % 3}
    groups = chosen(index, tree, tree_of(kept))
    laid = carrying.lay(groups, {n: n for n in range(100)}, FIRST)
    at, runs = 0, 0
    for part in laid.parts:
        if isinstance(part, Copy):
            runs += 1
            assert part.size >= carrying.WORTH_SHARING
            assert part.offset % BLOCK == at % BLOCK
            at += part.size
        else:
            at += len(part)
    assert runs == 3


@given(st.integers(1, 10_000), st.integers(16, 6000))
def test_a_frame_of_zeros_is_as_long_as_asked(raw: int, stored: int) -> None:
    if stored - 16 >= raw:
        with pytest.raises(ValueError, match="no frame"):
            carrying.filler(raw, stored)
        return
    frame = carrying.filler(raw, stored)
    assert len(frame) == stored
    assert decompress(frame, raw) == bytes(raw)


def test_what_needs_a_frame_is_known() -> None:
    files = {"long": noise(1, 200_000), "y": b"", **{f"z{n}": noise(n, 9_000) for n in range(9)}}
    _, index, _ = packed(files)
    for frame in index.frames:
        found = carrying.touching(index, [frame])
        assert found == {
            place.content
            for place in index.places
            if place.size
            and place.start < frame.start + frame.raw
            and place.start + place.size > frame.start
        }


class Shop:
    """Bundles packed in a folder, each from the one before."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.number = folder, 0
        self.packing: Packing | None = None
        self.filled: list[str] = []

    @property
    def path(self) -> Path:
        return self.folder / f"bundle{self.number}"

    def pack(self, files: Mapping[str, bytes]) -> None:
        """The next one; `filled` has what did not come from the one before."""
        tree = tree_of(files)
        scratch = self.folder / f"scratch{self.number}"
        older = self.older()
        self.number += 1

        def fill(left: object) -> Filled:
            firsts = {file.digest: file for file in reversed(tree.files)}
            chosen = [firsts[digest] for digest in firsts if digest in left]  # type: ignore[operator]
            for file in chosen:
                path = scratch / file.path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(files[file.path])
            self.filled = [file.path for file in chosen]
            return Filled(str(scratch), chosen, b"envelope")

        self.packing = packing.pack(tree, str(self.path), fill, older)

    def older(self) -> Older | None:
        if self.packing is None:
            return None
        fd = os.open(self.path, os.O_RDONLY)
        return Older(fd, self.packing, os.pread(fd, self.packing.first, 0))

    def read(self, files: Mapping[str, bytes]) -> dict[str, bytes]:
        with self.path.open("rb") as file:
            preamble = read_preamble(file)
        assert preamble.size == self.path.stat().st_size
        assert preamble.head.is_local
        assert preamble.first % BLOCK == 0
        tree = trees.parse(unpack(preamble.tree))
        assert tree == tree_of(files)
        found = chart(unpack(preamble.index), list(tree.contents.values()))
        fd = os.open(self.path, os.O_RDONLY)
        contents = FrameContents(fd, preamble.first, found, list(tree.contents), ahead=0)
        read = {
            file.path: b"".join(contents.read(file.digest, 0, file.size)) for file in tree.files
        }
        os.close(fd)
        return read


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


@pytest.mark.parametrize("seed", range(8))
def test_versions_that_follow_each_other_are_right_and_never_grow_far(
    shop: Shop, seed: int
) -> None:
    source = random.Random(seed)
    files = {f"{n}": source.randbytes(source.choice([0, 10, 3000, 40_000])) for n in range(150)}
    files["long"] = source.randbytes(900_000)
    shop.pack(files)
    for _ in range(8):
        for path in source.sample(sorted(files), 15):
            data = files.pop(path)
            if source.random() < 0.8:
                files[path] = source.randbytes(max(0, len(data) + source.randrange(-9, 9)))
        shop.pack(files)
        assert shop.read(files) == files
        assert shop.path.stat().st_size < 1.3 * sum(map(len, files.values())) + 20_000
    assert len(shop.filled) < len(files) / 2


def test_nothing_is_filled_in_when_nothing_changed(shop: Shop) -> None:
    files = {f"{n}": noise(n, 50_000) for n in range(20)}
    shop.pack(files)
    shop.pack({**files, "again": files["3"]})
    assert shop.filled == []
    assert shop.read({**files, "again": files["3"]})["again"] == files["3"]


def test_an_app_without_files_can_be_packed(shop: Shop) -> None:
    for files in ({}, {"a": b""}, {}, {"a": b"x"}):
        shop.pack(files)
        assert shop.read(files) == files


def test_a_damaged_frame_is_not_carried(shop: Shop) -> None:
    files = {f"{n:02}": noise(n, 50_000) for n in range(20)}
    shop.pack(files)
    assert shop.packing
    with shop.path.open("r+b") as file:
        file.seek(shop.packing.first + 300_000)
        file.write(b"damage")
    shop.pack(files)
    assert 0 < len(shop.filled) < 10
    assert shop.read(files) == files


def test_a_file_that_is_another_than_was_signed_is_not_packed(shop: Shop) -> None:
    files = {"a": noise(1, 50_000)}
    tree = tree_of(files)

    def fill(_left: object) -> Filled:
        (shop.folder / "a").write_bytes(noise(2, 50_000))
        return Filled(str(shop.folder), tree.files, b"")

    with pytest.raises(CorruptError, match="not what was signed"):
        packing.pack(tree, str(shop.path), fill, None)
