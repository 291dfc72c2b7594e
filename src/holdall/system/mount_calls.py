"""Thin wrappers of the system calls that make mounts and namespaces.

Each says what it needs; all raise OSError. Constants are those of the Linux UAPI headers
(linux/mount.h, linux/sched.h, linux/capability.h, linux/prctl.h, linux/seccomp.h).
"""

import ctypes
import errno
import os
import struct
from types import TracebackType
from typing import Self

from holdall.system.kernel import checked, libc

READ_ONLY, NO_SETUID, NO_DEVICES = 1, 2, 4
RECURSIVE, SLAVE = 0x4000, 1 << 19
CARELESS = READ_ONLY | NO_SETUID | NO_DEVICES
"""What every mount here has: nothing in it is written, no device and no set user id counts."""

_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000
_DETACH, _NO_FOLLOW = 2, 8
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT, _MOUNT_SETATTR = 428, 429, 430, 431, 432, 442
_CLONED = 1 | os.O_CLOEXEC  # of open_tree
_AT_FDCWD, _AT_EMPTY_PATH, _BY_DESCRIPTORS = -100, 0x1000, 4 | 0x40
_CLOEXEC = 1  # of fsopen and fsmount
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6
_PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 38, 47, 2
_CAP_VERSION, _CAP_SYS_ADMIN = 0x20080522, 21
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_SET_FILTER, _ALL_THREADS = 1, 1


def new_namespaces(*, user: bool) -> None:
    """Leave the mount namespace for a copy of it; with `user` in a new user namespace around it.

    Without `user` for root; with it, for a process of one thread.
    """
    flags = _CLONE_NEWNS | (_CLONE_NEWUSER if user else 0)
    checked(libc().unshare(flags), "unshare")


def receive_only() -> None:
    """Let no mount made here be seen elsewhere; what the host unmounts still goes away here."""
    mount("none", "/", None, RECURSIVE | SLAVE)


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """mount(2)."""
    given = None if kind is None else kind.encode()
    arguments = (os.fsencode(source), os.fsencode(target), given, ctypes.c_ulong(flags))
    checked(libc().mount(*arguments, os.fsencode(data) or None), target)


def unmount(target: str) -> None:
    """Take the topmost mount at a path away if nothing uses it (EBUSY)."""
    checked(libc().umount2(os.fsencode(target), _NO_FOLLOW), target)


def detach(target: str) -> None:
    """Take the topmost mount at a path away; who uses it still may to the end."""
    checked(libc().umount2(os.fsencode(target), _DETACH | _NO_FOLLOW), target)


def detach_root(root: int) -> None:
    """The same for the mount whose root a descriptor is of."""
    path = f"/proc/self/fd/{root}"
    checked(libc().umount2(path.encode(), _DETACH), path)


def clone(folder: str) -> int:
    """The descriptor of a mount that shows a folder, read-only, and is attached to nothing.

    It is gone with its descriptor, unless it was attached.
    """
    tree = _call(_OPEN_TREE, _AT_FDCWD, os.fsencode(folder), _CLONED, what=folder)
    try:
        attributes = struct.pack("<QQQQ", CARELESS, 0, 0, 0)
        size = len(attributes)
        _call(_MOUNT_SETATTR, tree, b"", _AT_EMPTY_PATH, attributes, size, what=folder)
    except BaseException:
        os.close(tree)
        raise
    return tree


class Configuration:
    """A mount while it is put together (fsopen, fsconfig, fsmount)."""

    def __init__(self, kind: str) -> None:
        self._fd = _call(_FSOPEN, kind.encode(), _CLOEXEC, what=kind)

    def __enter__(self) -> Self:
        """It is closed at the end, whether something was mounted or not."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""
        os.close(self._fd)

    def set(self, key: str, value: str) -> None:
        """Set an option; a value has at most 255 bytes."""
        data = os.fsencode(value)
        _call(_FSCONFIG, self._fd, _SET_STRING, key.encode(), data, 0, what=f"{key}={value}")

    def flag(self, key: str) -> None:
        """Set an option that has no value."""
        _call(_FSCONFIG, self._fd, _SET_FLAG, key.encode(), None, 0, what=key)

    def make(self) -> int:
        """The descriptor of the mount, which is attached to nothing; read-only."""
        self.flag("ro")
        _call(_FSCONFIG, self._fd, _CREATE, None, None, 0, what="create")
        return _call(_FSMOUNT, self._fd, _CLOEXEC, CARELESS, what="fsmount")


def attach(mounted: int, folder: int) -> None:
    """Put a mount that is attached to nothing at a folder, both given by descriptors."""
    _call(_MOVE_MOUNT, mounted, b"", folder, b"", _BY_DESCRIPTORS, what="move_mount")


def no_new_privileges() -> None:
    """Let no program that this process becomes have more rights than it has (no setuid)."""
    checked(libc().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")


def keep_mounting() -> None:
    """Let the program that this process becomes mount, where this process may."""
    header = struct.pack("<Ii", _CAP_VERSION, 0)
    sets = ctypes.create_string_buffer(24)
    checked(libc().capget(header, sets), "capget")
    words = list(struct.unpack("<6I", sets.raw))  # effective, permitted, inheritable, twice
    words[2] |= 1 << _CAP_SYS_ADMIN
    checked(libc().capset(header, struct.pack("<6I", *words)), "capset")
    raised = libc().prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, _CAP_SYS_ADMIN, 0, 0)
    checked(raised, "prctl")


def _call(number: int, *arguments: int | bytes | None, what: str) -> int:
    given = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    return checked(libc().syscall(ctypes.c_long(number), *given), what)


def give_up_capabilities() -> None:
    """Have no capability and never any again. For a process of one thread: each has its own."""
    no_new_privileges()
    header = struct.pack("<Ii", _CAP_VERSION, 0)
    checked(libc().capset(header, bytes(24)), "capset")


def hold_to(program: bytes | None) -> None:
    """Hold all threads to a system call filter, if there is one; they have no capability."""
    if program:
        memory = ctypes.create_string_buffer(program, len(program))
        filter_ = struct.pack("@HP", len(program) // 8, ctypes.addressof(memory))
        number = ctypes.c_long(_SECCOMP[os.uname().machine])
        arguments = (ctypes.c_ulong(_SET_FILTER), ctypes.c_ulong(_ALL_THREADS), filter_)
        if checked(libc().syscall(number, *arguments), "seccomp"):
            raise OSError(errno.ESRCH, "a thread is not held to the filter", "seccomp")
