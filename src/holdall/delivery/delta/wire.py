"""The index of an increment as values, and its one encoding.

Format: docs/reference/formats/increment.md, "Index section". Signed, yet every number is checked.
"""

from collections.abc import Iterator, Sequence
from enum import IntEnum
from itertools import accumulate, pairwise
from typing import Annotated, Generic, NamedTuple, TypeVar

import msgspec

from holdall.errors import CorruptError
from holdall.model.digest import BLOCK
from holdall.model.tree import MAX_ENTRIES

FORMAT = 1
MAX_RAW = 16 * 2**20
MAX_STORED = 17 * 2**20
MAX_PREFIX = 40 * 2**20
MAX_UNITS = 2**16
MAX_BYTES = 64 * 2**20


class Kind(IntEnum):
    """What is stored of a unit."""

    ZSTD = 0
    LZMA2 = 1
    ADDITION = 2


class Transform(IntEnum):
    """What is done to a part of a prefix."""

    RAW = 0
    TOKENS = 1
    X86_64 = 2
    AARCH64 = 3


class Slice(NamedTuple):
    """`length` bytes from `offset` on of a content; the number is one of a tree's contents."""

    content: int
    offset: int
    length: int


class Part(NamedTuple):
    """A piece of a prefix: where (content 0 where only the base can say), and what is done to it.

    `length` -1 is the whole content. `map` counts the increment's maps; `blanks` are the numbers of
    the quoted digests that become tokens.
    """

    offset: int
    length: int
    transform: int
    map: int = -1
    blanks: tuple[int, ...] = ()


class Unit(NamedTuple):
    """What is decoded alone. `raw` and `stored` in bytes; an output's length -1: all of it."""

    kind: int
    raw: int
    stored: int
    sha256: bytes
    outputs: tuple[Slice, ...]
    parts: tuple[Part, ...]
    fills: tuple[int, ...] = ()


class Recipe(NamedTuple):
    """For one base: the units to use, each with the base's content number for every part."""

    units: dict[int, tuple[int, ...]]


class Index(NamedTuple):
    """All units in order, the packed maps, a recipe for each base."""

    units: tuple[Unit, ...]
    maps: bytes
    recipes: tuple[Recipe, ...]


_T = TypeVar("_T")
_UNITS = msgspec.Meta(max_length=MAX_UNITS)
_MANY = msgspec.Meta(max_length=8 * MAX_ENTRIES)
_Numbers = Annotated[list[int], _MANY]


class _Wire(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    format: int
    kinds: bytes
    raw: Annotated[list[int], _UNITS]
    stored: Annotated[list[int], _UNITS]
    sha256: bytes
    output_counts: Annotated[list[int], _UNITS]
    contents: _Numbers
    output_slices: _Numbers
    part_counts: Annotated[list[int], _UNITS]
    transforms: bytes
    part_slices: _Numbers
    part_maps: _Numbers
    blanks: _Numbers
    fills: _Numbers
    maps: bytes
    recipes: list[tuple[bytes, _Numbers]]


def encode(index: Index) -> bytes:
    """The index's bytes, not yet compressed."""
    units = index.units
    outputs = [output for unit in units for output in unit.outputs]
    parts = [part for unit in units for part in unit.parts]
    wire = _Wire(
        format=FORMAT,
        kinds=bytes(unit.kind for unit in units),
        raw=[unit.raw for unit in units],
        stored=[unit.stored for unit in units],
        sha256=b"".join(unit.sha256 for unit in units),
        output_counts=[len(unit.outputs) for unit in units],
        contents=_steps([output.content for output in outputs]),
        output_slices=_slices([(output.offset, output.length) for output in outputs]),
        part_counts=[len(unit.parts) for unit in units],
        transforms=bytes(part.transform for part in parts),
        part_slices=_slices([(part.offset, part.length) for part in parts]),
        part_maps=[part.map for part in parts if _is_moved(part.transform)],
        blanks=[
            number
            for part in parts
            if part.transform == Transform.TOKENS
            for number in (len(part.blanks), *_gaps(part.blanks))
        ],
        fills=_fill_columns(units),
        maps=index.maps,
        recipes=[_encode_recipe(recipe, len(units)) for recipe in index.recipes],
    )
    return msgspec.msgpack.encode(wire)


def parse(data: bytes | memoryview) -> Index:
    """Read an index; raises CorruptError when a number in it cannot be right."""
    try:
        wire = msgspec.msgpack.decode(data, type=_Wire)
        _check_columns(wire)
        outputs, parts = _Taker(_outputs(wire)), _Taker(_parts(wire))
        fills = _Reader(wire.fills)
        units, filled = [], 0
        for number in range(len(wire.raw)):
            count = fills.take()
            chosen = []
            for _ in range(_bounded(count, MAX_ENTRIES)):
                filled += _unzigzag(fills.take())
                chosen.append(_bounded(filled, MAX_ENTRIES - 1))
            units.append(
                Unit(
                    wire.kinds[number],
                    wire.raw[number],
                    wire.stored[number],
                    wire.sha256[32 * number : 32 * number + 32],
                    tuple(outputs.take(wire.output_counts[number])),
                    tuple(parts.take(wire.part_counts[number])),
                    tuple(chosen),
                )
            )
        fills.end()
        recipes = tuple(_recipe(flags, steps, units) for flags, steps in wire.recipes)
    except (msgspec.MsgspecError, RecursionError, IndexError, ValueError) as error:
        raise CorruptError("The increment's index cannot be read.") from error
    return Index(tuple(units), wire.maps, recipes)


def _check_columns(wire: _Wire) -> None:
    count = len(wire.raw)
    columns = (wire.kinds, wire.stored, wire.output_counts, wire.part_counts)
    if wire.format != FORMAT or any(len(column) != count for column in columns):
        raise ValueError
    if len(wire.sha256) != 32 * count or min(wire.output_counts, default=0) < 0:
        raise ValueError
    if not all(0 <= raw <= MAX_RAW for raw in wire.raw):
        raise ValueError
    if not all(0 < stored <= MAX_STORED for stored in wire.stored):
        raise ValueError
    if sum(wire.output_counts) != len(wire.contents):
        raise ValueError
    if min(wire.part_counts, default=0) < 0 or sum(wire.part_counts) != len(wire.transforms):
        raise ValueError


def _outputs(wire: _Wire) -> list[Slice]:
    contents = list(accumulate(map(_unzigzag, wire.contents)))
    slices = _unslice(wire.output_slices, len(contents))
    if any(not 0 <= content < MAX_ENTRIES for content in contents):
        raise ValueError
    if any(offset % BLOCK for offset, _ in slices.values()):
        raise ValueError
    return [Slice(content, *slices.get(at, (0, -1))) for at, content in enumerate(contents)]


def _parts(wire: _Wire) -> list[Part]:
    slices = _unslice(wire.part_slices, len(wire.transforms))
    maps, blanks = _Reader(wire.part_maps), _Reader(wire.blanks)
    parts = []
    for at, transform in enumerate(wire.transforms):
        moved = maps.take() if _is_moved(transform) else -1
        chosen: tuple[int, ...] = ()
        if transform == Transform.TOKENS:
            steps = [blanks.take() for _ in range(_bounded(blanks.take(), MAX_RAW))]
            chosen = tuple(accumulate(steps))
        parts.append(Part(*slices.get(at, (0, -1)), transform, moved, chosen))
    maps.end()
    blanks.end()
    return parts


def _recipe(flags: bytes, steps: Sequence[int], units: list[Unit]) -> Recipe:
    if len(flags) != len(units):
        raise ValueError
    numbers = _Taker(list(accumulate(map(_unzigzag, steps))))
    taken = {at: tuple(numbers.take(len(units[at].parts))) for at, flag in enumerate(flags) if flag}
    if len(numbers) or any(min(chosen, default=0) < 0 for chosen in taken.values()):
        raise ValueError
    return Recipe(taken)


def _encode_recipe(recipe: Recipe, count: int) -> tuple[bytes, list[int]]:
    flags = bytes(at in recipe.units for at in range(count))
    return flags, _steps([it for at in sorted(recipe.units) for it in recipe.units[at]])


def _fill_columns(units: tuple[Unit, ...]) -> list[int]:
    columns, before = [], 0
    for unit in units:
        columns.append(len(unit.fills))
        for content in unit.fills:
            columns.append(_zigzag(content - before))
            before = content
    return columns


def _slices(slices: list[tuple[int, int]]) -> list[int]:
    """Those that are not whole, each with how many entries it stands after the one before."""
    flat, before = [], 0
    for at, (offset, length) in enumerate(slices):
        if length != -1:
            flat += [at - before, offset, length]
            before = at
    return flat


def _unslice(flat: list[int], count: int) -> dict[int, tuple[int, int]]:
    if len(flat) % 3 or min(flat, default=0) < 0 or max(flat, default=0) >= 2**62:
        raise ValueError
    found = list(accumulate(flat[::3]))
    if found and found[-1] >= count:
        raise ValueError
    return dict(zip(found, zip(flat[1::3], flat[2::3], strict=True), strict=True))


def _is_moved(transform: int) -> bool:
    return transform in {Transform.X86_64, Transform.AARCH64}


def _steps(numbers: Sequence[int]) -> list[int]:
    return [_zigzag(after - before) for before, after in pairwise((0, *numbers))]


def _gaps(numbers: Sequence[int]) -> Iterator[int]:
    return (after - before for before, after in pairwise((0, *numbers)))


def _zigzag(number: int) -> int:
    return 2 * number if number >= 0 else -2 * number - 1


def _unzigzag(number: int) -> int:
    return number >> 1 if number % 2 == 0 else -(number + 1 >> 1)


def _bounded(count: int, most: int) -> int:
    if not 0 <= count <= most:
        raise ValueError
    return count


class _Reader:
    """Takes numbers one by one; there must be as many as are taken."""

    def __init__(self, numbers: list[int]) -> None:
        self._numbers = iter(numbers)

    def take(self) -> int:
        number = next(self._numbers, None)
        if number is None:
            raise ValueError
        return number

    def end(self) -> None:
        if next(self._numbers, None) is not None:
            raise ValueError


class _Taker(Generic[_T]):
    """Takes runs off the front of a list."""

    def __init__(self, values: list[_T]) -> None:
        self._values = values
        self._at = 0

    def __len__(self) -> int:
        return len(self._values) - self._at

    def take(self, count: int) -> list[_T]:
        if not 0 <= count <= len(self):
            raise ValueError
        self._at += count
        return self._values[self._at - count : self._at]
