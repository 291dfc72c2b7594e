"""Leaving out pieces of a map that save less than they cost."""

import numpy as np

from holdall.delivery.delta.columns import Numbers
from holdall.delivery.delta.datafields import is_relative, load_8, record_blocks
from holdall.delivery.delta.rebase import Image
from holdall.delivery.delta.shifts import ShiftMap

_PIECE = 3  # bytes a piece costs in the increment
_SAVED = 2  # bytes a field in code costs that is not moved rightly
_TABLE = 3  # how many times as much an address in a table costs: its neighbours are disordered, too
_SECTION = 100
_PASSES = 6


def pruned(moved: ShiftMap, fields: tuple[Numbers, Numbers], image: Image) -> ShiftMap:
    """The map without pieces that too few fields need: those that stand in them or name them."""
    addresses = _addresses(fields, image)
    for _ in range(_PASSES):
        count = len(moved.starts)
        if count < 3:
            break
        piece = np.searchsorted(moved.starts, addresses, "right") - 1
        uses = np.bincount(piece[piece >= 0], minlength=count)
        closes = np.zeros(count, np.bool_)
        closes[1:-1] = moved.shifts[:-2] == moved.shifts[2:]
        poor = uses * _SAVED < np.where(closes, 2 * _PIECE, _PIECE)
        poor[0] = False
        # not two neighbours at once: the second is weighed again
        poor[1:] &= ~poor[:-1] | (np.arange(1, count) % 2 == 0)
        if not poor.any():
            break
        starts, shifts = moved.starts[~poor], moved.shifts[~poor]
        turns = np.concatenate([[True], np.diff(shifts) != 0])
        moved = ShiftMap(starts[turns], shifts[turns])
    return moved


def _addresses(fields: tuple[Numbers, Numbers], image: Image) -> Numbers:
    """Every address that fields stand at or name, of code and of data."""
    positions, targets = fields
    standing = [np.empty(0, np.int64)]
    for section in image.elf.sections:
        if section.is_loaded:
            first, last = np.searchsorted(positions, [section.offset, section.end])
            standing.append(positions[first:last] + section.shift)
    words = image.fields.words
    named = [targets]
    listed = [load_8(image.data, words)]
    for section in image.fields.records:
        for _, rows in record_blocks(image.data, section):
            relative = is_relative(rows, image.elf.machine)
            listed += [rows[:, 0], rows[relative, 2]]
    frames = image.fields.frames
    if frames is not None:
        listed.append(frames.pairs(image.data)[:, 1])
    begins = np.array([it.address for it in image.elf.sections if it.is_loaded], np.int64)
    return np.concatenate([*standing, *named, *listed * _TABLE, *[begins] * _SECTION])
