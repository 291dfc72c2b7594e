"""A little space and a few inodes kept aside: what removing an app takes on a full file system.

On the path of ``remove``: imports as little as can be.
"""

import os
from contextlib import suppress

from holdall.store.layout import Layout

_FILES = 8
_SIZE = 8192


def keep(layout: Layout) -> None:
    """Put the space aside, as far as it is to be had; for the holder of the lock."""
    with suppress(OSError):
        os.makedirs(layout.reserve, mode=0o700, exist_ok=True)
        for number in range(_FILES):
            path = f"{layout.reserve}/{number}"
            if not os.path.exists(path):
                fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
                try:
                    os.posix_fallocate(fd, 0, _SIZE)
                finally:
                    os.close(fd)


def spend(layout: Layout) -> None:
    """Give the space back to the file system, for what is about to be written."""
    for number in range(_FILES):
        with suppress(OSError):
            os.unlink(f"{layout.reserve}/{number}")
