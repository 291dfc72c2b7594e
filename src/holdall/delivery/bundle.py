"""Reading a bundle: its signed head, then contents frame by frame, from a file or a stream.

Nothing is decoded before its SHA-256 was checked against something signed. Memory: one stored and
one decoded frame for each worker.
"""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import BinaryIO, NamedTuple

from holdall.delivery import layout
from holdall.delivery.index import Frame, Group, Index, Place, encode, groups, parse
from holdall.delivery.layout import (
    HEAD_SIZE,
    SECTION_HEADER,
    Head,
    parse_head,
    section_body,
    section_length,
)
from holdall.delivery.zstandard import decompress_pieces, unpack
from holdall.errors import CorruptError
from holdall.model import tree as trees
from holdall.model.release import PackedImage
from holdall.model.tree import Tree
from holdall.store.contents import Batch, Pieces
from holdall.system.files import write_all
from holdall.system.kernel import punch_hole

_FILE_COST = 100_000  # making a small file costs as much as decoding this many bytes
_FILES_A_PART = 3000
_SHORT = 256 * 2**10  # contents up to this long are given whole
NO_FRAMES = Index((), ())


class Preamble(NamedTuple):
    """All of a bundle before its frames, as it was read: nothing here is checked yet."""

    head: Head
    envelope: bytes
    tree: bytes
    index: bytes  # type: ignore[assignment]  # hides a method of tuples
    statement: bytes = b""

    @property
    def first(self) -> int:
        """Where the first frame or unit, or the image begins."""
        if not self.head.is_increment:
            return self.head.first_frame
        return self.head.first_frame + SECTION_HEADER + len(self.statement)

    @property
    def data(self) -> bytes:
        """The bytes of a full bundle up to there, as they were read."""
        sections = (self.envelope, self.tree, self.index)
        framed = (layout.section(number, data) for number, data in enumerate(sections, start=1))
        return b"".join((layout.encode_head(self.head), *framed, self.head.lead))

    @property
    def size(self) -> int:
        """How long the whole file is."""
        return self.first + self.head.content

    @property
    def spans(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Where what the tree and the index section hold begins, and how long it is."""
        tree = HEAD_SIZE + SECTION_HEADER + self.head.envelope + SECTION_HEADER
        index = tree + self.head.tree + SECTION_HEADER
        return (tree, self.head.tree), (index, self.head.index)


class Opened(NamedTuple):
    """The tree a release answers for, and the index or the image."""

    tree: Tree
    index: Index  # type: ignore[assignment]  # hides a method of tuples
    image: PackedImage | None = None

    @property
    def stored(self) -> int:
        """The bytes that the contents take in the bundle."""
        return self.image.size if self.image else self.index.stored


def read_preamble(stream: BinaryIO) -> Preamble:
    """Read a bundle up to its first frame or image.

    Raises CorruptError when it is none or is cut short.
    """
    head = parse_head(exactly(stream, HEAD_SIZE))
    lengths = (head.envelope, head.tree, head.index)
    envelope, tree, index = (
        section_body(number, length, exactly(stream, SECTION_HEADER + length))
        for number, length in enumerate(lengths, start=1)
    )
    if exactly(stream, len(head.lead)) != head.lead:
        raise CorruptError("What stands behind the bundle's index is not what its head says.")
    return Preamble(head, envelope, tree, index, _statement(stream) if head.is_increment else b"")


def _statement(stream: BinaryIO) -> bytes:
    length = section_length(4, header := exactly(stream, SECTION_HEADER), layout.MAX_ENVELOPE)
    return section_body(4, length, header + exactly(stream, length))


def open_preamble(
    preamble: Preamble,
    *,
    tree_sha256: str,
    index_sha256: str,
    tree_digest: bytes,
    image: PackedImage | None = None,
) -> Opened:
    """Decode tree and index, each only when it is what the release names; raises CorruptError.

    `image` is what the release says of the bundle's image.
    """
    check_image(preamble.head, image)
    if sha256(preamble.index).hexdigest() != index_sha256:
        raise CorruptError("The bundle's index is not the one its signed release names.")
    tree = trees.parse(unpack_tree(preamble.tree, tree_sha256, tree_digest))
    data = unpack(preamble.index, layout.MAX_INDEX)
    if image:
        if data != encode([], []):
            raise CorruptError("The bundle has an image, and an index of something else.")
        return Opened(tree, NO_FRAMES, image)
    index = parse(data, list(tree.contents.values()))
    if index.stored != preamble.head.content:
        raise CorruptError("The bundle's frames do not have the length its head says.")
    return Opened(tree, index)


def check_image(head: Head, image: PackedImage | None) -> None:
    """Raise CorruptError unless a bundle has the image its signed release names, or both none."""
    if head.has_image != (image is not None):
        has, names = ("an", "none") if head.has_image else ("no", "one")
        raise CorruptError(f"The bundle has {has} image, and its signed release names {names}.")
    if image and image.size != head.content:
        raise CorruptError("The bundle's image does not have the length its signed release says.")


def unpack_tree(section: bytes, stored_sha256: str, tree_digest: bytes) -> bytes:
    """A tree's bytes out of a tree section.

    Raises CorruptError unless both are what a release names; what is stored is checked first.
    """
    if sha256(section).hexdigest() != stored_sha256:
        raise CorruptError("The tree is not the one its signed release names.")
    data = unpack(section, layout.MAX_TREE)
    if trees.tree_digest(data).raw != tree_digest:
        raise CorruptError("The tree does not have the digest its signed release names.")
    return data


class BundleSource:
    """A `ContentSource` over a bundle's frames.

    `fd` is read by position, never by its offset, so forked workers share it. There are three ways
    for frames to be in it:

    - All are: `fd` is the bundle's file.
    - From a `stream`, which is at the first frame, they are copied to `fd`, a spool, as they
      arrive, and each is given back to the file system once it was used.
    - `bring` puts those it is given into `fd`, each at its place in the bundle, and yields them in
      file order as they are there. It is called where the feeding is done: in a process of its own.
      `drop` is called in a worker's process with those that were used; without it they stay.
    """

    def __init__(
        self,
        opened: Opened,
        fd: int,
        first_frame: int,
        *,
        stream: BinaryIO | None = None,
        bring: Callable[[Sequence[Frame]], Iterator[Frame]] | None = None,
        drop: Callable[[Sequence[Frame]], None] | None = None,
    ) -> None:
        self._fd = fd
        self._first = first_frame
        self._stream = stream
        self._bring = bring
        self._drop = self._punch if stream else drop
        self._digests = list(opened.tree.contents)
        self._groups = groups(opened.index)
        self._parts: list[_Part] = []

    @property
    def arrives(self) -> bool:
        """Whether frames are still on their way."""
        return self._stream is not None or self._bring is not None

    def available(self, wanted: Collection[bytes]) -> set[bytes]:
        """Those of the wanted contents that the bundle's tree has."""
        return set(wanted) & set(self._digests)

    def batches(self, wanted: Collection[bytes]) -> list[Batch]:
        """The groups of frames with a wanted content; those with many files in parts.

        The longest first, in the bundle's order where frames are on their way.

        Parts of a group are decoded from its beginning each, which costs less than a worker that
        has nothing to do.
        """
        batches = []
        self._parts.clear()
        for number, group in enumerate(self._groups):
            places = [place for place in group.places if self._digests[place.content] in wanted]
            step = len(places) or 1 if self._drop else _FILES_A_PART
            for at in range(0, len(places), step):
                part = places[at : at + step]
                batches.append(
                    Batch(len(self._parts), sum(place.size for place in part), len(part))
                )
                self._parts.append(_Part(number, tuple(part)))
        if not self.arrives:
            batches.sort(key=lambda batch: -(batch.size + batch.count * _FILE_COST))
        return batches

    def frames(self, wanted: Collection[bytes]) -> list[Frame]:
        """The frames that have something of the wanted contents, in the bundle's order."""
        return [
            frame
            for group in self._groups
            for frame in _holding(
                group, (place for place in group.places if self._digests[place.content] in wanted)
            )
        ]

    def feed(self, batches: list[Batch]) -> Iterator[int]:
        """The batches as they are ready: at once from a file, else one by one."""
        if self._stream is not None:
            yield from self._feed_stream(self._stream, batches)
        elif self._bring is not None:
            yield from self._feed_brought(self._bring, batches)
        else:
            yield from (batch.number for batch in batches)

    def _feed_stream(self, stream: BinaryIO, batches: list[Batch]) -> Iterator[int]:
        parts = {self._parts[batch.number].group: batch.number for batch in batches}
        for number, group in enumerate(self._groups):
            for frame in group.frames:
                stored = self._checked(frame, exactly(stream, frame.stored))
                os.lseek(self._fd, self._first + frame.offset, os.SEEK_SET)
                write_all(self._fd, stored)
            if number in parts:
                yield parts[number]
            else:
                self._punch(group.frames)
        _check_end(stream)

    def _feed_brought(
        self, bring: Callable[[Sequence[Frame]], Iterator[Frame]], batches: list[Batch]
    ) -> Iterator[int]:
        parts: dict[int, list[int]] = {}
        for batch in batches:
            parts.setdefault(self._parts[batch.number].group, []).append(batch.number)
        needed = {number: self._needed(number, parts[number]) for number in sorted(parts)}
        coming = bring([frame for frames in needed.values() for frame in frames])
        for number, frames in needed.items():
            for frame in frames:
                if next(coming) != frame:
                    raise AssertionError(frame)
            yield from parts[number]

    def _needed(self, number: int, parts: list[int]) -> list[Frame]:
        """The frames of a group that these parts of it take."""
        places = [place for part in sorted(parts) for place in self._parts[part].places]
        return _holding(self._groups[number], places)

    def produce(self, batch: int, wanted: Collection[bytes]) -> Iterator[tuple[bytes, Pieces]]:  # noqa: ARG002 - `batches` knew
        """The wanted contents of one batch, decoded frame by frame."""
        part = self._parts[batch]
        group = self._groups[part.group]
        window = _Window(self, group)
        for place in part.places:
            yield self._digests[place.content], window.slice(place.start, place.start + place.size)
        if self._drop is not None:
            self._drop(group.frames)

    def stored(self) -> Iterator[bytes]:
        """All frames in order as they are stored, each checked; in place of everything else."""
        frames = [frame for group in self._groups for frame in group.frames]
        if self._stream is not None:
            for frame in frames:
                yield self._checked(frame, exactly(self._stream, frame.stored))
            _check_end(self._stream)
        else:
            for frame in self._bring(frames) if self._bring else frames:
                yield self._checked(
                    frame, os.pread(self._fd, frame.stored, self._first + frame.offset)
                )

    def decode(self, frame: Frame) -> Iterator[bytes]:
        """The slice of the stream a frame holds, in pieces, checked before it is decoded."""
        stored = os.pread(self._fd, frame.stored, self._first + frame.offset)
        return decompress_pieces(self._checked(frame, stored), frame.raw)

    def _punch(self, frames: Sequence[Frame]) -> None:
        first, last = frames[0], frames[-1]
        punch_hole(self._fd, self._first + first.offset, last.offset + last.stored - first.offset)

    def _checked(self, frame: Frame, stored: bytes) -> bytes:
        """The same bytes, which are those of a frame; raises CorruptError."""
        if len(stored) != frame.stored:
            raise CorruptError("The bundle is cut short.")
        if sha256(stored).digest() != frame.sha256:
            where = self._first + frame.offset
            raise CorruptError(f"The bundle's frame at {where} is not what the publisher signed.")
        return stored


class _Part(NamedTuple):
    group: int
    places: tuple[Place, ...]


class _Window:
    """The stream of one group, read forward; holds one piece of it."""

    def __init__(self, source: BundleSource, group: Group) -> None:
        self._source = source
        self._frames = iter(group.frames)
        self._pieces: Iterator[bytes] = iter(())
        self._piece = memoryview(b"")
        self._start = group.frames[0].start

    def slice(self, start: int, end: int) -> Iterator[memoryview | bytes]:
        """The stream from `start` to `end`: whole when it is short, else as it comes."""
        if end - start <= _SHORT:
            yield self._whole(start, end)
            return
        while start < end:
            self._forward(start)
            stop = min(end, self._start + len(self._piece))
            yield self._piece[start - self._start : stop - self._start]
            start = stop

    def _whole(self, start: int, end: int) -> memoryview | bytes:
        if start == end:
            return b""
        parts = []
        while start < end:
            self._forward(start)
            stop = min(end, self._start + len(self._piece))
            parts.append(self._piece[start - self._start : stop - self._start])
            start = stop
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _forward(self, position: int) -> None:
        while position >= self._start + len(self._piece):
            self._start += len(self._piece)
            piece = next(self._pieces, None)
            if piece is None:
                frame = next(self._frames)
                if position >= frame.start + frame.raw:
                    self._start, self._piece = frame.start + frame.raw, memoryview(b"")
                    continue
                self._pieces, piece = self._source.decode(frame), b""
            self._piece = memoryview(piece)


def _holding(group: Group, places: Iterable[Place]) -> list[Frame]:
    """The frames of a group that have something of these places, which are in order."""
    waiting = [place for place in places if place.size]
    found, at = [], 0
    for frame in group.frames:
        while at < len(waiting) and waiting[at].start + waiting[at].size <= frame.start:
            at += 1
        if at < len(waiting) and waiting[at].start < frame.start + frame.raw:
            found.append(frame)
    return found


def _check_end(stream: BinaryIO) -> None:
    if stream.read(1):
        raise CorruptError("The bundle goes on after its end.")


def exactly(stream: BinaryIO, size: int) -> bytes:
    """The next `size` bytes; raises CorruptError where there are fewer."""
    pieces, missing = [], size
    while missing:
        piece = stream.read(min(missing, 2**20))
        if not piece:
            raise CorruptError("The bundle is cut short.")
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)
