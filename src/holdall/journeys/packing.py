"""Packing bundles here, out of frames of older ones and of files that lie in a folder.

What is made so is no publisher's: no release names its index, and the store's catalogue vouches for
it. Every frame that is carried is found to be what its index says before it goes into the new one,
and every content that is packed has its digest.
"""

import os
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from typing import Final, NamedTuple

from holdall.delivery import carrying
from holdall.delivery import index as indexes
from holdall.delivery import pack as packer
from holdall.delivery.bundle import Preamble
from holdall.delivery.carrying import Copy, Laid
from holdall.delivery.index import Frame, Group, Place
from holdall.delivery.layout import BLOCK, LOCAL, Head, parse_head
from holdall.delivery.random import FrameContents
from holdall.delivery.zstandard import compress, sized
from holdall.errors import CorruptError
from holdall.forms.port import Filled, Older, Packing
from holdall.journeys.bundling import packing_of, sections
from holdall.model import tree as trees
from holdall.model.digest import Hasher
from holdall.model.tree import File, Tree
from holdall.system.crew import processors
from holdall.system.files import write_all
from holdall.system.images import copy_range

FRAME_SIZE: Final = 256 * 2**10
"""What frames hold that are packed here, where nobody has chosen."""

_LEVEL: Final = 3
_PIECE: Final = 2**18
_CONTENTS_A_TASK: Final = 512


class _Carried(NamedTuple):
    """What of an older bundle goes into the new one, and the digests of the contents in it."""

    laid: Laid
    contents: set[bytes]


def pack(
    tree: Tree, path: str, fill: Callable[[Collection[bytes]], Filled], older: Older | None
) -> Packing:
    """See `holdall.forms.port.Bundles`."""
    carried = _carried(tree, older) if older else _Carried(Laid([], [], []), set())
    laid = carried.laid
    filled = fill([digest for digest in tree.contents if digest not in carried.contents])
    with open(f"{path}.frames", "x+b") as frames:
        if filled.files or not laid.frames:
            fresh = Tree(tuple(sorted(filled.files, key=lambda file: file.path)))
            packed = packer.pack(
                fresh, _reader(filled.folder), frames, frame_size=_length(older), level=_LEVEL
            )
            frames.flush()
            index = indexes.parse(packed.index, list(fresh.contents.values()))
            laid = carrying.add(laid, index, _numbers(fresh, tree))
        os.unlink(f"{path}.frames")
        preamble = _preamble(tree, laid, filled.envelope)
        _write(path, preamble, laid, older, frames.fileno())
    return packing_of(preamble, (raw for raw, _, _ in laid.frames))


def _length(older: Older | None) -> int:
    """What new frames hold: as much as the publisher chose for those of the version before."""
    chosen = older.packing.frame if older else FRAME_SIZE
    return min(max(packer.MIN_FRAME, chosen), indexes.MAX_FRAME)


def _carried(tree: Tree, older: Older) -> _Carried:
    """The frames that are worth it and are what they were, with contents that are the tree's."""
    fd, packing, before = older
    encoded, index_encoded = sections(packing, before)
    outline = trees.outline(encoded)
    index = indexes.parse(index_encoded, outline.sizes)
    wanted = {number for number, one in enumerate(outline.digests) if one in tree.contents}
    size = carrying.stream_size(tree.contents.values())
    # where contents lie in a bundle that came is its publisher's word only, and not yet this one's
    unsure = set() if parse_head(before).is_local else set(wanted)
    chart = indexes.chart(index_encoded, outline.sizes)
    right: set[Frame] = set()
    while True:
        groups = carrying.worth_carrying(index, wanted, size)
        unseen = {frame for group in groups for frame in group.frames} - right
        damaged = _damaged(fd, packing.first, sorted(unseen))
        right |= unseen - damaged
        wanted -= carrying.touching(index, damaged)
        if damaged:
            continue
        asked = [one for group in groups for one in group.places if one.content in unsure]
        wrong = _wrong(
            partial(FrameContents, fd, packing.first, chart, ahead=0), outline.digests, asked
        )
        if not wrong:
            break
        unsure -= {one.content for one in asked}
        wanted -= wrong
    return _placed(groups, outline.digests, tree, packing.first)


def _wrong(
    reach: Callable[[list[bytes]], FrameContents], digests: list[bytes], asked: list[Place]
) -> set[int]:
    """The numbers of those contents that do not have their digest where the index says they are."""
    spans = [asked[at : at + _CONTENTS_A_TASK] for at in range(0, len(asked), _CONTENTS_A_TASK)]

    def found(span: list[Place]) -> set[int]:
        contents = reach(digests)
        return {one.content for one in span if not _is_right(contents, digests[one.content], one)}

    with ThreadPoolExecutor(processors()) as pool:
        return set[int]().union(*pool.map(found, spans))


def _is_right(contents: FrameContents, digest: bytes, place: Place) -> bool:
    hasher = Hasher()
    try:
        for at in range(0, place.size, _PIECE):
            for piece in contents.read(digest, at, min(_PIECE, place.size - at)):
                hasher.update(piece)
    except (CorruptError, OSError):
        return False
    return hasher.digest() == digest


def _placed(groups: list[Group], digests: list[bytes], tree: Tree, first: int) -> _Carried:
    """Frames of the older bundle, whose contents have these digests, as they will lie."""
    place = {digest: number for number, digest in enumerate(tree.contents)}
    held = {one.content: digests[one.content] for group in groups for one in group.places}
    laid = carrying.lay(groups, {number: place[digest] for number, digest in held.items()}, first)
    return _Carried(laid, set(held.values()))


def _damaged(fd: int, first: int, frames: list[Frame]) -> set[Frame]:
    """Those that are not what the index says, which was vouched for."""

    def is_right(frame: Frame) -> bool:
        try:
            return sha256(os.pread(fd, frame.stored, first + frame.offset)).digest() == frame.sha256
        except OSError:
            return False

    with ThreadPoolExecutor(processors()) as pool:
        return {
            frame
            for frame, right in zip(frames, pool.map(is_right, frames), strict=True)
            if not right
        }


def _reader(folder: str) -> Callable[[File], Iterator[bytes]]:
    """Reads files below a folder piece by piece; raises CorruptError for one that is another."""

    def pieces(file: File) -> Iterator[bytes]:
        hasher = Hasher()
        with open(f"{folder}/{file.path}", "rb", buffering=0) as stream:
            while piece := stream.read(_PIECE):
                hasher.update(piece)
                yield piece
        if hasher.digest() != file.digest:
            raise CorruptError(
                f"The file {file.path!a} is not what was signed; see `holdall verify`, or give the "
                "full bundle too."
            )

    return pieces


def _numbers(fresh: Tree, tree: Tree) -> dict[int, int]:
    """The number in `tree` of each content of `fresh` by its own."""
    numbers = {digest: number for number, digest in enumerate(tree.contents)}
    return {number: numbers[digest] for number, digest in enumerate(fresh.contents)}


def _preamble(tree: Tree, laid: Laid, envelope: bytes) -> Preamble:
    """What stands before the frames; raises CorruptError where these cannot be."""
    data = trees.encode(tree)
    index = indexes.encode(laid.frames, laid.places)
    # what is read from now on without a question is held against the rules once
    indexes.parse(index, list(tree.contents.values()))
    section, index = sized(data, compress(data, _LEVEL)), sized(index, compress(index, _LEVEL))
    head = Head(len(envelope), len(section), len(index), laid.stored, incompatible=LOCAL)
    return Preamble(head, envelope, section, index)


def _write(path: str, preamble: Preamble, laid: Laid, older: Older | None, frames: int) -> None:
    """Write the file; raises CorruptError where the older one became shorter meanwhile."""
    out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        write_all(out, preamble.data)
        for part in laid.parts:
            if isinstance(part, bytes):
                write_all(out, part)
            elif older:
                _copy(older.fd, out, part)
        copy_range(frames, out, os.fstat(frames).st_size)
        if os.fstat(out).st_size != preamble.size:
            raise CorruptError("The older version's bundle was cut short meanwhile.")
    finally:
        os.close(out)


def _copy(fd: int, out: int, part: Copy) -> None:
    """Append a part of a file so that its whole blocks can be shared."""
    lead = min(-part.offset % BLOCK, part.size)
    copy_range(fd, out, lead, start=part.offset)
    copy_range(fd, out, part.size - lead, start=part.offset + lead)
