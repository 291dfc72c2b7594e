"""The names and metadata in an EROFS image, read by nobody but this; contents are not looked at.

For images that are not trusted: what a program or the kernel is to make of one is found out before
either sees it. Only what `mkfs.erofs` makes without extended attributes is taken.

Format: fs/erofs/erofs_fs.h of the kernel; Documentation/filesystems/erofs.rst.
"""

import stat
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from holdall.errors import CorruptError

_BLOCK = 4096
_MAGIC = 0xE0F5E1E2
_KNOWN = 0x1 | 0x2 | 0x10  # zero padding, compressor settings with big clusters, packed tails
_PLAIN, _INLINE = 0, 2
_LAYOUTS = 4
_SUPER = struct.Struct("<IIIBBHQQIIII16s16sIHHHBB")
_COMPACT = struct.Struct("<HHHHIIIIHHI")
_EXTENDED = struct.Struct("<HHHHQIIIIQII16x")
_DIRENT = struct.Struct("<QHBB")

Read = Callable[[int, int], bytes]


class Found(NamedTuple):
    """An entry of an image: its mode as `ls` shows it, its length, and where a link leads."""

    mode: str
    size: int
    target: str = ""


class _Inode(NamedTuple):
    place: int
    length: int  # of the inode itself
    layout: int
    mode: int
    size: int
    block: int

    @property
    def shown(self) -> str:
        return stat.filemode(self.mode)


def entries(read: Read, limit: int) -> Iterator[tuple[str, Found]]:
    """Each entry's path, the root's first as "", of the image that `read(start, size)` gives.

    Raises CorruptError for what is no image as it should be, or has more than `limit` entries.
    """
    image = _Image(read)
    root = image.inode(image.root)
    yield "", Found(root.shown, 0)
    if not stat.S_ISDIR(root.mode):
        raise CorruptError("The image's root is no folder.")
    pending = [("", root)]
    left = 3 * limit + 2  # a folder is named in its own, and in each of those in it
    while pending:
        above, folder = pending.pop()
        for name, number in image.children(folder):
            left -= 1
            if left < 0:
                raise CorruptError("The image has more files than its app.")
            if name in {".", ".."}:
                continue
            path = f"{above}/{name}" if above else name
            inode = image.inode(number)
            yield path, image.found(inode)
            if stat.S_ISDIR(inode.mode):
                pending.append((path, inode))


class _Image:
    def __init__(self, read: Read) -> None:
        self._read = read
        fields = _SUPER.unpack(self._bytes(1024, _SUPER.size))
        magic, _, _, bits, _, self.root, _, _, _, _, meta, *rest = fields
        *_, features, _, devices, _, folder_bits, _ = rest
        if magic != _MAGIC or bits != _BLOCK.bit_length() - 1 or folder_bits or devices:
            raise CorruptError("The image is no EROFS image of one file with blocks of 4096.")
        if features & ~_KNOWN:
            raise CorruptError(f"The image has EROFS features {features:#x} that are not known.")
        self._inodes = meta * _BLOCK

    def inode(self, number: int) -> _Inode:
        place = self._inodes + number * 32
        head = self._bytes(place, _COMPACT.size)
        kind = head[0]
        if kind & 1:
            fields = _EXTENDED.unpack(self._bytes(place, _EXTENDED.size))
            length, owner, group = _EXTENDED.size, fields[7], fields[8]
            size, block = fields[4], fields[5]
        else:
            fields = _COMPACT.unpack(head)
            length, owner, group = _COMPACT.size, fields[8], fields[9]
            size, block = fields[4], fields[6]
        layout = kind >> 1 & 7
        if fields[0] >> 4 or layout >= _LAYOUTS or fields[1] or owner or group:
            raise CorruptError("The image has an inode that no app's image has.")
        return _Inode(place, length, layout, fields[2], size, block)

    def found(self, inode: _Inode) -> Found:
        if stat.S_ISDIR(inode.mode):
            return Found(inode.shown, 0)
        if stat.S_ISLNK(inode.mode):
            if inode.size > _BLOCK:
                raise CorruptError("The image has a link that leads too far.")
            return Found(inode.shown, inode.size, _text(b"".join(self._blocks(inode))))
        return Found(inode.shown, inode.size)

    def children(self, folder: _Inode) -> Iterator[tuple[str, int]]:
        """Names and numbers in a folder."""
        for block in self._blocks(folder):
            if len(block) < _DIRENT.size:
                raise CorruptError("The image has a folder that is cut short.")
            end = _DIRENT.unpack_from(block)[1]
            if end % _DIRENT.size or not _DIRENT.size <= end <= len(block):
                raise CorruptError("The image has a folder whose names are nowhere.")
            listed = list(_DIRENT.iter_unpack(block[:end]))
            starts = [entry[1] for entry in listed]
            for (number, start, _, _), stop in zip(listed, [*starts[1:], len(block)], strict=True):
                name = block[start:stop]
                if stop == len(block):
                    name = name.rstrip(b"\0")
                if not 0 < len(name) < 256 or b"/" in name or b"\0" in name:
                    raise CorruptError("The image has a name that no file may have.")
                yield _text(name), number

    def _blocks(self, inode: _Inode) -> Iterator[bytes]:
        """What a folder or a link holds, block by block."""
        if inode.layout not in {_PLAIN, _INLINE}:
            raise CorruptError("The image has a folder or link that is compressed.")
        whole, tail = divmod(inode.size, _BLOCK)
        for number in range(whole):
            yield self._bytes((inode.block + number) * _BLOCK, _BLOCK)
        if tail and inode.layout == _PLAIN:
            yield self._bytes((inode.block + whole) * _BLOCK, tail)
        elif tail:
            start = inode.place + inode.length
            if start % _BLOCK + tail > _BLOCK:
                raise CorruptError("The image has a folder or link beyond its block.")
            yield self._bytes(start, tail)

    def _bytes(self, start: int, size: int) -> bytes:
        data = self._read(start, size)
        if len(data) != size:
            raise CorruptError("The image is cut short.")
        return data


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")
