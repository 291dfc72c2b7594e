"""Learning what moved between two linked images: the map that an address transform needs.

1. Address fields are masked in both images, and their sections aligned.
2. Fields at places that belong together vote: this old target became that new one. So do
   relocation records and unwind tables.
3. The map that wins says where bytes the aligner left out should lie; where they do, they vote too.
4. Pieces of the map that save less than they cost go.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdall.delivery.delta.columns import Numbers, distinct
from holdall.delivery.delta.datafields import is_relative, load_4, load_8, record_blocks
from holdall.delivery.delta.elf import PROGBITS, RELR, Bytes, Section
from holdall.delivery.delta.rebase import Image
from holdall.delivery.delta.references import References
from holdall.delivery.delta.shifts import ShiftMap
from holdall.delivery.differ.align import align
from holdall.delivery.differ.prune import pruned

_NOWHERE = np.int32(-(2**31))
_ROUNDS = 3
_LEAST_COPY = 24
_SMALL_SECTION = 4096
_LARGE_SECTION = 3 * 2**24
_HOLE = 8
# what the linker orders or packs by itself: one shift for all of it
_AS_ONE = frozenset(
    b".rela.dyn .rela.plt .eh_frame_hdr .dynsym .gnu.hash .gnu.version .dynstr .eh_frame .hash"
    b" .relr.dyn".split()
)
# tables of addresses in an order of the linker's own: places say nothing
_REORDERED = frozenset((b".got", b".got.plt"))


class Fields(NamedTuple):
    """Every 4-byte or instruction field of an image with what it names, by position."""

    positions: Numbers
    targets: Numbers


class _Pair(NamedTuple):
    """A section in both images and, for each old byte, how far it moved within the section."""

    old: Section
    new: Section
    moved: NDArray[np.int32]


class Side(NamedTuple):
    """An image, its fields, and its bytes with the fields masked."""

    image: Image
    fields: Fields
    masked: Bytes


def read_side(image: Image) -> Side:
    """Find and mask all fields of an image."""
    masked = image.data.copy()
    found = [image.references(window) for window in image.windows]
    shifts = [window.shift for window in image.windows]
    del shifts
    for part in found:
        image.mask(masked, part)
    data = image.fields
    for width, columns in ((4, (data.based, data.relative)), (8, (data.words,))):
        for positions in columns:
            words = np.ndarray((len(masked) - width + 1,), f"<i{width}", masked, strides=(1,))
            words[positions] = 0
    return Side(image, _all_fields(image, found), masked)


def learn(old: Side, new: Side) -> ShiftMap | None:
    """The map from old addresses to new; None when the images have no code in common."""
    pairs = _aligned(old, new)
    if not pairs:
        return None
    records = _record_pairs(old.image, new.image)
    moved = ShiftMap(np.empty(0, np.int64), np.empty(0, np.int64))
    for number in range(_ROUNDS):
        blocks = _block_points(old.image, new.image, pairs)
        votes = _field_votes(old, new, pairs) + _record_votes(ShiftMap(*blocks), records)
        moved = _elected(votes, blocks)
        frames = _frame_points(moved, old.image, new.image)
        if len(frames[0]):
            blocks = _merged(blocks, frames)
            moved = _elected(votes, blocks)
        if number == _ROUNDS - 1 or not _grow(moved, old, new, pairs):
            break
    return pruned(moved, old.fields, old.image)


def _all_fields(image: Image, found: list[References]) -> Fields:
    data = image.fields
    based = data.bases + load_4(image.data, data.based)
    relative = load_4(image.data, data.relative) + data.relative + data.frame_shift
    positions = np.concatenate([*(part.positions for part in found), data.based, data.relative])
    targets = np.concatenate([*(part.targets for part in found), based, relative])
    order = np.argsort(positions, kind="stable")
    return Fields(positions[order], targets[order])


def _aligned(old: Side, new: Side) -> list[_Pair]:
    names = {it.name: it for it in new.image.elf.sections if it.is_loaded}
    pairs = []
    for section in old.image.elf.sections:
        if not section.is_loaded or section.kind != PROGBITS or section.name in _AS_ONE:
            continue
        other = names.get(section.name)
        if other is not None:
            pairs.append(_Pair(section, other, _movement(old, new, section, other)))
    return pairs


def _movement(old: Side, new: Side, section: Section, other: Section) -> NDArray[np.int32]:
    """How far each old byte moved; the longest copy decides."""
    one = old.masked[section.offset : section.end]
    two = new.masked[other.offset : other.end]
    moved = np.full(section.size + 1, _NOWHERE, np.int32)
    if min(len(one), len(two)) < 64 or not one.any():
        moved[: min(len(one), len(two))] = 0
        return moved
    copies = align(one, two, bits=3 if len(one) < _LARGE_SECTION else 4)
    if not len(copies.lengths) and len(one) <= _SMALL_SECTION:
        moved[: min(len(one), len(two))] = 0
        return moved
    least = _LEAST_COPY if len(one) > _SMALL_SECTION else 1
    order = np.argsort(copies.lengths, kind="stable")
    order = order[copies.lengths[order] >= least]
    rows = zip(
        copies.old[order].tolist(),
        copies.new[order].tolist(),
        copies.lengths[order].tolist(),
        strict=True,
    )
    for start, place, length in rows:
        moved[start : start + length] = place - start
    return moved


def _block_points(old: Image, new: Image, pairs: list[_Pair]) -> tuple[Numbers, Numbers]:
    """Where the aligner sees another shift begin, and the sections that move as one."""
    starts, shifts = [], []
    names = {it.name: it for it in new.elf.sections}
    for section in old.elf.sections:
        if section.name in _AS_ONE and section.address and section.name in names:
            starts.append(np.array([section.address]))
            shifts.append(np.array([names[section.name].address - section.address]))
    for section, other, moved in pairs:
        at = np.flatnonzero(np.diff(moved[:-1], prepend=_NOWHERE) != 0)
        at = at[moved[at] != _NOWHERE]
        starts.append(at + section.address)
        shifts.append(moved[at].astype(np.int64) + (other.address - section.address))
    return _by_start(np.concatenate(starts), np.concatenate(shifts))


def _by_start(starts: Numbers, shifts: Numbers) -> tuple[Numbers, Numbers]:
    order = np.argsort(starts, kind="stable")
    return starts[order], shifts[order]


def _merged(one: tuple[Numbers, Numbers], two: tuple[Numbers, Numbers]) -> tuple[Numbers, Numbers]:
    return _by_start(np.concatenate([one[0], two[0]]), np.concatenate([one[1], two[1]]))


def _field_votes(old: Side, new: Side, pairs: list[_Pair]) -> list[tuple[Numbers, Numbers]]:
    """Old and new targets of fields that lie at the same place of a copy."""
    votes = []
    # where relocation records vote, words would only repeat it
    has_records = any(section.size for section in old.image.fields.records) and not any(
        section.kind == RELR for section in old.image.elf.sections
    )
    for section, other, moved in pairs:
        first, last = np.searchsorted(old.fields.positions, [section.offset, section.end - 3])
        places = old.fields.positions[first:last] - section.offset
        targets = old.fields.targets[first:last]
        whole = (moved[places] != _NOWHERE) & (moved[places] == moved[places + 3])
        places, targets = places[whole], targets[whole]
        there = places + moved[places] + other.offset
        at = np.searchsorted(new.fields.positions, there)
        at = np.minimum(at, max(len(new.fields.positions) - 1, 0))
        hit = new.fields.positions[at] == there if len(new.fields.positions) else at > 0
        votes.append((targets[hit], new.fields.targets[at[hit]]))
        if not has_records and section.name not in _REORDERED:
            votes.append(_word_votes(old.image, new.image, section, other, moved))
    return votes


def _word_votes(
    old: Image, new: Image, section: Section, other: Section, moved: NDArray[np.int32]
) -> tuple[Numbers, Numbers]:
    """The same for 8-byte addresses."""
    first, last = np.searchsorted(old.fields.words, [section.offset, section.end - 7])
    places = old.fields.words[first:last] - section.offset
    places = places[(moved[places] != _NOWHERE) & (moved[places] == moved[places + 7])]
    there = places + moved[places] + other.offset
    known = np.isin(there, new.fields.words, assume_unique=False)
    return (
        load_8(old.data, places[known] + section.offset),
        load_8(new.data, there[known]),
    )


def _record_pairs(old: Image, new: Image) -> list[tuple[Numbers, Numbers]]:
    """Relative relocation records of both images, the new ones by offset."""
    pairs = []
    for one, two in zip(old.fields.records, new.fields.records, strict=False):
        rows = [_relative_records(image, it) for image, it in ((old, one), (new, two))]
        if len(rows[0]) and len(rows[1]):
            pairs.append((rows[0], rows[1][np.argsort(rows[1][:, 0], kind="stable")]))
    return pairs


def _relative_records(image: Image, section: Section) -> Numbers:
    blocks = [rows for _, rows in record_blocks(image.data, section)]
    rows = np.concatenate(blocks) if blocks else np.empty((0, 3), np.int64)
    return rows[is_relative(rows, image.elf.machine)]


def _record_votes(
    moved: ShiftMap, records: list[tuple[Numbers, Numbers]]
) -> list[tuple[Numbers, Numbers]]:
    votes = []
    for old, new in records:
        there = moved(old[:, 0])
        at = np.minimum(np.searchsorted(new[:, 0], there), len(new) - 1)
        hit = new[at, 0] == there
        votes.append((old[hit, 2], new[at[hit], 2]))
    return votes


def _elected(votes: list[tuple[Numbers, Numbers]], blocks: tuple[Numbers, Numbers]) -> ShiftMap:
    """One shift for each address voted on, else what the aligner says; then pieces."""
    olds = np.concatenate([old for old, _ in votes])
    shifts = np.concatenate([new - old for old, new in votes])
    starts, chosen, weight = _majorities(olds, shifts)
    starts = np.concatenate([blocks[0], starts])
    chosen = np.concatenate([blocks[1], chosen])
    weight = np.concatenate([np.full(len(blocks[0]), 2**30), weight])
    order = np.lexsort((weight, starts))  # of one address, those who name it come first
    starts, chosen, weight = starts[order], chosen[order], weight[order]
    first = np.concatenate([np.ones(min(len(starts), 1), np.bool_), np.diff(starts) > 0])
    starts, chosen, weight = starts[first], chosen[first], weight[first]
    while len(starts) > 2:
        alone = np.zeros(len(starts), np.bool_)
        alone[1:-1] = (
            (chosen[:-2] == chosen[2:]) & (chosen[1:-1] != chosen[:-2]) & (weight[1:-1] <= 1)
        )
        if not alone.any():
            break
        starts, chosen, weight = starts[~alone], chosen[~alone], weight[~alone]
    turns = np.concatenate([np.ones(min(len(starts), 1), np.bool_), np.diff(chosen) != 0])
    return ShiftMap(starts[turns], chosen[turns])


def _majorities(olds: Numbers, shifts: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """For each address the shift most vote for, and how many do."""
    if not len(olds):
        return olds, shifts, olds
    order = np.lexsort((shifts, olds))
    olds, shifts = olds[order], shifts[order]
    first = np.flatnonzero(np.concatenate([[True], (np.diff(olds) != 0) | (np.diff(shifts) != 0)]))
    counts = np.diff(np.concatenate([first, [len(olds)]]))
    olds, shifts = olds[first], shifts[first]
    order = np.lexsort((shifts, -counts, olds))
    olds, shifts, counts = olds[order], shifts[order], counts[order]
    best = np.concatenate([[True], np.diff(olds) > 0])
    return olds[best], shifts[best], counts[best]


def _frame_points(moved: ShiftMap, old: Image, new: Image) -> tuple[Numbers, Numbers]:
    """Where frame descriptions went: those of functions whose new place is known."""
    none = np.empty(0, np.int64), np.empty(0, np.int64)
    if old.fields.frames is None or new.fields.frames is None:
        return none
    ours, theirs = (
        image.fields.frames.pairs(image.data) for image in (old, new) if image.fields.frames
    )
    theirs = theirs[np.argsort(theirs[:, 0], kind="stable")]
    if not len(ours) or not len(theirs):
        return none
    there = moved(ours[:, 0])
    at = np.minimum(np.searchsorted(theirs[:, 0], there), len(theirs) - 1)
    hit = theirs[at, 0] == there
    starts, shifts = _by_start(ours[hit, 1], theirs[at[hit], 1] - ours[hit, 1])
    turns = np.concatenate([np.ones(min(len(starts), 1), np.bool_), np.diff(shifts) != 0])
    return starts[turns], shifts[turns]


def _grow(moved: ShiftMap, old: Side, new: Side, pairs: list[_Pair]) -> bool:
    """Add what the aligner left out where the map says it lies and the bytes agree."""
    grown = False
    for section, other, movement in pairs:
        size = section.size
        first, last = np.searchsorted(moved.starts, [section.address, section.address + size])
        turns = moved.starts[first:last] - section.address
        known = np.flatnonzero(np.diff(movement[:size] == _NOWHERE)) + 1
        cuts = distinct(np.concatenate([[0], turns, known]))
        cuts = cuts[cuts < size]
        lengths = np.diff(np.concatenate([cuts, [size]]))
        holes = (movement[cuts] == _NOWHERE) & (lengths >= _HOLE)
        cuts, lengths = cuts[holes], lengths[holes]
        there = moved(cuts + section.address) - other.address
        room = np.minimum(lengths, other.size - there)
        fits = (there >= 0) & (room >= _HOLE)
        rows = zip(cuts[fits].tolist(), there[fits].tolist(), room[fits].tolist(), strict=True)
        one = old.masked[section.offset : section.end]
        two = new.masked[other.offset : other.end]
        for start, place, length in rows:
            same = one[start : start + length] == two[place : place + length]
            gains = np.cumsum(np.where(same, 1, -2))
            best = int(gains.argmax())
            if gains[best] >= _HOLE:
                movement[start : start + best + 1] = place - start
                grown = True
    return grown
