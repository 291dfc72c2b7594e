"""How much of a file lies in the page cache, asked of the kernel by mincore(2)."""

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

from benchmarks.errors import BenchmarkError

PAGE = os.sysconf("SC_PAGE_SIZE")
_PROT_READ, _MAP_SHARED = 1, 1

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)


def cached_bytes(paths: Iterable[Path]) -> int:
    """The bytes of page cache that hold these files, an inode with many names counted once."""
    inodes = {(found.st_dev, found.st_ino): path for path in paths for found in (path.lstat(),)}
    return sum(map(_cached, inodes.values())) * PAGE


def _cached(path: Path) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _cached_pages(fd, os.fstat(fd).st_size)
    finally:
        os.close(fd)


def _cached_pages(fd: int, size: int) -> int:
    if not size:
        return 0
    address = _libc.mmap(None, size, _PROT_READ, _MAP_SHARED, fd, 0)
    if address == ctypes.c_void_p(-1).value:
        raise BenchmarkError(f"cannot map a file: {os.strerror(ctypes.get_errno())}")
    pages = ctypes.create_string_buffer(-(-size // PAGE))
    try:
        if _libc.mincore(address, size, pages):
            raise BenchmarkError(f"mincore failed: {os.strerror(ctypes.get_errno())}")
    finally:
        _libc.munmap(address, size)
    return sum(page & 1 for page in pages.raw)
