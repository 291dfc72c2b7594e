"""Every parser of an increment's parts gets what nobody would build: a CorruptError, or a result.

What the store makes of it is in test_hostile_increments.py.
"""

import random
import struct
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
import numpy as np
import pytest

from deltas import (
    ALLOC,
    EXEC,
    TLS,
    Part,
    addition,
    array,
    code,
    differ,
    elf,
    lzma2,
    numbers,
    origins_of,
    plain_lzma2,
    programs,
    sample_image,
    section_count,
    shifts,
    tree_of,
    varints,
    with_header,
)
from holdall.delivery.delta import wire
from holdall.delivery.delta.addition import decode_addition
from holdall.delivery.delta.elf import AARCH64, DYNSYM, NOBITS, RELA, RELR, X86_64, read_elf
from holdall.delivery.delta.increment import read_increment
from holdall.delivery.delta.prefixed import decode_lzma2, decode_zstd
from holdall.delivery.delta.rebase import read_image
from holdall.delivery.delta.shifts import unpack_maps
from holdall.delivery.delta.tokens import fill
from holdall.delivery.delta.wire import Index, Slice
from holdall.errors import CorruptError
from holdall.model import statement as statements
from holdall.model import tree as trees
from holdall.model.statement import Statement
from holdall.trust.envelope import open_statement

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

HUGE = (2**31 - 1, 2**31, 2**32, 2**62, 2**63 - 1)
ODD = (*HUGE, 0, 1, 3, 7, 2**47, 2**48, 2**48 + 1, 2**63, 2**64 - 4096, 2**64 - 1)
PREFIX = bytes(range(256)) * 16
NOISE = random.Random(9).randbytes(70_000)


def damaged(data: bytes, count: int, seed: int = 1) -> Iterator[bytes]:
    """Every truncation of what is short, some of what is long, and `count` with bits flipped."""
    yield from (data[:at] for at in range(0, len(data), max(1, len(data) // 200)))
    chance = random.Random(seed)
    for _ in range(count):
        changed = bytearray(data)
        for _ in range(chance.choice((1, 1, 2, 5))):
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        yield bytes(changed)


def survives(parse: Callable[[bytes], object], data: bytes) -> None:
    """A result or a CorruptError; anything else is raised."""
    with suppress(CorruptError):
        parse(data)


@contextmanager
def at_most(megabytes: float) -> Iterator[None]:
    """Fail when Python allocates more than this at once."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < megabytes * 2**20


# ------------------------------------------------------------------------------ the statement

HEX = "5a" * 32
SAID = statements.encode(Statement(1, HEX, (HEX, "6b" * 32), HEX, HEX))


def test_a_damaged_statement_is_refused_or_another() -> None:
    assert statements.encode(statements.parse(SAID)) == SAID
    for data in damaged(SAID, 500):
        with suppress(CorruptError):
            assert statements.encode(statements.parse(data)) == data


@pytest.mark.parametrize(
    "said",
    [
        Statement(2, HEX, (HEX,), HEX, HEX),
        Statement(1, HEX, (), HEX, HEX),
        Statement(1, HEX, (HEX, HEX), HEX, HEX),
        Statement(1, HEX, tuple(f"{number:064x}" for number in range(65)), HEX, HEX),
        Statement(1, HEX.upper(), (HEX,), HEX, HEX),
        Statement(1, HEX + "\n", (HEX,), HEX, HEX),
        Statement(1, HEX, (HEX + "\n",), HEX, HEX),
        Statement(1, HEX[2:], (HEX,), HEX, HEX),
        Statement(1, HEX, (HEX,), f"{HEX[:-1]}\u0665", HEX),
    ],
)
def test_a_statement_that_says_too_much_or_too_little_is_refused(said: Statement) -> None:
    with pytest.raises(CorruptError):
        statements.parse(statements.encode(said))


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"null", b"{}", b"[" * 60_000, b'"\xff"', SAID + b" ", b" " * (2**16 + 1)]
)
def test_what_is_no_statement_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptError):
        statements.parse(data)
    with pytest.raises(CorruptError):
        open_statement(data)


# ------------------------------------------------------------------------------ the index


def plain_index(**changes: Any) -> bytes:  # noqa: ANN401 - whatever msgpack holds
    """An index of two units as it is decoded, with other fields."""
    fields: dict[str, Any] = {
        "format": 1,
        "kinds": b"\1\1",
        "raw": [10, 20],
        "stored": [5, 6],
        "sha256": bytes(64),
        "output_counts": [1, 1],
        "contents": [0, 2],
        "output_slices": [],
        "part_counts": [1, 2],
        "transforms": b"\0\1\2",
        "part_slices": [1, 4096, 100],
        "part_maps": [0],
        "blanks": [2, 0, 1],
        "fills": [0, 1, 0],
        "maps": varints(1, 1, 5, 6),
        "recipes": [[b"\1\1", [0, 2, 2]]],
    }
    return msgspec.msgpack.encode(list((fields | changes).values()))


def test_a_damaged_index_is_refused_or_another() -> None:
    assert len(wire.parse(plain_index()).units) == 2
    for data in damaged(plain_index(), 3000):
        survives(wire.parse, data)


COLUMNS = (
    *("raw", "stored", "output_counts", "contents", "output_slices", "part_counts"),
    *("part_slices", "part_maps", "blanks", "fills"),
)


@pytest.mark.parametrize("column", COLUMNS)
def test_odd_numbers_in_the_index_are_refused_or_harmless(column: str) -> None:
    known = {"raw": [10, 20], "stored": [5, 6], "output_slices": [0, 0, 5]}
    good = known.get(column, [1, 2, 1])
    for at in range(len(good)):
        for value in (*ODD, -1, -(2**31), -(2**63)):
            values = [*good[:at], value, *good[at + 1 :]]
            with suppress(CorruptError):
                check_numbers(wire.parse(plain_index(**{column: values})))


def check_numbers(index: Index) -> None:
    """What whoever uses an index may rely on."""
    for unit in index.units:
        assert 0 <= unit.raw <= wire.MAX_RAW
        assert 0 < unit.stored <= wire.MAX_STORED
        assert all(0 <= it.content < trees.MAX_ENTRIES and it.offset >= 0 for it in unit.outputs)
        assert all(-1 <= it.length < 2**62 for it in unit.outputs)
        assert all(-1 <= it.length < 2**62 and it.offset >= 0 for it in unit.parts)
        assert all(0 <= number < trees.MAX_ENTRIES for number in unit.fills)
    for recipe in index.recipes:
        assert all(number >= 0 for numbers in recipe.units.values() for number in numbers)


LIES: dict[str, dict[str, Any]] = {
    "another format": {"format": 2},
    "a digest too short": {"sha256": bytes(63)},
    "a kind too many": {"kinds": b"\1\1\1"},
    "an output too many": {"contents": [0, 2, 2]},
    "outputs below 0": {"contents": [1, 2]},
    "outputs far beyond": {"contents": [0, 2**21]},
    "a part too few": {"transforms": b"\0\1"},
    "no map for a part": {"part_maps": []},
    "a map too many": {"part_maps": [0, 0]},
    "half a slice": {"part_slices": [1, 4096]},
    "a slice of no part": {"part_slices": [3, 0, 1]},
    "a slice between blocks": {"output_slices": [0, 4095, 1]},
    "too few blanks": {"blanks": [3, 0, 1]},
    "more blanks than there can be": {"blanks": [2**62]},
    "blanks too many": {"blanks": [2, 0, 1, 1]},
    "too few fills": {"fills": [0, 2, 0]},
    "fills below 0": {"fills": [0, 1, 1]},
    "fills beyond": {"fills": [0, 1, 2 * trees.MAX_ENTRIES]},
    "fills too many": {"fills": [0, 1, 0, 0]},
    "a recipe of another length": {"recipes": [[b"\1", [0]]]},
    "a recipe too short": {"recipes": [[b"\1\1", [0, 2]]]},
    "a recipe too long": {"recipes": [[b"\1\1", [0, 2, 2, 2]]]},
    "a recipe below 0": {"recipes": [[b"\1\1", [1, 2, 2]]]},
    "a recipe of text": {"recipes": [["ab", [0, 2, 2]]]},
    "a number that is none": {"raw": [10, 1.5]},
    "a field too many": {"more": 1},
}


@pytest.mark.parametrize("lie", LIES)
def test_an_index_that_does_not_fit_together_is_refused(lie: str) -> None:
    with pytest.raises(CorruptError, match="index cannot be read"):
        wire.parse(plain_index(**LIES[lie]))


@pytest.mark.parametrize("data", [b"", b"\xc0", b"\x90", b"\x91" * 60_000, b"\xdd\xff\xff\xff\xff"])
def test_what_is_no_index_is_refused(data: bytes) -> None:
    with pytest.raises(CorruptError):
        wire.parse(data)


def test_a_column_of_too_many_numbers_is_refused_before_it_is_read() -> None:
    count = 8 * trees.MAX_ENTRIES + 1
    bomb = plain_index(contents=[]).replace(
        b"\x90", b"\xdd" + count.to_bytes(4, "big") + bytes(count), 1
    )
    with at_most(20), pytest.raises(CorruptError):
        wire.parse(bomb)


# ------------------------------------------------------------------------------ the sections

OLD = {f"lib/{name}": NOISE[at * 100 : at * 100 + 90] for at, name in enumerate("abcdefg")}
NEW = OLD | {"lib/b": NOISE[9000:9100], "lib/h": NOISE[100:300], "k": b"new"}


def test_a_damaged_tree_section_is_refused_or_makes_another_tree() -> None:
    made = differ(NEW, OLD)
    _, index, _ = made.sections
    for data in damaged(made.sections.tree, 300):
        with suppress(CorruptError):
            skeleton = read_increment(data, index).skeleton(0, made.olds[0])
            trees.parse(skeleton.complete(dict.fromkeys(range(99), bytes(32))))


def test_a_damaged_index_section_is_refused() -> None:
    made = differ(NEW, OLD)
    for data in damaged(made.sections.index, 300):
        survives(lambda data: read_increment(made.sections.tree, data), data)


@pytest.mark.parametrize("length", [0, 1, 64 * 2**20, 64 * 2**20 + 1, *HUGE, 2**64 - 1])
def test_an_index_that_says_another_length_is_refused(length: int) -> None:
    made = differ(NEW, OLD)
    data = length.to_bytes(8, "little") + made.sections.index[8:]
    with at_most(70), pytest.raises(CorruptError):
        read_increment(made.sections.tree, data)


@pytest.mark.parametrize("length", [-1, 0, 10, 128 * 2**20, 128 * 2**20 + 1, *HUGE, -(2**63)])
def test_a_skeleton_that_says_another_length_is_refused(length: int) -> None:
    made = differ(NEW, OLD)
    section = msgspec.msgpack.decode(made.sections.tree)
    section[1][0][2] = length
    increment = read_increment(msgspec.msgpack.encode(section), made.sections.index)
    with at_most(140), pytest.raises(CorruptError):
        increment.skeleton(0, made.olds[0])


def test_an_increment_from_another_tree_is_refused() -> None:
    with pytest.raises(CorruptError, match="another tree"):
        differ(NEW, OLD).increment.skeleton(0, tree_of(NEW))


@pytest.mark.parametrize(
    "runs",
    [
        *([value, 0, 0] for value in (*HUGE, 2**64 - 1, -1)),
        *([0, value, 1] for value in (*HUGE, 2**64 - 1, -2)),
        *([0, 0, value] for value in (*HUGE, 2**64 - 1, -1)),
        *([1], [1, 0], [0, 0, 1, 1], [0, 0, 0] * 50_000, [0, 0, 6] * 50_000),
    ],
)
def test_origins_that_cannot_be_are_refused(runs: list[int]) -> None:
    with at_most(10), pytest.raises(CorruptError):
        origins_of(runs, "ABCDEF", 6)


def test_a_content_taken_from_the_base_has_the_length_it_has_there() -> None:
    made = differ({"a": b"longer than before"}, {"a": b"short"})
    section = msgspec.msgpack.decode(made.sections.tree)
    section[1][0][1] = [0, 0, 1]
    increment = read_increment(msgspec.msgpack.encode(section), made.sections.index)
    with pytest.raises(CorruptError, match="does not fit"):
        increment.skeleton(0, made.olds[0])


def test_a_damaged_skeleton_is_refused_or_keeps_the_rules() -> None:
    data = trees.strip(trees.encode(tree_of(NEW))).data
    for changed in damaged(data, 2000):
        with suppress(CorruptError):
            bones, tree = trees.parse_skeleton(changed)
            assert len(bones.sizes) == len(tree.contents)
            trees.encode(tree)


@pytest.mark.parametrize("size", [-1, 2**63, 2**64 - 1])
def test_a_skeleton_with_an_impossible_length_is_refused(size: int) -> None:
    bones = msgspec.msgpack.decode(trees.strip(trees.encode(tree_of(NEW))).data)
    bones[3][0] = size
    with pytest.raises(CorruptError):
        trees.parse_skeleton(msgspec.msgpack.encode(bones))


def test_outputs_beyond_their_content_are_refused() -> None:
    made = differ(NEW, OLD)
    whole = made.increment.index.units[0]
    for output in (
        *(Slice(value, 0, -1) for value in (99, 999_999)),
        *(Slice(0, 4096, value) for value in (1, 2**62 - 1)),
        Slice(0, 2**61, 0),
    ):
        with pytest.raises(CorruptError):
            made.increment.outputs(whole._replace(outputs=(output,)), made.skeleton().sizes)


# ------------------------------------------------------------------------------ maps


@pytest.mark.parametrize(
    "data",
    [
        b"\x80",
        b"\xff" * 40,
        varints(1),
        varints(2, 0),
        varints(1, 1, 5),
        varints(1, 1, 5, 6, 7),
        *(varints(value) for value in HUGE),
        *(varints(1, value) for value in HUGE),
        *(varints(2, value, value, 1, 1, 1, 1) for value in HUGE),
        varints(4, 2**62, 2**62, 2**62, 2**62),
        varints(3, 2**62, 2**62, 2**63 - 2**62 - 2**61),
        varints(1, 2, 2**62, 2**62, 0, 0),
        varints(2, 2**63 - 1, 2, 1, 1),
    ],
)
def test_maps_that_cannot_be_are_refused(data: bytes) -> None:
    with at_most(10), pytest.raises(CorruptError):
        unpack_maps(data)


def test_too_many_maps_are_refused_before_they_are_read() -> None:
    for data in (varints(2**16 + 1) + bytes(2**16 + 1), bytes(2**25), b"\xff" * 2**20):
        with at_most(70), pytest.raises(CorruptError):
            unpack_maps(data)


def test_damaged_maps_are_refused_or_others() -> None:
    for data in damaged(varints(2, 3, 1, *range(4), *range(4)), 500):
        survives(unpack_maps, data)


def test_shifts_that_overflow_move_somewhere() -> None:
    (moved,) = unpack_maps(varints(1, 2, 5, 5, 2**63 - 2, 2**63 - 2))
    assert len(moved(numbers([0, 6, 2**40, -5, 2**63 - 1]))) == 5


# ------------------------------------------------------------------------------ streams

RESEMBLING = PREFIX[100:2000] + b"between" + PREFIX[5:1000]
STREAM = addition(
    [(0, 1900, 200), (7, 995, 4003)], [(3, 1), (200, 2), (1000, 255)], b"between", PREFIX
)


def test_a_damaged_add_stream_is_refused_or_makes_as_many_bytes() -> None:
    decode_addition(STREAM, len(RESEMBLING), PREFIX)
    for data in damaged(STREAM, 2000):
        with suppress(CorruptError):
            assert len(decode_addition(data, len(RESEMBLING), PREFIX)) == len(RESEMBLING)


@pytest.mark.parametrize("value", HUGE)
@pytest.mark.parametrize(
    "fact",
    [
        *("copies", "changes", "stored0", "stored1", "stored2", "stored3"),
        *("decoded0", "decoded1", "decoded2"),
    ],
)
def test_an_add_stream_that_says_huge_numbers_is_refused(fact: str, value: int) -> None:
    data = addition([(0, 10, 0)], [(1, 1)], b"", PREFIX, **{fact: value})
    with at_most(10), pytest.raises(CorruptError):
        decode_addition(data, 10, PREFIX)


@pytest.mark.parametrize("field", range(3))
@pytest.mark.parametrize("value", [*HUGE, 2**63 - 20, 2**63 - 2])
def test_a_copy_from_or_to_nowhere_is_refused(field: int, value: int) -> None:
    copy = [0, 10, 0]
    copy[field] = value
    for copies in ([copy], [copy, [0, 10, 0]], [[0, 10, 0], copy], [[0, 0, 0], copy]):
        data = addition([(a, b, c) for a, b, c in copies], [], b"", PREFIX)
        with at_most(10), pytest.raises(CorruptError):
            decode_addition(data, 20, PREFIX)


@pytest.mark.parametrize("places", [[10], [2**63 - 1], [2**63 - 1, 5], [5, 2**62, 2**62], [5, 5]])
def test_a_change_beyond_all_copies_is_refused(places: list[int]) -> None:
    data = addition([(0, 10, 0)], [(place, 1) for place in places], b"12345", PREFIX)
    with pytest.raises(CorruptError):
        decode_addition(data, 15, PREFIX)


def test_an_add_stream_over_nothing_is_refused_or_all_new() -> None:
    assert decode_addition(addition([], [], b"new"), 3, b"") == b"new"
    with pytest.raises(CorruptError):
        decode_addition(addition([(0, 1, 0)], [], b""), 1, b"")
    with pytest.raises(CorruptError):
        decode_addition(b"", 0, b"")


def test_damaged_lzma2_is_refused_or_has_the_length_promised() -> None:
    stream = lzma2(RESEMBLING, PREFIX)
    for data in damaged(stream, 1000):
        with suppress(CorruptError):
            assert len(decode_lzma2(data, len(RESEMBLING), (PREFIX,))) == len(RESEMBLING)


def test_damaged_zstd_is_refused_or_has_the_length_promised() -> None:
    dictionary = zstd.ZstdDict(PREFIX, is_raw=True).as_prefix
    for data in damaged(zstd.compress(RESEMBLING, zstd_dict=dictionary), 1000):
        with suppress(CorruptError):
            assert len(decode_zstd(data, len(RESEMBLING), (PREFIX,))) == len(RESEMBLING)


BOMBED = bytes(2**24)
LZMA2_BOMB, ZSTD_BOMB = plain_lzma2(BOMBED), zstd.compress(BOMBED)


@pytest.mark.parametrize("promised", [0, 1, 2**16])
def test_a_bomb_of_lzma2_stops_where_it_should(promised: int) -> None:
    assert len(LZMA2_BOMB) < len(BOMBED) // 1000
    with at_most(4), pytest.raises(CorruptError):
        decode_lzma2(LZMA2_BOMB, promised)


@pytest.mark.parametrize("promised", [0, 1, 2**16])
def test_a_bomb_of_zstd_stops_where_it_should(promised: int) -> None:
    with at_most(4), pytest.raises(CorruptError):
        decode_zstd(ZSTD_BOMB, promised)


def test_a_bomb_in_an_add_stream_stops_where_it_should() -> None:
    facts = varints(1, 0, len(LZMA2_BOMB), 1, 1, 1, 27, 0, 0)
    with at_most(4), pytest.raises(CorruptError):
        decode_addition(facts + LZMA2_BOMB + bytes(3), 100, PREFIX)


def test_a_frame_with_a_huge_window_is_refused() -> None:
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 30}
    with at_most(4), pytest.raises(CorruptError):
        decode_zstd(zstd.compress(NOISE, options=options)[:2] + b"\xff" * 50, 10)


def test_more_tokens_than_digests_are_refused() -> None:
    with at_most(20), pytest.raises(CorruptError):
        fill(b"\2" * 2**20, [bytes(32)] * 5)


# ------------------------------------------------------------------------------ images

MOVED = shifts({0: 16, 0x1000: 32, 0x3000: -64, 0x9000: 4096})
WILD = shifts({0: 2**62, 2**20: -(2**62), 2**40: 2**63 - 1})


def survives_rebasing(data: bytes) -> bool:
    """Whether these bytes are taken for an image; it moves by any map and has the same length."""
    found = read_image(array(data))
    if found is None:
        return False
    with suppress(CorruptError):
        assert len(found.rebased(WILD if len(data) % 3 else MOVED, 0, len(data))) == len(data)
    return True


SOME_PROGRAM = programs()[0].read_bytes()


def test_truncated_and_flipped_images_never_crash() -> None:
    for source in (sample_image(), SOME_PROGRAM):
        for data in damaged(source, 150):
            survives_rebasing(data)


def mutated(source: bytes, chance: random.Random) -> bytes:
    """An image with a few other numbers in its header and section table, and here and there."""
    data, count = bytearray(source), section_count(source)
    for _ in range(chance.randrange(1, 5)):
        row = chance.randrange(count)
        name = chance.choice(("name", "kind", "flags", "address", "offset", "size", "entry"))
        kinds = (*range(12), 14, 19)
        value = {
            "kind": chance.choice(kinds),
            "flags": chance.choice((0, ALLOC, ALLOC | EXEC, ALLOC | TLS, ALLOC | EXEC | TLS)),
            "entry": chance.choice((0, 8, 16, 24)),
        }.get(name, chance.choice((*ODD, *range(0, len(source) + 9, 101))))
        width = 2**32 if name in {"name", "kind"} else 2**64
        data = bytearray(with_header(bytes(data), row, **{name: value % width}))
        if chance.random() < 0.3:
            data[chance.randrange(64)] = chance.randrange(256)
        if chance.random() < 0.3:
            data[chance.randrange(64, len(data))] = chance.choice((0, 1, 127, 128, 255))
    return bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_mutated_images_never_crash(seed: int) -> None:
    chance = random.Random(seed)
    machines = [X86_64, AARCH64]
    taken = 0
    sources = (sample_image(), sample_image(), SOME_PROGRAM)
    for turn in range(250):
        source = bytearray(sources[turn % 3])
        source[18:20] = chance.choice(machines).to_bytes(2, "little")
        source[16] = chance.choice((2, 3))
        try:
            taken += survives_rebasing(mutated(bytes(source), chance))
        except Exception as error:
            error.add_note(f"turn {turn}")
            raise
    assert taken > 50


TEXT = code(b"\xe8\x10\0\0\0" * 16)
HEAD = struct.pack("<BBBBiIii", 1, 0x1B, 3, 0x3B, 0, 1, 5, 20)
TABLES = {
    ".eh_frame_hdr": Part(".eh_frame_hdr", HEAD),
    ".eh_frame": Part(".eh_frame", bytes(64)),
    ".rodata": Part(".rodata", bytes(64)),
    ".rela.dyn": Part(".rela.dyn", bytes(48), RELA, entry=24),
    ".relr.dyn": Part(".relr.dyn", bytes(16), RELR),
    ".dynsym": Part(".dynsym", bytes(48), DYNSYM, entry=24),
    ".got": Part(".got", bytes(16)),
    ".bss": Part(".bss", b"", NOBITS),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("field", ["address", "offset", "size", "entry"])
def test_a_section_anywhere_does_no_harm(name: str, field: str) -> None:
    data = elf(TEXT, *TABLES.values())
    assert survives_rebasing(data)
    number = 2 + list(TABLES).index(name)
    for value in ODD:
        for flags in (0, ALLOC, ALLOC | TLS, ALLOC | EXEC, ALLOC | EXEC | TLS):
            survives_rebasing(with_header(data, number, flags=flags, **{field: value}))


@pytest.mark.parametrize("address", [2**48, 2**63 - 1, 2**63, 2**64 - 16])
def test_a_file_with_addresses_that_are_too_large_is_no_image(address: int) -> None:
    for number in (1, 3, 5, 8):
        data = with_header(elf(TEXT, *TABLES.values()), number, address=address, size=16)
        assert read_elf(array(data)) is None


def test_a_file_whose_sections_share_bytes_is_no_image() -> None:
    """Or a small one would be read as if it were large, over and over."""
    data = elf(TEXT, Part(".data", bytes(64)))
    assert read_elf(array(data)) is not None
    assert read_elf(array(with_header(data, 2, offset=70))) is None


def test_a_file_whose_code_belongs_to_threads_is_no_image() -> None:
    data = with_header(elf(TEXT), 1, flags=ALLOC | EXEC | TLS)
    assert read_elf(array(data)) is None


@pytest.mark.parametrize("count", [0, 1, 2, 2**31 - 1, 2**31, 2**32 - 1])
def test_a_table_of_frames_with_any_count_does_no_harm(count: int) -> None:
    head = struct.pack("<BBBBiI", 1, 0x1B, 3, 0x3B, 0, count)
    for pair in ((0, 0), (2**31 - 1, -(2**31)), (-64, 2**31 - 1)):
        data = elf(
            TEXT,
            Part(".eh_frame_hdr", head + struct.pack("<ii", *pair)),
            Part(".eh_frame", b"\4" * 40),
        )
        assert survives_rebasing(data)


@pytest.mark.parametrize("size", [*range(30), 63])
def test_tables_of_any_length_do_no_harm(size: int) -> None:
    parts = [
        Part(it.name, (it.data + bytes(64))[:size], it.kind, it.flags, entry=it.entry)
        for it in TABLES.values()
    ]
    assert survives_rebasing(elf(TEXT, *parts))
    assert survives_rebasing(elf(code(bytes(64)[:size] + b"\xe8\0\0\0\0"), *parts))


@pytest.mark.parametrize(
    "entries",
    [
        [1],
        [2**64 - 1] * 9,
        [0, *[2**64 - 1] * 9],
        [2**63 - 2, 2**64 - 1],
        [2**64 - 2, 2**64 - 1],
        [100, 3, 3, 101, 100],
        [68, 2**64 - 1, 69, 2**64 - 1],
    ],
)
def test_packed_relocations_of_any_kind_do_no_harm(entries: list[int]) -> None:
    packed = struct.pack(f"<{len(entries)}Q", *entries)
    assert survives_rebasing(elf(TEXT, Part(".relr.dyn", packed, RELR), Part(".data", bytes(700))))


@pytest.mark.parametrize("value", [0, 1, 2**31, 2**47, 2**62, 2**63 - 1, 2**63, 2**64 - 1])
def test_relocation_records_of_any_kind_do_no_harm(value: int) -> None:
    for row in ((value, 8, 5), (5, value, value), (64, 8, value), (value, 2**32 - 1, 0)):
        rows = b"".join(struct.pack("<QQQ", *row) for _ in range(3))
        records = Part(".rela.dyn", rows, RELA, entry=24)
        for machine in (X86_64, AARCH64):
            assert survives_rebasing(elf(TEXT, records, machine=machine))


@pytest.mark.parametrize("size", range(70))
def test_a_file_as_short_as_a_header_is_no_image(size: int) -> None:
    assert read_elf(array(elf(TEXT)[:size])) is None
    assert read_elf(array((b"\x7fELF\x02\x01" + bytes(80))[:size])) is None


def test_many_sections_take_no_time() -> None:
    data = elf(TEXT, *(Part(".got", b"12345678") for _ in range(3000)))
    begun = time.process_time()
    assert survives_rebasing(data)
    assert time.process_time() - begun < 2


def test_a_large_table_of_packed_relocations_stays_small() -> None:
    entries = np.full(2**12, 2**64 - 1, np.uint64)
    entries[0] = 64
    data = elf(TEXT, Part(".relr.dyn", entries.tobytes(), RELR), Part(".data", bytes(9)))
    with at_most(80):
        assert survives_rebasing(data)
