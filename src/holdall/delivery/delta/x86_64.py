"""Address fields in x86-64 code, found without decoding instructions.

A 4-byte field is taken for an address when the bytes before it are an opcode that has one (call,
jmp, jcc with rel32; a ModRM byte that says RIP-relative) and it names a place in the image. What is
wrongly taken costs a few bytes, never correctness. Reference: Intel SDM volume 2, chapters 2 and A.
"""

import numpy as np
from numpy.typing import NDArray

from holdall.delivery.delta.columns import distinct
from holdall.delivery.delta.references import Bounds, References

RELATIVE, ABSOLUTE = 0, 1
_FIELD = 4
_LOOK_BACK = 6
_REACH = 64  # bytes before a stretch that are looked at first
_LEA = 0x8D

# opcodes of one byte that take a ModRM operand in common code
_OPCODES = (
    *(0x01, 0x03, 0x09, 0x0B, 0x11, 0x13, 0x19, 0x1B, 0x21, 0x23, 0x29, 0x2B, 0x31, 0x33),
    *(0x38, 0x39, 0x3A, 0x3B, 0x63, 0x69, 0x6B, 0x80, 0x81, 0x83, 0x84, 0x85, 0x86, 0x87),
    *(0x88, 0x89, 0x8A, 0x8B, 0x8D, 0xC0, 0xC1, 0xC6, 0xC7, 0xD1, 0xD3, 0xD8, 0xD9, 0xDB),
    *(0xDC, 0xDD, 0xF6, 0xF7, 0xFE, 0xFF),
)
_IS_OPCODE = np.zeros(256, np.bool_)
_IS_OPCODE[list(_OPCODES)] = True
# the byte before a 4-byte absolute operand: mov r, imm; push; cmp eax; ModRM or SIB with disp32
_TAKES_ABSOLUTE = np.zeros(256, np.bool_)
_TAKES_ABSOLUTE[
    [
        *range(0xB8, 0xC8),
        *range(0xF8, 0x100),
        *(0x05, 0x25, 0x3D, 0x68, 0x85, 0xC5, 0xCD, 0xD5, 0xDD, 0xED, 0xF5, 0xFD),
    ]
] = True


def find(image: NDArray[np.uint8], begin: int, end: int, shift: int, bounds: Bounds) -> References:
    """The PC-relative fields in the code [begin, end); addresses are file offsets plus `shift`."""
    positions, targets, good = _candidates(image, max(begin, _LOOK_BACK), end, shift, bounds)
    return _relative(positions, targets, _apart(positions, good))


def find_within(
    image: NDArray[np.uint8], begin: int, end: int, shift: int, bounds: Bounds, *, low: int
) -> References:
    """Those of the same fields that stand at `low` or after it, without looking at all before.

    Which of overlapping fields stays depends on the one before: so it is enough to begin where for
    once none could overlap the next.
    """
    first, reach = max(begin, _LOOK_BACK), _REACH
    while True:
        start = max(first, low - reach)
        positions, targets, good = _candidates(image, start, end, shift, bounds)
        chosen = positions[good]
        before = chosen[: int(np.searchsorted(chosen, low))]
        gaps = np.diff(before, prepend=start - 1, append=low)
        if start == first or gaps.max() >= _FIELD:
            break
        reach *= _REACH
    kept = _apart(positions, good)
    kept[: int(np.searchsorted(positions, low))] = False
    return _relative(positions, targets, kept)


def _relative(
    positions: NDArray[np.int64], targets: NDArray[np.int64], kept: NDArray[np.bool_]
) -> References:
    kinds = np.full(int(np.count_nonzero(kept)), RELATIVE, np.uint8)
    return References(positions[kept], targets[kept], kinds)


def _candidates(
    image: NDArray[np.uint8], first: int, end: int, shift: int, bounds: Bounds
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Positions and targets of what may be fields, and which of them are but for overlaps."""
    if end - first < _FIELD:
        none = _none()
        return none.positions, none.targets, np.empty(0, np.bool_)
    last = image[first - 1 : end - _FIELD]
    second = image[first - 2 : end - _FIELD - 1]
    jump = (last & 0xFE) == 0xE8
    jump |= ((last & 0xF0) == 0x80) & (second == 0x0F)
    at = np.flatnonzero(jump | ((last & 0xC7) == 0x05))
    is_jump = jump[at]
    positions = at + first
    targets = _load(image, positions) + (positions + (shift + _FIELD))
    good = is_jump & (targets >= bounds.code_low) & (targets < bounds.code_high)
    good |= ~is_jump & (targets >= bounds.low) & (targets < bounds.high)
    positions, targets, is_jump = positions[good], targets[good], is_jump[good]
    return positions, targets, is_jump | _has_operand(image, positions)


def find_absolute(
    image: NDArray[np.uint8], begin: int, end: int, bounds: Bounds, relative: References
) -> References:
    """The same with the 4-byte absolute operands that programs at a fixed address have, too."""
    first = max(begin, _LOOK_BACK)
    if end - first < _FIELD:
        return relative
    positions = np.flatnonzero(_TAKES_ABSOLUTE[image[first - 1 : end - _FIELD]]) + first
    targets = _load(image, positions)
    good = (targets >= bounds.low + 0x1000) & (targets < bounds.high)
    positions, targets = positions[good], targets[good]
    good = _clear_of(positions, relative.positions)
    kept = _apart(positions, good)
    positions = np.concatenate([relative.positions, positions[kept]])
    targets = np.concatenate([relative.targets, targets[kept]])
    kinds = np.concatenate([relative.kinds, np.full(int(kept.sum()), ABSOLUTE, np.uint8)])
    order = np.argsort(positions, kind="stable")
    return References(positions[order], targets[order], kinds[order])


def lea_targets(
    image: NDArray[np.uint8], begin: int, end: int, shift: int, bounds: Bounds
) -> NDArray[np.int64]:
    """The distinct addresses that code takes with LEA: where jump tables begin."""
    first = max(begin, _LOOK_BACK)
    if end - first < _FIELD:
        return np.empty(0, np.int64)
    positions = np.flatnonzero(image[first - 2 : end - _FIELD - 1] == _LEA) + first
    positions = positions[(image[positions - 1] & 0xC7) == 0x05]
    targets = _load(image, positions) + (positions + (shift + _FIELD))
    return distinct(targets[(targets >= bounds.low) & (targets < bounds.high)])


def mask(out: NDArray[np.uint8], origin: int, references: References) -> None:
    """Zero the fields in place; out[0] is file offset `origin`."""
    _store(out, references.positions - origin, np.zeros(len(references.positions), np.int64))


def write(
    out: NDArray[np.uint8],
    origin: int,
    references: References,
    sources: NDArray[np.int64],
    targets: NDArray[np.int64],
) -> None:
    """Let each field, standing at the new address `sources[i]`, name `targets[i]`."""
    relative = targets - (sources + _FIELD)
    values = np.where(references.kinds == RELATIVE, relative, targets)
    fits = (values >= -(2**31)) & (values < 2**31)
    _store(out, (references.positions - origin)[fits], values[fits])


def _has_operand(image: NDArray[np.uint8], positions: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether what stands before a ModRM byte is an opcode, of one byte or behind a prefix."""
    plain = _IS_OPCODE[image[positions - 2]]
    third, fourth = image[positions - 3], image[positions - 4]
    return np.asarray(
        plain
        | (third == 0x0F)
        | ((fourth | 1) == 0xC5)
        | (image[positions - 5] == 0xC4)
        | (image[positions - 6] == 0x62)
    )


def _apart(positions: NDArray[np.int64], good: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of fields that overlap, only the first: by and by, from the front of each cluster."""
    good = good.copy()
    while True:
        chosen = np.flatnonzero(good)
        close = np.flatnonzero(np.diff(positions[chosen]) < _FIELD)
        if not len(close):
            return good
        heads = close[np.concatenate([[True], np.diff(close) > 1])]
        good[chosen[heads + 1]] = False


def _clear_of(positions: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether fields overlap none of the others."""
    if not len(others):
        return np.ones(len(positions), np.bool_)
    after = np.searchsorted(others, positions)
    next_one = others[np.minimum(after, len(others) - 1)]
    one_before = others[np.maximum(after - 1, 0)]
    return np.asarray(
        (np.abs(next_one - positions) >= _FIELD) & (np.abs(one_before - positions) >= _FIELD)
    )


def _load(image: NDArray[np.uint8], positions: NDArray[np.int64]) -> NDArray[np.int64]:
    words = np.ndarray((max(len(image) - 3, 0),), "<i4", image, strides=(1,))
    return words[positions].astype(np.int64)


def _store(out: NDArray[np.uint8], positions: NDArray[np.int64], values: NDArray[np.int64]) -> None:
    words = np.ndarray((max(len(out) - 3, 0),), "<i4", out, strides=(1,))
    words[positions] = values.astype("<i4")


def _none() -> References:
    return References(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint8))
