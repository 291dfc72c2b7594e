"""Read a bundle's contents as the form live does, checked in one of three ways; print the costs.

Run as a program of its own. ``frame`` is what holdall does: the SHA-256 of each compressed frame is
compared before it is decoded. ``leaf`` decodes what nobody has looked at, and compares the SHA-256
of each 4 KiB that is served, as fs-verity's leaves are. ``none`` checks nothing. All three have the
second thread that decodes ahead; no kernel takes part.
"""

import hashlib
import os
import random
import sys
import time

from holdall.delivery.index import Chart, chart
from holdall.delivery.random import FrameContents
from holdall.delivery.zstandard import decompress, unpack
from holdall.errors import CorruptError
from holdall.journeys.arrival import arriving
from holdall.model.tree import Outline, outline

_REQUEST = 128 * 1024
_LEAF = 4096
_PAGES = 1000


class Unchecked(FrameContents):
    """Decodes whatever a frame has."""

    def __init__(self, fd: int, first: int, index: Chart, digests: list[bytes]) -> None:
        self._all = (fd, first, index)
        super().__init__(fd, first, index, digests)

    def _decode(self, number: int) -> bytes:
        fd, first, (starts, offsets, *_) = self._all
        offset = offsets[number]
        data = os.pread(fd, offsets[number + 1] - offset, first + offset)
        return decompress(data, starts[number + 1] - starts[number])


class Leaves(Unchecked):
    """Compares the leaves of what is served with those that are known, by content."""

    known: dict[bytes, bytes]

    def read(self, digest: bytes, offset: int, size: int) -> list[memoryview]:
        pieces, leaves = super().read(digest, offset, size), self.known[digest]
        data = pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))
        for at in range(0, len(data), _LEAF):
            place = (offset + at) // _LEAF * 32
            if hashlib.sha256(data[at : at + _LEAF]).digest() != leaves[place : place + 32]:
                raise CorruptError("A leaf is another.")
        return [data]


WAYS: dict[str, type[FrameContents]] = {"frame": FrameContents, "leaf": Leaves, "none": Unchecked}


def main(bundle: str, way: str) -> None:
    """Print bytes and seconds of reading all, its processor time, seconds a page, leaves' bytes."""
    with arriving(bundle) as arrival:
        arrival.open()
        preamble = arrival.preamble
    tree = outline(unpack(preamble.tree))
    index = chart(unpack(preamble.index), tree.sizes)
    fd = os.open(bundle, os.O_RDONLY)
    if way == "leaf":
        Leaves.known = _leaves(Unchecked(fd, preamble.first, index, tree.digests), tree)

    def contents() -> FrameContents:
        return WAYS[way](fd, preamble.first, index, tree.digests)

    spent, begun = time.process_time(), time.perf_counter()
    _read_all(contents(), tree)
    wall, spent = time.perf_counter() - begun, time.process_time() - spent
    page = _pages(contents(), tree)
    stored = sum(-(-size // _LEAF) * 32 for size in tree.sizes if size > _LEAF)
    print(sum(tree.sizes), wall, spent, page, stored)


def _read_all(contents: FrameContents, tree: Outline) -> None:
    for digest, size in zip(tree.digests, tree.sizes, strict=True):
        for offset in range(0, size, _REQUEST):
            contents.read(digest, offset, min(_REQUEST, size - offset))


def _pages(contents: FrameContents, tree: Outline) -> float:
    chance = random.Random(5)
    size, digest = max(zip(tree.sizes, tree.digests, strict=True))
    begun = time.perf_counter()
    for _ in range(_PAGES):
        contents.read(digest, chance.randrange(size // _LEAF) * _LEAF, _LEAF)
    return (time.perf_counter() - begun) / _PAGES


def _leaves(contents: FrameContents, tree: Outline) -> dict[bytes, bytes]:
    known = {}
    for digest, size in zip(tree.digests, tree.sizes, strict=True):
        data = memoryview(b"".join(contents.read(digest, 0, size)))
        pieces = (data[at : at + _LEAF] for at in range(0, size, _LEAF))
        known[digest] = b"".join(hashlib.sha256(piece).digest() for piece in pieces)
    return known


if __name__ == "__main__":
    main(*sys.argv[1:])
