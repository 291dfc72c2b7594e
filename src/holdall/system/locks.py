"""Locks that end with the process that holds them."""

import errno
import fcntl
import os
import struct
import time
from contextlib import suppress

_FLOCK = "hhqqi"  # struct flock: type, whence, start, length, pid


def open_lock(path: str) -> int:
    """Open a file to lock, made where it is missing, which only its owner may open.

    Whoever may read a file may lock it, and keep everybody else waiting.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    status = os.fstat(fd)
    if status.st_mode & 0o077 and status.st_uid == os.geteuid():
        os.fchmod(fd, 0o600)
    return fd


def has_open(process: int, fd: int) -> bool:
    """Whether a process has the same file open; False where this one may not know."""
    wanted = os.fstat(fd)
    folder = f"/proc/{process}/fd"
    with suppress(OSError):
        for name in os.listdir(folder):
            with suppress(OSError):
                if os.path.samestat(os.stat(f"{folder}/{name}"), wanted):
                    return True
    return False


def try_exclusive(fd: int) -> bool:
    """Take the whole-file lock of an open file description (flock) now.

    False when another holds it.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
            return False
        raise
    return True


def take_exclusive(fd: int, *, wait: float) -> bool:
    """The same, waiting up to `wait` seconds for the holder to end."""
    end = time.monotonic() + wait
    while not try_exclusive(fd):
        if time.monotonic() >= end:
            return False
        time.sleep(0.02)
    return True


def is_leased(path: str) -> bool:
    """Whether any process holds a record lock on the file; a file that is gone has no lease."""
    return _lock_on(path) != fcntl.F_UNLCK


def is_shared(path: str) -> bool:
    """Whether an app that runs holds the lease, and not one who frees what was removed."""
    return _lock_on(path) == fcntl.F_RDLCK


def hold_lease(path: str) -> int:
    """Hold a lease as a running app does, for as long as the descriptor is open somewhere.

    It may be handed on to another program. Raises BlockingIOError while what has the lease is being
    freed, and FileNotFoundError when it is gone.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _whole_file(fcntl.F_RDLCK))  # type: ignore[attr-defined, unused-ignore]
    except BaseException:
        os.close(fd)
        raise
    return fd


def _lock_on(path: str) -> int:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return fcntl.F_UNLCK
    try:
        answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _whole_file(fcntl.F_WRLCK))  # type: ignore[attr-defined, unused-ignore]
        return int(struct.unpack(_FLOCK, answer)[0])
    finally:
        os.close(fd)


def await_lease_end(fd: int) -> None:
    """Wait until nobody holds a lease on the file and keep new ones out while `fd` is open."""
    fcntl.fcntl(fd, fcntl.F_OFD_SETLKW, _whole_file(fcntl.F_WRLCK))  # type: ignore[attr-defined, unused-ignore]


def _whole_file(kind: int) -> bytes:
    return struct.pack(_FLOCK, kind, os.SEEK_SET, 0, 0, 0)
