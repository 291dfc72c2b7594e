"""Units of many files: as much as fits, one after the other, with their old versions as prefix."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from holdall.delivery.delta.tokens import blank
from holdall.delivery.delta.wire import Part, Transform
from holdall.delivery.differ.encode import Encoded, plain
from holdall.delivery.differ.files import PREFIX, UNIT
from holdall.delivery.differ.quotes import Quoting, blanks

Read = Callable[[bytes], bytes]


class Item(NamedTuple):
    """A new content and the old one to start from, by raw digest, with their lengths in bytes."""

    path: str
    digest: bytes
    size: int
    old: bytes | None
    old_size: int


class Solid(NamedTuple):
    """A unit: its items in order, and the parts of its prefix, each with the digest of its base."""

    items: tuple[Item, ...]
    parts: tuple[tuple[Part, bytes], ...]
    quoted: tuple[bytes, ...]


def solids(items: Iterable[Item], quotings: dict[bytes, Quoting], read: Read) -> Iterator[Solid]:
    """Cut items into units, by kind of file, then path; those that quote others after those."""
    levels: dict[int, list[Item]] = {}
    for item in items:
        quoting = quotings.get(item.digest)
        levels.setdefault(quoting.level if quoting else 0, []).append(item)
    for _, members in sorted(levels.items()):
        for run in _runs(sorted(members, key=_order)):
            yield _solid(run, quotings, read)


def encode(solid: Solid, quotings: dict[bytes, Quoting], read: Read) -> tuple[Encoded, int]:
    """A unit's stored form and its decoded length."""
    pieces = []
    for item in solid.items:
        quoting = quotings.get(item.digest)
        pieces.append(quoting.text if quoting else read(item.digest))
    prefix = []
    for part, base in solid.parts:
        data = read(base)
        prefix.append(blank(data, part.blanks) if part.transform == Transform.TOKENS else data)
    data = b"".join(pieces)
    is_text = sum(b"\0" in piece[:4096] for piece in pieces) * 4 < len(pieces)
    return plain(data, b"".join(prefix), is_known=is_text), len(data)


def _order(item: Item) -> tuple[str, str]:
    name = item.path.rpartition("/")[2]
    return name[name.rfind(".") :] if "." in name[1:] else "", item.path


def _runs(items: list[Item]) -> Iterator[list[Item]]:
    run: list[Item] = []
    size = prefix = 0
    seen: set[bytes] = set()
    for item in items:
        more = item.old_size if item.old and item.old not in seen else 0
        if run and (size + item.size > UNIT or prefix + more > PREFIX):
            yield run
            run, size, prefix, seen = [], 0, 0, set()
            more = item.old_size if item.old else 0
        run.append(item)
        size += item.size
        if item.old:
            prefix += more
            seen.add(item.old)
    if run:
        yield run


def _solid(run: list[Item], quotings: dict[bytes, Quoting], read: Read) -> Solid:
    parts: dict[bytes, Part] = {}
    quoted: list[bytes] = []
    for item in run:
        quoting = quotings.get(item.digest)
        if quoting:
            quoted += quoting.quoted
        if item.old is None or item.old in parts or item.old_size > PREFIX:
            continue
        gone = blanks(read(item.old), read(item.digest)) if quoting else ()
        transform = Transform.TOKENS if gone else Transform.RAW
        parts[item.old] = Part(0, -1, transform, blanks=gone)
    return Solid(tuple(run), tuple((part, base) for base, part in parts.items()), tuple(quoted))
