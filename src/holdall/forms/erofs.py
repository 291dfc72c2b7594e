"""A tree's names and metadata as an EROFS image, made here, whose contents lie elsewhere.

A file is a hole of the right size; two extended attributes tell overlayfs which file of a data-only
layer has its bytes, and their fs-verity digest. One tree makes one image, so that whoever has the
tree can name the image by its digest before anybody has made it.

Format: docs/reference/formats/metadata-image.md. Of the kernel: fs/erofs/erofs_fs.h, whose names
stand in the comments here; Documentation/filesystems/erofs.rst; for the attributes "Data-only lower
layers" and "fs-verity support" in Documentation/filesystems/overlayfs.rst and struct ovl_metacopy
in fs/overlayfs/overlayfs.h.
"""

import struct
from collections.abc import Collection, Iterable
from itertools import product
from typing import assert_never

from holdall.model.tree import Directory, File, Symlink, Tree

BLOCK = 4096

# in the order of ASCII, so that names sort as ranks do; no name is "." or "..", or begins with "-"
_LETTERS = "+0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"

_SUPERBLOCK = 1024  # where it begins: EROFS_SUPER_OFFSET
_INODES = _SUPERBLOCK + 128  # the inodes come right behind it
_MAGIC = 0xE0F5E1E2  # EROFS_SUPER_MAGIC_V1
_CHECKSUM = 0x1  # EROFS_FEATURE_COMPAT_SB_CHKSUM
_CHUNKED = 0x4  # EROFS_FEATURE_INCOMPAT_CHUNKED_FILE
_SLOT = 32  # an inode's number is its place divided by this
_PLAIN, _INLINE, _CHUNKS = 0, 2, 4  # EROFS_INODE_FLAT_PLAIN, _FLAT_INLINE, _CHUNK_BASED
_HOLE = b"\xff\xff\xff\xff"  # EROFS_NULL_ADDR
_LARGEST_CHUNK = 31  # EROFS_CHUNK_FORMAT_BLKBITS_MASK: as a power of two of blocks
_TRUSTED = 4  # EROFS_XATTR_INDEX_TRUSTED

_REGULAR, _FOLDER, _LINK = 0o100000, 0o040000, 0o120000
_TYPES = {_REGULAR: 1, _FOLDER: 2, _LINK: 7}  # FT_REG_FILE, FT_DIR, FT_SYMLINK

# struct erofs_super_block, erofs_inode_compact, erofs_inode_extended, erofs_dirent,
# erofs_xattr_ibody_header, erofs_xattr_entry
_SUPER = struct.Struct("<IIIBBHQQIIII16s16sIHHHBBIQB23x")
_COMPACT = struct.Struct("<HHHHIIIIHHI")
_EXTENDED = struct.Struct("<HHHHQIIIIQII16x")
_DIRENT = struct.Struct("<QHBB")
_ATTRIBUTES = bytes(12)
_ATTRIBUTE = struct.Struct("<BBH")

# what stands in a file's attributes before its digest, and then before its name in the data layer;
# in a metacopy: version, length with the digest, flags, FS_VERITY_HASH_ALG_SHA256
_METACOPY = (
    _ATTRIBUTES
    + _ATTRIBUTE.pack(len("overlay.metacopy"), _TRUSTED, 36)
    + b"overlay.metacopy"
    + bytes((0, 36, 0, 1))
)
_REDIRECTS = {
    width: _ATTRIBUTE.pack(len("overlay.redirect"), _TRUSTED, 1 + width) + b"overlay.redirect/"
    for width in (3, 4)
}


def names(tree: Tree) -> dict[bytes, str]:
    """What each content of `tree` is called in the data layer, by its raw digest.

    That is its rank among the tree's digests, in three characters: so short that the inode of a
    file takes 128 bytes.
    """
    return short_names(tree.contents)


def short_names(digests: Collection[bytes]) -> dict[bytes, str]:
    """The same for digests of which each is there once."""
    width = 3 if len(digests) <= len(_LETTERS) ** 3 else 4
    ranks = product(_LETTERS, repeat=width)
    return {digest: "".join(rank) for digest, rank in zip(sorted(digests), ranks, strict=False)}


def image(tree: Tree) -> bytes:
    """The image of `tree`. It takes about three times the image's memory."""
    folders, others = _read(tree)
    inodes = [*(folder.inode for folder in folders), *others]
    first = -(-_place(inodes) // BLOCK)
    for folder in folders:
        folder.write()
    data = bytearray(first * BLOCK)
    blocks: list[bytes] = []
    end = first
    for number, inode in enumerate(inodes, start=1):
        if inode.blocks:
            inode.union = end
            blocks.append(inode.blocks)
            end += len(inode.blocks) // BLOCK
        data[inode.at : inode.at + inode.length] = inode.encode(number)
    data[_SUPERBLOCK:_INODES] = _superblock(len(inodes), inodes[0].number, end)
    checksum = struct.pack("<I", _crc32c(data[_SUPERBLOCK:BLOCK]))
    data[_SUPERBLOCK + 4 : _SUPERBLOCK + 8] = checksum
    return b"".join((data, *blocks))


class _Inode:
    """One inode, and what belongs to it.

    Directly behind it come its `attributes` and its `tail`: the rest of its data, or which chunks
    its data is in. `blocks` are whole ones that lie behind all inodes. `union` (i_u) is the number
    of the first of them, or says how large chunks are.
    """

    __slots__ = ("at", "attributes", "blocks", "layout", "links", "mode", "size", "tail", "union")

    def __init__(self, mode: int, layout: int, size: int) -> None:
        self.mode, self.layout, self.size = mode, layout, size
        self.attributes = self.tail = self.blocks = b""
        self.links = self.at = self.union = 0

    @property
    def kind(self) -> int:
        """The part of the mode that says what it is."""
        return self.mode & 0o170000

    @property
    def number(self) -> int:
        """What folders name it by."""
        return self.at // _SLOT

    @property
    def head(self) -> int:
        """The length of the inode alone: compact where its numbers fit."""
        return _EXTENDED.size if self.size >> 32 or self.links >> 16 else _COMPACT.size

    @property
    def length(self) -> int:
        """What it takes in all where it lies, in bytes."""
        return self.head + len(self.attributes) + len(self.tail)

    def hold(self, data: bytes) -> None:
        """Have `data`: behind the inode if both fit into one block, else in a block of its own."""
        if self.head + len(data) <= BLOCK:
            self.layout, self.tail = _INLINE, data
        else:
            self.layout, self.blocks = _PLAIN, data.ljust(BLOCK, b"\0")

    def encode(self, serial: int) -> bytes:
        """Its bytes; `serial` is what 32-bit programs see as its number."""
        extended = self.head == _EXTENDED.size
        form = self.layout << 1 | extended
        count = (len(self.attributes) - len(_ATTRIBUTES)) // 4 + 1 if self.attributes else 0
        head = (
            _EXTENDED.pack(
                form, count, self.mode, 0, self.size, self.union, serial, 0, 0, 0, 0, self.links
            )
            if extended
            else _COMPACT.pack(
                form, count, self.mode, self.links, self.size, 0, self.union, serial, 0, 0, 0
            )
        )
        return head + self.attributes + self.tail


class _Folder:
    """A folder's inode and what is in it."""

    def __init__(self, parent: "_Folder | None") -> None:
        self.inode = _Inode(_FOLDER | 0o755, _INLINE, 0)
        self.inode.links = 2
        if parent:
            parent.inode.links += 1
        self._parent = parent or self
        self._names: list[tuple[bytes, _Inode]] = []
        self._cuts: list[list[tuple[bytes, _Inode]]] = []

    def add(self, name: str, inode: _Inode) -> None:
        """Take a name in."""
        self._names.append((name.encode(), inode))

    def cut(self) -> None:
        """Decide which names stand in which block, once all are there; so its size is known."""
        self._names += [(b".", self.inode), (b"..", self._parent.inode)]
        self._names.sort(key=lambda item: item[0])
        room = 0
        for item in self._names:
            taken = _DIRENT.size + len(item[0])
            if taken > room:
                self._cuts.append([])
                room = BLOCK
            self._cuts[-1].append(item)
            room -= taken
        self.inode.size = len(self._cuts) * BLOCK - room
        self.inode.hold(bytes(BLOCK - room))

    def write(self) -> None:
        """Put the names into the inode, once all inodes have their places."""
        whole = [_names_block(cut) for cut in self._cuts]
        if self.inode.layout == _INLINE:
            self.inode.tail = whole.pop()
        self.inode.blocks = b"".join(block.ljust(BLOCK, b"\0") for block in whole)


def _read(tree: Tree) -> tuple[list[_Folder], list[_Inode]]:
    """Folders, the root first, and an inode for each distinct file and each symbolic link."""
    root = _Folder(None)
    folders = {"": root}
    others: list[_Inode] = []
    known: dict[tuple[bytes, bool], _Inode] = {}
    called = names(tree)
    for entry in tree.entries:
        above, _, name = entry.path.rpartition("/")
        match entry:
            case Directory():
                folder = folders[entry.path] = _Folder(folders[above])
                inode = folder.inode
            case File():
                key = entry.digest, entry.executable
                inode = known.get(key) or _file(entry, called[entry.digest])
                if not inode.links:
                    known[key] = inode
                    others.append(inode)
                inode.links += 1
            case Symlink():
                inode = _link(entry.target.encode())
                others.append(inode)
            case _:
                assert_never(entry)
        folders[above].add(name, inode)
    for folder in folders.values():
        folder.cut()
    return list(folders.values()), others


def _file(entry: File, name: str) -> _Inode:
    mode = _REGULAR | (0o755 if entry.executable else 0o644)
    if not entry.size:
        return _Inode(mode, _PLAIN, 0)
    inode = _Inode(mode, _CHUNKS, entry.size)
    attributes = _METACOPY + entry.digest + _REDIRECTS[len(name)] + name.encode()
    inode.attributes = attributes + bytes(-len(attributes) % 4)
    # one chunk, where there may be one so large
    blocks = -(-entry.size // BLOCK)
    inode.union = min((blocks - 1).bit_length(), _LARGEST_CHUNK)
    inode.tail = _HOLE * -(-blocks >> inode.union)
    return inode


def _link(target: bytes) -> _Inode:
    inode = _Inode(_LINK | 0o777, _INLINE, len(target))
    inode.links = 1
    inode.hold(target)
    return inode


def _place(inodes: Iterable[_Inode]) -> int:
    """Give every inode its place; returns where they end.

    What has its data behind it must not cross the end of a block. The room that leaves there goes
    to others, in order, as far as they fit.
    """
    loose: list[_Inode] = []
    gaps: list[tuple[int, int]] = []
    end = _INODES
    for inode in inodes:
        if inode.layout != _INLINE:
            loose.append(inode)
            continue
        room = -end % BLOCK
        if inode.length > room:
            gaps.append((end, end + room))
            end += room
        inode.at = end
        end = _aligned(end + inode.length)
    gaps.reverse()
    for inode in loose:
        taken = _aligned(inode.length)
        while gaps and gaps[-1][1] - gaps[-1][0] < taken:
            gaps.pop()
        if gaps:
            inode.at, stop = gaps.pop()
            gaps.append((inode.at + taken, stop))
        else:
            inode.at = end
            end += taken
    return end


def _aligned(size: int) -> int:
    return size + -size % _SLOT


def _names_block(cut: list[tuple[bytes, _Inode]]) -> bytes:
    """A block of a folder: its entries, then their names."""
    at = len(cut) * _DIRENT.size
    entries = []
    for name, inode in cut:
        entries.append(_DIRENT.pack(inode.number, at, _TYPES[inode.kind], 0))
        at += len(name)
    return b"".join((*entries, *(name for name, _ in cut)))


def _superblock(inodes: int, root: int, blocks: int) -> bytes:
    """Without its checksum; no time, no UUID, no volume name, no compression, no other device."""
    bits = BLOCK.bit_length() - 1
    front = (_MAGIC, 0, _CHECKSUM, bits, 0, root, inodes, 0, 0, blocks, 0, 0)
    return _SUPER.pack(*front, bytes(16), bytes(16), _CHUNKED, 0, 0, 0, 0, 0, 0, 0, 0)


def _crc32c(data: bytes | bytearray) -> int:
    """CRC-32C (Castagnoli), not inverted at the end, as EROFS wants it."""
    crc = 2**32 - 1
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc
