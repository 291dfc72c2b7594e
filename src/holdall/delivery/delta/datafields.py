"""Address fields in the data of an ELF image: tables, pointers, records of the linker.

Reference: System V ABI (relocation, symbols), LSB "Exception Frames" (.eh_frame), the generic ABI's
SHT_RELR. Tables are read in blocks, so memory is bounded by the fields found.
"""

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdall.delivery.delta.columns import Numbers, distinct
from holdall.delivery.delta.elf import (
    AARCH64,
    DYNSYM,
    PROGBITS,
    RELA,
    RELR,
    SYMTAB,
    Bytes,
    Elf,
    Section,
)

BLOCK = 2**16  # records read at once
_NONE = np.empty(0, np.int64)
_RELATIVE = {AARCH64: (1027, 1032)}
_RELATIVE_X86 = (8, 37)  # R_X86_64_RELATIVE, R_X86_64_IRELATIVE
_POINTERS = (b".got", b".got.plt", b".init_array", b".fini_array", b".preinit_array")
_BITS = 63


class FrameTable(NamedTuple):
    """.eh_frame_hdr: its section, the offset and number of its pairs (code, frame)."""

    section: Section
    offset: int
    count: int  # type: ignore[assignment]  # hides a method of tuples

    def pairs(self, image: Bytes) -> Numbers:
        """Addresses of code and of its frame description, one row for each."""
        rows = image[self.offset : self.offset + 8 * self.count].view("<i4").astype(np.int64)
        return rows.reshape(-1, 2) + self.section.address


class DataFields(NamedTuple):
    """File positions, each column ascending.

    `relative` are 4-byte fields that name an address from where they stand (address = position +
    `frame_shift`), `backward` the same with the sign turned; `words` are 8-byte addresses; `based`
    are 4-byte entries counted from `bases`.
    """

    relative: Numbers
    backward: Numbers
    frame_shift: int
    words: Numbers
    based: Numbers
    bases: Numbers
    frames: FrameTable | None
    records: tuple[Section, ...]


def data_fields(
    image: Bytes, elf: Elf, table_bases: Numbers, let_go: Callable[[], None] = lambda: None
) -> DataFields:
    """Find all fields; `table_bases` are addresses at which tables of offsets to code may begin.

    `let_go` is called now and then: what was looked at may leave memory.
    """
    frames = _frame_table(image, elf)
    relative, backward, shift = _frames(image, elf, frames)
    let_go()
    based, bases = _tables(image, elf, table_bases)
    let_go()
    records = tuple(it for it in elf.sections if it.kind == RELA and it.entry == 24)
    words = _words(image, elf, records, let_go)
    return DataFields(relative, backward, shift, words, based, bases, frames, records)


def load_4(image: Bytes, positions: Numbers) -> Numbers:
    """Signed 4-byte numbers at any positions."""
    words = np.ndarray((max(len(image) - 3, 0),), "<i4", image, strides=(1,))
    return words[positions].astype(np.int64)


def load_8(image: Bytes, positions: Numbers) -> Numbers:
    """8-byte numbers at any positions."""
    words = np.ndarray((max(len(image) - 7, 0),), "<i8", image, strides=(1,))
    return words[positions].astype(np.int64)


def is_relative(records: Numbers, machine: int) -> NDArray[np.bool_]:
    """Which relocation records (rows of three) only add where the image was loaded."""
    kinds = _RELATIVE.get(machine, _RELATIVE_X86)
    return np.isin(records[:, 1] & 0xFFFFFFFF, kinds)


def record_blocks(
    image: Bytes, section: Section, low: int = 0, high: int = 2**63
) -> Iterator[tuple[int, Numbers]]:
    """Relocation records block by block: file offset, rows of (offset, info, addend).

    Only the blocks with something at file offsets [low, high).
    """
    count = section.size // 24
    for at in range(0, count, BLOCK):
        offset = section.offset + 24 * at
        if offset >= high or offset + 24 * min(BLOCK, count - at) <= low:
            continue
        rows = image[offset : offset + 24 * min(BLOCK, count - at)].view("<i8")
        yield offset, rows.reshape(-1, 3).astype(np.int64)


def _frame_table(image: Bytes, elf: Elf) -> FrameTable | None:
    section = elf.named(b".eh_frame_hdr")
    if section is None or section.size < 12:
        return None
    head = image[section.offset : section.offset + 12].tobytes()
    _, *encodings, _, count = struct.unpack("<BBBBiI", head)
    if encodings != [0x1B, 0x03, 0x3B] or 12 + 8 * count > section.size:
        return None
    return FrameTable(section, section.offset + 12, count)


def _frames(image: Bytes, elf: Elf, table: FrameTable | None) -> tuple[Numbers, Numbers, int]:
    """Pointers to code and to tables of handlers in .eh_frame, and pointers back to its heads."""
    section = elf.named(b".eh_frame")
    if table is None or section is None:
        return _NONE, _NONE, 0
    at = np.sort(table.pairs(image)[:, 1] - section.shift)
    at = at[(at >= section.offset) & (at + 21 < section.end)]
    handlers = at[image[at + 16] == 4] + 17
    relative = np.sort(np.concatenate([at + 8, handlers]))
    targets = load_4(image, relative) + relative + section.shift
    inside = (targets >= elf.bounds.low) & (targets <= elf.bounds.high)
    return relative[inside], at + 4, section.shift


def may_be_table(elf: Elf, addresses: Numbers) -> Numbers:
    """Those of the addresses at which a table of offsets to code can begin."""
    section = _table_section(elf)
    if section is None:
        return _NONE
    last = section.address + section.size - 4
    inside = (addresses >= section.address) & (addresses < last) & (addresses % 4 == 0)
    chosen: Numbers = addresses[inside]
    return chosen


def _table_section(elf: Elf) -> Section | None:
    section = elf.named(b".rodata")
    if section is None or section.offset % 4 or section.address % 4:
        return None
    return section


def _tables(image: Bytes, elf: Elf, table_bases: Numbers) -> tuple[Numbers, Numbers]:
    """Runs of 4-byte offsets that lead from a base to code, each run beginning at its base."""
    section = _table_section(elf)
    if section is None:
        return _NONE, _NONE
    bases = may_be_table(elf, table_bases)
    found, owners = [], []
    for lower, upper in _stretches(bases, section):
        at, base = _run(image, elf, section, bases, (lower, upper))
        found.append(at)
        owners.append(base)
    if not found:
        return _NONE, _NONE
    return np.concatenate(found), np.concatenate(owners)


def _stretches(bases: Numbers, section: Section) -> Iterator[tuple[int, int]]:
    """Address ranges of about 16 blocks that begin at a base, to bound memory."""
    begin = 0
    while begin < len(bases):
        limit = int(bases[begin]) + 64 * BLOCK
        end = max(int(np.searchsorted(bases, limit)), begin + 1)
        upper = int(bases[end]) if end < len(bases) else section.address + section.size
        yield int(bases[begin]), min(upper, max(limit, int(bases[end - 1]) + 64 * BLOCK))
        begin = end


def _run(
    image: Bytes, elf: Elf, section: Section, bases: Numbers, stretch: tuple[int, int]
) -> tuple[Numbers, Numbers]:
    lower, upper = stretch
    found, owners = [_NONE], [_NONE]
    bad = lower - 4  # where the last entry stands that leads nowhere
    for at in range(lower, upper - 3, 4 * BLOCK):
        count = min((upper - at) // 4, BLOCK)
        start = at - section.shift
        offsets = image[start : start + 4 * count].view("<i4").astype(np.int64)
        base = _owners(bases, at, count)
        targets = base + offsets
        good = (targets >= elf.bounds.code_low) & (targets < elf.bounds.code_high) & (offsets != 0)
        last = np.maximum.accumulate(np.where(good, bad, at + 4 * np.arange(count)))
        bad = int(last[-1])
        chosen = np.flatnonzero(good & (last < base))
        found.append(start + 4 * chosen)
        owners.append(base[chosen])
    return np.concatenate(found), np.concatenate(owners)


def _owners(bases: Numbers, lower: int, count: int) -> Numbers:
    """For each of `count` addresses from `lower` on, every fourth: the last base up to it."""
    first = int(np.searchsorted(bases, lower, "right"))
    last = int(np.searchsorted(bases, lower + 4 * count, "left"))
    # bases are multiples of four, as `lower` is
    turns = (bases[first:last] - lower) // 4
    return np.repeat(bases[first - 1 : last], np.diff(turns, prepend=0, append=count))


def _words(
    image: Bytes, elf: Elf, records: tuple[Section, ...], let_go: Callable[[], None]
) -> Numbers:
    found = [_addends_in_place(image, elf, item, let_go) for item in records]
    found += [_packed_relative(image, elf, item) for item in elf.sections if item.kind == RELR]
    for item in elf.sections:
        pointers = item.is_loaded and item.name in _POINTERS
        fixed_data = (
            elf.is_fixed and item.is_loaded and item.kind == PROGBITS and not item.is_code
        ) and not item.name.startswith(b".eh_")
        if (pointers or fixed_data) and item.offset % 8 == 0:
            found.append(_inside(image, elf, np.arange(item.offset, item.end - 7, 8)))
        if item.kind in {DYNSYM, SYMTAB} and item.entry == 24:
            found.append(_inside(image, elf, np.arange(item.offset + 8, item.end - 15, 24)))
        let_go()
    return distinct(np.concatenate(found)) if found else _NONE


def _inside(image: Bytes, elf: Elf, positions: Numbers) -> Numbers:
    """Those of the positions at which an address of the image stands."""
    values = load_8(image, positions)
    return positions[(values >= elf.bounds.low) & (values < elf.bounds.high)]


def _addends_in_place(
    image: Bytes, elf: Elf, section: Section, let_go: Callable[[], None]
) -> Numbers:
    """Words that hold the same address as the addend of the record which relocates them."""
    found = [_NONE]
    for _, block in record_blocks(image, section):
        rows = block[is_relative(block, elf.machine)]
        positions = _file_positions(elf, rows[:, 0])
        there = positions >= 0
        positions, addends = positions[there], rows[there, 2]
        same = (load_8(image, positions) == addends) & (addends != 0)
        found.append(positions[same])
        let_go()
    return np.concatenate(found)


def _packed_relative(image: Bytes, elf: Elf, section: Section) -> Numbers:
    """The table of packed relative relocations and the words that it relocates."""
    if section.offset % 8 or section.size < 8:
        return _NONE
    entries = image[section.offset : section.end // 8 * 8].view("<i8").astype(np.int64)
    is_address = (entries & 1) == 0
    if not is_address[0]:
        return _NONE
    heads = np.flatnonzero(is_address)
    since = np.arange(len(entries)) - np.maximum.accumulate(
        np.where(is_address, np.arange(len(entries)), 0)
    )
    owner = entries[heads[np.cumsum(is_address) - 1]]
    found = [owner[is_address]]
    for bit in range(_BITS):
        chosen = ~is_address & ((entries >> (bit + 1)) & 1 == 1)
        found.append(owner[chosen] + 8 + 8 * (_BITS * (since[chosen] - 1) + bit))
    positions = _file_positions(elf, np.concatenate(found))
    words = _inside(image, elf, positions[positions >= 0])
    return np.concatenate([section.offset + 8 * heads, words])


def _file_positions(elf: Elf, addresses: Numbers) -> Numbers:
    """Where 8 bytes at these addresses stand in the file; -1 where they do not."""
    positions = np.full(len(addresses), -1, np.int64)
    for item in elf.sections:
        if item.is_loaded and item.kind == PROGBITS and item.size >= 8:
            inside = (addresses >= item.address) & (addresses <= item.address + item.size - 8)
            positions[inside] = addresses[inside] - item.shift
    return positions
