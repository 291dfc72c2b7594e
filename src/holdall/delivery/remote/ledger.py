"""Which bytes of a file are there, written down so that it survives a kill.

A record is written after the bytes it is about, so what was recorded was written; after a power
loss that need not hold. Who uses the bytes checks them.
"""

import os
import struct
from bisect import bisect_left, bisect_right

from holdall.system.files import write_all, write_atomic

_RECORD = struct.Struct("<QQ")  # there from, to; where the first is the larger, gone between them
_MAX = 64 * 2**20
_OPEN = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


class Ledger:
    """The ranges of a file that are there, in the file `path`.

    Several processes may write to it; each sees what the others wrote when it asks for `look`.
    """

    def __init__(self, path: str) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._seen = 0
        self._fd = os.open(path, _OPEN, 0o600)
        size = os.fstat(self._fd).st_size
        os.ftruncate(self._fd, size - size % _RECORD.size)  # a full disk may have cut the last
        self.look()
        if self._seen > 4 * _RECORD.size * (16 + len(self._starts)):
            self._compact(path)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def add(self, start: int, end: int) -> None:
        """The bytes from `start` to `end` are there."""
        if start < end:
            write_all(self._fd, _RECORD.pack(start, end))

    def remove(self, start: int, end: int) -> None:
        """They are there no more."""
        if start < end:
            write_all(self._fd, _RECORD.pack(end, start))

    def look(self) -> None:
        """Read what was written since."""
        size = min(os.fstat(self._fd).st_size, _MAX)
        data = os.pread(self._fd, size - self._seen, self._seen) if size > self._seen else b""
        self._seen += len(data)
        for first, last in _RECORD.iter_unpack(data[: len(data) - len(data) % _RECORD.size]):
            self._apply(first, last)

    def reach(self, start: int, end: int) -> int:
        """Up to where the bytes from `start` on are there without a gap, `end` at most."""
        at = bisect_right(self._starts, start) - 1
        return start if at < 0 else max(start, min(end, self._ends[at]))

    def _apply(self, first: int, last: int) -> None:
        start, end = sorted((first, last))
        low = bisect_left(self._ends, start)
        high = bisect_right(self._starts, end)
        starts, ends = self._starts[low:high], self._ends[low:high]
        if first < last:
            new = [(min([start, *starts]), max([end, *ends]))]
        else:
            left = [(begin, start) for begin in starts[:1] if begin < start]
            new = left + [(end, stop) for stop in ends[-1:] if stop > end]
        self._starts[low:high] = [begin for begin, _ in new]
        self._ends[low:high] = [stop for _, stop in new]

    def _compact(self, path: str) -> None:
        pairs = zip(self._starts, self._ends, strict=True)
        write_atomic(path, b"".join(_RECORD.pack(*pair) for pair in pairs), mode=0o600)
        os.close(self._fd)
        self._fd = os.open(path, _OPEN, 0o600)
        self._seen = _RECORD.size * len(self._starts)
