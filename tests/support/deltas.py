"""What the tests of increments build by hand: small ELF images, address maps, streams, trees.

The images have no program headers: an address transform reads section headers alone.
"""

import lzma
import random
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np

from holdall.delivery.delta import make as making
from holdall.delivery.delta import wire
from holdall.delivery.delta.columns import Numbers, pack_varints
from holdall.delivery.delta.elf import AARCH64, DYNSYM, NOBITS, PROGBITS, RELA, RELR, X86_64, Bytes
from holdall.delivery.delta.increment import (
    BaseTree,
    Increment,
    Skeleton,
    TreeSection,
    read_increment,
)
from holdall.delivery.delta.rebase import Image, read_image
from holdall.delivery.delta.shifts import ShiftMap
from holdall.delivery.delta.wire import Index, Recipe, Slice, Unit
from holdall.delivery.differ.assemble import Assembled, assemble, plan
from holdall.model import tree as trees
from holdall.model.digest import digest_of
from holdall.model.tree import Directory, Entry, File, Tree
from holdall.system.liblzma import encode_lzma2

ALLOC, EXEC, TLS = 2, 4, 0x400
DYN, FIXED = 3, 2
_HEADER, _ENTRY = 64, 64
_ALIGNMENT = 16
_FIELDS = {"name": 0, "kind": 4, "flags": 8, "address": 16, "offset": 24, "size": 32, "entry": 56}


# ------------------------------------------------------------------------------ ELF images


@dataclass(frozen=True, slots=True)
class Part:
    """A section of an image; its address is its file offset plus `shift` when none is given."""

    name: str
    data: bytes
    kind: int = PROGBITS
    flags: int = ALLOC
    address: int | None = None
    shift: int = 0
    entry: int = 0


def code(data: bytes, *, shift: int = 0, name: str = ".text") -> Part:
    """A section of instructions."""
    return Part(name, data, flags=ALLOC | EXEC, shift=shift)


def elf(*parts: Part, machine: int = X86_64, kind: int = DYN) -> bytes:
    """An image with these sections, each at the next multiple of 16, in order."""
    out = bytearray(_HEADER)
    rows = [bytes(_ENTRY)]
    names = b"\0"
    for part in (*parts, Part(".shstrtab", b"", kind=3, flags=0)):
        out += bytes(-len(out) % _ALIGNMENT)
        name, names = len(names), names + part.name.encode() + b"\0"
        data = names if part.name == ".shstrtab" else part.data
        offset = len(out)
        address = part.address if part.address is not None else offset + part.shift
        placed = address if part.flags & ALLOC or part.address is not None else 0
        rows.append(
            struct.pack(
                "<IIQQQQIIQQ",
                *(name, part.kind, part.flags, placed, offset, len(data), 0, 0, 16, part.entry),
            )
        )
        out += b"" if part.kind == NOBITS else data
    out += bytes(-len(out) % 8)
    table = len(out)
    out[:_HEADER] = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01" + bytes(9),
        *(kind, machine, 1, 0, 0, table, 0, _HEADER, 0, 0, _ENTRY, len(rows), len(rows) - 1),
    )
    return bytes(out + b"".join(rows))


def places(*parts: Part) -> dict[str, int]:
    """The file offsets at which `elf` puts sections."""
    found, at = {}, _HEADER
    for part in parts:
        at += -at % _ALIGNMENT
        found[part.name] = at
        at += 0 if part.kind == NOBITS else len(part.data)
    return found


def with_header(data: bytes, number: int, **fields: int) -> bytes:
    """An image with other fields in one of its section headers, counted from 0."""
    table = int.from_bytes(data[40:48], "little")
    changed = bytearray(data)
    for name, value in fields.items():
        at = table + _ENTRY * number + _FIELDS[name]
        width = 4 if name in {"name", "kind"} else 8
        changed[at : at + width] = value.to_bytes(width, "little")
    return bytes(changed)


def section_count(data: bytes) -> int:
    """How many section headers an image has."""
    return int.from_bytes(data[60:62], "little")


def array(data: bytes) -> Bytes:
    """Bytes as the read-only array a mapped file is."""
    return np.frombuffer(data, np.uint8)


def image(data: bytes) -> Image:
    """The image in these bytes, which must be one."""
    found = read_image(array(data))
    assert found is not None
    return found


def rebased(data: bytes, moved: ShiftMap) -> bytes:
    """All of an image, with every address moved."""
    return image(data).rebased(moved, 0, len(data)).tobytes()


def shifts(pieces: Mapping[int, int]) -> ShiftMap:
    """A map: from each address on by how much."""
    return ShiftMap(numbers(pieces), numbers(pieces.values()))


def numbers(values: Iterable[int]) -> Numbers:
    """Numbers as a column."""
    return np.array(list(values), np.int64)


_SHIFT = 0x1000


def sample_image(seed: int = 3, *, machine: int = X86_64, kind: int = DYN) -> bytes:
    """An image with every kind of table; most of what they hold is an address in it."""
    chance = random.Random(seed)
    text = code(_sample_code(chance, machine), shift=_SHIFT)
    start = places(text)[".text"] + _SHIFT
    table = Part(".rodata", bytes(240), shift=_SHIFT)
    header = Part(".eh_frame_hdr", bytes(12 + 8 * 8), shift=_SHIFT)
    at = places(text, table, header, Part(".eh_frame", b""))
    base, head, frames = (at[it] + _SHIFT for it in (".rodata", ".eh_frame_hdr", ".eh_frame"))
    targets = [start + chance.randrange(len(text.data)) for _ in range(60)]
    pairs = [(start + 10 * row - head, frames + 24 * row - head) for row in range(8)]
    chance.shuffle(pairs)
    parts = (
        replace(text, data=_lea(start, base, machine) + text.data[14:]),
        replace(table, data=struct.pack("<60i", *(target - base for target in targets))),
        replace(header, data=_packed("<BBBBiI", (1, 0x1B, 3, 0x3B, 0, 8)) + _packed("<ii", *pairs)),
        Part(".eh_frame", _frames(chance, frames, targets), shift=_SHIFT),
        Part(".rela.dyn", _records(chance, machine), RELA, shift=_SHIFT, entry=24),
        Part(".relr.dyn", struct.pack("<4Q", 0x2D00, 2**64 - 1, 0x2E05, 5), RELR, shift=_SHIFT),
        Part(".dynsym", _addresses(chance, 9), DYNSYM, shift=_SHIFT, entry=24),
        Part(".got", _addresses(chance, 10), shift=2 * _SHIFT),
        Part(".data", _addresses(chance, 120), shift=2 * _SHIFT),
        Part(".bss", bytes(50), NOBITS, shift=2 * _SHIFT),
    )
    return elf(*parts, machine=machine, kind=kind)


def _packed(form: str, *rows: Sequence[int]) -> bytes:
    return b"".join(struct.pack(form, *row) for row in rows)


def _lea(start: int, base: int, machine: int) -> bytes:
    """Two instructions that name where tables of offsets begin; they take 14 bytes."""
    if machine != X86_64:
        return bytes(14)
    places = (base, base + 80)
    return b"".join(
        b"\x48\x8d\x05" + struct.pack("<i", place - (start + 7 * number + 7))
        for number, place in enumerate(places)
    )


def _sample_code(chance: random.Random, machine: int) -> bytes:
    if machine == AARCH64:
        opcodes = (0x94000000, 0x14000000, 0x54000000, 0x10000000, 0x90000000, 0x91000000)
        words = [chance.choice(opcodes) | chance.randrange(64) << 5 for _ in range(400)]
        return struct.pack("<400I", *words)
    heads = (b"\xe8", b"\xe9", b"\x0f\x84", b"\x48\x8d\x05", b"\x8b\x0d", b"\x83\x3d", b"\xbf")
    pieces = [
        chance.choice(heads) + struct.pack("<i", chance.randrange(-900, 1900)) for _ in range(250)
    ]
    return b"".join(piece + chance.randbytes(chance.choice((0, 0, 1, 4))) for piece in pieces)


def _frames(chance: random.Random, start: int, targets: list[int]) -> bytes:
    """Descriptions of 24 bytes, some with a handler; they stand at addresses from `start` on."""
    rows = []
    for row, target in enumerate(targets[:9]):
        at = start + 24 * row
        handler = struct.pack("<Bi", 4, chance.choice(targets) - (at + 17)) + bytes(3)
        rows.append(struct.pack("<Iiii", 20, 24 * row + 4, target - (at + 8), 9))
        rows.append(handler if row % 2 else bytes(8))
    return b"".join(rows)


def _addresses(chance: random.Random, count: int) -> bytes:
    return b"".join(struct.pack("<Q", chance.randrange(0x1000, 0x3400)) for _ in range(count))


def _records(chance: random.Random, machine: int) -> bytes:
    kind = 1027 if machine == AARCH64 else 8
    rows = [(chance.randrange(0x2C00, 0x3200), kind, chance.randrange(_SHIFT)) for _ in range(20)]
    return _packed("<QQQ", *rows)


def programs(most: int = 300_000) -> list[Path]:
    """ELF files that are here wherever holdall is: extension modules of what it needs, by size."""
    folder = Path(np.__file__).parent
    found = sorted(folder.rglob("*.so"), key=lambda path: path.stat().st_size)
    return [path for path in found if path.stat().st_size <= most]


def relinked(old: bytes) -> tuple[bytes, int]:
    """A program with 64 bytes more in the middle of its code, and from which address on it moved.

    The last bytes of the code make room.
    """
    found = image(old)
    section = max(found.elf.code, key=lambda it: it.size)
    place = section.offset + section.size // 2
    moved = found.rebased(shifts({0: 0, place + section.shift: 64}), 0, len(old)).tobytes()
    new = moved[:place] + b"\x90" * 64 + moved[place : section.end - 64] + moved[section.end :]
    return new, place + section.shift


# ------------------------------------------------------------------------------ streams


def lzma2(data: bytes, prefix: bytes = b"") -> bytes:
    """An LZMA2 stream over a prefix."""
    return encode_lzma2(data, prefix, literal=3, alignment=0)


def plain_lzma2(data: bytes) -> bytes:
    """The same by Python's own encoder, without a prefix."""
    return lzma.compress(data, lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 0}])


def varints(*values: int) -> bytes:
    """Numbers as varints."""
    return pack_varints(numbers(values))


def addition(
    copies: Sequence[tuple[int, int, int]],
    added: Sequence[tuple[int, int]],
    rest: bytes,
    prefix: bytes = b"",
    /,
    **facts: int,
) -> bytes:
    """An add stream: (gap, length, number of the place), (place, difference), the rest.

    The third of a copy and the first of a difference are as they are stored. `facts` overrides the
    numbers in front: copies, changes, stored0 … stored3, decoded0 … decoded2.
    """
    columns = [
        b"".join(varints(*(copy[field] for copy in copies)) for field in range(3)),
        varints(*(place for place, _ in added)),
        bytes(difference for _, difference in added),
    ]
    streams = [*map(plain_lzma2, columns), lzma2(rest, prefix)]
    told = {
        "copies": len(copies),
        "changes": len(added),
        **{f"stored{at}": len(stream) for at, stream in enumerate(streams)},
        **{f"decoded{at}": len(column) for at, column in enumerate(columns)},
    }
    return b"".join((varints(*(told | facts).values()), *streams))


# ------------------------------------------------------------------------------ trees


def tree_of(files: Mapping[str, bytes]) -> Tree:
    """A tree of plain files and the folders above them."""
    folders = {str(parent) for path in files for parent in Path(path).parents} - {"."}
    entries: list[Entry] = [Directory(path) for path in folders]
    entries += [File(path, digest_of(data), len(data), False) for path, data in files.items()]  # noqa: FBT003
    return Tree(tuple(sorted(entries, key=lambda entry: entry.path)))


def contents_of(*folders: Mapping[str, bytes]) -> dict[bytes, bytes]:
    """All contents by digest."""
    return {digest_of(data): data for files in folders for data in files.values()}


@dataclass(frozen=True, slots=True)
class Made:
    """An increment between small trees, and how to get at everything."""

    olds: tuple[Tree, ...]
    new: Tree
    contents: dict[bytes, bytes]
    sections: Assembled

    @property
    def increment(self) -> Increment:
        return read_increment(self.sections.tree, self.sections.index)

    def skeleton(self, base: int = 0) -> Skeleton:
        return self.increment.skeleton(base, self.olds[base])


def differ(new: Mapping[str, bytes], *olds: Mapping[str, bytes], workers: int = 1) -> Made:
    """Build an increment from any of the old folders to the new one."""
    contents = contents_of(new, *olds)
    target, bases = tree_of(new), tuple(map(tree_of, olds))
    work = plan(target, bases)
    made = assemble(target, bases, work, contents.__getitem__, workers=workers)
    return Made(bases, target, contents, made)


def origins_of(runs: list[int], names: str, count: int) -> list[str | None]:
    """What runs of origins say of a tree of `count` contents: the base's content, or None."""
    old = tree_of({name: name.encode() for name in names})
    new = tree_of({f"{number:04}": b"%d" % (number % 10) for number in range(count)})
    bones, prefix = (trees.strip(trees.encode(tree)).data for tree in (distinct(new), old))
    base = BaseTree(digest_of(trees.encode(old)), runs, len(bones), lzma2(bones, prefix))
    index = wire.encode(Index((), b"", (Recipe({}),)))
    made = read_increment(msgspec.msgpack.encode(TreeSection(1, [base])), index_section(index))
    known = {digest_of(name.encode()): name for name in names}
    return [known[digest] if digest else None for digest in made.skeleton(0, old).origins]


def distinct(tree: Tree) -> Tree:
    """The same paths and sizes, with contents that are all different."""
    return Tree(
        tuple(
            entry._replace(digest=sha(b"%d" % at)) if isinstance(entry, File) else entry
            for at, entry in enumerate(tree.entries)
        )
    )


def index_section(data: bytes) -> bytes:
    """An index as it is stored."""
    return len(data).to_bytes(8, "little") + lzma2(data)


def sha(data: bytes) -> bytes:
    """A plain digest."""
    return sha256(data).digest()


# ------------------------------------------------------------------------------ making


@dataclass(frozen=True, slots=True)
class Workplace:
    """An increment and a folder in which it is applied; the base's contents are files there."""

    made: Made
    folder: Path
    base: int = 0

    def __post_init__(self) -> None:
        for place in (self.held, self.out):
            place.mkdir(parents=True, exist_ok=True)
        for digest in self.made.olds[self.base].contents:
            self.path(digest).write_bytes(self.made.contents[digest])
        self.file.write_bytes(b"head" + b"".join(self.made.sections.units))

    @property
    def held(self) -> Path:
        return self.folder / "held"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def file(self) -> Path:
        """What has the units, after four bytes of something else."""
        return self.folder / "units"

    def path(self, digest: bytes) -> Path:
        """Where a content of the base lies."""
        return self.held / digest.hex()

    def find(self, digest: bytes) -> str | None:
        path = self.path(digest)
        return str(path) if path.exists() else None

    def apply(
        self,
        report: Callable[[int], None] = lambda _size: None,
        *,
        stream: BinaryIO | None = None,
        increment: Increment | None = None,
    ) -> making.Made:
        """Make what is new, in `out`; from a stream the units are copied to a file meanwhile."""
        spool = self.folder / "spool"
        with spool.open("w+b") if stream else self.file.open("rb") as file:
            return making.make(
                increment or self.made.increment,
                self.base,
                self.made.olds[self.base],
                self.made.skeleton(self.base),
                find=self.find,
                stored=making.Stored(file.fileno(), 4, stream),
                folder=str(self.out),
                report=report,
            )

    def check(self, result: making.Made) -> None:
        """All that is new was made, lies where it should, and completes the new tree."""
        assert result.failed == {}
        skeleton = self.made.skeleton(self.base)
        assert set(result.digests) == set(skeleton.new)
        for digest in result.digests.values():
            assert (self.out / digest.hex()).read_bytes() == self.made.contents[digest]
        assert skeleton.complete(result.digests) == trees.encode(self.made.new)

    def again(self, index: Index, units: Sequence[bytes]) -> "Workplace":
        """The same with another index and other units."""
        section = index_section(wire.encode(index))
        sections = self.made.sections._replace(index=section, units=tuple(units))
        return replace(self, made=replace(self.made, sections=sections))


def unit(
    data: bytes, *outputs: Slice, parts: Sequence[wire.Part] = (), fills: Sequence[int] = ()
) -> tuple[Unit, bytes]:
    """A unit that needs no prefix, and what is stored of it."""
    stored = lzma2(data)
    made = Unit(1, len(data), len(stored), sha(stored), outputs, tuple(parts), tuple(fills))
    return made, stored
