"""Files in the folder where contents are made; no link is followed."""

import os

from holdall.system.files import write_all

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


def write_whole(path: str, data: bytes | memoryview) -> None:
    """Have a file with these bytes and no others."""
    fd = os.open(path, _CREATE | os.O_TRUNC, 0o644)
    try:
        write_all(fd, data)
    finally:
        os.close(fd)


def write_at(path: str, data: bytes | memoryview, offset: int) -> None:
    """Have these bytes at an offset of a file."""
    fd = os.open(path, _CREATE, 0o644)
    try:
        os.lseek(fd, offset, os.SEEK_SET)
        write_all(fd, data)
    finally:
        os.close(fd)


def read(path: str, offset: int, length: int) -> bytes | None:
    """What a file has there; None where it cannot be opened."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return os.pread(fd, length, offset)
    finally:
        os.close(fd)
