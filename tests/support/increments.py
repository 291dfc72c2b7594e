"""Increments made by hand: the plainest that the format allows, and what no builder would make.

Every new content is a unit of its own, over the file of the same path in the base where there is
one. The same arguments give the same bytes.
"""

import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Self

import msgspec

from bundles import KEY, make_bundle
from holdall.delivery.bundle import Preamble, open_preamble, read_preamble
from holdall.delivery.delta import wire
from holdall.delivery.delta.increment import BaseTree, TreeSection
from holdall.delivery.delta.wire import Index, Kind, Part, Recipe, Slice, Transform, Unit
from holdall.delivery.layout import HEAD_SIZE, INCREMENT, Head, encode_head, parse_head, section
from holdall.model import statement as statements
from holdall.model import tree as trees
from holdall.model.digest import digest_of
from holdall.model.statement import Statement
from holdall.model.tree import Tree
from holdall.system.liblzma import encode_lzma2
from holdall.trust.envelope import Signed, open_envelope, open_statement, sign
from holdall.trust.keys import SigningKey

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_SHORTEST = 8  # bytes of a prefix that zstd takes


@dataclass(frozen=True, slots=True)
class Version:
    """A full bundle, read: its release, and the contents its source folder still has."""

    preamble: Preamble
    signed: Signed
    tree: Tree
    contents: dict[bytes, bytes]

    @classmethod
    def of(cls, bundle: Path) -> Self:
        """The bundle whose source folder lies beside it as `bundle`.d."""
        with bundle.open("rb") as stream:
            preamble = read_preamble(stream)
        signed = open_envelope(preamble.envelope)
        packing = signed.release.packing
        opened = open_preamble(
            preamble,
            tree_sha256=packing.tree,
            index_sha256=packing.index,
            tree_digest=signed.release.tree_digest.raw,
        )
        files = bundle.with_name(bundle.name + ".d") / "files"
        contents = {file.digest: (files / file.path).read_bytes() for file in opened.tree.files}
        return cls(preamble, signed, opened.tree, contents)

    @property
    def digest(self) -> str:
        """The release's."""
        return sha256(self.signed.payload).hexdigest()

    def number(self, path: str) -> int | None:
        """The content number of the file at `path`."""
        numbers = {digest: at for at, digest in enumerate(self.tree.contents)}
        return next((numbers[file.digest] for file in self.tree.files if file.path == path), None)


@dataclass(frozen=True, slots=True)
class Pieces:
    """An increment taken apart, without any header."""

    envelope: bytes
    tree: bytes
    index: bytes
    statement: bytes
    units: bytes

    @classmethod
    def of(cls, data: bytes) -> Self:
        """The pieces of an increment's bytes."""
        head = parse_head(data[:HEAD_SIZE])
        at, bodies = HEAD_SIZE, []
        for length in (head.envelope, head.tree, head.index, None):
            size = int.from_bytes(data[at + 4 : at + 8], "little")
            assert length in {None, size}
            bodies.append(data[at + 8 : at + 8 + size])
            at += 8 + size
        envelope, tree, index, statement = bodies
        return cls(envelope, tree, index, statement, data[at:])

    @property
    def bytes(self) -> bytes:
        """The file's bytes, with lengths that are true."""
        sections = (self.envelope, self.tree, self.index, self.statement)
        head = Head(
            len(self.envelope),
            len(self.tree),
            len(self.index),
            len(self.units),
            incompatible=INCREMENT,
        )
        numbered = (section(number, data) for number, data in enumerate(sections, start=1))
        return b"".join((encode_head(head), *numbered, self.units))

    @property
    def borders(self) -> tuple[int, ...]:
        """Where each section begins and the last ends."""
        at = [0, HEAD_SIZE]
        for body in (self.envelope, self.tree, self.index, self.statement, self.units):
            at.append(at[-1] + len(body) + (0 if body is self.units else 8))
        return tuple(at)

    def signed(
        self, *keys: SigningKey, change: Callable[[Statement], Statement] = lambda it: it
    ) -> Self:
        """The same with a statement about these sections, changed and signed anew."""
        stated = msgspec.structs.replace(
            open_statement(self.statement).statement,
            tree=sha256(self.tree).hexdigest(),
            index=sha256(self.index).hexdigest(),
        )
        payload = statements.encode(change(stated))
        return replace(self, statement=sign(payload, keys, kind=statements.PAYLOAD_TYPE))

    def with_index(self, change: Callable[[Index], Index], *keys: SigningKey) -> Self:
        """The same with a changed index, named and signed as it should be."""
        data = encode_index(change(read_index(self.index)))
        return replace(self, index=data).signed(*(keys or (KEY,)))


def encode_index(index: Index) -> bytes:
    """An index section."""
    data = wire.encode(index)
    return len(data).to_bytes(8, "little") + encode_lzma2(data, b"", literal=3, alignment=0)


def read_index(data: bytes) -> Index:
    """The inverse."""
    from holdall.delivery.delta.prefixed import decode_lzma2

    return wire.parse(decode_lzma2(data[8:], int.from_bytes(data[:8], "little")))


def make_increment(
    out: Path,
    bases: Sequence[Path],
    new: Path,
    *,
    keys: tuple[SigningKey, ...] = (KEY,),
    slice_size: int | None = None,
) -> Path:
    """The increment `out` that makes the bundle `new` of any of the bundles `bases`.

    Contents longer than `slice_size` are made by several units.
    """
    target, olds = Version.of(new), [Version.of(base) for base in bases]
    wanted = [
        digest for digest in target.tree.contents if any(digest not in old.contents for old in olds)
    ]
    units: list[Unit] = []
    stored: list[bytes] = []
    recipes = [dict[int, tuple[int, ...]]() for _ in olds]
    for digest in wanted:
        users = [at for at, old in enumerate(olds) if digest not in old.contents]
        prefix, chosen = _prefix(target, [olds[at] for at in users], digest)
        for unit, data in _units(target, digest, prefix, slice_size):
            for at, number in zip(users, chosen, strict=True):
                recipes[at][len(units)] = () if number is None else (number,)
            units.append(unit)
            stored.append(data)
    index = encode_index(Index(tuple(units), b"", tuple(map(Recipe, recipes))))
    tree = msgspec.msgpack.encode(TreeSection(1, [_base_tree(old, target) for old in olds]))
    statement = Statement(
        statements.FORMAT,
        target.digest,
        tuple(old.digest for old in olds),
        sha256(tree).hexdigest(),
        sha256(index).hexdigest(),
    )
    said = sign(statements.encode(statement), keys, kind=statements.PAYLOAD_TYPE)
    out.write_bytes(Pieces(target.preamble.envelope, tree, index, said, b"".join(stored)).bytes)
    return out


def _prefix(
    target: Version, users: list[Version], digest: bytes
) -> tuple[bytes | None, list[int | None]]:
    """What a content is made over: a file of its path that all who need it have the same."""
    path = next(file.path for file in target.tree.files if file.digest == digest)
    numbers = [old.number(path) for old in users]
    found = {
        list(old.contents)[number] if number is not None else b""
        for old, number in zip(users, numbers, strict=True)
    }
    if len(found) == 1 and b"" not in found:
        data = users[0].contents[found.pop()]
        return (data, numbers) if len(data) >= _SHORTEST else (None, [None] * len(users))
    return None, [None] * len(users)


def _units(
    target: Version, digest: bytes, prefix: bytes | None, slice_size: int | None
) -> list[tuple[Unit, bytes]]:
    content, whole = list(target.tree.contents).index(digest), target.contents[digest]
    step = slice_size or max(len(whole), 1)
    parts = () if prefix is None else (Part(0, -1, Transform.RAW),)
    made = []
    for start in range(0, max(len(whole), 1), step):
        data = whole[start : start + step]
        packed = compress(data, prefix or b"")
        output = Slice(content, start, len(data)) if len(whole) > step else Slice(content, 0, -1)
        unit = Unit(Kind.ZSTD, len(data), len(packed), sha256(packed).digest(), (output,), parts)
        made.append((unit, packed))
    return made


def compress(data: bytes, prefix: bytes) -> bytes:
    """A zstd frame over a prefix."""
    dictionary = zstd.ZstdDict(prefix, is_raw=True).as_prefix if prefix else None
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 24}
    return zstd.compress(data, options=options, zstd_dict=dictionary)


def _base_tree(old: Version, target: Version) -> BaseTree:
    bones = trees.strip(trees.encode(target.tree)).data
    prefix = trees.strip(encoded := trees.encode(old.tree)).data
    return BaseTree(
        digest_of(encoded),
        origins(list(old.contents), list(target.tree.contents)),
        len(bones),
        encode_lzma2(bones, prefix, literal=3, alignment=0),
    )


def origins(old: list[bytes], new: list[bytes]) -> list[int]:
    """The runs that say which contents come from the base, each of one content at most."""
    at = {digest: number for number, digest in enumerate(old)}
    runs, fresh, place = [], 0, 0
    for digest in new:
        if digest not in at:
            fresh += 1
            continue
        jump = at[digest] - place
        runs += [fresh, 2 * jump if jump >= 0 else -2 * jump - 1, 1]
        fresh, place = 0, at[digest] + 1
    return runs + ([fresh, 0, 0] if fresh else [])


# ------------------------------------------------------------------------------ versions of an app


@dataclass(frozen=True, slots=True)
class Versions:
    """Three versions of a small app as full bundles, and increments between them.

    `sliced` makes 3.0 of 2.0 with large contents in several units, `either` of 1.0 or of 2.0.
    """

    folder: Path

    def full(self, version: str) -> Path:
        return self.folder / f"{version}.holdall"

    def files(self, version: str) -> Path:
        """The files the full bundle was made of."""
        return self.folder / f"{version}.holdall.d/files"

    @property
    def first(self) -> Path:
        """1.0 to 2.0."""
        return self.folder / "1.0-2.0.holdall"

    @property
    def sliced(self) -> Path:
        """2.0 to 3.0."""
        return self.folder / "2.0-3.0.holdall"

    @property
    def either(self) -> Path:
        """1.0 or 2.0 to 3.0."""
        return self.folder / "any-3.0.holdall"


def make_versions(folder: Path) -> Versions:
    """Make all of it; 3.0 has a content as a program and as a plain file."""
    chance = random.Random(1)
    one = {f"lib/{number:02}.py": b"# %d\n" % number * 60 for number in range(24)}
    one |= {"bin/editor": b"#!/bin/sh\n", "large": chance.randbytes(300_000), "empty": b""}
    two = one | {"lib/03.py": b"changed\n" * 30, "lib/new.py": b"new\n" * 40}
    two["large"] = one["large"][:90_000] + b"inserted" + one["large"][90_000:]
    three = two | {"lib/03.py": b"changed again\n" * 30, "lib/04.py": b"changed too\n"}
    three |= {
        "large": b"more" + two["large"],
        "bin/both": b"#!/bin/true\n",
        "both": b"#!/bin/true\n",
    }
    del three["lib/05.py"]
    made = Versions(folder)
    for version, files in (("1.0", one), ("2.0", two), ("3.0", three)):
        make_bundle(made.full(version), files, links={"link": "large"}, version=version)
    make_increment(made.first, [made.full("1.0")], made.full("2.0"))
    make_increment(made.sliced, [made.full("2.0")], made.full("3.0"), slice_size=65_536)
    make_increment(made.either, [made.full("1.0"), made.full("2.0")], made.full("3.0"))
    return made
