"""Which frames of an older bundle go into a new one as they are, and where everything lies then.

Values only: nothing is read or written here. A content that the older bundle has is *wanted* when
the new tree has it, too; what else is in a frame that is carried is *dead*. Dead bytes are counted
decoded.
"""

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Final, NamedTuple

from holdall.delivery.index import UNIT, Frame, Group, Index, Place, groups
from holdall.delivery.layout import BLOCK

WASTE: Final = 4
"""One dead byte for so many that are not, at most, in all that is carried."""

WORTH_SHARING: Final = 64 * 2**10
"""Bytes of neighbouring frames that are put where a file system can share their blocks."""

_HEADER = 9  # magic, descriptor, and a length of four bytes
_BLOCKS = 3 + 3 + 1  # the headers of two blocks, and the one byte that the second repeats
_LEAST = _HEADER + _BLOCKS


class Copy(NamedTuple):
    """Frames that lie one behind the other: where in the older bundle's file, and how long."""

    offset: int
    size: int


class Laid(NamedTuple):
    """What a new bundle begins with.

    `parts` are what is written one after the other, at a multiple of a block, `frames` what the
    index says of it, `places` where the contents are, by their numbers in the new tree.
    """

    parts: list[Copy | bytes]
    frames: list[tuple[int, int, bytes]]
    places: list[Place]

    @property
    def raw(self) -> int:
        """How long it is, decoded."""
        return sum(raw for raw, _, _ in self.frames)

    @property
    def stored(self) -> int:
        """How long it is."""
        return sum(stored for _, stored, _ in self.frames)


class _Candidate(NamedTuple):
    group: Group
    raw: int
    dead: int


def worth_carrying(index: Index, wanted: Collection[int], size: int) -> list[Group]:
    """The frames to carry: for wanted contents by number, for a stream that long without dead ones.

    Frames that a wanted content spans go together. At least half of such a group is wanted, or at
    most a quarter of all that is carried would be dead: where it were more, those go first that
    have the greatest part of it.
    """
    kept = tuple(place for place in index.places if place.content in wanted)
    found = [
        _Candidate(group, raw, raw - _living(group))
        for group in groups(Index(index.frames, kept))
        if group.places
        for raw in (sum(frame.raw for frame in group.frames),)
    ]
    found = [candidate for candidate in found if 2 * candidate.dead <= candidate.raw]
    dead = sum(candidate.dead for candidate in found)
    worst = sorted(range(len(found)), key=lambda at: found[at].dead / found[at].raw)
    gone = set()
    while dead * WASTE > size:
        at = worst.pop()
        dead -= found[at].dead
        gone.add(at)
    return [candidate.group for at, candidate in enumerate(found) if at not in gone]


def stream_size(sizes: Collection[int]) -> int:
    """About how long a stream of contents of these sizes is, each with its header."""
    return sum(UNIT + _padded(size) for size in sizes)


def lay(carried: Sequence[Group], numbers: Mapping[int, int], first: int) -> Laid:
    """Put groups of frames, in order, behind each other; `first` is where the older frames begin.

    `numbers` has the new number of each wanted content. Between what were no neighbours there are
    frames of zeros, so that contents begin at units, and blocks at blocks.
    """
    laid = Laid([], [], [])
    raw = stored = 0
    for run in _runs(carried):
        frames = [frame for group in run for frame in group.frames]
        start, offset = frames[0].start, frames[0].offset
        size = frames[-1].offset + frames[-1].stored - offset
        shift = (first + offset - stored) % BLOCK if size >= WORTH_SHARING else None
        between = _between((start - raw) % UNIT, shift)
        if between:
            laid.parts.append(between.data)
            laid.frames.append(between.frame)
            raw += between.raw
            stored += len(between.data)
        laid.parts.append(Copy(first + offset, size))
        laid.frames.extend((frame.raw, frame.stored, frame.sha256) for frame in frames)
        laid.places.extend(
            Place(numbers[place.content], place.start - start + raw, place.size)
            for group in run
            for place in group.places
        )
        raw += sum(frame.raw for frame in frames)
        stored += size
    return laid


def add(laid: Laid, packed: Index, numbers: Mapping[int, int]) -> Laid:
    """The same with newly packed frames behind it."""
    parts, frames, places = list(laid.parts), list(laid.frames), list(laid.places)
    raw = laid.raw
    if between := _between(-raw % UNIT, None):
        parts.append(between.data)
        frames.append(between.frame)
        raw += between.raw
    frames += [(frame.raw, frame.stored, frame.sha256) for frame in packed.frames]
    places += [
        Place(numbers[place.content], raw + place.start, place.size) for place in packed.places
    ]
    return Laid(parts, frames, places)


def touching(index: Index, frames: Collection[Frame]) -> set[int]:
    """The numbers of the contents that need any of these frames."""
    starts = sorted((frame.start, frame.start + frame.raw) for frame in frames)
    ends = [end for _, end in starts]
    found = set()
    for place in index.places:
        at = bisect_left(ends, place.start + 1)
        if at < len(starts) and place.size and starts[at][0] < place.start + place.size:
            found.add(place.content)
    return found


def filler(raw: int, stored: int) -> bytes:
    """A zstd frame of `raw` zeros that is `stored` bytes long; at least 16, and `raw` so many less.

    Its blocks are one of plain bytes and one that repeats (RFC 8878, 3.1.1.2.2).
    """
    plain = stored - _LEAST
    if not 0 <= plain < raw:
        raise ValueError(f"no frame of {stored} bytes has {raw} zeros")
    descriptor = 0b10_1_00000  # a length of four bytes, and one segment
    head = b"\x28\xb5\x2f\xfd" + bytes([descriptor]) + raw.to_bytes(4, "little")
    blocks = (_block(0, plain, last=False), bytes(plain), _block(1, raw - plain, last=True))
    return b"".join((head, *blocks, b"\0"))


def _block(kind: int, size: int, *, last: bool) -> bytes:
    return (size << 3 | kind << 1 | last).to_bytes(3, "little")


class _Zeros(NamedTuple):
    raw: int
    data: bytes

    @property
    def frame(self) -> tuple[int, int, bytes]:
        return self.raw, len(self.data), sha256(self.data).digest()


def _between(gap: int, shift: int | None) -> _Zeros | None:
    """A frame of zeros, as many as `gap` modulo a unit; where no frame will do, None.

    It is as long as `shift` modulo a block, unless that is None.
    """
    if not gap and not shift:
        return None
    stored = _LEAST if shift is None else shift if shift >= _LEAST else shift + BLOCK
    least = stored - _LEAST + 1
    raw = least + (gap - least) % UNIT
    return _Zeros(raw, filler(raw, stored))


def _runs(carried: Sequence[Group]) -> list[list[Group]]:
    """Groups in order, those together that lie one behind the other."""
    made = [[group] for group in carried[:1]]
    for before, group in pairwise(carried):
        last, first = before.frames[-1], group.frames[0]
        if last.offset + last.stored == first.offset:
            made[-1].append(group)
        else:
            made.append([group])
    return made


def _living(group: Group) -> int:
    """The bytes of a group that its contents take, each with a header and up to the next unit."""
    at = group.frames[0].start
    end = group.frames[-1].start + group.frames[-1].raw
    living = 0
    for place in group.places:
        stop = min(_padded(place.start + place.size), end)
        living += max(0, stop - max(at, place.start - UNIT))
        at = max(at, stop)
    return living


def _padded(size: int) -> int:
    return size + -size % UNIT
