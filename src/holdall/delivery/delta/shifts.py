"""Maps of addresses: what moved by how much when a program was linked anew."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdall.delivery.delta.columns import (
    Numbers,
    differences,
    pack_varints,
    unpack_varints,
    unzigzag,
    zigzag,
)
from holdall.errors import CorruptError

MAX_MAPS = 2**16
MAX_PIECES = 2**23
_MANY = 4096  # pieces from which on a table pays
_TABLE = 20  # bits of the largest table's length
_FINEST = 8  # bits of the shortest stretch
_STEPS = 8


class ShiftMap(NamedTuple):
    """Pieces in ascending order: from `starts[i]` on addresses move by `shifts[i]` bytes."""

    starts: Numbers
    shifts: Numbers

    def __call__(self, addresses: Numbers) -> Numbers:
        """Where addresses lie in the new image; those before the first piece stay."""
        if not len(self.starts):
            return addresses
        piece = np.searchsorted(self.starts, addresses, "right") - 1
        return addresses + np.where(piece >= 0, self.shifts[np.maximum(piece, 0)], np.int64(0))


class Lookup:
    """A map that is asked for many addresses: the same answers, sooner.

    A table says which pieces start in each stretch of a power of two of addresses.
    """

    def __init__(self, moved: ShiftMap) -> None:
        self._plain = moved
        self._starts = moved.starts
        self._low = int(moved.starts[0]) if len(moved.starts) else 0
        span = int(moved.starts[-1]) - self._low if len(moved.starts) else 0
        self._scale = max(_FINEST, span.bit_length() - _TABLE)
        # first a stretch for all that comes before
        length = (span >> self._scale) + 3 if len(moved.starts) > _MANY else 0
        self._table = np.empty(length, np.int32)
        for at in range(0, length, _MANY):
            edges = np.arange(at - 1, min(at + _MANY, length) - 1) << self._scale
            self._table[at : at + _MANY] = np.searchsorted(self._starts, edges + self._low)

    def __call__(self, addresses: Numbers) -> Numbers:
        """Where addresses lie in the new image."""
        if not len(self._table):
            return self._plain(addresses)
        stretch = addresses - self._low
        stretch >>= self._scale
        stretch += 1
        np.clip(stretch, 0, len(self._table) - 2, out=stretch)
        # how many pieces start at or before each: at least those of the stretches before
        count = self._table.take(stretch)
        stretch += 1
        last = self._table.take(stretch)
        left = np.flatnonzero(count < last)
        for _ in range(_STEPS):
            left = left[self._starts.take(count.take(left)) <= addresses.take(left)]
            count[left] += 1
            left = left[count.take(left) < last.take(left)]
        count[left] = np.searchsorted(self._starts, addresses[left], "right")
        return addresses + self._shifts_of(count)

    def ascending(self, addresses: Numbers) -> Numbers:
        """The same for addresses in ascending order."""
        if not len(addresses):
            return addresses
        ends = np.searchsorted(self._starts, addresses[[0, -1]], "right")
        first, last = int(ends[0]), int(ends[1])
        turns = np.searchsorted(addresses, self._starts[first:last])
        lengths = np.diff(turns, prepend=0, append=len(addresses))
        return addresses + np.repeat(self._shifts_of(np.arange(first, last + 1)), lengths)

    def _shifts_of(self, counts: NDArray[np.integer]) -> Numbers:
        """How far addresses move at or before which so many pieces start."""
        if not len(self._starts):
            return np.zeros(len(counts), np.int64)
        shifts: Numbers = self._plain.shifts.take(counts - 1, mode="clip")
        shifts[counts == 0] = 0
        return shifts


def pack_maps(maps: list[ShiftMap]) -> bytes:
    """The columns of all maps."""
    counts = np.array([len(maps), *(len(item.starts) for item in maps)], np.int64)
    starts = [differences(item.starts) for item in maps]
    shifts = [zigzag(differences(item.shifts)) for item in maps]
    return b"".join(map(pack_varints, (counts, *starts, *shifts)))


def unpack_maps(data: bytes) -> list[ShiftMap]:
    """The inverse of `pack_maps`; raises CorruptError."""
    if not data:
        return []
    if np.count_nonzero(np.frombuffer(data, np.uint8) < 128) > 1 + MAX_MAPS + 2 * MAX_PIECES:
        raise CorruptError("The increment has more maps than it may.")
    values = unpack_varints(data)
    number = int(values[0]) if len(values) else 0
    counts = values[1 : 1 + number]
    pieces = sum(counts.tolist()) if len(counts) == number else -1
    if number > MAX_MAPS or not 0 <= pieces <= MAX_PIECES or len(values) != 1 + number + 2 * pieces:
        raise CorruptError("The increment's maps do not have the length promised.")
    starts = values[1 + number : 1 + number + pieces]
    shifts = unzigzag(values[1 + number + pieces :])
    maps, at = [], 0
    for count in counts.tolist():
        piece = slice(at, at + count)
        made = ShiftMap(np.cumsum(starts[piece]), np.cumsum(shifts[piece]))
        if count and made.starts.min() < 0:
            raise CorruptError("The increment's maps name addresses that are too large.")
        maps.append(made)
        at += count
    return maps
