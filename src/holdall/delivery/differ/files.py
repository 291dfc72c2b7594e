"""Units for one file that has an older version of its own: programs, and whatever is large."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

import numpy as np

from holdall.delivery.delta.columns import Numbers
from holdall.delivery.delta.elf import X86_64, Bytes
from holdall.delivery.delta.rebase import Image, read_image
from holdall.delivery.delta.shifts import ShiftMap, pack_maps
from holdall.delivery.delta.wire import Part, Slice, Transform
from holdall.delivery.differ.align import Copies, align
from holdall.delivery.differ.encode import Encoded, against, plain
from holdall.delivery.differ.learn import learn, read_side
from holdall.model.digest import BLOCK
from holdall.system.liblzma import encode_lzma2

UNIT = 8 * 2**20
PREFIX = 20 * 2**20
_PAGE = 2**16
_FEWEST_FIELDS = 50
_DEAR = 0.2  # of the result: then it may be less without moving addresses
_USELESS = 0.3  # of the result: then it may be less without a prefix
_SAMPLES = 3
_LARGE = 3 * 2**24
_LEAST_USE = 64  # bytes of a page that a unit must copy for the page to join its prefix


class _Stretch(NamedTuple):
    offset: int
    length: int


class Piece(NamedTuple):
    """A slice of the new file and how it is encoded."""

    offset: int
    length: int
    parts: tuple[Part, ...]
    encoded: Encoded


class Each(Protocol):
    """Does something for every offset, in any order, and gives what came out in theirs."""

    def __call__(
        self, make: Callable[[int], Piece], offsets: Iterable[int], /
    ) -> Iterable[Piece]: ...


class FileDelta(NamedTuple):
    """All pieces of one file; `moved` is the map its parts go by, if they do."""

    pieces: tuple[Piece, ...]
    moved: ShiftMap | None

    @property
    def cost(self) -> int:
        """Bytes in the increment."""
        dictated = 0
        if self.moved is not None:
            dictated = len(encode_lzma2(pack_maps([self.moved]), b"", literal=0, alignment=0))
        return dictated + sum(len(piece.encoded.stored) for piece in self.pieces)


def delta(old: Bytes, new: Bytes, each: Each) -> FileDelta:
    """The least way found to make `new` out of `old`, or of nothing; `each` encodes the pieces."""
    moved = _learned(old, new)
    options = []
    if moved is not None:
        image, shifts = moved
        transform = Transform.X86_64 if image.elf.machine == X86_64 else Transform.AARCH64
        rebased = image.rebased(shifts, 0, len(old))
        encoded = _encoder(rebased, new, transform)
        options.append(FileDelta(tuple(each(encoded, range(0, max(len(new), 1), UNIT))), shifts))
    if not options or options[0].cost > _DEAR * len(new):
        options += _unmoved(old, new, each, options[0] if options else None)
    best = min(options, key=lambda option: option.cost)
    pieces = {piece.offset: piece for piece in best.pieces}
    alone = each(lambda offset: _alone(pieces[offset], new), pieces)
    return FileDelta(tuple(alone), best.moved)


def _unmoved(old: Bytes, new: Bytes, each: Each, rival: FileDelta | None) -> list[FileDelta]:
    """The file without a map, if some of its pieces are less than what they are with one."""
    encoded = _encoder(old, new, Transform.RAW)
    offsets = list(range(0, max(len(new), 1), UNIT))
    if rival is not None and len(offsets) > 2 * _SAMPLES:
        chosen = offsets[len(offsets) // (2 * _SAMPLES) :: len(offsets) // _SAMPLES]
        cost = sum(len(piece.encoded.stored) for piece in each(encoded, chosen))
        held = {piece.offset: len(piece.encoded.stored) for piece in rival.pieces}
        share = sum(held[offset] for offset in chosen) / max(sum(held.values()), 1)
        if cost >= rival.cost * share:
            return []
    return [FileDelta(tuple(each(encoded, offsets)), None)]


def is_program(data: Bytes) -> bool:
    """Whether an address transform is worth trying."""
    return read_image(data) is not None


def _alone(piece: Piece, new: Bytes) -> Piece:
    """The piece without a prefix where that is no longer."""
    if len(piece.encoded.stored) <= _USELESS * piece.length:
        return piece
    data = new[piece.offset : piece.offset + piece.length].tobytes()
    option = plain(data, b"", is_known=False)
    if len(option.stored) > len(piece.encoded.stored):
        return piece
    return piece._replace(parts=(), encoded=option)


def _learned(old: Bytes, new: Bytes) -> tuple[Image, ShiftMap] | None:
    ours, theirs = read_image(old), read_image(new)
    if ours is None or theirs is None or ours.elf.machine != theirs.elf.machine:
        return None
    one, two = read_side(ours), read_side(theirs)
    if min(len(one.fields.positions), len(two.fields.positions)) < _FEWEST_FIELDS:
        return None
    moved = learn(one, two)
    return None if moved is None or not len(moved.starts) else (ours, moved)


def _encoder(source: Bytes, new: Bytes, transform: Transform) -> Callable[[int], Piece]:
    """What encodes the piece at an offset."""
    copies = align(source, new, bits=3 if len(new) < _LARGE else 4)

    def encoded(offset: int) -> Piece:
        stretch = _Stretch(offset, min(UNIT, len(new) - offset))
        return _piece(source, new, copies, stretch, transform=transform)

    return encoded


def _piece(
    source: Bytes, new: Bytes, copies: Copies, stretch: _Stretch, *, transform: Transform
) -> Piece:
    offset, length = stretch
    data = new[offset : offset + length]
    clipped = _clip(copies, offset, length)
    ranges = _ranges(clipped, len(source), whole=len(source) <= PREFIX and len(new) <= UNIT)
    if not ranges:
        return Piece(offset, length, (), plain(data.tobytes(), b"", is_known=False))
    starts = np.array([start for start, _ in ranges], np.int64)
    sizes = np.array([end - start for start, end in ranges], np.int64)
    prefix = np.concatenate([source[start:end] for start, end in ranges])
    inside = _translated(clipped, starts, sizes)
    parts = tuple(
        Part(0, -1, transform)
        if end - start == len(source)
        else Part(start, end - start, transform)
        for start, end in ranges
    )
    return Piece(offset, length, parts, against(data, prefix, inside))


def _clip(copies: Copies, offset: int, length: int) -> Copies:
    """The copies of one slice of the new file, placed within it."""
    begin = np.maximum(copies.new, offset)
    end = np.minimum(copies.new + copies.lengths, offset + length)
    kept = end > begin
    old = copies.old + (begin - copies.new)
    return Copies(old[kept], begin[kept] - offset, (end - begin)[kept])


def _ranges(copies: Copies, size: int, *, whole: bool) -> list[tuple[int, int]]:
    """The stretches of the old file to have as prefix, whole pages, the most used first if many."""
    if whole:
        return [(0, size)]
    pages = -(-size // _PAGE)
    use = np.zeros(pages, np.int64)
    for old, length in zip(copies.old.tolist(), copies.lengths.tolist(), strict=True):
        first, last = old // _PAGE, (old + length - 1) // _PAGE
        if first == last:
            use[first] += length
        else:
            use[first] += (first + 1) * _PAGE - old
            use[first + 1 : last] += _PAGE
            use[last] += old + length - last * _PAGE
    chosen = np.flatnonzero(use >= _LEAST_USE)
    most = PREFIX // _PAGE
    if len(chosen) > most:
        chosen = np.sort(chosen[np.argsort(-use[chosen], kind="stable")[:most]])
    return [(int(run[0]) * _PAGE, min((int(run[-1]) + 1) * _PAGE, size)) for run in _runs(chosen)]


def _runs(pages: Numbers) -> Iterator[Numbers]:
    if len(pages):
        yield from np.split(pages, np.flatnonzero(np.diff(pages) != 1) + 1)


def _translated(copies: Copies, starts: Numbers, sizes: Numbers) -> Copies:
    """Copies from the old file as copies from the prefix; those that leave it are cut."""
    at = np.searchsorted(starts, copies.old, "right") - 1
    held = at >= 0
    at = np.maximum(at, 0)
    room = starts[at] + sizes[at] - copies.old
    lengths = np.minimum(copies.lengths, room)
    held &= lengths > 0
    begins = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)[:-1]])
    old = copies.old - starts[at] + begins[at]
    return Copies(old[held], copies.new[held], lengths[held])


def slices(content: int, piece: Piece, size: int) -> Slice:
    """The output that a piece gives."""
    whole = piece.offset == 0 and piece.length == size
    if not whole and piece.offset % BLOCK:
        raise ValueError(f"a slice begins at {piece.offset}")
    return Slice(content, 0, -1) if whole else Slice(content, piece.offset, piece.length)
