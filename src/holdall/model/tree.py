"""The files of an app as a value: sorted entries and their one exact encoding.

Format: docs/reference/formats/tree.md. Parsing is hostile-input code: a tree that is built at all
is canonical, so everything that takes a `Tree` may trust its paths.
"""

import itertools
import re
from collections.abc import Iterable
from functools import cached_property
from itertools import pairwise
from typing import Annotated, NamedTuple, assert_never

import msgspec

from holdall.errors import CorruptError, UsageError
from holdall.model.digest import SIZE, Digest, digest_of

FORMAT = 1
MAX_BYTES = 128 * 2**20
MAX_ENTRIES = 1_000_000
# the system takes 4095 bytes, which must hold the store's own path too; tools that walk a tree
# (Python's own among them) end at a depth of a thousand
MAX_PATH = 1024
MAX_DEPTH = 128
MAX_TARGET = 4095
MAX_ELEMENT = 255

DIRECTORY, FILE, PROGRAM, SYMLINK = 0, 1, 2, 3
_DOTS = {"", ".", ".."}
# C0, DEL, C1, line separators, the bidirectional controls that make a name read as another, and
# what stands for bytes that are no UTF-8
_FORBIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


class Directory(NamedTuple):
    """A folder; its mode is 0755."""

    path: str


class File(NamedTuple):
    """A regular file; its mode is 0644, or 0755 when executable. `size` is in bytes."""

    path: str
    digest: bytes
    size: int
    executable: bool


class Symlink(NamedTuple):
    """A symbolic link; the target is any text and is never followed by holdall."""

    path: str
    target: str


Entry = Directory | File | Symlink


class Tree:
    """Sorted entries, parents before children, no path twice; never changed once made."""

    def __init__(self, entries: tuple[Entry, ...]) -> None:
        self.entries = entries

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tree) and self.entries == other.entries

    def __hash__(self) -> int:
        return hash(self.entries)

    @cached_property
    def files(self) -> tuple[File, ...]:
        """The regular files, in order."""
        return tuple(entry for entry in self.entries if isinstance(entry, File))

    @cached_property
    def contents(self) -> dict[bytes, int]:
        """Raw digest to size in bytes of every distinct content, in order of first use."""
        return {file.digest: file.size for file in self.files}

    @cached_property
    def size(self) -> int:
        """The apparent size in bytes: every file counted, however often its content occurs."""
        return sum(file.size for file in self.files)


# checked before an array is decoded: its elements would take fifty times the memory of its bytes
_FEW = msgspec.Meta(max_length=MAX_ENTRIES)


class _Wire(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    format: int
    paths: Annotated[list[str], _FEW]
    kinds: bytes
    reuse: Annotated[list[int], _FEW]
    sizes: Annotated[list[int], _FEW]
    digests: bytes
    targets: Annotated[list[str], _FEW]


def encode(tree: Tree) -> bytes:
    """The one exact encoding of `tree`.

    Raises UsageError where its paths or targets break the rules.
    """
    _check_paths([entry.path for entry in tree.entries], UsageError)
    wire = _Wire(FORMAT, [entry.path for entry in tree.entries], b"", [], [], b"", [])
    kinds, digests = bytearray(), bytearray()
    numbers: dict[bytes, int] = {}
    for entry in tree.entries:
        match entry:
            case Directory():
                kinds.append(DIRECTORY)
            case File(_, digest, size, executable):
                kinds.append(PROGRAM if executable else FILE)
                if digest in numbers:
                    wire.reuse.append(numbers[digest] + 1)
                    continue
                wire.reuse.append(0)
                numbers[digest] = len(numbers)
                wire.sizes.append(size)
                digests += digest
            case Symlink(path, target):
                _check_target(path, target, UsageError)
                kinds.append(SYMLINK)
                wire.targets.append(target)
            case _:
                assert_never(entry)
    wire.kinds, wire.digests = bytes(kinds), bytes(digests)
    data = msgspec.msgpack.encode(wire)
    _check_parents(tree.entries, UsageError)
    if len(data) > MAX_BYTES or len(tree.entries) > MAX_ENTRIES:
        raise UsageError(
            f"A tree may have {MAX_ENTRIES} entries at most; this one has {len(tree.entries)}."
        )
    return data


def parse(data: bytes, *, parsed_before: bool = False) -> Tree:
    """Read a tree's bytes; raises CorruptError at the first rule they break.

    `parsed_before` says that these very bytes, by their digest, were found to keep the rules.
    """
    if len(data) > MAX_BYTES:
        raise CorruptError(f"The tree is {len(data)} bytes long; more than {MAX_BYTES} is refused.")
    wire = _decoded(data)
    if wire.format != FORMAT:
        raise CorruptError(
            f"The tree has format {wire.format}; this holdall reads format {FORMAT}."
        )
    if parsed_before:
        return Tree(tuple(_entries(wire)))
    _check_paths(wire.paths, CorruptError)
    tree = Tree(tuple(_entries(wire)))
    _check_parents(tree.entries, CorruptError)
    if msgspec.msgpack.encode(wire) != data:
        raise CorruptError("The tree is not in its one exact encoding.")
    return tree


class Outline(NamedTuple):
    """A tree as columns, for who looks at few of its entries: nothing is made for each.

    `kinds` has one of `DIRECTORY`, `FILE`, `PROGRAM` and `SYMLINK` for each of the `paths`. Of each
    file in order, `numbers` has that of its content; of each content, `sizes` and `digests` tell.
    `targets` are those of the links in order.
    """

    paths: list[str]
    kinds: bytes
    numbers: list[int]
    sizes: list[int]
    digests: list[bytes]
    targets: list[str]


def outline(data: bytes) -> Outline:
    """The outline of a tree's bytes, which have been parsed before.

    Raises CorruptError for those of something else.
    """
    wire = _decoded(data)
    fresh = itertools.count()
    return Outline(
        wire.paths,
        wire.kinds,
        [reused - 1 if reused else next(fresh) for reused in wire.reuse],
        wire.sizes,
        [wire.digests[at : at + SIZE] for at in range(0, len(wire.digests), SIZE)],
        wire.targets,
    )


class Bones(NamedTuple):
    """A tree without its digests: its bytes, and the lengths of its contents by number."""

    data: bytes
    sizes: tuple[int, ...]


class _Frame(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    paths: Annotated[list[str], _FEW]
    kinds: bytes
    reuse: Annotated[list[int], _FEW]
    sizes: Annotated[list[int], _FEW]
    targets: Annotated[list[str], _FEW]


def strip(data: bytes) -> Bones:
    """The skeleton of a tree's bytes, which have been parsed before."""
    wire = msgspec.msgpack.decode(data, type=_Wire)
    bones = _Frame(wire.paths, wire.kinds, wire.reuse, wire.sizes, wire.targets)
    return Bones(msgspec.msgpack.encode(bones), tuple(wire.sizes))


def parse_skeleton(data: bytes) -> tuple[Bones, Tree]:
    """Read a skeleton's bytes; in the tree that comes with it, digests are content numbers.

    Raises CorruptError at the first rule of trees that is broken.
    """
    try:
        bones = msgspec.msgpack.decode(data, type=_Frame)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptError(f"The tree cannot be read: {error}.") from error
    numbers = b"".join(number.to_bytes(SIZE, "big") for number in range(len(bones.sizes)))
    return Bones(data, tuple(bones.sizes)), parse(_dressed(bones, numbers))


def dress(skeleton: Bones, digests: Iterable[bytes]) -> bytes:
    """The bytes of the tree that a skeleton and the digests of its contents, by number, make."""
    bones = msgspec.msgpack.decode(skeleton.data, type=_Frame)
    return _dressed(bones, b"".join(digests))


def _dressed(bones: _Frame, digests: bytes) -> bytes:
    wire = _Wire(FORMAT, bones.paths, bones.kinds, bones.reuse, bones.sizes, digests, bones.targets)
    return msgspec.msgpack.encode(wire)


def tree_digest(data: bytes) -> Digest:
    """The digest a release names a tree by: that of its encoded bytes."""
    return Digest(digest_of(data))


def check_path(path: str) -> None:
    """Raise UsageError when `path` could not stand in a tree."""
    _check_paths([path], UsageError)
    if _DOTS & set(path.split("/")):
        raise UsageError(f"The path {path!r} has an empty, '.' or '..' element.")


def check_link(path: str, target: str) -> None:
    """Raise UsageError when a symbolic link to `target` could not stand in a tree."""
    _check_target(path, target, UsageError)


def _decoded(data: bytes) -> _Wire:
    try:
        return msgspec.msgpack.decode(data, type=_Wire)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptError(f"The tree cannot be read: {error}.") from error


def _entries(wire: _Wire) -> list[Entry]:
    kinds = wire.kinds
    if len(kinds) != len(wire.paths) or len(wire.digests) != SIZE * len(wire.sizes):
        raise CorruptError("The tree's columns have different lengths.")
    contents = _contents(wire)
    fresh, reused, targets = iter(contents), iter(wire.reuse), iter(wire.targets)
    made = 0
    entries: list[Entry] = []
    try:
        for path, kind in zip(wire.paths, kinds, strict=True):
            if kind in {FILE, PROGRAM}:
                number = next(reused)
                if not 0 <= number <= made:
                    raise CorruptError(
                        f"The tree's entry {path!r} names a content that does not come before it."
                    )
                digest, size = contents[number - 1] if number else next(fresh)
                made += not number
                entries.append(File(path, digest, size, kind == PROGRAM))
            elif kind == DIRECTORY:
                entries.append(Directory(path))
            elif kind == SYMLINK:
                target = next(targets)
                _check_target(path, target, CorruptError)
                entries.append(Symlink(path, target))
            else:
                raise CorruptError(f"The tree's entry {path!r} is of unknown kind {kind}.")
    except StopIteration:
        raise CorruptError("The tree's columns have different lengths.") from None
    if any(next(rest, None) is not None for rest in (fresh, reused, targets)):
        raise CorruptError("The tree's columns have different lengths.")
    return entries


def _contents(wire: _Wire) -> list[tuple[bytes, int]]:
    digests = [wire.digests[at : at + SIZE] for at in range(0, len(wire.digests), SIZE)]
    if len(set(digests)) != len(digests):
        raise CorruptError("The tree lists one content twice.")
    if any(not 0 <= size < 2**63 for size in wire.sizes) or sum(wire.sizes) >= 2**63:
        raise CorruptError("The tree has a file of an impossible size.")
    return list(zip(digests, wire.sizes, strict=True))


def _check_paths(paths: list[str], error: type[CorruptError | UsageError]) -> None:
    """All that can be said of paths alone; that those above are folders is for `_check_parents`."""
    joined = "/".join(paths)
    # what is printable has no control, bidirectional or surrogate character; the pattern decides
    if not joined.isprintable() and _FORBIDDEN.search(joined):
        bad = next(path for path in paths if _FORBIDDEN.search(path))
        raise error(
            f"The path {bad!a} has a control character or is not UTF-8; such names are refused."
        )
    for name in {path.rpartition("/")[2] for path in paths}:
        if name in _DOTS:
            raise error(f"A path of the tree ends in {name!r}; paths are relative and plain.")
        if len(name) > MAX_ELEMENT // 4 and len(name.encode()) > MAX_ELEMENT:
            raise error(f"The name {name[:40]!r}… is longer than {MAX_ELEMENT} bytes.")
    longest = max(map(len, paths), default=0)
    if longest > MAX_PATH // 4 and max(len(path.encode()) for path in paths) > MAX_PATH:
        raise error(f"A path of the tree is longer than {MAX_PATH} bytes.")
    if longest > 2 * MAX_DEPTH and max(path.count("/") for path in paths) >= MAX_DEPTH:
        raise error(f"A path of the tree has more than {MAX_DEPTH} elements.")
    for first, second in pairwise(paths):
        if first >= second:
            raise error(f"The path {second!r} is listed twice or out of order.")


def _check_parents(entries: Iterable[Entry], error: type[CorruptError | UsageError]) -> None:
    folders = {""}
    for entry in entries:
        path = entry.path
        parent, slash, _ = path.rpartition("/")
        if parent not in folders or (slash and not parent):
            raise error(f"The path {path!r} lies below something that is no folder of the tree.")
        if isinstance(entry, Directory):
            folders.add(path)


def _check_target(path: str, target: str, error: type[CorruptError | UsageError]) -> None:
    if not target or _FORBIDDEN.search(target) or len(target.encode()) > MAX_TARGET:
        raise error(f"The symbolic link {path!r} has an empty, too long or unprintable target.")
