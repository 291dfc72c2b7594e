"""Finding what one byte string copies from another: anchors, runs on a diagonal, borders between.

An anchor is a window of 24 bytes chosen by its own content, so both sides choose the same ones
wherever their bytes are equal. Anchors that occur once on each side pair up; neighbours at the same
distance are one copy; the border between two copies goes where most bytes agree. No suffix array:
seconds and a few times the input for hundreds of megabytes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from holdall.delivery.delta.columns import Numbers
from holdall.delivery.delta.elf import Bytes

_WINDOW = 24
_STEP = 2**22
_REACH = 2**14  # how far a copy is extended over bytes that hardly agree
_NARROW = 128  # gaps up to this long are settled many at once
_AT_ONCE = 2**13
_FACTORS = tuple(np.uint64(k) for k in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9))


class _Gaps(NamedTuple):
    """Between copies: where each begins and ends in the new, and the diagonals on both sides."""

    low: Numbers
    high: Numbers
    left: Numbers
    right: Numbers


class Copies(NamedTuple):
    """Copied stretches, ascending and apart in the new: places in both, lengths, in bytes."""

    old: Numbers
    new: Numbers
    lengths: Numbers


def align(old: Bytes, new: Bytes, *, bits: int = 3) -> Copies:
    """The copies that make most of `new`; one anchor in 2**bits positions is used."""
    pairs = _paired(_anchors(old, bits), _anchors(new, bits))
    if not len(pairs[0]):
        return Copies(*(np.empty(0, np.int64) for _ in range(3)))
    diagonal = pairs[0] - pairs[1]
    keep = ~_strays(diagonal)
    places, diagonal = pairs[1][keep], diagonal[keep]
    first = np.flatnonzero(np.concatenate([[True], np.diff(diagonal) != 0]))
    last = np.concatenate([first[1:], [len(diagonal)]]) - 1
    starts, ends = places[first], places[last] + _WINDOW
    starts, ends, diagonal = _settled(old, new, starts, ends, diagonal[first])
    found = ends > starts
    return Copies((starts + diagonal)[found], starts[found], (ends - starts)[found])


def _anchors(data: Bytes, bits: int) -> tuple[NDArray[np.uint64], Numbers]:
    """Hashes of the chosen windows and where they begin, sorted by hash; only unique ones."""
    hashes, places = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
    end = len(data) - 32
    for base in range(0, max(end, 0), _STEP):
        for phase in range(8):
            at = base + phase
            count = (min(_STEP, end - base) - phase + 7) // 8
            if count <= 0:
                continue
            words = data[at : at + 8 * (count + 2)].view("<u8")
            mixed = _mix(words, count)
            chosen = np.flatnonzero(mixed >> np.uint64(64 - bits) == 0)
            hashes.append(mixed[chosen])
            places.append(at + 8 * chosen)
    joined, where = np.concatenate(hashes), np.concatenate(places)
    order = np.argsort(joined, kind="stable")
    joined, where = joined[order], where[order]
    same = joined[1:] == joined[:-1]
    alone = np.concatenate([[True], ~same]) & np.concatenate([~same, [True]])
    return joined[alone[: len(joined)]], where[alone[: len(where)]]


def _mix(words: NDArray[np.uint64], count: int) -> NDArray[np.uint64]:
    mixed = words[:count] * _FACTORS[0]
    mixed ^= mixed >> np.uint64(29)
    mixed += words[1 : count + 1] * _FACTORS[1]
    mixed ^= mixed >> np.uint64(31)
    mixed += words[2 : count + 2] * _FACTORS[2]
    mixed *= _FACTORS[0]
    mixed ^= mixed >> np.uint64(32)
    mixed *= _FACTORS[1]
    return mixed


def _paired(
    old: tuple[NDArray[np.uint64], Numbers], new: tuple[NDArray[np.uint64], Numbers]
) -> tuple[Numbers, Numbers]:
    """Places of the anchors both have, in order of the new."""
    if not len(old[0]) or not len(new[0]):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    at = np.minimum(np.searchsorted(old[0], new[0]), len(old[0]) - 1)
    same = old[0][at] == new[0]
    places, olds = new[1][same], old[1][at[same]]
    order = np.argsort(places, kind="stable")
    return olds[order], places[order]


def _strays(diagonal: Numbers) -> NDArray[np.bool_]:
    """One or two anchors within a run of others on one diagonal."""
    first = np.flatnonzero(np.concatenate([[True], np.diff(diagonal) != 0]))
    counts = np.diff(np.concatenate([first, [len(diagonal)]]))
    runs = diagonal[first]
    stray = np.zeros(len(first), np.bool_)
    stray[1:-1] = (counts[1:-1] <= 2) & (runs[:-2] == runs[2:])
    return np.asarray(np.repeat(stray, counts))


def _settled(
    old: Bytes, new: Bytes, starts: Numbers, ends: Numbers, diagonal: Numbers
) -> tuple[Numbers, Numbers, Numbers]:
    """The copies extended towards each other."""
    starts = np.maximum(starts, np.concatenate([[0], ends[:-1]]))
    ends = np.maximum(starts, ends)
    low = np.concatenate([[0], ends])
    high = np.concatenate([starts, [len(new)]])
    left = np.concatenate([[len(old)], diagonal])  # no copy before the first: nothing agrees
    right = np.concatenate([diagonal, [len(old)]])
    gaps = high - low
    inside = (low + left >= 0) & (high + left <= len(old))
    inside &= (low + right >= 0) & (high + right <= len(old))
    narrow = np.flatnonzero((gaps > 0) & (gaps <= _NARROW) & inside)
    for at in range(0, len(narrow), _AT_ONCE):
        chosen = narrow[at : at + _AT_ONCE]
        some = _Gaps(low[chosen], high[chosen], left[chosen], right[chosen])
        taken_left, taken_right = _split_many(old, new, some)
        ends[chosen - 1] = low[chosen] + taken_left
        starts[chosen] = high[chosen] - taken_right
    rest = np.setdiff1d(np.flatnonzero(gaps > 0), narrow)
    for at in rest.tolist():
        taken = _split(old, new, (int(low[at]), int(high[at]), int(left[at]), int(right[at])))
        if at > 0:
            ends[at - 1] = low[at] + taken[0]
        if at < len(starts):
            starts[at] = high[at] - taken[1]
    return starts, ends, diagonal


def _split_many(old: Bytes, new: Bytes, gaps: _Gaps) -> tuple[Numbers, Numbers]:
    """For narrow gaps: how many bytes go to the copy before, how many to the one after."""
    low, high, left, right = gaps
    sizes = high - low
    columns = np.arange(int(sizes.max()))
    forward = low[:, None] + columns
    valid = columns < sizes[:, None]
    forward = np.minimum(forward, high[:, None] - 1)
    agree_left = np.where(new[forward] == old[forward + left[:, None]], 1, -1) * valid
    agree_right = np.where(new[forward] == old[forward + right[:, None]], 1, -1) * valid
    zero = np.zeros((len(sizes), 1), np.int64)
    before = np.concatenate([zero, np.cumsum(agree_left, axis=1)], axis=1)
    whole = np.concatenate([zero, np.cumsum(agree_right, axis=1)], axis=1)
    after = whole[:, -1:] - whole  # what the copy after gains from column j on
    reach = np.concatenate([valid, zero.astype(np.bool_)], axis=1) | (
        np.arange(before.shape[1]) == sizes[:, None]
    )
    before = np.where(reach, before, np.iinfo(np.int64).min // 4)
    after = np.where(reach, after, np.iinfo(np.int64).min // 4)
    best_left = before.argmax(axis=1)
    best_right = after.shape[1] - 1 - after[:, ::-1].argmax(axis=1)
    joint = (before + after).argmax(axis=1)
    overlap = best_left > best_right
    best_left = np.where(overlap, joint, best_left)
    best_right = np.where(overlap, joint, best_right)
    return best_left, sizes - best_right


def _split(old: Bytes, new: Bytes, gap: tuple[int, int, int, int]) -> tuple[int, int]:
    """The same for one gap of any length."""
    low, high, left, right = gap
    room_left = max(min(high - low, _REACH, len(old) - (low + left)), 0) if low + left >= 0 else 0
    room_right = max(min(high - low, _REACH, high + right), 0) if high + right <= len(old) else 0
    before = _gains(new[low : low + room_left], old[low + left : low + left + room_left])
    after = _gains(
        new[high - room_right : high][::-1],
        old[high + right - room_right : high + right][::-1],
    )
    taken_left, taken_right = int(before.argmax()), int(after.argmax())
    over = taken_left + taken_right - (high - low)
    if over > 0:
        options = np.arange(taken_left - over, taken_left + 1)
        scores = before[options] + after[high - low - options]
        taken_left = int(options[scores.argmax()])
        taken_right = high - low - taken_left
    return taken_left, taken_right


def _gains(one: Bytes, other: Bytes) -> Numbers:
    """By how many bytes more agree than differ in the first 0, 1, 2 … bytes."""
    steps = np.where(one == other, np.int64(1), np.int64(-1))
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(steps)])
