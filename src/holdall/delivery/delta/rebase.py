"""An old ELF image as if it had been linked at the new addresses.

Idea: docs/explanation/increments.md. Code is read in windows, so any range can be made alone and
memory does not grow with the image; what a window gives does not depend on the range asked for.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import cached_property
from types import ModuleType
from typing import NamedTuple

import numpy as np

from holdall.delivery.delta import aarch64, x86_64
from holdall.delivery.delta.columns import Numbers, distinct
from holdall.delivery.delta.datafields import (
    DataFields,
    data_fields,
    is_relative,
    load_4,
    load_8,
    may_be_table,
    record_blocks,
)
from holdall.delivery.delta.elf import AARCH64, X86_64, Bytes, Elf, Section, read_elf
from holdall.delivery.delta.references import References
from holdall.delivery.delta.shifts import Lookup, ShiftMap

WINDOW = 2**20
_WIDEST, _NARROWEST = 8, 4  # bytes of a field
_MACHINES: dict[int, ModuleType] = {X86_64: x86_64, AARCH64: aarch64}


class Window(NamedTuple):
    """A stretch of code: file offsets and the section's shift."""

    begin: int
    end: int
    shift: int


class Image:
    """An ELF image whose address fields are known."""

    def __init__(self, data: Bytes, elf: Elf, let_go: Callable[[], None]) -> None:
        self.data = data
        self.elf = elf
        self._let_go = let_go
        # what was found last, since the parts of a prefix often share a window
        self._last: tuple[Window, References] | None = None
        self._lookup: tuple[ShiftMap, Lookup] | None = None
        self._machine = _MACHINES[elf.machine]

    @cached_property
    def fields(self) -> DataFields:
        """The address fields in its data."""
        bases = [np.empty(0, np.int64)]
        if self.elf.machine == X86_64:
            for begin, end, shift in self.windows:
                taken = x86_64.lea_targets(self.data, begin, end, shift, self.elf.bounds)
                bases.append(may_be_table(self.elf, taken))
                self._let_go()
        return data_fields(self.data, self.elf, distinct(np.concatenate(bases)), self._let_go)

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """Its code, cut."""
        return tuple(
            Window(at, min(at + WINDOW, section.end), section.shift)
            for section in self.elf.code
            for at in range(section.offset, section.end, WINDOW)
        )

    def _windows_in(self, low: int, high: int) -> Iterator[Window]:
        """The windows with something in [low, high)."""
        for window in self.windows[bisect_right(self.windows, low, key=_end_of) :]:
            if window.begin >= high:
                break
            yield window

    def references(self, window: Window) -> References:
        """The address fields in one stretch of code."""
        bounds = self.elf.bounds
        found: References = self._machine.find(self.data, *window, bounds)
        if self.elf.is_fixed and self.elf.machine == X86_64:
            return x86_64.find_absolute(self.data, window.begin, window.end, bounds, found)
        return found

    def mask(self, out: Bytes, references: References) -> None:
        """Zero fields in a copy of the whole image."""
        self._machine.mask(out, 0, references)

    def rebased(self, moved: ShiftMap, low: int, high: int) -> Bytes:
        """The bytes [low, high) of the file, with every address moved."""
        # a field that the range cuts is moved as a whole
        begin, end = max(low - _WIDEST + 1, 0), min(high + _WIDEST - 1, len(self.data))
        if self._lookup is None or self._lookup[0] is not moved:
            self._lookup = moved, Lookup(moved)
        return self._stretch(self._lookup[1], begin, end)[low - begin : high - begin]

    def _stretch(self, moved: Lookup, low: int, high: int) -> Bytes:
        """The same, but for fields that the range cuts."""
        out = self.data[low:high].copy()
        for window in self._windows_in(low, high):
            self._put(out, low, *self._code(window, moved, low, high))
        self._move_fields(out, low, high, moved)
        for section in self.fields.records:
            for offset, rows in record_blocks(self.data, section, low, high):
                self._put(out, low, offset, self._records(rows, moved))
        frames = self.fields.frames
        if frames and frames.offset < high and frames.offset + 8 * frames.count > low:
            self._put(out, low, frames.offset, self._frame_table(moved))
        return out

    def _put(self, out: Bytes, low: int, offset: int, made: Bytes) -> None:
        """Write what was made for file offset `offset` where it lies in the range at `low`."""
        begin, end = max(offset, low), min(offset + len(made), low + len(out))
        out[begin - low : end - low] = made[begin - offset : end - offset]

    def _code(self, window: Window, moved: Lookup, low: int, high: int) -> tuple[int, Bytes]:
        """What a window has of [low, high): where it begins, and the bytes."""
        begin, end = max(window.begin, low), min(window.end, high)
        inside = self._found(window, begin, end)
        out = self.data[begin:end].copy()
        sources = moved.ascending(inside.positions + window.shift)
        self._machine.write(out, begin, inside, sources, moved(inside.targets))
        return begin, out

    def _found(self, window: Window, begin: int, end: int) -> References:
        """The fields of a window that lie wholly in [begin, end)."""
        if self.elf.machine == X86_64 and not self.elf.is_fixed:
            bounds = self.elf.bounds
            return x86_64.find_within(self.data, window.begin, end, window.shift, bounds, low=begin)
        if self._last is None or self._last[0] != window:
            self._last = window, self.references(window)
        found = self._last[1]
        chosen = _within(found.positions, begin, end, _NARROWEST)
        return References(found.positions[chosen], found.targets[chosen], found.kinds[chosen])

    def _move_fields(self, out: Bytes, low: int, high: int, moved: Lookup) -> None:
        fields, data = self.fields, self.data
        at = _within(fields.based, low, high, 4)
        base = moved.ascending(fields.bases[at])
        old = fields.bases[at] + load_4(data, fields.based[at])
        _store(out, fields.based[at] - low, moved(old) - base, 4)
        at = _within(fields.relative, low, high, 4)
        position = fields.relative[at]
        address = position + fields.frame_shift
        base = moved.ascending(address)
        _store(out, position - low, moved(load_4(data, position) + address) - base, 4)
        at = _within(fields.backward, low, high, 4)
        position = fields.backward[at]
        address = position + fields.frame_shift
        base = moved.ascending(address)
        _store(out, position - low, base - moved(address - load_4(data, position)), 4)
        at = _within(fields.words, low, high, 8)
        _store(out, fields.words[at] - low, moved(load_8(data, fields.words[at])), 8)

    def _records(self, rows: Numbers, moved: Lookup) -> Bytes:
        """Relocation records; relative ones ordered by where they apply, in their places."""
        made = rows.copy()
        made[:, 0] = moved(made[:, 0])
        relative = np.flatnonzero(is_relative(made, self.elf.machine))
        made[relative, 2] = moved(made[relative, 2])
        chosen = made[relative]
        made[relative] = chosen[np.argsort(chosen[:, 0], kind="stable")]
        return np.frombuffer(made.astype("<i8").tobytes(), np.uint8)

    def _frame_table(self, moved: Lookup) -> Bytes:
        """.eh_frame_hdr's pairs, ordered by code."""
        frames = self.fields.frames
        if frames is None:
            return np.empty(0, np.uint8)
        pairs = frames.pairs(self.data)
        base = moved(np.array([frames.section.address]))
        pairs = np.stack([moved(pairs[:, 0]), moved(pairs[:, 1])], axis=1) - base
        pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
        return np.frombuffer(pairs.astype("<i4").tobytes(), np.uint8)


def read_image(data: Bytes, let_go: Callable[[], None] = lambda: None) -> Image | None:
    """The image in a file's bytes; None where its addresses cannot be moved.

    `let_go` is called now and then while all of it is read: what was looked at may leave memory.
    """
    elf = read_elf(data)
    if elf is None or elf.machine not in _MACHINES:
        return None
    return Image(data, elf, let_go)


def loaded_sections(elf: Elf) -> Iterator[Section]:
    """The sections with bytes in memory and in the file, in order of their table."""
    return (section for section in elf.sections if section.is_loaded)


def _end_of(window: Window) -> int:
    return window.end


def _within(positions: Numbers, low: int, high: int, width: int) -> slice:
    """Which of the ascending fields lie wholly in [low, high)."""
    first, last = np.searchsorted(positions, [low, high - width + 1])
    return slice(int(first), max(int(first), int(last)))


def _store(out: Bytes, positions: Numbers, values: Numbers, width: int) -> None:
    words = np.ndarray((max(len(out) - width + 1, 0),), f"<i{width}", out, strides=(1,))
    words[positions] = values.astype(f"<i{width}")
