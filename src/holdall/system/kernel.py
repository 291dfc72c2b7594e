"""Thin wrappers of the system calls that Python does not have.

Each says what it needs and what it raises.

Constants are those of the Linux UAPI headers (linux/openat2.h, linux/fsverity.h, linux/fs.h,
linux/mman.h).
"""

import ctypes
import errno
import fcntl
import functools
import os
import struct

_SYS_OPENAT2 = 437
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_FS_IOC_ENABLE_VERITY = 0x40806685
_FS_IOC_MEASURE_VERITY = 0xC0046686
_FICLONE = 0x40049409
_FALLOC_FL_KEEP_SIZE = 0x01
_FALLOC_FL_PUNCH_HOLE = 0x02
_NO_CLONE = {errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.EPERM, errno.ETXTBSY}
_NO_VERITY = {errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ENODATA}


@functools.cache
def libc() -> ctypes.CDLL:
    """The C library of this process; for the modules of this package."""
    return ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> int:
    """What a call returned; raises the OSError it failed with, which names `what`."""
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
    return result


def open_beneath(directory: int, path: str, flags: int) -> int:
    """Open `path` below a directory descriptor, following no symbolic link (openat2)."""
    how = struct.pack("<QQQ", flags | os.O_CLOEXEC, 0, _RESOLVE_NO_SYMLINKS | _RESOLVE_BENEATH)
    call = libc().syscall
    return checked(call(_SYS_OPENAT2, directory, os.fsencode(path), how, len(how)), path)


def exchange(one: str, other: str) -> None:
    """Swap two names of one file system in one step (renameat2)."""
    call = libc().renameat2
    at = ctypes.c_int(_AT_FDCWD)
    result = call(at, os.fsencode(one), at, os.fsencode(other), ctypes.c_uint(_RENAME_EXCHANGE))
    checked(result, one)


def sync_filesystem(fd: int) -> None:
    """Wait until everything written to the file system of `fd` is on its disk (syncfs)."""
    checked(libc().syncfs(fd), "syncfs")


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends."""
    checked(libc().prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0), "prctl")


def name_process(name: bytes) -> None:
    """Give this process a name of at most 15 bytes, for the kernel's list of processes."""
    checked(libc().prctl(_PR_SET_NAME, name, 0, 0, 0), "prctl")


def keep_memory() -> None:
    """Have this process keep the memory it frees (mallopt).

    For work that asks for the same large pieces again and again.

    Else glibc returns each to the kernel and takes the page faults anew: half of the time of
    decoding. All threads take it from one place, as what lies free in others is not given back by
    `return_memory`. To be called before there is a thread more.
    """
    for parameter in (_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD):
        libc().mallopt(parameter, 2**30)
    libc().mallopt(_M_ARENA_MAX, 1)


def return_memory() -> None:
    """Give the memory that this process has freed back to the kernel (malloc_trim).

    Before a fork: else parent and child each have a copy of it, once one of them uses it again.
    """
    libc().malloc_trim(0)


def punch_hole(fd: int, offset: int, length: int) -> None:
    """Give back the space of a part of a file where the file system can; its size stays."""
    mode = _FALLOC_FL_KEEP_SIZE | _FALLOC_FL_PUNCH_HOLE
    libc().fallocate(fd, mode, ctypes.c_long(offset), ctypes.c_long(length))


def clone_file(source: int, fd: int) -> bool:
    """Let a file share another's blocks (FICLONE); False where the file systems cannot."""
    try:
        fcntl.ioctl(fd, _FICLONE, source)
    except OSError as error:
        if error.errno in _NO_CLONE:
            return False
        raise
    return True


def enable_verity(fd: int) -> bool:
    """Turn fs-verity on for a read-only descriptor (SHA-256, 4096, no salt).

    False where it is not to be had.

    The file must have no writer; a file that has it already counts as done.
    """
    argument = struct.pack("<IIIIQIIQ11Q", 1, 1, 4096, 0, 0, 0, 0, 0, *([0] * 11))
    try:
        fcntl.ioctl(fd, _FS_IOC_ENABLE_VERITY, argument)
    except OSError as error:
        if error.errno == errno.EEXIST:
            return True
        if error.errno in _NO_VERITY:
            return False
        raise
    return True


def measure_verity(fd: int) -> bytes | None:
    """The raw digest the kernel holds for a file, or None when the file has no fs-verity."""
    buffer = bytearray(struct.pack("<HH", 0, 32) + bytes(32))
    try:
        fcntl.ioctl(fd, _FS_IOC_MEASURE_VERITY, buffer)
    except OSError as error:
        if error.errno in _NO_VERITY:
            return None
        raise
    return bytes(buffer[4:])
