"""An increment that was opened: the tree it makes, and the units that make its contents.

Format: docs/reference/formats/increment.md. Nothing of a unit is read here.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property
from hashlib import sha256
from typing import Annotated, NamedTuple

import msgspec

from holdall.delivery.bundle import Preamble
from holdall.delivery.delta import wire
from holdall.delivery.delta.prefixed import decode_lzma2
from holdall.delivery.delta.shifts import ShiftMap, unpack_maps
from holdall.delivery.delta.wire import Index, Slice, Transform, Unit
from holdall.errors import CorruptError
from holdall.model import tree as trees
from holdall.model.digest import SIZE
from holdall.model.statement import MAX_BASES, Statement
from holdall.model.tree import File, Tree

FORMAT = 1
_KNOWN = {int(transform) for transform in Transform}
_KINDS = {int(kind) for kind in wire.Kind}


class BaseTree(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """How to make the skeleton from one base: see the format, "Tree section"."""

    digest: Annotated[bytes, msgspec.Meta(min_length=SIZE, max_length=SIZE)]
    origins: list[int]
    length: int
    skeleton: bytes


class TreeSection(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """The tree section."""

    format: int
    bases: Annotated[list[BaseTree], msgspec.Meta(min_length=1, max_length=MAX_BASES)]


class Share(NamedTuple):
    """What one content costs in an increment: stored bytes in proportion, and how it is made."""

    path: str
    size: int
    stored: float
    transforms: tuple[str, ...]


class Skeleton:
    """The new tree before the digests of its new contents are known.

    `origins` gives for each content number the digest where the base has it, else None.
    """

    def __init__(self, bones: trees.Bones, tree: Tree, origins: tuple[bytes | None, ...]) -> None:
        self._bones = bones
        self.entries = tree.entries
        self.origins = origins

    @property
    def sizes(self) -> tuple[int, ...]:
        """Bytes of each content, by number."""
        return self._bones.sizes

    @cached_property
    def new(self) -> tuple[int, ...]:
        """The numbers of the contents that must be made."""
        return tuple(number for number, digest in enumerate(self.origins) if digest is None)

    @cached_property
    def _paths(self) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        for entry in self.entries:
            if isinstance(entry, File):
                found.setdefault(int.from_bytes(entry.digest, "big"), []).append(entry.path)
        return found

    def paths(self, content: int) -> tuple[str, ...]:
        """Where a content stands in the tree."""
        return tuple(self._paths.get(content, ()))

    def complete(self, made: Mapping[int, bytes]) -> bytes:
        """The new tree's bytes, given the digests of all new contents; nothing is checked."""
        return trees.dress(
            self._bones,
            (
                made[number] if digest is None else digest
                for number, digest in enumerate(self.origins)
            ),
        )


class Increment:
    """The signed parts of an increment, parsed."""

    def __init__(self, section: TreeSection, index: Index, maps: list[ShiftMap]) -> None:
        self._section = section
        self.index = index
        self.maps = maps

    @property
    def bases(self) -> tuple[bytes, ...]:
        """The raw digests of the trees it can start from, by base number."""
        return tuple(base.digest for base in self._section.bases)

    @property
    def unit_count(self) -> int:
        """How many units it has."""
        return len(self.index.units)

    @property
    def stored(self) -> int:
        """The bytes of all units together."""
        return sum(unit.stored for unit in self.index.units)

    def units(self, base: int) -> dict[int, tuple[int, ...]]:
        """The units for one base, each with the base's content numbers of its parts."""
        return self.index.recipes[base].units

    def cost(self, base: int) -> int:
        """The bytes of the units that one base needs."""
        return sum(self.index.units[number].stored for number in self.units(base))

    def skeleton(self, base: int, tree: Tree) -> Skeleton:
        """The new tree as made from `tree`, which must be that base; raises CorruptError."""
        section = self._section.bases[base]
        data = trees.encode(tree)
        if trees.tree_digest(data).raw != section.digest:
            raise CorruptError("The increment starts from another tree.")
        if not 0 <= section.length <= trees.MAX_BYTES:
            raise CorruptError("The increment's tree says it is longer than it may be.")
        prefix = (trees.strip(data).data,)
        skeleton = decode_lzma2(section.skeleton, section.length, prefix)
        bones, made = trees.parse_skeleton(bytes(skeleton))
        origins = _origins(section.origins, list(tree.contents.items()), bones.sizes)
        return Skeleton(bones, made, origins)

    def outputs(self, unit: Unit, sizes: tuple[int, ...]) -> list[Slice]:
        """What a unit gives, with lengths; raises CorruptError where that cannot be."""
        found = []
        for content, offset, length in unit.outputs:
            whole = sizes[content] if content < len(sizes) else -1
            taken = whole if length == -1 else length
            if taken < 0 or offset + taken > whole:
                raise CorruptError("The increment makes a content that its tree does not have.")
            found.append(Slice(content, offset, taken))
        return found

    def describe(self, base: int, skeleton: Skeleton) -> list[Share]:
        """What each new file costs from one base, by path."""
        shares: dict[int, tuple[float, set[str]]] = {}
        for number in self.units(base):
            unit = self.index.units[number]
            outputs = self.outputs(unit, skeleton.sizes)
            total = sum(output.length for output in outputs) or 1
            for output in outputs:
                stored, names = shares.get(output.content, (0.0, set()))
                stored += unit.stored * output.length / total
                shares[output.content] = stored, names | set(_names(unit))
        return sorted(
            Share(skeleton.paths(content)[0], skeleton.sizes[content], stored, tuple(sorted(names)))
            for content, (stored, names) in shares.items()
            if skeleton.origins[content] is None and skeleton.paths(content)
        )


def open_increment(preamble: Preamble, statement: Statement) -> Increment:
    """Check the sections against the statement and read them; raises CorruptError."""
    for body, named, what in (
        (preamble.tree, statement.tree, "tree section"),
        (preamble.index, statement.index, "index"),
    ):
        if sha256(body).hexdigest() != named:
            raise CorruptError(f"The increment's {what} is not the one its signed statement names.")
    made = read_increment(preamble.tree, preamble.index)
    if len(made.bases) != len(statement.bases) or made.stored != preamble.head.content:
        raise CorruptError("The increment's sections do not belong together.")
    return made


def read_increment(tree: bytes, index: bytes) -> Increment:
    """Read the tree section and the index section; raises CorruptError."""
    length = int.from_bytes(index[:8], "little")
    if len(index) < 8 or length > wire.MAX_BYTES:
        raise CorruptError("The increment's index says it is longer than it may be.")
    parsed = wire.parse(decode_lzma2(memoryview(index)[8:], length))
    try:
        section = msgspec.msgpack.decode(tree, type=TreeSection)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise CorruptError("The increment's tree section cannot be read.") from error
    if section.format != FORMAT or len(section.bases) != len(parsed.recipes):
        raise CorruptError("The increment's sections do not belong together.")
    return Increment(section, parsed, unpack_maps(parsed.maps))


def is_known(unit: Unit) -> bool:
    """Whether this holdall can decode a unit."""
    return unit.kind in _KINDS and all(part.transform in _KNOWN for part in unit.parts)


def _origins(
    runs: list[int], contents: list[tuple[bytes, int]], sizes: tuple[int, ...]
) -> tuple[bytes | None, ...]:
    """Each content's digest where the base has it."""
    found: list[bytes | None] = []
    at = 0
    if len(runs) % 3:
        raise CorruptError("The increment's tree cannot be read.")
    for new, jump, count in zip(*(iter(runs),) * 3, strict=True):
        if not (0 <= new <= len(sizes) and 0 <= count <= len(contents)):
            raise CorruptError("The increment's tree cannot be read.")
        found += [None] * new
        at += (jump >> 1) ^ -(jump & 1)
        if at < 0 or at + count > len(contents):
            raise CorruptError("The increment's tree cannot be read.")
        found += [digest for digest, _ in contents[at : at + count]]
        at += count
        if len(found) > len(sizes):
            break
    known = dict(contents)
    if len(found) != len(sizes) or any(
        digest is not None and known[digest] != size
        for digest, size in zip(found, sizes, strict=True)
    ):
        raise CorruptError("The increment's tree does not fit the one it starts from.")
    return tuple(found)


def _names(unit: Unit) -> Iterable[str]:
    if not unit.parts:
        yield "new"
    if unit.kind == wire.Kind.ADDITION:
        yield "add"
    for part in unit.parts:
        yield Transform(part.transform).name.lower() if part.transform in _KNOWN else "unknown"
