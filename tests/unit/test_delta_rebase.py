"""Old images as if linked anew: every kind of field moves as it should, in any range."""

import random
import struct
from functools import cache
from hashlib import sha256

import numpy as np
import pytest

from deltas import (
    ALLOC,
    FIXED,
    Part,
    array,
    code,
    elf,
    image,
    numbers,
    places,
    programs,
    rebased,
    sample_image,
    shifts,
)
from holdall.delivery.delta import rebase, x86_64
from holdall.delivery.delta.elf import (
    AARCH64,
    DYNSYM,
    NOBITS,
    RELA,
    RELR,
    SYMTAB,
    X86_64,
    read_elf,
)
from holdall.delivery.delta.rebase import read_image
from holdall.delivery.delta.references import Bounds
from holdall.delivery.delta.shifts import Lookup, ShiftMap

NOP = b"\x90"
SHIFT = 0x1000  # of every section here: address less file offset


def number(data: bytes, at: int, width: int = 4) -> int:
    return int.from_bytes(data[at : at + width], "little", signed=True)


def jump(opcode: bytes, at: int, target: int) -> bytes:
    """An instruction at a place of its section that names another place of it."""
    return opcode + struct.pack("<i", target - (at + len(opcode) + 4))


# ------------------------------------------------------------------------------ fields in code

HEADS = {
    "call": b"\xe8",
    "jmp": b"\xe9",
    "je": b"\x0f\x84",
    "lea": b"\x48\x8d\x05",
    "mov": b"\x8b\x0d",
    "movups": b"\x0f\x10\x05",
    "vmovups": b"\xc5\xf8\x10\x05",
    "vmovups, three bytes": b"\xc4\xe1\x78\x10\x05",
    "vmovups of 512 bits": b"\x62\xf1\x7c\x48\x10\x05",
}


@pytest.mark.parametrize("head", HEADS)
def test_what_code_names_moves_with_it_and_with_its_target(head: str) -> None:
    opcode, place, target = HEADS[head], 40, 400
    body = NOP * place + jump(opcode, place, target)
    text = code(body + NOP * (500 - len(body)), shift=SHIFT)
    data = elf(text)
    field = places(text)[".text"] + place + len(opcode)
    start = places(text)[".text"] + SHIFT
    moved = shifts({start: 16, start + target: 0x100})
    made = rebased(data, moved)
    assert number(made, field) == number(data, field) + 0x100 - 16
    assert made[:field] == data[:field]
    assert made[field + 4 :] == data[field + 4 :]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(jump(b"\xe8", 0, 5000), id="a call out of the code"),
        pytest.param(jump(b"\x8b\x0d", 0, 50_000), id="a load from nowhere"),
        pytest.param(b"\xf1" * 6 + b"\x05" + struct.pack("<i", 9), id="no opcode"),
        pytest.param(b"\xe8\0\0\0", id="half a call"),
    ],
)
def test_what_names_no_place_of_the_image_stays(body: bytes) -> None:
    data = elf(code(b"\xf1" * 100 + body, shift=SHIFT))
    assert rebased(data, shifts({0: 16, SHIFT + 120: 0x4000})) == data


def test_of_fields_that_overlap_the_first_moves() -> None:
    body = NOP * 20 + b"\xe8\xe8\x10\0\0\0" + NOP * 0x3000
    text = code(body, shift=SHIFT)
    at = places(text)[".text"] + 21
    data = elf(text)
    assert SHIFT + at + 4 + number(data, at) < SHIFT + len(data)
    made = rebased(data, shifts({0: 0, SHIFT + at + 4 + number(data, at): 0x100}))
    assert number(made, at) == number(data, at) + 0x100


def test_a_new_distance_that_does_not_fit_leaves_the_old() -> None:
    text = code(jump(b"\xe8", 0, 200) + NOP * 300, shift=SHIFT)
    start = places(text)[".text"] + SHIFT
    assert rebased(elf(text), shifts({start: 0, start + 200: 2**33})) == elf(text)


def test_absolute_addresses_move_in_a_program_at_a_fixed_address() -> None:
    base = 0x400000
    body = NOP * 30 + b"\xbf" + struct.pack("<I", base + 0x1200) + NOP * 0x1300
    text = code(body, shift=base)
    field = places(text)[".text"] + 31
    moved = shifts({base + 0x1000: 0x40})
    assert number(rebased(elf(text, kind=FIXED), moved), field) == base + 0x1240
    assert rebased(elf(text), moved) == elf(text)


def test_a_field_across_two_windows_stays() -> None:
    """As it must for ever: what windows there are is part of the transform."""
    for before in (rebase.WINDOW - 5, rebase.WINDOW - 4, rebase.WINDOW - 1, rebase.WINDOW):
        body = NOP * before + jump(b"\xe8", before, 100) + NOP * 40
        data = elf(code(body))
        field = 64 + before + 1
        made = image(data).rebased(shifts({64: 0, 164: 16, 165: 0}), field, field + 4).tobytes()
        split = field < 64 + rebase.WINDOW < field + 4
        assert number(made, 0) == number(data, field) + (0 if split else 16)


def test_aarch64_calls_and_pages_move() -> None:
    words = [0x94000008, 0x90000000, 0x91014000, *[0xD503201F] * 40]
    data = elf(code(struct.pack("<43I", *words), shift=0x1000 - 64), machine=AARCH64)
    made = rebased(data, shifts({0x1000: 0, 0x1010: 0x2000}))
    assert struct.unpack("<3I", made[64:76]) == (0x94000808, 0xD0000000, 0x91014000)


# ------------------------------------------------------------------------------ fields in data

TEXT = code(NOP * 512, shift=SHIFT)
START = 64 + SHIFT
MOVED = {START: 16, START + 256: 0x100, START + 512: 0x200, START + 0x4000: 0x1000}


def with_table(part: Part, *more: Part, machine: int = X86_64) -> tuple[bytes, int, bytes]:
    """An image with a table after its code: its bytes, where the table is, and the image moved."""
    data = elf(TEXT, part, *more, machine=machine)
    return data, places(TEXT, part)[part.name], rebased(data, shifts(MOVED))


@pytest.mark.parametrize("name", [".got", ".got.plt", ".init_array", ".fini_array"])
def test_pointers_move(name: str) -> None:
    values = (START, START + 300, 5, START + 511)
    _, at, made = with_table(Part(name, struct.pack("<4Q", *values), shift=SHIFT))
    assert struct.unpack_from("<4Q", made, at) == (START + 16, START + 556, 5, START + 767)


def test_data_of_a_program_at_a_fixed_address_moves() -> None:
    part = Part(".data", struct.pack("<2Q", START, 3), shift=SHIFT)
    at = places(TEXT, part)[".data"]
    for kind, value in ((FIXED, START + 16), (3, START)):
        made = rebased(elf(TEXT, part, kind=kind), shifts(MOVED))
        assert struct.unpack_from("<2Q", made, at) == (value, 3)


@pytest.mark.parametrize(("kind", "flags"), [(DYNSYM, ALLOC), (SYMTAB, 0)])
def test_values_of_symbols_move(kind: int, flags: int) -> None:
    rows = struct.pack("<QQQ", 0, 0, 0) + struct.pack("<QQQ", START, START + 300, START)
    _, at, made = with_table(Part(".symbols", rows, kind, flags, shift=SHIFT, entry=24))
    assert struct.unpack_from("<6Q", made, at) == (0, 0, 0, START, START + 556, START)


@pytest.mark.parametrize(("machine", "relative"), [(X86_64, 8), (X86_64, 37), (AARCH64, 1027)])
def test_relocation_records_move_and_are_put_in_order(machine: int, relative: int) -> None:
    rows = [(START + 300, relative, START), (START + 290, 6, START), (START + 8, relative, 9)]
    packed = b"".join(struct.pack("<QQQ", *row) for row in rows)
    _, at, made = with_table(
        Part(".rela.dyn", packed, RELA, shift=SHIFT, entry=24), machine=machine
    )
    assert [struct.unpack_from("<QQQ", made, at + 24 * row) for row in range(3)] == [
        (START + 24, relative, 9),
        (START + 546, 6, START),
        (START + 556, relative, START + 16),
    ]


def test_a_word_with_the_addend_of_its_record_moves() -> None:
    data_part = Part(".data", struct.pack("<3Q", START + 300, 7, START), shift=SHIFT)
    where = places(TEXT, data_part)[".data"] + SHIFT
    rows = [(where, 8, START + 300), (where + 8, 8, START), (where + 16, 6, START)]
    records = Part(".rela.dyn", b"".join(struct.pack("<QQQ", *row) for row in rows), RELA, entry=24)
    _, at, made = with_table(data_part, records)
    assert struct.unpack_from("<3Q", made, at) == (START + 556, 7, START)


def test_packed_relative_relocations_and_their_words_move() -> None:
    data_part = Part(".data", struct.pack("<4Q", START + 300, START, 7, START + 1), shift=SHIFT)
    where = places(TEXT, data_part)[".data"] + SHIFT
    packed = struct.pack("<2Q", where, 1 | 2 << 1 | 4 << 1)
    table = Part(".relr.dyn", packed, RELR, shift=SHIFT)
    _, at, made = with_table(data_part, table)
    assert struct.unpack_from("<4Q", made, at) == (START + 556, START, 7, START + 17)
    assert struct.unpack_from("<2Q", made, places(TEXT, data_part, table)[".relr.dyn"]) == (
        where + 0x200,
        1 | 2 << 1 | 4 << 1,
    )


def test_jump_tables_move_up_to_what_is_no_entry() -> None:
    place = 40
    rodata = places(TEXT, Part(".rodata", b""))[".rodata"] + SHIFT
    lea = b"\x48\x8d\x05" + struct.pack("<i", rodata - (START + place + 7))
    text = code(NOP * place + lea + NOP * (512 - place - 7), shift=SHIFT)
    entries = (START + 4 - rodata, START + 300 - rodata, 0, START - rodata)
    table = Part(".rodata", struct.pack("<4i", *entries), shift=SHIFT)
    made = rebased(elf(text, table), shifts(MOVED))
    by = 0x200  # the table's own
    assert struct.unpack_from("<4i", made, places(text, table)[".rodata"]) == (
        *(entries[0] + 16 - by, entries[1] + 0x100 - by),
        *entries[2:],
    )


def test_frames_and_their_table_move() -> None:
    table, frames = Part(".eh_frame_hdr", bytes(28), shift=SHIFT), Part(".eh_frame", b"")
    header = places(TEXT, table)[".eh_frame_hdr"] + SHIFT
    common = places(TEXT, table, frames)[".eh_frame"] + SHIFT
    first = common + 16
    second = first + 32
    pairs = ((START + 300, first), (START, second))
    head = struct.pack("<BBBBiI", 1, 0x1B, 3, 0x3B, 0, 2)
    packed = b"".join(struct.pack("<ii", *(it - header for it in pair)) for pair in pairs)
    handler = struct.pack("<Bi", 4, START + 260 - (first + 17))
    rows = (
        bytes(16)
        + struct.pack("<Iiii", 28, 20, START + 300 - (first + 8), 50)
        + handler
        + bytes(11)
    )
    rows += struct.pack("<Iiii", 12, 52, START - (second + 8), 50) + bytes(24)
    parts = (
        Part(".eh_frame_hdr", head + packed, shift=SHIFT),
        Part(".eh_frame", rows, shift=SHIFT),
    )
    # between the two frames the map moves by another 16
    moved = shifts({START: 0, START + 256: 0x100, header: 0x200, common: 0x300, second: 0x310})
    made = rebased(elf(TEXT, *parts), moved)
    at = first - SHIFT
    assert made[header - SHIFT : header - SHIFT + 12] == head
    assert struct.unpack_from("<4i", made, header - SHIFT + 12) == (
        *(START - header - 0x200, second - header + 0x110),
        *(START + 300 - header - 0x100, first - header + 0x100),
    )
    assert struct.unpack_from("<Iiii", made, at) == (
        *(28, 20, START + 300 - (first + 8) + 0x100 - 0x300, 50),
    )
    assert number(made, at + 17) == START + 260 - (first + 17) + 0x100 - 0x300
    assert struct.unpack_from("<Iiii", made, at + 32) == (
        *(12, 52 + 16, START - (second + 8) - 0x310, 50),
    )


def test_what_has_no_bytes_in_the_file_counts_as_a_target() -> None:
    bss = Part(".bss", bytes(0x2000), NOBITS, shift=SHIFT)
    text = code(b"\x48\x8d\x05" + struct.pack("<i", 0x1500) + NOP * 100, shift=SHIFT)
    target = START + 7 + 0x1500
    made = rebased(elf(text, bss), shifts({START: 0, target: 64}))
    assert number(made, 67) == 0x1500 + 64


# ------------------------------------------------------------------------------ any range

PROGRAMS = programs(150_000)
SEEDS = ((seed, machine) for seed in range(2) for machine in (X86_64, AARCH64))
SAMPLES = {
    **{f"{machine}, {seed}": sample_image(seed, machine=machine) for seed, machine in SEEDS},
    "fixed": sample_image(7, kind=FIXED),
    "small": PROGRAMS[0].read_bytes(),
    "real": PROGRAMS[-1].read_bytes(),
}


def any_map(data: bytes, seed: int = 1) -> ShiftMap:
    chance = random.Random(seed)
    starts = sorted(chance.sample(range(len(data) + 0x2000), 60))
    return ShiftMap(numbers(starts), numbers(chance.randrange(-3000, 3000) for _ in starts))


@cache
def whole(name: str) -> bytes:
    return rebased(SAMPLES[name], any_map(SAMPLES[name]))


@pytest.mark.parametrize("name", SAMPLES)
def test_a_map_without_pieces_changes_at_most_the_order_of_records(name: str) -> None:
    data = SAMPLES[name]
    made = array(rebased(data, shifts({})))
    found = image(data)
    ordered = [*found.fields.records, *(it.section for it in (found.fields.frames,) if it)]
    for section in found.elf.sections:
        stretch = slice(section.offset, section.end)
        if section.kind != NOBITS and section not in ordered:
            assert np.array_equal(made[stretch], found.data[stretch]), section.name
    assert sorted(made.tolist()) == sorted(data)


def test_a_real_program_is_as_it_was_when_nothing_moved() -> None:
    for name in ("small", "real"):
        assert rebased(SAMPLES[name], shifts({})) == SAMPLES[name]


def test_when_all_moves_alike_code_stays_and_pointers_move() -> None:
    for name in ("small", "real"):
        data = SAMPLES[name]
        found = image(data)
        made = rebased(data, shifts({0: 0x5000}))
        for section in found.elf.code:
            assert made[section.offset : section.end] == data[section.offset : section.end]
        words = found.fields.words
        old = array(data)
        assert len(words) > 5
        for at in words.tolist():
            value = int.from_bytes(old[at : at + 8].tobytes(), "little")
            assert int.from_bytes(made[at : at + 8], "little") == value + 0x5000


@pytest.mark.parametrize("name", SAMPLES)
def test_any_range_is_that_slice_of_the_whole(name: str) -> None:
    data, found = SAMPLES[name], image(SAMPLES[name])
    moved, chance = any_map(data), random.Random(2)
    for _ in range(60):
        low, high = sorted(chance.randrange(len(data) + 1) for _ in range(2))
        assert found.rebased(moved, low, high).tobytes() == whole(name)[low:high]


@pytest.mark.parametrize("name", ["62, 0", "183, 1", "fixed", "small"])
def test_a_range_may_cut_any_field(name: str) -> None:
    data, found = SAMPLES[name], image(SAMPLES[name])
    moved, fields, chance = any_map(data), found.fields, random.Random(3)
    places = np.concatenate([fields.words, fields.relative, fields.backward, fields.based])
    for place in chance.sample(places.tolist(), 25):
        cut = place + chance.randrange(1, 8)
        assert found.rebased(moved, cut - 9, cut).tobytes() == whole(name)[cut - 9 : cut]
        assert found.rebased(moved, cut, cut + 9).tobytes() == whole(name)[cut : cut + 9]


def test_a_range_of_nothing_is_nothing() -> None:
    found = image(SAMPLES["62, 0"])
    size = len(found.data)
    for place in (0, 5, size // 2, size):
        assert not len(found.rebased(any_map(SAMPLES["62, 0"]), place, place))


def test_moving_leaves_the_image_as_it_is() -> None:
    data = bytearray(SAMPLES["62, 1"])
    found = read_image(np.frombuffer(data, np.uint8))
    assert found is not None
    found.rebased(any_map(bytes(data)), 0, len(data))
    assert data == SAMPLES["62, 1"]


PINNED = {
    "62, 0": "1372b8a29bde3510c8c11fab6d7f8e1828b688a20bf35c162cbe7b357897b2b7",
    "183, 0": "5b88cc609f8332b8bf328b689276de9fe832021902f1553bed059a95ad07c825",
    "62, 1": "468bf0245ad8b3385129e03a4a314239b82188cef0035c3cdd657e578b55376d",
    "183, 1": "167aa14395674ccf0d18da2210a1cb158a8d3c518bbd07facbc001c18e05351d",
    "fixed": "0981232508404c9543969b7ed35e6e558617b2e952d09b326d0e21ed41f2b762",
}


@pytest.mark.parametrize("name", PINNED)
def test_a_transform_gives_what_it_always_gave(name: str) -> None:
    """When this fails the transform needs a new number: increments in the world rely on it."""
    assert sha256(whole(name)).hexdigest() == PINNED[name]


def test_images_for_other_machines_are_not_moved() -> None:
    assert read_image(array(elf(TEXT, machine=3))) is None
    found = read_elf(array(elf(TEXT, machine=3)))
    assert found is not None
    assert found.machine == 3


def test_what_is_no_image_is_none() -> None:
    for data in (b"", b"#!/bin/sh\n", b"\x7fELF", elf(Part(".data", bytes(9)))):
        assert read_image(array(data)) is None


# ---------------------------------------------------------------- the same, but not of everything


@pytest.mark.parametrize("pieces", [0, 1, 5, 5000, 20_000])
def test_a_map_that_is_asked_often_gives_the_same_answers(pieces: int) -> None:
    chance = np.random.default_rng(pieces)
    # most close together, some far apart, some at the same place
    starts = np.sort(chance.integers(2**20, 2**20 + 8 * pieces + 1, pieces))
    starts[-pieces // 10 :] *= 2**10
    moved = ShiftMap(np.sort(starts), chance.integers(-(2**20), 2**20, pieces))
    near = chance.integers(0, 2**20 + 10 * pieces, 3000)
    asked = np.concatenate([near, near * 2**9, starts, starts - 1, [0, 2**47]])
    lookup = Lookup(moved)
    assert np.array_equal(lookup(asked), moved(asked))
    asked = np.sort(asked)
    assert np.array_equal(lookup.ascending(asked), moved(asked))


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.05, 0.5, 0.8])
def test_fields_are_found_from_anywhere_as_they_are_from_the_beginning(share: float) -> None:
    chance = np.random.default_rng(1)
    data = chance.integers(0, 256, 2000, np.uint8)
    # opcodes so close together that fields overlap over long runs
    data[chance.random(len(data)) < share] = 0xE8
    bounds = Bounds(-(2**40), 2**40, -(2**40), 2**40)
    every = x86_64.find(data, 100, len(data), 0, bounds)
    for low in range(100, len(data), 7):
        found = x86_64.find_within(data, 100, len(data), 0, bounds, low=low)
        kept = every.positions >= low
        assert np.array_equal(found.positions, every.positions[kept])
        assert np.array_equal(found.targets, every.targets[kept])
