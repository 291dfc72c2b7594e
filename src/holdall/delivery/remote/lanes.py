"""Parts of a remote's file, fetched over several connections at once.

Each goes to the same place in a file here.
"""

import os
import threading
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Self

from holdall.delivery.remote.ledger import Ledger
from holdall.delivery.remote.transport import Transport

_NOTED = 2**18  # how many bytes come before they are written down
_GAP = 64_000  # longer gaps are asked around, shorter ones may be read over
_GAPS = 200  # gaps that are read over are together at most one part in so many of what is wanted


class Span(NamedTuple):
    """The bytes of a file from `start` up to `end`."""

    start: int
    end: int


class Run:
    """What one request brings: from `start`, the `spans` that are wanted; `at` is how far it is."""

    def __init__(self, start: int, spans: Sequence[Span]) -> None:
        self.start = start
        self.spans = spans
        self.at = start

    @property
    def end(self) -> int:
        """Up to where it is fetched."""
        return self.spans[-1].end


class Target(NamedTuple):
    """Where what is fetched goes: a file with its ledger.

    Spans count from `origin` in it, as they do in the remote's file.
    """

    fd: int
    ledger: Ledger
    origin: int


def runs_of(spans: Iterable[Span]) -> list[Run]:
    """The requests that bring these spans, which are in order: few, with hardly a byte between."""
    merged: list[Span] = []
    for span in spans:
        if merged and merged[-1].end == span.start:
            merged[-1] = Span(merged[-1].start, span.end)
        else:
            merged.append(span)
    left = sum(span.end - span.start for span in merged) // _GAPS
    joined: set[int] = set()
    gaps = ((merged[at].start - merged[at - 1].end, at) for at in range(1, len(merged)))
    for gap, at in sorted(gaps):
        left -= gap
        if left < 0 or gap > _GAP:
            break
        joined.add(at)
    runs: list[list[Span]] = []
    for at, span in enumerate(merged):
        if at in joined:
            runs[-1].append(span)
        else:
            runs.append([span])
    return [Run(spans[0].start, spans) for spans in runs]


class Lanes:
    """Fetches runs of the remote's file `name`, the first ones first, `count` at once.

    Used in a `with` block, whose end stops what still goes on.
    """

    def __init__(
        self,
        transport: Transport,
        name: str,
        target: Target,
        report: Callable[[int], None],
    ) -> None:
        self._transport = transport
        self._name = name
        self._target = target
        self._report = report
        self._runs: list[Run] = []
        self._waiting: deque[Run] = deque()
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._stopped = False

    def start(self, runs: Sequence[Run], count: int) -> Self:
        """Begin with these runs, which are in order."""
        self._runs = list(runs)
        self._waiting.extend(runs)
        for _ in range(min(count, len(runs))):
            thread = threading.Thread(target=self._work, daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        for thread in self._threads:
            thread.join()

    def wait(self, end: int) -> None:
        """Return when all that is wanted up to `end` is there; raises what went wrong before.

        Asked for in order.
        """
        before = bisect_left(self._runs, end, key=lambda run: run.start)
        if not before:
            return
        run = self._runs[before - 1]
        with self._changed:
            self._changed.wait_for(lambda: run.at >= min(end, run.end) or self._error)
        if run.at < min(end, run.end) and self._error:
            raise self._error

    def _work(self) -> None:
        try:
            while not self._stopped and (run := self._next()):
                self._fetch(run)
        except BaseException as error:  # noqa: BLE001 - raised to who waits
            self._stopped = True
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()

    def _next(self) -> Run | None:
        with self._changed:
            return self._waiting.popleft() if self._waiting else None

    def _fetch(self, run: Run) -> None:
        origin = self._target.origin
        keeping = _Keeping(self._target, run.spans, self._report)
        try:
            for piece in self._transport.pieces(self._name, origin + run.start, origin + run.end):
                keeping.keep(run.at, piece)
                with self._changed:
                    run.at += len(piece)
                    self._changed.notify_all()
                if self._stopped:
                    return
        finally:
            keeping.note()


class _Keeping:
    """Puts what comes of a run in its place, and writes down now and then what is there."""

    def __init__(
        self, target: Target, spans: Sequence[Span], report: Callable[[int], None]
    ) -> None:
        self._target = target
        self._spans = deque(spans)
        self._report = report
        self._noted = self._at = spans[0].start

    def keep(self, at: int, piece: bytes) -> None:
        """Write what is wanted of a piece that begins `at`."""
        view, end = memoryview(piece), at + len(piece)
        while self._spans and self._spans[0].start < end:
            span = self._spans[0]
            low, high = max(span.start, at), min(span.end, end)
            if low == span.start:
                self._noted = low
            _write_at(self._target.fd, view[low - at : high - at], self._target.origin + low)
            self._at = high
            self._report(high - low)
            if high == span.end or high - self._noted >= _NOTED:
                self.note()
            if high < span.end:
                return
            self._spans.popleft()

    def note(self) -> None:
        """Write down what is there."""
        self._target.ledger.add(self._noted, self._at)
        self._noted = self._at


def _write_at(fd: int, data: memoryview, position: int) -> None:
    while data:
        count = os.pwrite(fd, data, position)
        data, position = data[count:], position + count
