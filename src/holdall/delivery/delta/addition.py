"""Add streams: copies of a prefix, small differences added, and the rest outright.

Format: docs/reference/formats/increment.md, "Add stream". After Colin Percival, "Naive differences
of executable code" (2003), with the differences as a sparse column.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdall.delivery.delta.columns import Numbers, unpack_varints, unzigzag
from holdall.delivery.delta.prefixed import decode_lzma2
from holdall.errors import CorruptError

STREAMS = 4
FACTS = 2 + STREAMS + 3
_LONGEST_HEADER = FACTS * 9


class Copies(NamedTuple):
    """Stretches of the prefix: bytes of the rest before each, lengths, places in the prefix."""

    gaps: Numbers
    lengths: Numbers
    sources: Numbers

    @property
    def places(self) -> Numbers:
        """Where in the result each begins."""
        return np.cumsum(self.gaps + self.lengths) - self.lengths


def decode_addition(
    data: bytes | memoryview, size: int, prefix: bytes | memoryview
) -> bytes | memoryview:
    """The `size` bytes of an add stream over a prefix; raises CorruptError."""
    facts, streams = _split(data)
    count, added = facts[0], facts[1]
    longest = 9 * max(3 * count, added)
    if max(count, added) > size or max(facts[2 + STREAMS :]) > longest:
        raise CorruptError("An add stream's columns are longer than they can be.")
    columns = unpack_varints(decode_lzma2(streams[0], facts[6]), 3 * count)
    copies = _copies(columns, count, size, len(prefix))
    rest_size = size - int(copies.lengths.sum())
    rest = decode_lzma2(streams[3], rest_size, (prefix,))
    out = _lay_out(copies, np.frombuffer(prefix, np.uint8), np.frombuffer(rest, np.uint8), size)
    where = np.cumsum(unpack_varints(decode_lzma2(streams[1], facts[7]), added))
    what = np.frombuffer(decode_lzma2(streams[2], facts[8]), np.uint8)
    if len(what) != added or (added and (where[-1] >= size - rest_size or where.min() < 0)):
        raise CorruptError("An add stream changes bytes that are not there.")
    before = np.cumsum(copies.lengths)
    copy = np.searchsorted(before, where, "right")
    out[where - (before - copies.lengths)[copy] + copies.places[copy]] += what
    return out.data


def _split(data: bytes | memoryview) -> tuple[list[int], list[memoryview]]:
    """The numbers at the front and the streams after them."""
    view = memoryview(data)
    front = np.frombuffer(view[:_LONGEST_HEADER], np.uint8)
    ends = np.flatnonzero(front < 128)
    if len(ends) < FACTS:
        raise CorruptError("An add stream is cut short.")
    at = int(ends[FACTS - 1]) + 1
    facts = [int(value) for value in unpack_varints(bytes(view[:at]))]
    streams = []
    for length in facts[2 : 2 + STREAMS]:
        streams.append(view[at : at + length])
        at += length
    if at != len(view):
        raise CorruptError("An add stream does not have the length promised.")
    return facts, streams


def _copies(columns: Numbers, count: int, size: int, prefix: int) -> Copies:
    gaps, lengths = columns[:count], columns[count : 2 * count]
    if count and max(int(gaps.max()), int(lengths.max())) > size:
        raise CorruptError("An add stream copies beyond its end.")
    made = Copies(gaps, lengths, lengths)
    sources = np.cumsum(unzigzag(columns[2 * count :])) + made.places
    ends = sources + lengths
    if count and (
        int(np.cumsum(gaps + lengths)[-1]) > size
        or sources.min() < 0
        or max(int(sources.max()), int(ends.max())) > prefix
    ):
        raise CorruptError("An add stream copies from where nothing is.")
    return Copies(gaps, lengths, sources)


def _lay_out(
    copies: Copies, prefix: NDArray[np.uint8], rest: NDArray[np.uint8], size: int
) -> NDArray[np.uint8]:
    out = np.empty(size, np.uint8)
    at = taken = 0
    rows = zip(copies.gaps.tolist(), copies.lengths.tolist(), copies.sources.tolist(), strict=True)
    for gap, length, source in rows:
        out[at : at + gap] = rest[taken : taken + gap]
        taken += gap
        at += gap
        out[at : at + length] = prefix[source : source + length]
        at += length
    out[at:] = rest[taken:]
    return out
