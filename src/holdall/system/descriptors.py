"""What a process that outlives its caller must not take along: the caller's open files.

Locks would be held on, and who reads a pipe to its end would wait for ever.
"""

import os
from collections.abc import Collection
from contextlib import suppress


def let_go(but: Collection[int]) -> None:
    """Close everything but some descriptors; standard input, output and error lead nowhere then."""
    silence = os.open(os.devnull, os.O_RDWR)
    for fd in {0, 1, 2} - set(but):
        os.dup2(silence, fd)
    close_all(but={0, 1, 2, *but})


def close_all(but: Collection[int]) -> None:
    """Close everything but some descriptors."""
    for fd in {int(name) for name in os.listdir("/proc/self/fd")} - set(but):
        with suppress(OSError):
            os.close(fd)
