"""What is compared with what: pairs of files, copies of bytes, quoted digests, pieces of maps."""

import random
from base64 import urlsafe_b64encode

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltas import array, image, numbers, programs, relinked, sample_image, sha, tree_of
from holdall.delivery.delta.elf import AARCH64, X86_64
from holdall.delivery.delta.shifts import ShiftMap, pack_maps, unpack_maps
from holdall.delivery.delta.tokens import blank, fill
from holdall.delivery.differ.align import Copies, align
from holdall.delivery.differ.encode import joined
from holdall.delivery.differ.learn import Side, learn, read_side
from holdall.delivery.differ.pairing import pair
from holdall.delivery.differ.prune import pruned
from holdall.delivery.differ.quotes import blanks, quoting
from holdall.model.digest import digest_of

NOISE = random.Random(4).randbytes(100_000)


# ------------------------------------------------------------------------------ pairs


@pytest.mark.parametrize(
    ("new", "olds", "expected"),
    [
        pytest.param("lib/a.so", ["lib/a.so", "lib/b.so"], "lib/a.so", id="the same path"),
        pytest.param("a-1.3.0/x", ["a-1.2.9/x", "b-1.3/x"], "a-1.2.9/x", id="another version"),
        pytest.param("l.so.1.2", ["l.so.2", "m.so.1"], "l.so.2", id="more numbers"),
        pytest.param(
            "x-0123abcdef.js",
            ["x-fedcba9876543.js", "y-0123abcdef.js"],
            "x-fedcba9876543.js",
            id="another digest",
        ),
        pytest.param("new/a/mod.py", ["old/a/mod.py", "b"], "old/a/mod.py", id="another folder"),
        pytest.param("n/a/m.py", ["o/m.py", "n/b/m.py"], "n/b/m.py", id="the nearest folder"),
        pytest.param("entirely", ["different"], None, id="nothing alike"),
        pytest.param("a", [], None, id="nothing at all"),
    ],
)
def test_a_new_file_is_paired(new: str, olds: list[str], expected: str | None) -> None:
    old = tree_of({path: path.encode() for path in olds})
    wanted = tree_of({new: b"new"}).files
    found = pair(wanted, old)
    assert [held.path for held in found.values()] == ([expected] if expected else [])


def test_of_files_as_near_the_nearest_size_is_taken() -> None:
    old = tree_of({"x/1a/m": b"1", "x/2b/m": b"1" * 50, "x/3c/m": b"1" * 90})
    (held,) = pair(tree_of({"x/d/m": b"2" * 60}).files, old).values()
    assert held.path == "x/2b/m"


def test_an_empty_file_is_nothing_to_start_from() -> None:
    assert pair(tree_of({"a": b"new"}).files, tree_of({"a": b""})) == {}


# ------------------------------------------------------------------------------ copies


@st.composite
def edited(draw: st.DrawFn) -> tuple[bytes, bytes]:
    chance = random.Random(draw(st.integers(0, 2**32)))
    old = NOISE[: draw(st.integers(0, 9000))]
    if draw(st.booleans()):
        old = bytes(byte & 3 for byte in old)
    pieces = []
    for _ in range(draw(st.integers(0, 6))):
        at = chance.randrange(len(old) + 1)
        pieces += [old[at : at + chance.randrange(3000)], chance.randbytes(chance.randrange(200))]
    return old, b"".join(pieces)


@given(edited(), st.integers(0, 3))
def test_copies_are_apart_ascending_and_in_bounds(case: tuple[bytes, bytes], bits: int) -> None:
    old, new = map(array, case)
    for found in (copies := align(old, new, bits=bits), joined(copies)):
        ends = found.new + found.lengths
        assert np.all(found.lengths > 0)
        assert np.all(found.new[1:] >= ends[:-1])
        assert np.all(found.new >= 0)
        assert np.all(found.old >= 0)
        assert np.all(ends <= len(new))
        assert np.all(found.old + found.lengths <= len(old))


def test_what_was_inserted_is_all_that_is_not_copied() -> None:
    new = NOISE[:30_000] + b"inserted" + NOISE[30_000:]
    copies = align(array(NOISE), array(new))
    assert copies.old.tolist() == [0, 30_000]
    assert copies.new.tolist() == [0, 30_008]
    assert copies.lengths.tolist() == [30_000, 70_000]


def test_copies_go_on_over_bytes_that_differ() -> None:
    new = bytearray(NOISE)
    new[50::100] = bytes(1000)
    copies = joined(align(array(NOISE), array(bytes(new))))
    assert copies.old.tolist() == copies.new.tolist() == [0]
    assert copies.lengths.tolist() == [100_000]


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 40])
def test_what_is_short_has_no_copies_or_right_ones(size: int) -> None:
    copies = align(array(NOISE[:size]), array(NOISE[:size]), bits=0)
    assert copies.old.tolist() == copies.new.tolist()
    assert sum(copies.lengths.tolist()) in {0, size}


def test_what_repeats_is_no_anchor() -> None:
    assert not len(align(array(b"abc" * 3000), array(b"abc" * 2000)).lengths)


def test_neighbours_on_one_diagonal_are_one_copy() -> None:
    copies = Copies(
        *(numbers(column) for column in ((0, 100, 500, 900), (5, 105, 505, 800), (50,) * 4))
    )
    assert [column.tolist() for column in joined(copies)] == [
        [0, 500, 900],
        [5, 505, 800],
        [150, 50, 50],
    ]


# ------------------------------------------------------------------------------ quotes


def written(data: bytes) -> bytes:
    return sha(data).hex().encode()


def test_levels_count_what_is_quoted_of_what_is_quoted() -> None:
    plain = b"plain"
    one = b"first " + written(plain)
    two = b"second " + written(one) + b" " + urlsafe_b64encode(sha(plain)).rstrip(b"=")
    other = b"other " + written(b"nothing here")
    contents = {digest_of(data): data for data in (plain, one, two, other)}
    sizes = {digest: len(data) for digest, data in contents.items()}
    found = quoting(contents, sizes, contents.__getitem__)
    assert {contents[digest]: it.level for digest, it in found.items()} == {one: 1, two: 2}
    assert found[digest_of(two)].text == b"second \2 \3"
    assert found[digest_of(two)].quoted == (digest_of(one), digest_of(plain))
    for digest, it in found.items():
        assert fill(it.text, [sha(contents[held]) for held in it.quoted]) == contents[digest]


@pytest.mark.parametrize("byte", [b"\0", b"\2", b"\3"])
def test_what_is_no_text_quotes_nothing(byte: bytes) -> None:
    contents = {digest_of(data): data for data in (b"a", byte + written(b"a"))}
    sizes = {digest: len(data) for digest, data in contents.items()}
    assert quoting(contents, sizes, contents.__getitem__) == {}


def test_a_text_is_not_quoted_by_itself() -> None:
    text = b"see " + written(b"elsewhere")
    assert quoting([digest_of(text)], {digest_of(text): len(text)}, lambda _: text) == {}


def test_blanks_are_the_digests_that_are_gone() -> None:
    old = b"%s %s %s" % (written(b"1"), written(b"2"), written(b"3"))
    new = b"%s %s" % (written(b"2"), written(b"4"))
    assert blanks(old, new) == (0, 2)
    assert blank(old, blanks(old, new)) == b"\2 %s \2" % written(b"2")


# ------------------------------------------------------------------------------ maps


@st.composite
def any_maps(draw: st.DrawFn) -> ShiftMap:
    starts = sorted(draw(st.sets(st.integers(0, 0x4000), max_size=60)))
    moves = [draw(st.sampled_from((0, 16, 32, -16, 4096))) for _ in starts]
    return ShiftMap(numbers(starts), numbers(moves))


SIDES = [read_side(image(sample_image(machine=machine))) for machine in (X86_64, AARCH64)]


@given(any_maps(), st.sampled_from(SIDES))
def test_a_pruned_map_is_in_order_and_no_longer(moved: ShiftMap, side: Side) -> None:
    made = pruned(moved, side.fields, side.image)
    assert np.all(np.diff(made.starts) > 0)
    assert len(made.starts) == len(made.shifts) <= len(moved.starts)
    assert set(made.starts.tolist()) <= set(moved.starts.tolist())


def test_a_program_compared_with_itself_has_not_moved() -> None:
    side = read_side(image(programs()[2].read_bytes()))
    moved = learn(side, side)
    assert moved is not None
    assert set(moved.shifts.tolist()) <= {0}


@pytest.mark.parametrize("pair", [(0, 1), (1, 2), (2, 3)])
def test_a_map_between_different_programs_is_in_order(pair: tuple[int, int]) -> None:
    one, two = (read_side(image(programs()[number].read_bytes())) for number in pair)
    moved = learn(one, two)
    assert moved is not None
    assert np.all(np.diff(moved.starts) > 0)
    (found,) = unpack_maps(pack_maps([moved]))
    assert found.starts.tolist() == moved.starts.tolist()


def test_what_moved_is_learned() -> None:
    old = programs(150_000)[-1].read_bytes()
    new, cut = relinked(old)
    found = image(old)
    learned = learn(read_side(found), read_side(image(new)))
    assert learned is not None
    section = max(found.elf.code, key=lambda it: it.size)
    inside = numbers(range(section.address, section.address + section.size - 128, 8))
    right = (learned(inside) - inside) == np.where(inside >= cut, 64, 0)
    assert right.mean() > 0.9
