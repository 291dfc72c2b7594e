"""Encoding one unit's result against a prefix, in the ways there are; the smallest wins."""

from typing import NamedTuple

import numpy as np

from holdall.delivery.delta.columns import Numbers, differences, pack_varints, zigzag
from holdall.delivery.delta.elf import Bytes
from holdall.delivery.delta.wire import Kind
from holdall.delivery.differ.align import Copies
from holdall.system.liblzma import encode_lzma2

_LEAST_COPY = 16
_JOINED = 256  # a gap up to this long between copies on one diagonal is added to, not broken
_LITTLE, _MUCH = 0.1, 0.3  # of the result outright: less than one, or more than the other
_QUICK = 16  # times as long as the rest: such a prefix is searched quickly


class Encoded(NamedTuple):
    """What is stored of a unit, and its kind."""

    kind: Kind
    stored: bytes


def smallest(options: "list[Encoded]") -> Encoded:
    """The shortest; of equals the first."""
    return min(options, key=lambda option: len(option.stored))


def plain(data: bytes, prefix: bytes, *, is_known: bool) -> Encoded:
    """LZMA2 with a prefix; what is neither text nor code may be aligned to four bytes."""
    stored = encode_lzma2(data, prefix, literal=3, alignment=0)
    if not is_known and len(stored) > 2**12:
        other = encode_lzma2(data, prefix, literal=3, alignment=2)
        stored = min(stored, other, key=len)
    return Encoded(Kind.LZMA2, stored)


def against(data: Bytes, prefix: Bytes, copies: Copies) -> Encoded:
    """An add stream where most is copied, LZMA2 where little is; between, the smaller."""
    covered = joined(copies)
    rest = len(data) - int(covered.lengths.sum())
    options = []
    if rest <= _MUCH * len(data):
        options.append(_addition(data, prefix, covered))
    if rest > _LITTLE * len(data):
        options.append(plain(data.tobytes(), prefix.tobytes(), is_known=True))
    return smallest(options)


def _addition(data: Bytes, prefix: Bytes, copies: Copies) -> Encoded:
    old, new, lengths = copies
    rest = data[~_covered(new, lengths, len(data))].tobytes()
    difference = _differences(data, prefix, copies)
    changed = np.flatnonzero(difference)
    gaps = new - np.concatenate([np.zeros(min(len(new), 1), np.int64), (new + lengths)[:-1]])
    control = (gaps, lengths, zigzag(differences(old - new)))
    columns = [
        b"".join(map(pack_varints, control)),
        pack_varints(differences(changed)),
        difference[changed].tobytes(),
    ]
    streams = [_column(column) for column in columns]
    quick = _QUICK * len(rest) < len(prefix)
    streams.append(encode_lzma2(rest, prefix.tobytes(), literal=3, alignment=0, quick=quick))
    facts = [len(new), len(changed), *map(len, streams), *map(len, columns)]
    head = pack_varints(np.array(facts, np.int64))
    return Encoded(Kind.ADDITION, b"".join((head, *streams)))


def joined(copies: Copies) -> Copies:
    """Copies worth their place, neighbours on one diagonal as one."""
    chosen = copies.lengths >= _LEAST_COPY
    old, new, lengths = (column[chosen] for column in copies)
    if not len(new):
        return Copies(old, new, lengths)
    ends = new + lengths
    breaks = np.concatenate([[True], (np.diff(old - new) != 0) | (new[1:] - ends[:-1] >= _JOINED)])
    first = np.flatnonzero(breaks)
    last = np.concatenate([first[1:], [len(new)]]) - 1
    return Copies(old[first], new[first], ends[last] - new[first])


def _column(data: bytes) -> bytes:
    options = [encode_lzma2(data, b"", literal=literal, alignment=0) for literal in (0, 3)]
    return min(options, key=len)


def _covered(
    new: Numbers, lengths: Numbers, size: int
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    steps = np.zeros(size + 1, np.int32)
    np.add.at(steps, new, 1)
    np.add.at(steps, new + lengths, -1)
    return np.cumsum(steps)[:size] > 0


def _differences(data: Bytes, prefix: Bytes, copies: Copies) -> Bytes:
    """New less old, modulo 256, over all copies, one after the other."""
    out = np.empty(int(copies.lengths.sum()), np.uint8)
    at = 0
    rows = zip(*(column.tolist() for column in copies), strict=True)
    for old, new, length in rows:
        out[at : at + length] = data[new : new + length] - prefix[old : old + length]
        at += length
    return out
