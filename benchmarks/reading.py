"""Read every file of a folder, in the order of their paths, and say how long that took.

Imported, or run as a program of its own by whoever the files are readable for: it then prints the
seconds of a first and of a second reading, the number of files and their bytes. It needs nothing
but Python's own modules, so that its text can be handed to where the benchmarks are not.
"""

import os
import sys
import time
from typing import NamedTuple

_PIECE = 1 << 20


class Reading(NamedTuple):
    """What reading took, and what was read: links are not followed, nor counted."""

    seconds: float
    files: int
    size: int


def read_all(folder: str) -> Reading:
    """Read all that is below a folder."""
    buffer = memoryview(bytearray(_PIECE))
    begun = time.perf_counter()
    files = size = 0
    pending = [folder]
    while pending:
        below = []
        with os.scandir(pending.pop()) as listing:
            for entry in sorted(listing, key=lambda found: found.name):
                if entry.is_dir(follow_symlinks=False):
                    below.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    files += 1
                    size += _read(entry.path, buffer)
        pending += reversed(below)
    return Reading(time.perf_counter() - begun, files, size)


def _read(path: str, buffer: memoryview) -> int:
    size = 0
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while count := os.readv(fd, [buffer]):
            size += count
    finally:
        os.close(fd)
    return size


if __name__ == "__main__":
    first, second = read_all(sys.argv[1]), read_all(sys.argv[1])
    print(first.seconds, second.seconds, second.files, second.size)
