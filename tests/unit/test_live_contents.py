"""Bundles read at random: checked frame by frame, refused where they do not begin as they did."""

import json
import os
import random
import threading
from pathlib import Path
from time import process_time

import pytest

from holdall.delivery.bundle import open_preamble, read_preamble
from holdall.delivery.habit import LONGEST, Habit, Laid, _encoded, inherited
from holdall.delivery.index import Chart, chart
from holdall.delivery.random import BUDGET, FrameContents
from holdall.delivery.zstandard import unpack
from holdall.errors import CorruptError, NotFoundError
from holdall.model import tree as trees
from holdall.model.tree import Tree
from holdall.store.record import parse
from holdall.trust.envelope import open_envelope
from mounts import eventually
from shown import REFUSALS, TINY, Kept, keep, walk

NOISE = random.Random(3)
LONG = NOISE.randbytes(10 * TINY + 77)
FILES = {
    "a/long": LONG,
    "a/twin": LONG[:1000],
    "b/twin": LONG[:1000],
    "empty": b"",
    "words": b"one two three\n" * 5000,
    **{f"many/{number:03}.txt": NOISE.randbytes(number * 31) for number in range(150)},
}
LINKS = {"link": "a/long", "away": "/nonexistent/ä"}


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return keep(tmp_path, FILES, links=LINKS)


def charted(kept: Kept) -> tuple[Chart, Tree, int]:
    with kept.bundle.open("rb") as file:
        preamble = read_preamble(file)
    release = open_envelope(preamble.envelope).release
    opened = open_preamble(
        preamble,
        tree_sha256=release.packing.tree,
        index_sha256=release.packing.index,
        tree_digest=release.tree_digest.raw,
    )
    sizes = list(opened.tree.contents.values())
    return chart(unpack(preamble.index), sizes), opened.tree, preamble.first


def contents(
    kept: Kept, *, budget: int = BUDGET, ahead: int = 0, habit: Habit | None = None
) -> tuple[FrameContents, Tree]:
    found, tree, first = charted(kept)
    fd = os.open(kept.bundle, os.O_RDONLY)
    digests = list(tree.contents)
    options = {"budget": budget, "ahead": ahead}
    return FrameContents(fd, first, found, digests, habit=habit, **options), tree


def flip(kept: Kept, at: int) -> None:
    with kept.bundle.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0x40]))


def test_all_files_are_there_as_they_were_packed(kept: Kept) -> None:
    assert kept.read(kept.shown()) == FILES


def test_names_modes_and_owners_are_the_trees(kept: Kept) -> None:
    names = kept.shown()
    modes = {path: oct(mode) for path, _, mode in walk(names)}
    assert modes == {
        "a": "0o40755",
        "b": "0o40755",
        "many": "0o40755",
        **dict.fromkeys(LINKS, "0o120777"),
        **dict.fromkeys(FILES, "0o100644"),
    }


def test_an_outline_says_what_the_tree_says(kept: Kept) -> None:
    _, tree, _ = charted(kept)
    outline = trees.outline(trees.encode(tree))
    files = [(outline.digests[number], outline.sizes[number]) for number in outline.numbers]
    assert files == [(file.digest, file.size) for file in tree.files]
    assert outline.paths == [entry.path for entry in tree.entries]
    assert outline.targets == ["/nonexistent/ä", "a/long"]


@pytest.mark.parametrize("ahead", [0, TINY, 4 * TINY])
def test_any_range_of_a_content_is_right(kept: Kept, ahead: int) -> None:
    found, tree = contents(kept, ahead=ahead)
    digest = next(file.digest for file in tree.files if file.path == "a/long")
    source = random.Random(5)
    for _ in range(300):
        start = source.randrange(len(LONG))
        size = source.randrange(1, len(LONG) - start + 1)
        assert b"".join(found.read(digest, start, size)) == LONG[start : start + size]


def test_many_threads_may_read(kept: Kept) -> None:
    found, tree = contents(kept, budget=3 * TINY, ahead=TINY)
    wrong: list[str] = []

    def read() -> None:
        wrong.extend(
            file.path
            for file in tree.files * 3
            if b"".join(found.read(file.digest, 0, file.size)) != FILES[file.path]
        )

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("budget", [0, 3 * TINY, 5 * TINY])
def test_no_more_is_kept_than_may_be(kept: Kept, budget: int) -> None:
    found, tree = contents(kept, budget=budget)
    for file in tree.files:
        found.read(file.digest, 0, file.size)
        assert found.kept_bytes <= max(budget, 2 * TINY)


def test_a_frame_is_decoded_once_for_what_is_read_soon(kept: Kept) -> None:
    found, tree = contents(kept)
    decoded = set()
    for _ in range(3):
        for file in tree.files:
            found.read(file.digest, 0, file.size)
        decoded.add(found.decoded)
    assert len(decoded) == 1


def test_what_was_read_first_is_decoded_ahead_the_next_time() -> None:
    first = Habit(b"", 100, TINY)
    for number in (7, 3, 50):
        assert not first.met(number)
    again = Habit(first.encoded, 100, TINY)
    assert again.due() == [7, 3, 50]
    for number in (7, 3, 50):
        assert not again.met(number)
    assert not again.encoded, "it is known already"


def test_no_more_is_decoded_ahead_than_is_soon_read() -> None:
    first = Habit(b"", 2000, 2**20)
    for number in range(1500):
        first.met(number)
    again = Habit(first.encoded, 2000, 2**20)
    assert again.due() == list(range(40))
    assert again.due() == []
    assert again.met(5) == [40]
    assert again.met(1999) == []


def test_a_start_that_was_foreseen_too_late_is_remembered() -> None:
    long = Habit(b"", 2000, 2**20)
    for number in range(200):
        long.met(number)
    start = Habit(long.encoded, 2000, 2**20)
    for number in range(150, 170):
        start.met(number)
    again = Habit(start.encoded, 2000, 2**20)
    assert again.due() == list(range(150, 170))
    assert again.knows(160)
    assert not again.knows(100)


def test_using_an_app_for_long_does_not_hide_how_it_starts() -> None:
    long = Habit(b"", 2000, 2**20)
    for number in range(200):
        long.met(number)
    for read in (range(20), range(60)):
        start = Habit(long.encoded, 2000, 2**20)
        for number in reversed(read):
            start.met(number)
        assert not start.encoded


OLDER = Laid((0, 10, 20, 30, 40), {"a": (0, 5), "b": (5, 20), "gone": (25, 5), "c": (30, 10)})
NEWER = Laid((0, 6, 12, 18, 24, 30), {"c": (0, 9), "b": (9, 14), "a": (23, 5), "new": (28, 2)})


@pytest.mark.parametrize(
    ("read", "foreseen"),
    [
        ([3], [0, 1]),  # c, which is shorter
        ([1], [2, 3]),  # the second half of b, which is shorter, too
        ([0, 3], [3, 4, 1, 2, 0]),  # a and the beginning of b
        ([2], []),  # b's last piece is no more, nor is the other
        ([9], []),
    ],
)
def test_a_start_is_inherited_by_the_paths_of_files(read: list[int], foreseen: list[int]) -> None:
    known = b"".join(number.to_bytes(4, "little") for number in [len(read), *read])
    known += b"\xff" * (4 * LONGEST + 4 - len(known))
    found = inherited(known, OLDER, NEWER)
    assert bool(found) == bool(foreseen)
    assert Habit(found, 5, 6).due() == foreseen


def test_what_is_inherited_takes_no_more_than_some_steps() -> None:
    """However often the contents of many frames are named, and however long they are."""
    known = b"".join(number.to_bytes(4, "little") for number in range(LONGEST + 1))
    spans = {str(number): (number % 700, 20_000 - number % 300) for number in range(100_000)}
    laid = Laid(range(20_001), spans)
    begun = process_time()
    assert len(Habit(inherited(known, laid, laid), 20_000, 1).due()) == LONGEST
    assert process_time() - begun < 5


def test_reading_everything_is_no_habit() -> None:
    habit = Habit(b"", 2000, 2**20)
    for number in range(1900):
        habit.met(number)
    assert not habit.encoded


@pytest.mark.parametrize(
    "known", [b"", b"x", bytes(4 * LONGEST), b"\xff" * (4 * LONGEST + 4), bytes(5000)]
)
def test_a_habit_may_be_anything(known: bytes) -> None:
    assert Habit(known, 10, TINY).due() in ([], [0])


def test_a_habit_with_something_behind_it_is_one() -> None:
    first = Habit(b"", 100, TINY)
    for number in (7, 3, 50):
        first.met(number)
    assert Habit(first.encoded + b"more", 100, TINY).due() == [7, 3, 50]


def in_order(kept: Kept, tree: Tree) -> list[bytes]:
    """The contents in the order they lie in the frames."""
    places = dict(zip(tree.contents, charted(kept)[0].places, strict=True))
    return sorted((one for one, size in tree.contents.items() if size), key=places.__getitem__)


def test_a_start_that_is_longer_than_what_is_kept_is_decoded_once(kept: Kept) -> None:
    """The frames that are still to come are kept, and those that were read go."""
    count = len(charted(kept)[0].starts) - 1
    habit = Habit(_encoded(range(count)), count, 8 * 2**20)  # foresees five frames
    found, tree = contents(kept, ahead=TINY, budget=7 * TINY, habit=habit)
    sizes = tree.contents
    for digest in in_order(kept, tree):
        for at in range(0, sizes[digest], 4096):
            found.read(digest, at, min(4096, sizes[digest] - at))
            assert eventually(lambda: not found.busy)
    assert found.decoded == count


def test_after_a_rest_who_reads_on_finds_the_next_frames_again(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine: list[int] = []
    plain = FrameContents._decode  # noqa: SLF001

    def noted(self: FrameContents, number: int) -> bytes:
        if threading.current_thread() is threading.main_thread():
            mine.append(number)
        return plain(self, number)

    monkeypatch.setattr(FrameContents, "_decode", noted)
    count = len(charted(kept)[0].starts) - 1
    habit = Habit(_encoded(range(count)), count, 8 * 2**20)
    found, tree = contents(kept, ahead=TINY, habit=habit)
    assert eventually(lambda: not found.busy)
    found.rest()
    long, size = max(tree.contents.items(), key=lambda item: item[1])
    for at in range(0, size, TINY):
        found.read(long, at, min(TINY, size - at))
        assert eventually(lambda: not found.busy)
    assert len(mine) <= 2


def test_a_habit_is_only_a_guess(kept: Kept) -> None:
    numbers = random.Random(9).choices(range(len(charted(kept)[0].starts) - 1), k=LONGEST + 1)
    guess = b"".join(number.to_bytes(4, "little") for number in numbers)
    found, tree = contents(kept, ahead=TINY, habit=Habit(guess, len(numbers), TINY))
    for file in tree.files:
        assert b"".join(found.read(file.digest, 0, file.size)) == FILES[file.path]


def test_memory_that_is_given_back_is_had_again(kept: Kept) -> None:
    found, tree = contents(kept)
    decoded = []
    for _ in range(2):
        for file in tree.files:
            assert b"".join(found.read(file.digest, 0, file.size)) == FILES[file.path]
        assert found.kept_bytes
        found.rest()
        assert not found.kept_bytes
        decoded.append(found.decoded)
    assert decoded == [decoded[0], 2 * decoded[0]]


def test_it_is_busy_while_it_reads_ahead(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    count = len(charted(kept)[0].starts) - 1
    go_on = threading.Event()
    plain = FrameContents._decode  # noqa: SLF001

    def slowly(self: FrameContents, number: int) -> bytes:
        go_on.wait(60)
        return plain(self, number)

    monkeypatch.setattr(FrameContents, "_decode", slowly)
    guess = b"".join(number.to_bytes(4, "little") for number in [0, *([1] * LONGEST)])
    found, _ = contents(kept, ahead=TINY, habit=Habit(guess, count, TINY))
    assert found.busy
    go_on.set()
    assert eventually(lambda: not found.busy)


def test_a_content_there_is_not_is_told(kept: Kept) -> None:
    with pytest.raises(NotFoundError):
        contents(kept)[0].read(bytes(32), 0, 1)


def test_a_flipped_byte_fails_just_what_needs_its_frame(kept: Kept) -> None:
    found, tree, first = charted(kept)
    at = {file.path: found.places[list(tree.contents).index(file.digest)] for file in tree.files}
    for number in range(len(found.offsets) - 1):
        flip(kept, first + found.offsets[number] + 5)
        frame = range(found.starts[number], found.starts[number + 1])
        lost = {
            path
            for path, start in at.items()
            if FILES[path] and start < frame.stop and start + len(FILES[path]) > frame.start
        }
        expected = {path: None if path in lost else data for path, data in FILES.items()}
        kept.complaints.clear()
        assert kept.read(kept.shown()) == expected
        assert {line.split(" cannot")[0].rpartition(": ")[2] for line in kept.complaints} == lost
        assert all("is not what the publisher signed" in line for line in kept.complaints)
        flip(kept, first + found.offsets[number] + 5)


def test_every_byte_before_the_frames_is_held_to(kept: Kept) -> None:
    _, _, first = charted(kept)
    for at in range(0, first, 7):
        flip(kept, at)
        with pytest.raises(CorruptError):
            kept.mounted()
        flip(kept, at)
    kept.mounted()


@pytest.mark.parametrize("size", [0, 10, 1000, -1])
def test_a_file_that_was_cut_short_is_refused(kept: Kept, size: int) -> None:
    os.truncate(kept.bundle, size if size >= 0 else kept.bundle.stat().st_size - 1)
    with pytest.raises(CorruptError):
        kept.mounted()


def test_a_file_that_is_gone_is_told(kept: Kept) -> None:
    kept.bundle.unlink()
    with pytest.raises(NotFoundError):
        kept.mounted()


SPOILED = [3, [], [1, 2, 3, 4, 5], [[0, 1], [2, 3], "x", 0, 0], [[0], [2, 3], 4, 5, 6]]


@pytest.mark.parametrize("packing", SPOILED)
def test_a_spoiled_record_is_refused(kept: Kept, packing: object) -> None:
    record = {"form": "live", **kept.place.record}
    assert parse(json.dumps(record).encode())
    assert parse(json.dumps({**record, "packing": packing}).encode()) is None
    assert parse(json.dumps({**record, "before": "x" * 64}).encode()) is None


def test_a_thousand_damaged_bundles_are_refused_or_read_rightly(kept: Kept) -> None:
    whole = kept.bundle.read_bytes()
    source = random.Random(11)
    refused = 0
    for _ in range(1000):
        data = bytearray(whole)
        for _ in range(source.randrange(1, 4)):
            at = source.choice([source.randrange(len(data)), source.randrange(2000)])
            data[at : at + source.randrange(1, 20)] = source.randbytes(source.randrange(0, 20))
        kept.bundle.write_bytes(
            data[: source.choice([len(data)] * 3 + [source.randrange(1, len(data))])]
        )
        try:
            names = kept.shown()
        except REFUSALS:
            refused += 1
            continue
        found = kept.read(names)
        assert found.keys() == FILES.keys()
        assert all(found[path] in {None, data} for path, data in FILES.items())
    assert 300 < refused < 1000
