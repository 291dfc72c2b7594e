"""The names and metadata in a squashfs image, read by nobody but this; contents are not looked at.

As for EROFS (`holdall.system.erofs_image`). What `unsquashfs` lists is no help: it writes names and
targets as they are, so one with a newline in it passes for another file's line.

Format: fs/squashfs/squashfs_fs.h of the kernel.
"""

import stat
import struct
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from holdall.errors import CorruptError
from holdall.system.erofs_image import Found

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_MAGIC = 0x73717368
_VERSION = (4, 0)
_ZSTD = 6
_NOTHING = 2**32 - 1  # where an index of extended attributes would be
_NOWHERE = 2**64 - 1  # where their table would be
_BLOCK = 8192  # of metadata
_PLAIN = 0x8000  # in a block's header: it is not compressed
_CACHED = 256
_RUN = 256  # entries that one header of a folder counts at most
_LONGEST = 4096  # a link's target
_SUPER = struct.Struct("<IIIIIHHHHHHQQQQQQQQ")
_HEAD = struct.Struct("<HHHHII")  # kind, mode, owner, group, time, number
_FOLDER = struct.Struct("<IIHHI")
_LONG_FOLDER = struct.Struct("<IIIIHHI")
_FILE = struct.Struct("<IIII")
_LONG_FILE = struct.Struct("<QQQIIII")
_LINK = struct.Struct("<II")
_HEADER = struct.Struct("<III")
_ENTRY = struct.Struct("<HhHH")
_KINDS: Final = (
    stat.S_IFDIR,
    stat.S_IFREG,
    stat.S_IFLNK,
    stat.S_IFBLK,
    stat.S_IFCHR,
    stat.S_IFIFO,
    stat.S_IFSOCK,
)

Read = Callable[[int, int], bytes]


class _Inode(NamedTuple):
    mode: int
    size: int
    block: int = 0  # of a folder's names
    offset: int = 0
    target: str = ""

    @property
    def shown(self) -> str:
        return stat.filemode(self.mode)


def entries(read: Read, limit: int) -> Iterator[tuple[str, Found]]:
    """Each entry's path, the root's first as "", of the image that `read(start, size)` gives.

    Raises CorruptError for what is no image as it should be, or has more than `limit` entries.
    """
    image = _Image(read)
    root = image.inode(image.root >> 16, image.root & 0xFFFF)
    yield "", Found(root.shown, 0)
    if not stat.S_ISDIR(root.mode):
        raise CorruptError("The image's root is no folder.")
    pending = [("", root)]
    left = limit
    while pending:
        above, folder = pending.pop()
        for name, block, offset in image.children(folder):
            left -= 1
            if left < 0:
                raise CorruptError("The image has more files than its app.")
            path = f"{above}/{name}" if above else name
            inode = image.inode(block, offset)
            size = 0 if stat.S_ISDIR(inode.mode) else inode.size
            yield path, Found(inode.shown, size, inode.target)
            if stat.S_ISDIR(inode.mode):
                pending.append((path, inode))


class _Metadata:
    """A table of metadata: bytes in blocks, each compressed by itself."""

    def __init__(self, read: Read, start: int) -> None:
        self._start = start
        self._read = read
        self._block = lru_cache(_CACHED)(self._decoded)

    def take(self, block: int, offset: int, size: int) -> bytes:
        """What stands `offset` bytes into the block at `block`, and in those after it."""
        pieces = []
        while size:
            data, after = self._block(block)
            piece = data[offset : offset + size]
            if not piece:
                raise CorruptError("The image's metadata ends too early.")
            pieces.append(piece)
            size -= len(piece)
            block, offset = after, 0
        return b"".join(pieces)

    def stream(self, block: int, offset: int) -> Iterator[bytes]:
        """The same in pieces, to the end of the image."""
        while True:
            data, after = self._block(block)
            if offset >= len(data):
                raise CorruptError("The image's metadata ends too early.")
            yield data[offset:]
            block, offset = after, 0

    def _decoded(self, block: int) -> tuple[bytes, int]:
        """A block's bytes, and where the next one is."""
        start = self._start + block
        header = int.from_bytes(_exactly(self._read, start, 2), "little")
        size = header & ~_PLAIN
        if not 0 < size <= _BLOCK:
            raise CorruptError("The image has a block of metadata of an impossible size.")
        data = _exactly(self._read, start + 2, size)
        if not header & _PLAIN:
            data = _decompressed(data)
        return data, block + 2 + size


class _Image:
    def __init__(self, read: Read) -> None:
        fields = _SUPER.unpack(_exactly(read, 0, _SUPER.size))
        magic, compression, owners, version = fields[0], fields[5], fields[8], fields[9:11]
        if magic != _MAGIC or version != _VERSION or compression != _ZSTD:
            raise CorruptError("The image is no squashfs image that is compressed with zstd.")
        self.root, _, owner_table, attributes, inodes, folders = fields[11:17]
        if attributes != _NOWHERE:
            raise CorruptError("The image is no squashfs image without extended attributes.")
        place = int.from_bytes(_exactly(read, owner_table, 8), "little")
        if owners != 1 or _Metadata(read, place).take(0, 0, 4) != bytes(4):
            raise CorruptError("The image has files of others than root.")
        self._inodes = _Metadata(read, inodes)
        self._folders = _Metadata(read, folders)

    def inode(self, block: int, offset: int) -> _Inode:
        """The inode at a place of the table of inodes."""
        kind, mode, owner, group, _, _ = self._unpacked(_HEAD, block, offset, 0)
        if not 0 < kind <= 2 * len(_KINDS) or owner or group or mode & ~0o7777:
            raise CorruptError("The image has an inode that no app's image has.")
        long, at = divmod(kind - 1, len(_KINDS))
        mode |= _KINDS[at]
        if stat.S_ISDIR(mode):
            return self._folder(mode, block, offset, long=bool(long))
        if stat.S_ISREG(mode):
            return self._file(mode, block, offset, long=bool(long))
        if stat.S_ISLNK(mode):
            return self._link(mode, block, offset, long=bool(long))
        return _Inode(mode, 0)

    def _folder(self, mode: int, block: int, offset: int, *, long: bool) -> _Inode:
        if long:
            fields = self._unpacked(_LONG_FOLDER, block, offset)
            _, size, place, _, _, inside, attributes = fields
            _check_plain(attributes)
        else:
            place, _, size, inside, _ = self._unpacked(_FOLDER, block, offset)
        # as if "." and ".." were told, too
        return _Inode(mode, max(0, size - 3), place, inside)

    def _file(self, mode: int, block: int, offset: int, *, long: bool) -> _Inode:
        if not long:
            return _Inode(mode, self._unpacked(_FILE, block, offset)[3])
        fields = self._unpacked(_LONG_FILE, block, offset)
        _check_plain(fields[6])
        return _Inode(mode, fields[1])

    def _link(self, mode: int, block: int, offset: int, *, long: bool) -> _Inode:
        _, size = self._unpacked(_LINK, block, offset)
        if size > _LONGEST:
            raise CorruptError("The image has a link that leads too far.")
        start = _HEAD.size + _LINK.size
        said = self._inodes.take(block, offset, start + size + (4 if long else 0))[start:]
        if long:
            _check_plain(int.from_bytes(said[size:], "little"))
        return _Inode(mode, size, target=_text(said[:size]))

    def _unpacked(
        self, fields: struct.Struct, block: int, offset: int, skipped: int = _HEAD.size
    ) -> tuple[int, ...]:
        data = self._inodes.take(block, offset, skipped + fields.size)
        return fields.unpack_from(data, skipped)

    def children(self, folder: _Inode) -> Iterator[tuple[str, int, int]]:
        """Names in a folder, and where their inodes are."""
        left = folder.size
        said = _Pieces(self._folders.stream(folder.block, folder.offset)) if left else None
        while said and left > 0:
            count, block, _ = _HEADER.unpack(said.take(_HEADER.size))
            left -= _HEADER.size
            if count >= _RUN:
                raise CorruptError("The image has a folder that counts too many files at once.")
            for _ in range(count + 1):
                offset, _, _, length = _ENTRY.unpack(said.take(_ENTRY.size))
                if length > 255:
                    raise CorruptError("The image has a name that no file may have.")
                name = said.take(length + 1)
                left -= _ENTRY.size + len(name)
                if len(name) > 255 or name in {b".", b".."} or b"/" in name or b"\0" in name:
                    raise CorruptError("The image has a name that no file may have.")
                yield _text(name), block, offset
        if left < 0:
            raise CorruptError("The image has a folder that is cut short.")


class _Pieces:
    """Bytes that come in pieces, taken by their number."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._held = b""

    def take(self, size: int) -> bytes:
        while len(self._held) < size:
            self._held += next(self._pieces)
        taken, self._held = self._held[:size], self._held[size:]
        return taken


def _check_plain(attributes: int) -> None:
    if attributes != _NOTHING:
        raise CorruptError("The image has a file with extended attributes.")


def _decompressed(data: bytes) -> bytes:
    try:
        decoder = zstd.ZstdDecompressor()
        decoded = decoder.decompress(data, max_length=_BLOCK + 1)
    except zstd.ZstdError as error:
        raise CorruptError("The image has metadata that cannot be decoded.") from error
    if len(decoded) > _BLOCK or not decoder.eof:
        raise CorruptError("The image has a block of metadata of an impossible size.")
    return decoded


def _exactly(read: Read, start: int, size: int) -> bytes:
    # no place in a file is beyond this; a larger one cannot even be asked for
    data = read(start, size) if start < 2**62 else b""
    if len(data) != size:
        raise CorruptError("The image is cut short.")
    return data


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")
