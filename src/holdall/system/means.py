"""What this machine has: kernel, privileges, file system, programs. Probed by trying, when asked.

Every fact is found out once for a `Means`.
"""

import os
from functools import cached_property

from holdall.system.kernel import enable_verity


class Means:
    """The facts a form's doing depends on; `store` is a folder on the store's file system."""

    def __init__(self, store: str) -> None:
        self.store = store

    @cached_property
    def root(self) -> bool:
        """Whether this process has root's powers."""
        return os.geteuid() == 0

    @cached_property
    def verity(self) -> bool:
        """Whether the store's file system has fs-verity."""
        path = f"{self.store}/.{os.urandom(8).hex()}.tmp"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, b"holdall")
            os.close(fd)
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            return enable_verity(fd)
        finally:
            os.close(fd)
            os.unlink(path)
