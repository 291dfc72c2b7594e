"""Address fields in AArch64 code.

Most fields are known by the bits of one instruction word. The two halves of a far address, ADRP and
the instructions that bring its lowest twelve bits, are matched when they stand close together:
nearly all do, and what is missed or wrongly matched costs bytes, never correctness. Client and
builder must find the same fields, so everything is integer arithmetic on whole arrays. Must not
know of files or of address maps.

Encodings: Arm Architecture Reference Manual for A-profile (DDI 0487), section C4.1.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdall.delivery.delta.references import Bounds, References

_Words = NDArray[np.uint32]
_Numbers = NDArray[np.int64]
_Kinds = NDArray[np.uint8]
_Choice = NDArray[np.bool_]

_REACH: Final = 128
"""How many words after an ADRP its second halves are looked for.

Eight find nearly all in C++ code; in generated glue code with many globals, 128 save a tenth more.
"""

# Kinds of fields, in the order of _FIELDS. LOW + n: an offset in a page, in units of 2**n bytes.
_NONE: Final = 0
_BRANCH_26: Final = 1
_BRANCH_19: Final = 2
_BRANCH_14: Final = 3
_LITERAL: Final = 4
_ADR: Final = 5
_ADRP: Final = 6
_LOW: Final = 7
_PAGE: Final = 12
_QUAD: Final = 4
_SPLIT: Final = 29
_UNKNOWN: Final = -(1 << 62)


class _Field(NamedTuple):
    """A number in an instruction word: its lowest bit, its width, and the log2 of its unit.

    Its `split` lowest bits stand apart, from bit `_SPLIT`.
    """

    lowest: int
    width: int
    unit: int
    split: int = 0

    @property
    def mask(self) -> int:
        return (1 << self.width) - 1 << self.lowest | (1 << self.split) - 1 << _SPLIT


_FIELDS: Final = {
    _BRANCH_26: _Field(0, 26, 2),
    _BRANCH_19: _Field(5, 19, 2),
    _BRANCH_14: _Field(5, 14, 2),
    _LITERAL: _Field(5, 19, 2),
    _ADR: _Field(5, 19, 0, split=2),
    _ADRP: _Field(5, 19, _PAGE, split=2),
    **{_LOW + unit: _Field(10, 12, unit) for unit in range(_QUAD + 1)},
}
_MASKS: Final = np.array([0, *(field.mask for field in _FIELDS.values())], np.uint32)

_TOPS: Final = {
    _BRANCH_26: b"\x14\x15\x16\x17\x94\x95\x96\x97",  # B, BL
    _BRANCH_19: b"\x54\x34\x35\xb4\xb5",  # B.cond and BC.cond, CBZ, CBNZ
    _BRANCH_14: b"\x36\x37\xb6\xb7",  # TBZ, TBNZ
    _LITERAL: b"\x18\x58\x98\xd8\x1c\x5c\x9c",  # LDR, LDRSW, PRFM (literal)
    _ADR: b"\x10\x30\x50\x70",
    _ADRP: b"\x90\xb0\xd0\xf0",
}
"""What the highest byte of a word says alone: it has a field or, in an ADRP, may have one."""

# What a word does to the register an earlier ADRP has set.
_KEEPS: Final = 0
_WRITES: Final = 1
_LEAVES: Final = 2
_FIRST_SAVED: Final = 19
"""The lowest register that calls preserve, for all that matters here."""


def _use(high: int) -> int:
    """The kind of a word with these ten highest bits, as the second half of an address."""
    if high == 0x244:  # ADD (immediate), 64-bit, not shifted
        return _LOW
    if high & 0xEC != 0xE4:  # not a load or store with an unsigned offset
        return _NONE
    size, vector, variant = high >> 8, high >> 4 & 1, high & 3
    return _LOW + (_QUAD if vector and variant & 2 else size)


def _effect(high: int) -> int:
    """What a word with these ten highest bits does to the register an ADRP has set.

    Rare instructions are taken for what their group mostly does.
    """
    if high & 0x1F0 == 0x050 or high & 0x3FC == 0x358:  # B, BL; BR, BLR, RET and the like
        return _LEAVES
    match high >> 3 & 0xF:  # op0
        case 0b1000 | 0b1001:  # data processing, immediate
            return _WRITES
        case 0b0101 | 0b1101:  # data processing, register; CCMN and CCMP have no destination
            return _KEEPS if high & 0xFF == 0xE9 else _WRITES
        case 0b0100:  # loads and stores, exclusive or in pairs
            return _WRITES if high & 1 else _KEEPS
        case 0b1100:  # loads and stores, others
            literal = high & 0xEC == 0x60
            return _WRITES if literal or high & 3 else _KEEPS
        case _:
            return _KEEPS


_KIND_OF_TOP: Final = bytes(
    next((kind for kind, tops in _TOPS.items() if top in tops), _NONE) for top in range(1 << 8)
)
_USE_OF_HIGH: Final = np.array([_use(high) for high in range(1 << 10)], np.uint8)
_EFFECT_OF_HIGH: Final = np.array([_effect(high) for high in range(1 << 10)], np.uint8)


def find(image: NDArray[np.uint8], begin: int, end: int, shift: int, bounds: Bounds) -> References:
    """The fields in the code at file offsets [begin, end), which stands at these plus `shift`.

    Bytes at and after `end` do not matter; the `_REACH` words before `begin` do.
    """
    first = begin + -(begin + shift) % 4
    before = min(_REACH, first // 4)
    start = first - 4 * before
    code = image[start : max(start, end - (end - first) % 4)]
    words = code.view("<u4")
    kinds = np.frombuffer(bytearray(code[3::4]).translate(_KIND_OF_TOP), np.uint8)
    places, addresses = _pair(words, kinds, start + shift)
    kinds[:before] = _NONE
    at = np.flatnonzero(kinds).astype(np.int64)
    kind = kinds[at]
    targets = start + shift + 4 * at + _distances(words[at], kind)
    far = np.flatnonzero(kind >= _ADRP)
    targets[far] = addresses[np.searchsorted(places, at[far])]
    inside = np.where(
        kind <= _BRANCH_14,
        (targets >= bounds.code_low) & (targets < bounds.code_high),
        (targets >= bounds.low) & (targets < bounds.high),
    )
    return References(start + 4 * at[inside], targets[inside], kind[inside])


def mask(out: NDArray[np.uint8], origin: int, references: References) -> None:
    """Zero the address bits of the fields in `out`, which begins at file offset `origin`."""
    for words, chosen, at in _aligned(out, references.positions - origin):
        words[at] &= ~_MASKS[references.kinds[chosen]]


def write(
    out: NDArray[np.uint8],
    origin: int,
    references: References,
    sources: NDArray[np.int64],
    targets: NDArray[np.int64],
) -> None:
    """Make every field name `targets` from an instruction that stands at `sources`.

    A field that cannot hold its new value keeps the old one.
    """
    bits, fits = _encode(references.kinds, sources, targets)
    for words, chosen, at in _aligned(out, references.positions - origin):
        old = words[at]
        new = old & ~_MASKS[references.kinds[chosen]] | bits[chosen]
        words[at] = np.where(fits[chosen], new, old)


def _pair(words: _Words, kinds: _Kinds, address: int) -> tuple[_Numbers, _Numbers]:
    """The places of both halves of far addresses, ascending, and the address each names.

    Marks the second halves in `kinds`, and clears an ADRP that nothing close by completes.
    """
    pages_at = np.flatnonzero(kinds == _ADRP).astype(np.int64)
    code = words[pages_at]
    registers = (code & 31).astype(np.int64)
    pages = (address + 4 * pages_at >> _PAGE << _PAGE) + _distances(code, kinds[pages_at])
    wholes = np.full(len(pages), _UNKNOWN, np.int64)
    places, addresses = [pages_at], [wholes]
    live = np.flatnonzero(registers != 31)
    for distance in range(1, _REACH + 1):
        at = pages_at[live] + distance
        live = live[: np.searchsorted(at, len(words))]
        at = at[: len(live)]
        word = words[at]
        use = _USE_OF_HIGH[word >> 22]
        low = (word >> 10 & 0xFFF).astype(np.int64) << np.maximum(use, _LOW) - _LOW
        using = np.flatnonzero(
            (use != _NONE) & ((word >> 5 & 31) == registers[live]) & (low < 1 << _PAGE)
        )
        kinds[at[using]] = use[using]
        owners = live[using]
        named = pages[owners] + low[using]
        places.append(at[using])
        addresses.append(named)
        fresh = wholes[owners] == _UNKNOWN
        wholes[owners[fresh]] = named[fresh]
        live = live[~_lost(word, registers[live])]
    kinds[pages_at[wholes == _UNKNOWN]] = _NONE
    place = np.concatenate(places)
    order = np.argsort(place, kind="stable")
    return place[order], np.concatenate(addresses)[order]


def _lost(words: _Words, registers: _Numbers) -> NDArray[np.bool_]:
    """Whether the registers no longer hold a page after the words."""
    effect = _EFFECT_OF_HIGH[words >> 22]
    lost: _Choice = (effect == _LEAVES) & (registers < _FIRST_SAVED)
    lost |= (effect == _WRITES) & ((words & 31) == registers)
    return lost


def _distances(words: _Words, kinds: _Kinds) -> _Numbers:
    """How far from their instruction, or from its page, fields point; 0 for second halves."""
    distances = np.zeros(len(words), np.int64)
    for kind, field in _FIELDS.items():
        if kind < _LOW:
            chosen = np.flatnonzero(kinds == kind)
            word = words[chosen].astype(np.int64)
            number = word >> field.lowest & (1 << field.width) - 1
            sign = 1 << field.width - 1
            number = (number ^ sign) - sign
            number = number << field.split | word >> _SPLIT & (1 << field.split) - 1
            distances[chosen] = number << field.unit
    return distances


def _encode(kinds: _Kinds, sources: _Numbers, targets: _Numbers) -> tuple[_Words, _Choice]:
    """The bits of fields that stand at `sources` and name `targets`, and which of them fit."""
    bits = np.zeros(len(kinds), "<u4")
    fits = np.zeros(len(kinds), np.bool_)
    for kind, field in _FIELDS.items():
        chosen = np.flatnonzero(kinds == kind)
        distance = _span(kind, sources[chosen], targets[chosen])
        number = distance >> field.unit
        limit = 1 << field.width + field.split - (kind < _LOW)
        fits[chosen] = (distance == number << field.unit) & (-limit <= number) & (number < limit)
        high = number >> field.split & (1 << field.width) - 1
        low = number & (1 << field.split) - 1
        bits[chosen] = (high << field.lowest | low << _SPLIT).astype("<u4")
    return bits, fits


def _span(kind: int, sources: _Numbers, targets: _Numbers) -> _Numbers:
    """What fields of one kind at `sources` must hold to name `targets`, in bytes."""
    if kind >= _LOW:
        return targets % (1 << _PAGE)
    if kind == _ADRP:
        return (targets >> _PAGE << _PAGE) - (sources >> _PAGE << _PAGE)
    return targets - sources


def _aligned(
    out: NDArray[np.uint8], positions: _Numbers
) -> Iterator[tuple[_Words, _Numbers, _Numbers]]:
    """The words of `out` by where they begin modulo four: all, which positions, their places."""
    for rest in range(4):
        chosen = np.flatnonzero(positions % 4 == rest)
        if len(chosen):
            words = out[rest : len(out) - (len(out) - rest) % 4].view("<u4")
            yield words, chosen, positions[chosen] >> 2
