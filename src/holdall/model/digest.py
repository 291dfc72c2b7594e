"""The one name of a content: its fs-verity file digest (SHA-256, 4096-byte blocks, no salt).

The layout of the Merkle tree and of the 256-byte descriptor is the kernel's
(Documentation/filesystems/fsverity.rst, "Merkle tree" and "fs-verity descriptor"), so a signed tree
entry, a pool key and what the kernel measures are equal.
"""

from hashlib import sha256
from struct import pack
from typing import NamedTuple

from holdall.errors import CorruptError

BLOCK = 4096
SIZE = 32
PREFIX = "sha256-4k:"

_ZERO_BLOCK = bytes(BLOCK)
# version 1, SHA-256, 2^12-byte blocks, no salt, reserved; after the size come 64 bytes of root,
# 32 of salt and 144 that are reserved
_DESCRIPTOR_HEAD = pack("<BBBBI", 1, 1, 12, 0, 0)
_DESCRIPTOR_TAIL = bytes(32 + 32 + 144)


class Digest(NamedTuple):
    """The fs-verity digest of some bytes, written ``sha256-4k:<64 hex>``."""

    raw: bytes

    @classmethod
    def parse(cls, text: str) -> "Digest":
        """Read the written form; raises CorruptError when it is anything else."""
        digits = text.removeprefix(PREFIX)
        try:
            raw = bytes.fromhex(digits)
        except ValueError:
            raw = b""
        if not text.startswith(PREFIX) or len(raw) != SIZE or digits != raw.hex():
            raise CorruptError(f"{text!r} is not a digest of the form {PREFIX}<64 hex digits>.")
        return cls(raw)

    @property
    def hex(self) -> str:
        """The 64 hexadecimal digits alone."""
        return self.raw.hex()

    def __str__(self) -> str:
        return PREFIX + self.raw.hex()


def digest_of(data: bytes | bytearray | memoryview) -> bytes:
    """The raw 32-byte digest of `data`, whole in memory."""
    size = len(data)
    if size > BLOCK:
        return _finish(_root(_leaves(memoryview(data))), size)
    if size == 0:
        return EMPTY
    return _finish(sha256(b"".join((data, _ZERO_BLOCK[size:]))).digest(), size)


class Hasher:
    """The same digest over bytes that arrive in pieces; holds 32 bytes for every 4096 seen."""

    def __init__(self) -> None:
        self._leaves = bytearray()
        self._rest = b""
        self._size = 0

    def update(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes, in order, in pieces of any length."""
        view = memoryview(data)
        self._size += len(view)
        if self._rest:
            missing = BLOCK - len(self._rest)
            self._rest += bytes(view[:missing])
            view = view[missing:]
            if len(self._rest) < BLOCK:
                return
            self._leaves += sha256(self._rest).digest()
        whole = len(view) - len(view) % BLOCK
        self._leaves += _leaves(view[:whole])
        self._rest = bytes(view[whole:])

    def digest(self) -> bytes:
        """The raw digest of everything seen so far; more may follow."""
        leaves = bytes(self._leaves)
        if self._rest:
            leaves += _hash_block(self._rest)
        return _finish(_root(leaves) if leaves else bytes(SIZE), self._size)


def leaf_hashes(data: bytes | memoryview) -> bytes:
    """The hashes of the blocks of a slice that begins at a multiple of `BLOCK`, 32 bytes each."""
    return _leaves(memoryview(data))


def digest_of_leaves(leaves: bytes, size: int) -> bytes:
    """The raw digest of a content of `size` bytes from the hashes of all its blocks."""
    return _finish(_root(leaves) if leaves else bytes(SIZE), size)


def _leaves(view: memoryview) -> bytes:
    whole = len(view) - len(view) % BLOCK
    hashes = [sha256(view[at : at + BLOCK]).digest() for at in range(0, whole, BLOCK)]
    if whole != len(view):
        hashes.append(_hash_block(view[whole:]))
    return b"".join(hashes)


def _root(hashes: bytes) -> bytes:
    while len(hashes) > SIZE:
        hashes = _leaves(memoryview(hashes))
    return hashes


def _hash_block(data: bytes | bytearray | memoryview) -> bytes:
    return sha256(b"".join((data, _ZERO_BLOCK[len(data) :]))).digest()


def _finish(root: bytes, size: int) -> bytes:
    return sha256(
        b"".join((_DESCRIPTOR_HEAD, size.to_bytes(8, "little"), root, _DESCRIPTOR_TAIL))
    ).digest()


EMPTY = _finish(bytes(SIZE), 0)
