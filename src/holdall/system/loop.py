"""Loop devices: a part of a file as a block device, for file systems that take nothing else.

For root. Constants are those of linux/loop.h.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

_GET_FREE = 0x4C82
_CONFIGURE = 0x4C0A
_READ_ONLY, _AUTOCLEAR, _DIRECT_IO = 1, 4, 16
_CONFIG = "<II5Q4I64s64s32s2Q8Q"  # struct loop_config with its struct loop_info64
_TRIES = 64
_SECTOR = 512


@contextmanager
def loop_device(file: str, offset: int, size: int) -> Iterator[str]:
    """The path of a read-only loop device for `size` bytes of a file, from `offset` on.

    It goes away when nothing has it open or mounted any more. Pages are not cached twice where the
    file system can read directly. Raises OSError.
    """
    backing = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        device, path = _configured(backing, file, offset, size)
    finally:
        os.close(backing)
    try:
        yield path
    finally:
        os.close(device)


def backing_file(device: str) -> str:
    """The file behind a loop device, or "" for what is none."""
    try:
        with open(f"/sys/block/{os.path.basename(device)}/loop/backing_file", "rb") as file:
            return os.fsdecode(file.read()).rstrip("\n").removesuffix(" (deleted)")
    except OSError:
        return ""


def _configured(backing: int, file: str, offset: int, size: int) -> tuple[int, str]:
    for _ in range(_TRIES):
        control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
        try:
            number = fcntl.ioctl(control, _GET_FREE)
        finally:
            os.close(control)
        path = f"/dev/loop{number}"
        device = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _configure(device, backing, offset, size, os.fsencode(file)[:63])
        except OSError as error:
            os.close(device)
            # another process may have taken it since it was found free
            if error.errno != errno.EBUSY:
                raise
        else:
            return device, path
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), "/dev/loop-control")


def _configure(device: int, backing: int, offset: int, size: int, name: bytes) -> None:
    sectors = -(-size // _SECTOR) * _SECTOR
    always = _READ_ONLY | _AUTOCLEAR
    for flags in (always | _DIRECT_IO, always):
        info = (0, 0, 0, offset, sectors, 0, 0, 0, flags, name, b"", b"", 0, 0)
        try:
            fcntl.ioctl(device, _CONFIGURE, struct.pack(_CONFIG, backing, 0, *info, *[0] * 8))
        except OSError as error:
            if error.errno != errno.EINVAL or flags == always:
                raise
        else:
            return
