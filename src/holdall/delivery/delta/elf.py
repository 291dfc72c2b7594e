"""Reading what an address transform needs of a 64-bit little-endian ELF file.

Reference: System V ABI, "ELF-64 Object File Format". A file that is odd in any way is no image.
"""

import struct
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdall.delivery.delta.references import Bounds

Bytes = NDArray[np.uint8]

X86_64, AARCH64 = 62, 183
PROGBITS, SYMTAB, RELA, NOBITS, DYNSYM, RELR = 1, 2, 4, 8, 11, 19
_ALLOC, _EXEC, _TLS = 2, 4, 0x400
_FIXED = 2
_IDENT = b"\x7fELF\x02\x01"
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_MAX_ADDRESS = 2**48


class Section(NamedTuple):
    """A section header: where it lies in memory and in the file, in bytes."""

    name: bytes
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    entry: int

    @property
    def end(self) -> int:
        """The file offset after its last byte."""
        return self.offset + self.size

    @property
    def shift(self) -> int:
        """Address less file offset."""
        return self.address - self.offset

    @property
    def is_loaded(self) -> bool:
        """Whether it is part of the image in memory, and has bytes in the file."""
        return bool(self.flags & _ALLOC) and self.kind != NOBITS and self.size > 0

    @property
    def is_code(self) -> bool:
        """Whether it holds instructions."""
        return self.is_loaded and bool(self.flags & _EXEC) and self.kind == PROGBITS


class Elf(NamedTuple):
    """A file's sections, ordered as in its table."""

    machine: int
    is_fixed: bool
    sections: tuple[Section, ...]
    bounds: Bounds

    @property
    def code(self) -> list[Section]:
        """The executable sections by file offset."""
        return sorted((item for item in self.sections if item.is_code), key=lambda it: it.offset)

    def named(self, name: bytes) -> Section | None:
        """The first section of that name with bytes in the file."""
        for item in self.sections:
            if item.name == name and item.kind != NOBITS:
                return item
        return None


def read_elf(image: Bytes) -> Elf | None:
    """The sections of a program or library; None when it is anything else."""
    head = image[: _HEADER.size].tobytes()
    if len(head) < _HEADER.size or not head.startswith(_IDENT):
        return None
    fields = _HEADER.unpack(head)
    kind, machine, table = fields[1], fields[2], fields[6]
    entry, count, names = fields[11:]
    if entry != _SECTION.size or not 0 < count < 0xFF00 or names >= count:
        return None
    if table + count * entry > len(image):
        return None
    rows = list(_SECTION.iter_unpack(image[table : table + count * entry].tobytes()))
    if not _are_apart(rows, len(image)) or any(row[3] + row[5] > _MAX_ADDRESS for row in rows):
        return None
    texts = image[rows[names][4] : rows[names][4] + rows[names][5]].tobytes()
    sections = tuple(_section(row, texts) for row in rows)
    bounds = _bounds(sections)
    if bounds is None:
        return None
    return Elf(machine, kind == _FIXED, sections, bounds)


def _are_apart(rows: list[tuple[int, ...]], length: int) -> bool:
    """Whether sections lie within the file and share no byte: so all work is bounded by it."""
    held = [(row[4], row[4] + row[5]) for row in rows if row[1] != NOBITS]
    stretches = sorted((begin, end) for begin, end in held if begin != end)
    return all(end <= length for _, end in held) and all(
        one[1] <= other[0] for one, other in pairwise(stretches)
    )


def _section(row: tuple[int, ...], texts: bytes) -> Section:
    end = texts.find(b"\0", row[0])
    name = texts[row[0] : end] if end >= 0 else b""
    return Section(name, row[1], row[2], row[3], row[4], row[5], row[9])


def _bounds(sections: tuple[Section, ...]) -> Bounds | None:
    placed = [it for it in sections if it.flags & _ALLOC and it.size and not it.flags & _TLS]
    code = [it for it in placed if it.is_code]
    if not code:
        return None
    return Bounds(
        min(it.address for it in placed),
        max(it.address + it.size for it in placed),
        min(it.address for it in code),
        max(it.address + it.size for it in code),
    )
