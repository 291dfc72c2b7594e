"""How much of files, or of all that is read, lies in the page cache, asked of the kernel.

``cached_bytes`` asks by mincore(2), which follows a file of an overlay to where its pages are.
``own_pages`` asks by cachestat(2), which does not: what it counts belongs to that very inode.
``all_cached`` is what the whole machine holds: with what no file can be asked for (a loop device's
pages, compressed blocks that EROFS keeps, nodes of btrfs), and with what others read meanwhile.
"""

import ctypes
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from benchmarks.errors import BenchmarkError

PAGE = os.sysconf("SC_PAGE_SIZE")
_PROT_READ, _MAP_SHARED = 1, 1
_CACHESTAT = 451  # the same number on every architecture

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


def all_cached() -> int:
    """The bytes of page cache of the whole machine that lie in no memory file system."""
    text = Path("/proc/meminfo").read_text()
    lines = dict(re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE))
    return (int(lines["Cached"]) + int(lines["Buffers"]) - int(lines["Shmem"])) * 1024


def own_pages(paths: Iterable[Path]) -> int:
    """The bytes of page cache of these inodes, each once; of files and block devices alone."""
    inodes: dict[tuple[int, int], Path] = {}
    for path in paths:
        found = path.lstat()
        if stat.S_ISREG(found.st_mode) or stat.S_ISBLK(found.st_mode):
            inodes.setdefault((found.st_dev, found.st_ino), path)
    return sum(map(_pages_of, inodes.values())) * PAGE


def _pages_of(path: Path) -> int:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOATIME)
    everything = (ctypes.c_uint64 * 2)()  # struct cachestat_range: of length 0, to the end
    pages = (ctypes.c_uint64 * 5)()  # struct cachestat: those in the cache come first
    try:
        if _libc.syscall(_CACHESTAT, fd, everything, pages, 0):
            raise BenchmarkError(f"cachestat failed: {os.strerror(ctypes.get_errno())}")
    finally:
        os.close(fd)
    return int(pages[0])


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
