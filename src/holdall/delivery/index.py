"""The index of a bundle: its frames, and where in them each content of the tree lies.

The ordinary frames of a bundle, decoded and joined, are one tar stream. A content is a place in
that stream, a frame a slice of it; so a content may span frames and a frame may hold many contents.
Format: docs/reference/formats/bundle.md.
"""

from itertools import accumulate
from operator import add, sub
from typing import Annotated, NamedTuple

import msgspec

from holdall.errors import CorruptError
from holdall.model.tree import MAX_ENTRIES

FORMAT = 1
MAX_FRAME = 64 * 2**20
MAX_FRAMES = 2**20
UNIT = 512  # a tar block: every content starts at a multiple of it


class Frame(NamedTuple):
    """A zstd frame: where it is stored, and which slice of the stream it gives.

    `offset` counts from the first frame.
    """

    offset: int
    stored: int
    start: int
    raw: int
    sha256: bytes


class Place(NamedTuple):
    """Where a content lies in the stream.

    `content` counts the tree's contents in order of first use.
    """

    content: int
    start: int
    size: int


class Index(NamedTuple):
    """Frames in order, places in order of `start`."""

    frames: tuple[Frame, ...]
    places: tuple[Place, ...]

    @property
    def stored(self) -> int:
        """The bytes of all frames together."""
        return self.frames[-1].offset + self.frames[-1].stored if self.frames else 0


class Chart(NamedTuple):
    """An index as columns, for who looks at few of it: nothing is made for each content.

    Of each frame, `starts` has where its slice begins, and at the end where the last one ends,
    `offsets` the same of what is stored. Of each content of the tree, `places` has where it begins.
    """

    starts: list[int]
    offsets: list[int]
    sha256: bytes
    places: list[int]


class Group(NamedTuple):
    """Frames that no content crosses the border of: the least that stands alone."""

    frames: tuple[Frame, ...]
    places: tuple[Place, ...]


# checked before an array is decoded
_FRAMES = msgspec.Meta(max_length=MAX_FRAMES)
_CONTENTS = msgspec.Meta(max_length=MAX_ENTRIES)


class _Wire(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    format: int
    raw: Annotated[list[int], _FRAMES]
    stored: Annotated[list[int], _FRAMES]
    sha256: bytes
    order: Annotated[list[int], _CONTENTS]
    skips: Annotated[list[int], _CONTENTS]


def encode(frames: list[tuple[int, int, bytes]], places: list[Place]) -> bytes:
    """The index's bytes.

    A frame is given as raw length, stored length and SHA-256 of its stored bytes.
    """
    end, skips = 0, []
    for place in places:
        skips.append((place.start - end) // UNIT)
        end = _padded(place.start + place.size)
    return msgspec.msgpack.encode(
        _Wire(
            FORMAT,
            [raw for raw, _, _ in frames],
            [stored for _, stored, _ in frames],
            b"".join(digest for _, _, digest in frames),
            [place.content for place in places],
            skips,
        )
    )


def parse(data: bytes, sizes: list[int]) -> Index:
    """Read an index for a tree whose contents have these `sizes`.

    Raises CorruptError when the two do not fit.
    """
    wire = _decoded(data)
    if (
        wire.format != FORMAT
        or not _frames_fit(wire)
        or sorted(wire.order) != list(range(len(sizes)))
    ):
        raise CorruptError("The bundle's index does not fit its tree.")
    if len(wire.skips) != len(wire.order) or any(not 0 <= skip < 2**32 for skip in wire.skips):
        raise CorruptError("The bundle's index has contents at impossible places.")
    offsets = [0, *accumulate(wire.stored)]
    starts = [0, *accumulate(wire.raw)]
    frames = tuple(
        Frame(
            offsets[at],
            wire.stored[at],
            starts[at],
            wire.raw[at],
            wire.sha256[32 * at : 32 * at + 32],
        )
        for at in range(len(wire.raw))
    )
    places, end = [], 0
    for content, skip in zip(wire.order, wire.skips, strict=True):
        start = end + skip * UNIT
        places.append(Place(content, start, sizes[content]))
        end = _padded(start + sizes[content])
    if end > starts[-1]:
        raise CorruptError("The bundle's index has contents beyond its last frame.")
    return Index(frames, tuple(places))


def chart(data: bytes, sizes: list[int]) -> Chart:
    """The chart of an index's bytes, which have been parsed before, for the same tree.

    Raises CorruptError for those of something else.
    """
    wire = _decoded(data)
    lengths = [_padded(sizes[content]) for content in wire.order]
    ends = accumulate(map(add, lengths, (UNIT * skip for skip in wire.skips)))
    places = [0] * len(sizes)
    for content, start in zip(wire.order, map(sub, ends, lengths), strict=True):
        places[content] = start
    starts, offsets = [0, *accumulate(wire.raw)], [0, *accumulate(wire.stored)]
    return Chart(starts, offsets, wire.sha256, places)


def groups(index: Index) -> list[Group]:
    """The index cut wherever no content crosses the border between two frames."""
    made: list[Group] = []
    places = index.places
    first = at = 0
    while first < len(index.frames):
        last = first
        begin = at
        while at < len(places) and places[at].start < _end(index.frames[last]):
            while places[at].start + places[at].size > _end(index.frames[last]):
                last += 1
            at += 1
        made.append(Group(index.frames[first : last + 1], places[begin:at]))
        first = last + 1
    if at < len(places):
        raise CorruptError("The bundle's index has contents beyond its last frame.")
    return made


def _decoded(data: bytes) -> _Wire:
    try:
        return msgspec.msgpack.decode(data, type=_Wire)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise CorruptError("The bundle's index cannot be read.") from error


def _end(frame: Frame) -> int:
    return frame.start + frame.raw


def _frames_fit(wire: _Wire) -> bool:
    count = len(wire.raw)
    return (
        count <= MAX_FRAMES
        and len(wire.stored) == count
        and len(wire.sha256) == 32 * count
        and all(0 < raw <= MAX_FRAME for raw in wire.raw)
        and all(0 < stored <= MAX_FRAME + MAX_FRAME // 128 for stored in wire.stored)
    )


def _padded(size: int) -> int:
    return size + -size % UNIT
