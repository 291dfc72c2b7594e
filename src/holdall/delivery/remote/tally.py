"""A number that a process and those it forks add to, and each can read."""

import mmap
import os
import struct
import threading

_SLOT = struct.Struct("<q")


class Tally:
    """Counts upwards from 0.

    All threads of a process may add, and those of one forked process at a time beside them: each of
    the two has its own slot in shared memory.
    """

    def __init__(self) -> None:
        self._slots = mmap.mmap(-1, 2 * _SLOT.size)
        self._maker = os.getpid()
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """So many more; less than nothing takes back."""
        at = 0 if os.getpid() == self._maker else _SLOT.size
        with self._lock:
            before = _SLOT.unpack_from(self._slots, at)[0]
            _SLOT.pack_into(self._slots, at, before + count)

    @property
    def total(self) -> int:
        """The count of all."""
        return sum(_SLOT.unpack_from(self._slots, at)[0] for at in (0, _SLOT.size))
