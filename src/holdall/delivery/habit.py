"""Which frames an app reads first: what it read at one start is decoded ahead at the next.

A start reads much, by one thread that waits for each frame. What is known of an earlier start is
guessed work only: nothing depends on it, and all of it may be wrong.
"""

import struct
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Final, NamedTuple

LONGEST: Final = 1023
"""Frames that are remembered."""

_LEAD: Final = 40 * 2**20  # bytes that are decoded ahead and were not read yet
_STEPS: Final = 2**18  # pieces of files, and frames they are in, that are looked at
_ENCODED: Final = struct.Struct(f"<{LONGEST + 1}I")


class Laid(NamedTuple):
    """Where files lie in a bundle: where each frame begins, and of each path place and size.

    In bytes of what the frames hold. Behind the starts of frames stands where the last one ends.
    Files without contents are left out.
    """

    starts: Sequence[int]
    spans: Mapping[str, tuple[int, int]]

    def frames(self, start: int, end: int) -> range:
        """The frames that have some of these bytes; none where the end is not behind the start."""
        if end <= start:
            return range(0)
        return range(bisect_right(self.starts, start) - 1, bisect_right(self.starts, end - 1))


class Habit:
    """The frames of a start, in the order they were first read in; `known` are those of another.

    `known` is what `encoded` gave, or anything. `frame` is how long a frame is, in bytes.
    """

    def __init__(self, known: bytes, count: int, frame: int) -> None:
        self._count = count
        self._known = _decoded(known, count)
        self._familiar = frozenset(self._known)
        self._coming = deque(self._known)
        self._lead = max(2, _LEAD // max(1, frame))
        self._ordered: set[int] = set()
        self._met: dict[int, None] = {}

    def met(self, number: int) -> list[int]:
        """Note that a frame is read for the first time; returns those to be decoded now."""
        self._met[number] = None
        self._ordered.discard(number)
        return self.due()

    def knows(self, number: int) -> bool:
        """Whether a frame is one of the known start, so that those that follow are ordered."""
        return number in self._familiar

    def due(self) -> list[int]:
        """The frames that are to be decoded now, before they are asked for."""
        found: list[int] = []
        while self._coming and len(self._ordered) < self._lead:
            number = self._coming.popleft()
            if number not in self._met:
                self._ordered.add(number)
                found.append(number)
        return found

    def forget(self) -> None:
        """Nothing more is ordered, and what was is not there any more; what is met still counts."""
        self._familiar = frozenset()
        self._coming.clear()
        self._ordered.clear()

    @property
    def encoded(self) -> bytes:
        """What to remember for the next start; empty where that is known well enough.

        That is: nine tenths are among the first that are known, a fourth more than were met. Empty
        also where nearly everything was read, which is no start: it was verified, or converted.
        """
        met = len(self._met)
        all_of_it = met * 10 >= 9 * self._count and met > self._lead
        foreseen = self._met.keys() & self._known[: met + met // 4]
        if met < 2 or all_of_it or len(foreseen) * 10 >= 9 * met:
            return b""
        return _encoded(self._met)


def inherited(known: bytes, older: Laid, newer: Laid) -> bytes:
    """What is known of a bundle's start, told of the frames that have the same files in another.

    Files are the same that have the same path. Empty for nothing. However the bundles lie, it takes
    no more than some steps, and leaves out what would take more.
    """
    start = _decoded(known, len(older.starts) - 1)
    heirs: dict[int, dict[int, None]] = {number: {} for number in start}
    left = _STEPS
    for number, place, end in _pieces(sorted(start), older, newer):
        found = newer.frames(place, end)[:LONGEST]
        heirs[number].update(dict.fromkeys(found))
        left -= 1 + len(found)
        if left < 0:
            break
    numbers = dict.fromkeys(chain.from_iterable(heirs.values()))
    return _encoded(numbers) if numbers else b""


def _pieces(numbers: list[int], older: Laid, newer: Laid) -> Iterator[tuple[int, int, int]]:
    """What of the files in some frames, in order, is in the newer bundle: frame, place and end."""
    both = ((span, newer.spans[path]) for path, span in older.spans.items() if path in newer.spans)
    for (place, length), (there, room) in dict.fromkeys(both):
        size = min(length, room)
        frames = older.frames(place, place + size)
        first, end = bisect_left(numbers, frames.start), bisect_left(numbers, frames.stop)
        for number in numbers[first:end]:
            begun = max(0, older.starts[number] - place)
            yield number, there + begun, there + min(size, older.starts[number + 1] - place)


def _decoded(known: bytes, count: int) -> list[int]:
    """The frames that are remembered, of a bundle that has so many."""
    begun = known[: _ENCODED.size]
    numbers = _ENCODED.unpack(begun)[1:] if len(begun) == _ENCODED.size else ()
    return [number for number in dict.fromkeys(numbers) if number < count]


def _encoded(numbers: Iterable[int]) -> bytes:
    first = [*numbers]
    return _ENCODED.pack(len(first), *[*first, *([2**32 - 1] * LONGEST)][:LONGEST])
