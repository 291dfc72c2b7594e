"""Runs a command as a user where nobody may make a user namespace: NUMBER COMMAND….

A program, for root. Programs that are setuid work in it, and may mount.
"""

import ctypes
import os
import sys

_NEW_USER, _NEW_MOUNTS = 0x10000000, 0x00020000
_EVERYBODY = "0 0 65536"


def main() -> int:
    """Wait for the command; returns its exit code."""
    user = int(sys.argv[1])
    left, leaves = os.pipe()
    mapped, maps = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            become(user, leaves, mapped)
        finally:
            os._exit(127)
    assert os.read(left, 1)
    for kind in ("uid", "gid"):
        write(f"/proc/{child}/{kind}_map", _EVERYBODY)
    os.write(maps, b".")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF


def become(user: int, leaves: int, mapped: int) -> None:
    """In the child: leave for a namespace in which no other may be made, and become the command."""
    if ctypes.CDLL(None, use_errno=True).unshare(_NEW_USER | _NEW_MOUNTS):
        raise OSError(ctypes.get_errno(), "unshare")
    os.write(leaves, b".")
    os.read(mapped, 1)
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    write("/proc/sys/user/max_user_namespaces", "0")
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 - as meant


def write(path: str, text: str) -> None:
    """Write to a file there is."""
    with open(path, "w", encoding="ascii") as file:  # noqa: PTH123 - starts quickly
        file.write(text)


if __name__ == "__main__":
    sys.exit(main())
