"""Numbers as bytes: columns of varints (LEB128), many at once."""

import numpy as np
from numpy.typing import NDArray

from holdall.errors import CorruptError

Numbers = NDArray[np.int64]
_LONGEST = 9  # 63 bits


def pack_varints(values: Numbers) -> bytes:
    """Numbers that are not negative, as varints."""
    left = values.astype(np.uint64)
    lengths = np.ones(len(left), np.int64)
    for count in range(1, _LONGEST):
        lengths += left >= np.uint64(1) << np.uint64(7 * count)
    ends = np.cumsum(lengths)
    out = np.zeros(int(ends[-1]) if len(ends) else 0, np.uint8)
    starts = ends - lengths
    for at in range(_LONGEST):
        chosen = lengths > at
        if not chosen.any():
            break
        digits = (left[chosen] >> np.uint64(7 * at)) & np.uint64(127)
        more = np.where(lengths[chosen] > at + 1, np.uint64(128), np.uint64(0))
        out[starts[chosen] + at] = digits | more
    return out.tobytes()


def unpack_varints(data: bytes | memoryview, count: int | None = None) -> Numbers:
    """All numbers in `data`, which must be `count` if that is given; raises CorruptError."""
    raw = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(raw < 128)
    if count is not None and len(ends) != count:
        raise CorruptError("A column of the increment does not have the length promised.")
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1]) if len(ends) else ends
    lengths = ends - starts + 1
    if (len(raw) and raw[-1] >= 128) or (len(lengths) and lengths.max() > _LONGEST):
        raise CorruptError("A column of the increment holds a number that is too large.")
    values = np.zeros(len(ends), np.int64)
    for at in range(int(lengths.max()) if len(lengths) else 0):
        chosen = lengths > at
        values[chosen] |= (raw[starts[chosen] + at] & np.uint8(127)).astype(np.int64) << (7 * at)
    return values


def zigzag(values: Numbers) -> Numbers:
    """Signed numbers as small ones that are not negative: 0, -1, 1, -2 as 0, 1, 2, 3."""
    return (values << 1) ^ (values >> 63)


def unzigzag(values: Numbers) -> Numbers:
    """The inverse of `zigzag`."""
    return (values >> 1) ^ -(values & 1)


def differences(values: Numbers) -> Numbers:
    """Each number less the one before, the first less 0."""
    return np.diff(values, prepend=np.int64(0))


def distinct(values: Numbers) -> Numbers:
    """The different numbers, ascending. (numpy's own goes over a hash table, ten times slower.)"""
    ordered = np.sort(values)
    first = np.ones(len(ordered), np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first]
