"""Decoding one unit: its prefix out of base contents, then its stored bytes over that."""

import mmap
import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from holdall.delivery.delta.addition import decode_addition
from holdall.delivery.delta.elf import Bytes
from holdall.delivery.delta.prefixed import decode_lzma2, decode_zstd
from holdall.delivery.delta.rebase import Image, read_image
from holdall.delivery.delta.shifts import ShiftMap
from holdall.delivery.delta.tokens import blank
from holdall.delivery.delta.wire import MAX_PREFIX, Kind, Part, Transform, Unit
from holdall.errors import CorruptError
from holdall.model.digest import Hasher, digest_of

_PIECE = 2**20
_SMALL = 2**18
_STEP = 2**22  # bytes of a part that are made at once


class Wanted(NamedTuple):
    """The parts of a unit's prefix, each with the digest of its content and its place there."""

    parts: tuple[tuple[Part, bytes, int, int], ...]

    @classmethod
    def of(
        cls, unit: Unit, numbers: tuple[int, ...], contents: list[tuple[bytes, int]]
    ) -> "Wanted":
        """`numbers` are the base's content numbers; raises CorruptError where that cannot be."""
        parts, total = [], 0
        for part, number in zip(unit.parts, numbers, strict=True):
            if number >= len(contents):
                raise CorruptError("The increment builds on a content that its base does not have.")
            digest, size = contents[number]
            length = size if part.length == -1 else part.length
            total += length
            if part.offset + length > size or total > MAX_PREFIX:
                raise CorruptError("The increment builds on more than its base has.")
            parts.append((part, digest, part.offset, length))
        return cls(tuple(parts))

    @property
    def length(self) -> int:
        """The bytes of all parts, before they are transformed; no transform adds any."""
        return sum(length for *_, length in self.parts)

    @property
    def bases(self) -> set[bytes]:
        """The digests of the contents it builds on."""
        return {digest for _, digest, _, _ in self.parts}


class _LostError(Exception):
    """A content that a unit builds on is not there."""


class Bases:
    """Base contents as read-only memory, each checked once; and the image read last."""

    def __init__(self, find: Callable[[bytes], str | None]) -> None:
        self._find = find
        self._checked: set[bytes] = set()
        self._image: tuple[bytes, Image | None] = (b"", None)
        self._mappings: dict[bytes, mmap.mmap] = {}
        self._seen: set[bytes] = set()  # mappings of which something may be in memory

    def data(self, digest: bytes) -> Bytes | None:
        """A content's bytes; None when nobody has it, or what there is is something else."""
        if digest in self._mappings:
            self._seen.add(digest)
            return np.frombuffer(self._mappings[digest], np.uint8)
        path = self._find(digest)
        if path is None:
            return None
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            return self._opened(fd, digest)
        except (OSError, ValueError):
            return None
        finally:
            os.close(fd)

    def _opened(self, fd: int, digest: bytes) -> Bytes | None:
        if os.fstat(fd).st_size <= _SMALL:
            return self._read(fd, digest)
        if digest not in self._checked and _digest_of_file(fd) != digest:
            return None
        self._checked.add(digest)
        self._mappings[digest] = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
        self._seen.add(digest)
        return np.frombuffer(self._mappings[digest], np.uint8)

    def _read(self, fd: int, digest: bytes) -> Bytes | None:
        """A small content: reading it costs less than having it mapped."""
        with open(fd, "rb", buffering=0, closefd=False) as file:
            data = file.read(_SMALL + 1)
        if digest not in self._checked and digest_of(data) != digest:
            return None
        self._checked.add(digest)
        return np.frombuffer(data, np.uint8)

    def let_go(self) -> None:
        """Give the memory back in which contents were looked at; they can be looked at again."""
        # an image's bytes are looked at without asking for them
        for digest in self._seen | {self._image[0]}:
            if digest in self._mappings:
                self._mappings[digest].madvise(mmap.MADV_DONTNEED)
        self._seen.clear()

    def forget(self) -> None:
        """The same, when no content but that of the image is looked at any more."""
        self.let_go()
        held = self._image[0]
        self._mappings = {held: self._mappings[held]} if held in self._mappings else {}

    def image(self, digest: bytes, data: Bytes) -> Image:
        """A content as an ELF image; raises CorruptError when it is none."""
        if self._image[0] != digest:
            self._image = digest, read_image(data, let_go=self.let_go)
        image = self._image[1]
        if image is None:
            raise CorruptError("The increment takes a file for a program that is none.")
        return image


class Decoder:
    """Decodes units; keeps the address tables of one image between them."""

    def __init__(self, maps: list[ShiftMap], bases: Bases) -> None:
        self._maps = maps
        self._bases = bases

    def decode(self, unit: Unit, stored: bytes, wanted: Wanted) -> bytes | memoryview | None:
        """A unit's result; None when a content it builds on is not there, or not what it was."""
        try:
            return self._decoded(unit, stored, wanted)
        except _LostError:
            return None
        finally:
            self._bases.forget()

    def _decoded(self, unit: Unit, stored: bytes, wanted: Wanted) -> bytes | memoryview:
        match unit.kind:
            case Kind.ZSTD:
                return decode_zstd(stored, unit.raw, self._prefix(wanted))
            case Kind.LZMA2:
                return decode_lzma2(stored, unit.raw, self._prefix(wanted), length=wanted.length)
            case Kind.ADDITION:
                return decode_addition(stored, unit.raw, self._joined(wanted))
            case _:
                raise CorruptError(f"The increment has a unit of unknown kind {unit.kind}.")

    def _joined(self, wanted: Wanted) -> memoryview:
        """The whole of a prefix, in memory once."""
        joined, end = np.empty(wanted.length, np.uint8).data, 0
        for part in self._prefix(wanted):
            joined[end : end + len(part)] = part
            end += len(part)
        return joined[:end]

    def _prefix(self, wanted: Wanted) -> Iterator[bytes | memoryview]:
        """The parts of a prefix, each made when it is asked for."""
        for part, digest, offset, length in wanted.parts:
            data = self._bases.data(digest)
            if data is None:
                raise _LostError
            step = max(length, 1) if part.transform == Transform.TOKENS else _STEP
            for at in range(offset, offset + length, step):
                piece = min(step, offset + length - at)
                yield self.transformed(part, digest, data, at, piece)
                self._bases.let_go()

    def transformed(
        self, part: Part, digest: bytes, data: Bytes, offset: int, length: int
    ) -> bytes | memoryview:
        """A part of a prefix."""
        piece = data[offset : offset + length]
        match part.transform:
            case Transform.RAW:
                return piece.data
            case Transform.TOKENS:
                return blank(piece.tobytes(), part.blanks)
            case Transform.X86_64 | Transform.AARCH64:
                if not 0 <= part.map < len(self._maps):
                    raise CorruptError("The increment names a map that it does not have.")
                image = self._bases.image(digest, data)
                return image.rebased(self._maps[part.map], offset, offset + length).data
            case _:
                raise CorruptError(f"The increment has unknown transform {part.transform}.")


def _digest_of_file(fd: int) -> bytes:
    hasher = Hasher()
    while piece := os.read(fd, _PIECE):
        hasher.update(piece)
    return hasher.digest()
