"""What the tests of increments build by hand: small ELF images, address maps, streams, trees.

The images have no program headers: an address transform reads section headers alone.
"""

import lzma
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec
import numpy as np

from holdall.delivery.delta import wire
from holdall.delivery.delta.columns import Numbers, pack_varints
from holdall.delivery.delta.elf import NOBITS, PROGBITS, X86_64, Bytes
from holdall.delivery.delta.increment import (
    BaseTree,
    Increment,
    Skeleton,
    TreeSection,
    read_increment,
)
from holdall.delivery.delta.rebase import Image, read_image
from holdall.delivery.delta.shifts import ShiftMap
from holdall.delivery.delta.wire import Index, Recipe
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


def programs(most: int = 300_000) -> list[Path]:
    """ELF files that are here wherever holdall is: extension modules of what it needs, by size."""
    folder = Path(np.__file__).parent
    found = sorted(folder.rglob("*.so"), key=lambda path: path.stat().st_size)
    return [path for path in found if path.stat().st_size <= most]


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
