"""Subvolumes of btrfs: made, snapshot, sealed and deleted, each by one ioctl.

These are the calls that libbtrfsutil makes. Ordinary users may make them on what is their own; so
installing on btrfs needs no program, and removing neither. Constants are those of linux/btrfs.h.
"""

import errno
import fcntl
import os
import struct
from typing import NamedTuple

from holdall.system.kernel import sync_filesystem

_SUBVOL_CREATE = 0x5000940E
_SNAP_DESTROY = 0x5000940F
_SNAP_CREATE = 0x50009417
_GET_FLAGS = 0x80089419
_SET_FLAGS = 0x4008941A
_SUBVOL_INFO = 0x81F8943C
_READ_ONLY = 2
_KEPT_READ_ONLY = 1  # the same flag, as the subvolume's item on the disk has it
_ROOT_INODE = 256
_INFO_SIZE, _INFO_FLAGS, _INFO_CHANGED = 504, 288, 344
_FOREIGN = {errno.EXDEV, errno.EINVAL, errno.EPERM, errno.EACCES, errno.ENOENT, errno.ENOTDIR}
_NOT_BTRFS = {errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL}


class State(NamedTuple):
    """A subvolume as it is: `change` is the number of the transaction that last changed a file."""

    read_only: bool
    change: int


def create(folder: str, name: str) -> None:
    """Make an empty subvolume in a folder; raises OSError."""
    parent = _open(folder)
    try:
        fcntl.ioctl(parent, _SUBVOL_CREATE, _named(name))
        os.chmod(name, 0o755, dir_fd=parent)
    finally:
        os.close(parent)


def snapshot(source: str, folder: str, name: str) -> bool:
    """Make a writable snapshot of the subvolume `source` in a folder.

    False where there is nothing to take one of: another file system, a plain folder, somebody
    else's.
    """
    try:
        held = _open(source)
    except OSError as error:
        if error.errno not in _FOREIGN:
            raise
        return False
    parent = _open(folder)
    try:
        fcntl.ioctl(parent, _SNAP_CREATE, _named(name, held))
    except OSError as error:
        if error.errno not in _FOREIGN | _NOT_BTRFS:
            raise
        return False
    finally:
        os.close(parent)
        os.close(held)
    return True


def seal(path: str) -> State:
    """Write a subvolume to the disk and make it read-only; returns the state it has then.

    Changes not written yet would count as made later.
    """
    fd = _open(path)
    try:
        sync_filesystem(fd)
        set_read_only(fd, read_only=True)
        return _state(fd)
    finally:
        os.close(fd)


def state(path: str) -> State | None:
    """The state of a subvolume; None where the path is none."""
    try:
        fd = _open(path)
    except OSError as error:
        if error.errno not in _FOREIGN:
            raise
        return None
    try:
        return _state(fd) if os.fstat(fd).st_ino == _ROOT_INODE else None
    except OSError as error:
        if error.errno not in _NOT_BTRFS:
            raise
        return None
    finally:
        os.close(fd)


def set_read_only(fd: int, *, read_only: bool) -> None:
    """Set or take the flag that keeps a subvolume from being changed; raises OSError."""
    fcntl.ioctl(fd, _SET_FLAGS, struct.pack("<Q", _READ_ONLY if read_only else 0))


def destroy(parent: int, name: str, fd: int) -> bool:
    """Delete the subvolume `name` in `parent`, open as `fd`, with all in it, by one call.

    False where that is not to be had: no subvolume, or an ordinary user's on a file system without
    the mount option user_subvol_rm_allowed. It may be written to then, if it is one's own, and be
    emptied and removed like any folder.
    """
    if os.fstat(fd).st_ino != _ROOT_INODE:
        return False
    for _ in range(2):
        try:
            fcntl.ioctl(parent, _SNAP_DESTROY, _named(name))
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno in _NOT_BTRFS:
                return False
        else:
            return True
        # for an ordinary user it counts as one more thing that is read-only
        try:
            set_read_only(fd, read_only=False)
        except OSError:
            return False
    return False


def _state(fd: int) -> State:
    info = bytearray(_INFO_SIZE)
    fcntl.ioctl(fd, _SUBVOL_INFO, info)
    flags = struct.unpack_from("<Q", info, _INFO_FLAGS)[0]
    return State(bool(flags & _KEPT_READ_ONLY), struct.unpack_from("<Q", info, _INFO_CHANGED)[0])


def _named(name: str, source: int | None = None) -> bytearray:
    """What a call takes; one with a source has flags before the name."""
    if source is None:
        return bytearray(struct.pack("<q4088s", 0, os.fsencode(name)))
    return bytearray(struct.pack("<qQQ32x4040s", source, 0, 0, os.fsencode(name)))


def _open(folder: str) -> int:
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
