"""Making an increment's sections and units: what to make from what, encoded on all processors.

Deterministic: order comes from the trees alone, and each unit is encoded alone.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from hashlib import sha256
from itertools import pairwise
from threading import Lock
from typing import NamedTuple

import msgspec
import numpy as np

from holdall.delivery.delta.increment import FORMAT, BaseTree, TreeSection
from holdall.delivery.delta.shifts import ShiftMap, pack_maps
from holdall.delivery.delta.wire import Index, Part, Recipe, Slice, Unit, encode
from holdall.delivery.differ.encode import Encoded
from holdall.delivery.differ.files import UNIT, FileDelta, Piece, delta, is_program, slices
from holdall.delivery.differ.pairing import pair
from holdall.delivery.differ.quotes import Quoting, quoting
from holdall.delivery.differ.solid import Item, Solid, solids
from holdall.delivery.differ.solid import encode as encode_solid
from holdall.model import tree as trees
from holdall.model.tree import File, Tree
from holdall.system.liblzma import encode_lzma2

Read = Callable[[bytes], bytes]
Bases = frozenset[int]


class Assembled(NamedTuple):
    """The sections as they are stored, and the stored units in order."""

    tree: bytes
    index: bytes  # type: ignore[assignment]  # hides a method of tuples
    units: tuple[bytes, ...]


class Work(NamedTuple):
    """What has to be made for which bases. `needs` are the old contents whose bytes that takes."""

    items: dict[Bases, list[Item]]

    @property
    def size(self) -> int:
        """Bytes to be encoded."""
        return sum(item.size for items in self.items.values() for item in items)

    @property
    def made(self) -> set[bytes]:
        """The new contents, by raw digest."""
        return {item.digest for items in self.items.values() for item in items}

    @property
    def needs(self) -> set[bytes]:
        """The old contents, by raw digest."""
        return {item.old for items in self.items.values() for item in items if item.old}


class _Task(NamedTuple):
    """A file of its own, or a solid unit."""

    bases: Bases
    item: Item | None
    solid: Solid | None


class _Draft(NamedTuple):
    """A unit whose parts name digests of contents still."""

    bases: Bases
    unit: Unit
    contents: tuple[bytes, ...]
    stored: bytes


def plan(new: Tree, olds: tuple[Tree, ...]) -> Work:
    """Pair every new content with an old one of each base that lacks it.

    What comes from the same old content, or from none, for several bases is made once for them.
    """
    firsts: dict[bytes, File] = {}
    for file in new.files:
        firsts.setdefault(file.digest, file)
    variants: dict[tuple[bytes, bytes | None], tuple[Item, set[int]]] = {}
    for base, old in enumerate(olds):
        missing = [file for digest, file in firsts.items() if digest not in old.contents]
        paired = pair(missing, old)
        for file in missing:
            held = paired.get(file.digest)
            key = file.digest, held.digest if held else None
            item = Item(file.path, file.digest, file.size, key[1], held.size if held else 0)
            variants.setdefault(key, (item, set()))[1].add(base)
    items: dict[Bases, list[Item]] = {}
    for item, bases in variants.values():
        items.setdefault(frozenset(bases), []).append(item)
    return Work(dict(sorted(items.items(), key=lambda pair: sorted(pair[0]))))


def assemble(
    new: Tree,
    olds: tuple[Tree, ...],
    work: Work,
    read: Read,
    *,
    workers: int = 2,
    report: Callable[[int], None] = lambda _size: None,
) -> Assembled:
    """Encode everything. `read` gives any new or old content; `report` adds up to `work.size`."""
    quotings = {
        bases: quoting([item.digest for item in items], new.contents, read)
        for bases, items in work.items.items()
    }
    tasks = list(_tasks(work, quotings, read))
    numbers = {digest: number for number, digest in enumerate(new.contents)}
    maps: list[ShiftMap] = []
    drafts: list[_Draft] = []
    lock = Lock()

    def counted(size: int) -> None:
        with lock:
            report(size)

    # files wait for their pieces, so those have workers of their own
    with ThreadPoolExecutor(workers) as files, ThreadPoolExecutor(workers) as pieces:
        shop = _Shop(quotings, read, pieces, counted)
        order = sorted(range(len(tasks)), key=lambda at: -_weight(tasks[at]))
        running = {at: files.submit(shop.perform, tasks[at]) for at in order}
        for at, task in enumerate(tasks):
            made = running.pop(at).result()
            if isinstance(made, FileDelta) and task.item:
                drafts += _file_drafts(task.bases, task.item, made, numbers, maps)
            elif task.solid and not isinstance(made, FileDelta):
                drafts.append(_solid_draft(task.bases, task.solid, made, numbers))
    drafts.sort(key=lambda draft: bool(draft.unit.fills))
    index = Index(
        tuple(draft.unit for draft in drafts),
        pack_maps(maps) if maps else b"",
        tuple(_recipe(base, old, drafts) for base, old in enumerate(olds)),
    )
    data = encode(index)
    packed = len(data).to_bytes(8, "little") + encode_lzma2(data, b"", literal=0, alignment=0)
    return Assembled(_tree_section(new, olds), packed, tuple(draft.stored for draft in drafts))


def _tasks(
    work: Work, quotings: Mapping[Bases, dict[bytes, Quoting]], read: Read
) -> Iterator[_Task]:
    """Files of their own first, then what is made together."""
    rest: dict[Bases, list[Item]] = {}
    for bases, items in work.items.items():
        for item in items:
            if item.digest not in quotings[bases] and _stands_alone(item, read):
                yield _Task(bases, item, None)
            else:
                rest.setdefault(bases, []).append(item)
    for bases, items in rest.items():
        for solid in solids(items, quotings[bases], read):
            yield _Task(bases, None, solid)


def _stands_alone(item: Item, read: Read) -> bool:
    if item.size > UNIT or item.old_size > 2 * UNIT:
        return True
    if item.old is None:
        return False
    return all(
        is_program(np.frombuffer(read(digest), np.uint8)) for digest in (item.digest, item.old)
    )


def _weight(task: _Task) -> int:
    if task.item:
        return 2 * task.item.size
    return sum(item.size for item in task.solid.items) if task.solid else 0


class _Shop(NamedTuple):
    """What it takes to perform a task."""

    quotings: Mapping[Bases, dict[bytes, Quoting]]
    read: Read
    pieces: Executor
    report: Callable[[int], None]

    def perform(self, task: _Task) -> FileDelta | tuple[Encoded, int]:
        """Encode a file of its own, or a unit of many."""
        if task.solid:
            made = encode_solid(task.solid, self.quotings[task.bases], self.read)
            self.report(sum(item.size for item in task.solid.items))
            return made
        if task.item is None:
            raise ValueError("a task without work")
        old = self.read(task.item.old) if task.item.old else b""
        new = self.read(task.item.digest)
        told: set[int] = set()

        def each(make: Callable[[int], Piece], offsets: Iterable[int]) -> Iterable[Piece]:
            for piece in self.pieces.map(make, offsets):
                if piece.offset not in told:  # of several ways that are tried, the first counts
                    told.add(piece.offset)
                    self.report(piece.length)
                yield piece

        return delta(np.frombuffer(old, np.uint8), np.frombuffer(new, np.uint8), each)


def _file_drafts(
    bases: Bases, item: Item, made: FileDelta, numbers: Mapping[bytes, int], maps: list[ShiftMap]
) -> Iterator[_Draft]:
    moved = -1
    if made.moved is not None and any(piece.parts for piece in made.pieces):
        moved = len(maps)
        maps.append(made.moved)
    for piece in made.pieces:
        parts = tuple(part._replace(map=moved if made.moved else -1) for part in piece.parts)
        output = slices(numbers[item.digest], piece, item.size)
        unit = _unit(piece.encoded, piece.length, (output,), parts)
        contents = tuple(item.old for _ in parts if item.old)
        yield _Draft(bases, unit, contents, piece.encoded.stored)


def _solid_draft(
    bases: Bases, solid: Solid, made: tuple[Encoded, int], numbers: Mapping[bytes, int]
) -> _Draft:
    encoded, raw = made
    outputs = tuple(Slice(numbers[item.digest], 0, -1) for item in solid.items)
    unit = _unit(encoded, raw, outputs, tuple(part for part, _ in solid.parts))
    unit = unit._replace(fills=tuple(numbers[digest] for digest in solid.quoted))
    return _Draft(bases, unit, tuple(base for _, base in solid.parts), encoded.stored)


def _unit(encoded: Encoded, raw: int, outputs: tuple[Slice, ...], parts: tuple[Part, ...]) -> Unit:
    digest = sha256(encoded.stored).digest()
    return Unit(int(encoded.kind), raw, len(encoded.stored), digest, outputs, parts)


def _recipe(base: int, old: Tree, drafts: list[_Draft]) -> Recipe:
    numbers = {digest: number for number, digest in enumerate(old.contents)}
    return Recipe(
        {
            at: tuple(numbers[digest] for digest in draft.contents)
            for at, draft in enumerate(drafts)
            if base in draft.bases
        }
    )


def _tree_section(new: Tree, olds: tuple[Tree, ...]) -> bytes:
    bones = trees.strip(trees.encode(new)).data
    bases = []
    for old in olds:
        data = trees.encode(old)
        prefix = trees.strip(data).data
        skeleton = encode_lzma2(bones, prefix, literal=3, alignment=0)
        origins = _origins(list(new.contents), list(old.contents))
        bases.append(BaseTree(trees.tree_digest(data).raw, origins, len(bones), skeleton))
    return msgspec.msgpack.encode(TreeSection(FORMAT, bases))


def _origins(new: list[bytes], old: list[bytes]) -> list[int]:
    """Runs of three: new contents, zigzag of the jump in the base, contents taken from there."""
    numbers = {digest: number for number, digest in enumerate(old)}
    where = [numbers.get(digest) for digest in new]
    runs: list[int] = []
    fresh, at = 0, 0
    for before, here in pairwise([None, *where]):
        if here is None:
            fresh += 1
        elif before is not None and here == before + 1:
            runs[-1] += 1
        else:
            jump = here - at
            runs += [fresh, 2 * jump if jump >= 0 else -2 * jump - 1, 1]
            fresh = 0
        if here is not None:
            at = here + 1
    if fresh:
        runs += [fresh, 0, 0]
    return runs
