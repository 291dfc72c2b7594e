"""Mounts of ordinary users for all their processes: by ``fusermount3``, which is setuid.

It opens /dev/fuse and hands that over through a socket.
"""

import ctypes
import os
import struct
from typing import Final

from holdall.errors import ProgramError
from holdall.system.kernel import checked, libc
from holdall.system.means import package_of
from holdall.system.process import find_program, run

_AF_UNIX, _SOCK_STREAM, _SOL_SOCKET, _SCM_RIGHTS = 1, 1, 1, 1
_CONTROL: Final = struct.Struct("@NiiI")  # a cmsghdr with one descriptor, unpadded


def mounted_by_fusermount(target: str, name: str) -> int:
    """Mount at a folder; the descriptor of /dev/fuse to answer at.

    Raises UnsupportedError without the program, ProgramError with what it says.
    """
    program = find_program("fusermount3", package=package_of("fusermount3"))
    ours, theirs = _sockets()
    try:
        environment = {**os.environ, "_FUSE_COMMFD": str(theirs)}
        options = f"ro,nosuid,nodev,fsname={name},subtype=holdall,default_permissions"
        run([program, "-o", options, "--", target], env=environment, pass_fds=(theirs,))
        os.close(theirs)
        theirs = -1
        return _received(ours)
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)


def _sockets() -> tuple[int, int]:
    pair = (ctypes.c_int * 2)()
    checked(libc().socketpair(_AF_UNIX, _SOCK_STREAM, 0, pair), "socketpair")
    return pair[0], pair[1]


class _Span(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))  # type: ignore[mutable-override]  # ctypes takes any sequence


class _Message(ctypes.Structure):
    _fields_ = (  # type: ignore[mutable-override]  # ctypes takes any sequence
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("spans", ctypes.POINTER(_Span)),
        ("count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


def _received(socket: int) -> int:
    """The descriptor that comes with the next byte; raises ProgramError."""
    byte, control = ctypes.create_string_buffer(1), ctypes.create_string_buffer(64)
    span = _Span(ctypes.addressof(byte), 1)
    message = _Message(None, 0, ctypes.pointer(span), 1, ctypes.addressof(control), len(control), 0)
    checked(int(libc().recvmsg(socket, ctypes.byref(message), 0)), "recvmsg")
    if message.control_length < _CONTROL.size:
        raise ProgramError("fusermount3 mounted nothing.")
    _, level, kind, fd = _CONTROL.unpack_from(control.raw)
    if (level, kind) != (_SOL_SOCKET, _SCM_RIGHTS):
        raise ProgramError("fusermount3 sent something else than a mount.")
    os.set_inheritable(fd, False)  # noqa: FBT003 - os's own
    return int(fd)
