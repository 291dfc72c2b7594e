"""Maps of addresses: what moved by how much when a program was linked anew."""

from typing import NamedTuple

import numpy as np

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
