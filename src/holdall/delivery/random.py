"""Contents out of a bundle at random: the frames that have them, decoded and kept for a while.

No frame is decoded before its SHA-256 was found to be what the signed index says; then it is
decoded once for all that is read of it soon. Who reads on finds the next frames decoded by a second
thread: hashing, decoding and reading leave the interpreter to others meanwhile.
"""

import os
import queue
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import sha256
from typing import Final

from holdall.delivery.habit import Habit
from holdall.delivery.index import Chart
from holdall.delivery.zstandard import decompress
from holdall.errors import CorruptError, NotFoundError

BUDGET: Final = 48 * 2**20
"""Bytes of decoded frames that are kept; two are in any case."""

AHEAD: Final = 3 * 2**18
"""Bytes that are decoded before they are asked for, of one who reads on; one frame at least."""


class FrameContents:
    """The `RandomContents` of a full bundle in a file.

    `fd` is read by position; the first frame is at `first`. `digests` are those of the tree's
    contents in order of first use; `habit` is what is known of earlier readers. The second thread
    ends with the process.
    """

    def __init__(
        self,
        fd: int,
        first: int,
        chart: Chart,
        digests: list[bytes],
        *,
        habit: Habit | None = None,
        budget: int = BUDGET,
        ahead: int = AHEAD,
    ) -> None:
        self._fd, self._first, self._chart = fd, first, chart
        self._places = dict(zip(digests, chart.places, strict=True))
        self._budget, self._ahead = budget, ahead
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self.kept_bytes = self.decoded = 0
        """The bytes that are kept just now, and how many frames were decoded so far."""
        self._coming: dict[int, threading.Lock] = {}
        self._untouched: set[int] = set()
        self._orders: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._habit = habit or Habit(b"", 0, 1)
        self._order(self._habit.due())
        if ahead:
            threading.Thread(target=self._work_ahead, daemon=True).start()

    def read(self, digest: bytes, offset: int, size: int) -> list[memoryview]:
        """See `holdall.store.contents.RandomContents`; raises OSError, too."""
        place = self._places.get(digest)
        if place is None:
            raise NotFoundError(f"The bundle has no content {digest.hex()}.")
        starts = self._chart.starts
        start, end = place + offset, place + offset + size
        number = bisect_right(starts, start) - 1
        pieces = []
        while start < end:
            within = start - starts[number]
            piece = memoryview(self._frame(number))[within : within + end - start]
            pieces.append(piece)
            start += len(piece)
            number += 1
        return pieces

    @property
    def busy(self) -> bool:
        """See `holdall.store.contents.RandomContents`."""
        return bool(self._coming) or not self._orders.empty()

    def rest(self) -> None:
        """See `holdall.store.contents.RandomContents`."""
        with self._lock:
            self._kept.clear()
            self._untouched.clear()
            self.kept_bytes = 0
            self._habit.forget()

    def _frame(self, number: int) -> bytes:
        """A frame's slice of the stream, for somebody who reads it now."""
        with self._lock:
            data = self._kept.get(number)
            if data is not None:
                self._kept.move_to_end(number)
                if number not in self._untouched:
                    return data
                self._untouched.discard(number)
            if number - 1 in self._kept and not self._habit.knows(number):
                self._order(self._following(number))
            self._order(self._habit.met(number))
        return data if data is not None else self._have(number)

    def _following(self, number: int) -> Iterator[int]:
        """The frames after one, as far as it is worth for somebody who reads on."""
        starts, ahead = self._chart.starts, number + 1
        while ahead + 1 < len(starts) and (
            ahead == number + 1 or starts[ahead + 1] - starts[number + 1] <= self._ahead
        ):
            yield ahead
            ahead += 1

    def _order(self, numbers: Iterable[int]) -> None:
        """Have frames decoded by the second thread, if there is one."""
        if not self._ahead:
            return
        for number in numbers:
            if number not in self._kept and number not in self._coming:
                self._orders.put(number)

    def _work_ahead(self) -> None:
        """In the second thread, to the end of the process."""
        while True:
            number = self._orders.get()
            # whoever reads the frame meets the same fault, and is told
            with suppress(CorruptError, OSError):
                self._have(number, touched=False)

    def _have(self, number: int, *, touched: bool = True) -> bytes:
        """Decode a frame, unless another thread just does."""
        mine = threading.Lock()
        with mine:
            while True:
                with self._lock:
                    data = self._kept.get(number)
                    if data is not None:
                        if touched:
                            self._untouched.discard(number)
                        return data
                    coming = self._coming.setdefault(number, mine)
                if coming is mine:
                    break
                with coming:
                    pass
            try:
                data = self._decode(number)
                with self._lock:
                    self._keep(number, data, touched=touched)
            finally:
                del self._coming[number]
        return data

    def _keep(self, number: int, data: bytes, *, touched: bool) -> None:
        self._kept[number] = data
        self.decoded += 1
        self.kept_bytes += len(data)
        if not touched:
            self._untouched.add(number)
        while self.kept_bytes > self._budget and len(self._kept) > 2:
            gone = self._outdone(number)
            self._untouched.discard(gone)
            self.kept_bytes -= len(self._kept.pop(gone))

    def _outdone(self, number: int) -> int:
        """The frame that goes for another one.

        Where all goes as it is foreseen, none that is still to be read.
        """
        if self._habit.knows(number):
            for one in self._kept:
                if one not in self._untouched and one != number:
                    return one
        return next(iter(self._kept))

    def _decode(self, number: int) -> bytes:
        starts, offsets, hashes, _ = self._chart
        offset, stored = offsets[number], offsets[number + 1] - offsets[number]
        data = os.pread(self._fd, stored, self._first + offset)
        if sha256(data).digest() != hashes[32 * number : 32 * number + 32]:
            where = self._first + offset
            raise CorruptError(f"The bundle's frame at {where} is not what the publisher signed.")
        return decompress(data, starts[number + 1] - starts[number])
