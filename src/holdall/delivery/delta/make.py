"""Making contents from an increment and what it builds on, unit by unit, on all processors.

A unit's stored bytes are checked before they are decoded, a base before it is used; what comes out
is named by its digest, and whoever asked checks the tree those digests complete. Each finished unit
leaves a record, so that a run that was ended goes on where it stopped. Memory for each worker: the
result of a unit twice, its prefix once (of an add stream twice), and the address tables of one old
image.
"""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from hashlib import file_digest, sha256
from itertools import chain
from typing import BinaryIO, NamedTuple

import msgspec

from holdall.delivery.bundle import exactly
from holdall.delivery.delta.decode import Bases, Decoder, Wanted
from holdall.delivery.delta.increment import Increment, Skeleton, is_known
from holdall.delivery.delta.tokens import fill
from holdall.delivery.delta.wire import Slice, Unit
from holdall.delivery.delta.workplace import read, write_at, write_whole
from holdall.errors import CorruptError
from holdall.model.digest import BLOCK, SIZE, digest_of, digest_of_leaves, leaf_hashes
from holdall.model.tree import Tree
from holdall.system import crew
from holdall.system.files import write_all

FAILED = 2**64 - 1
_STORED_COST = 8  # decoding a stored byte costs as much as making so many of a prefix


class Made(NamedTuple):
    """The digests of the contents made, by number, and why the others were not.

    Each lies in the folder, named by its digest in hexadecimal, with mode 0644.
    """

    digests: dict[int, bytes]
    failed: dict[int, str]


class Stored(NamedTuple):
    """Where units are: a file, read by position; or a stream, copied to that file as it comes."""

    fd: int
    first: int
    stream: BinaryIO | None = None


class _Place(NamedTuple):
    find: Callable[[bytes], str | None]
    stored: Stored
    folder: str


class _Record(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """What a finished unit made: for each output its digest, or the hashes of a slice's blocks."""

    outputs: list[bytes]


def make(
    increment: Increment,
    base: int,
    tree: Tree,
    skeleton: Skeleton,
    *,
    find: Callable[[bytes], str | None],
    stored: Stored,
    folder: str,
    report: Callable[[int], None] = lambda _size: None,
) -> Made:
    """Make the new contents of `skeleton` in `folder`, from `tree`, which is base number `base`.

    `find` gives the path of a regular file with a content, by raw digest. `report` gets bytes of
    output; together the lengths of the new contents. Raises CorruptError for a unit that is not
    what the index says; what was finished stays in `folder`.
    """
    bench = _Bench(increment, base, tree, skeleton, _Place(find, stored, folder))
    pending = bench.pending(report)
    first = [number for number in pending if not increment.index.units[number].fills]

    def told(unit: int, amount: int) -> None:
        if amount == FAILED:
            bench.failed[unit] = "a file it builds on was changed"
        else:
            report(amount)

    arriving = bench.arriving(pending, first)
    if first:
        crew.share_out(arriving, len(first), bench.perform, report=told)
    elif pending:
        deque(arriving, 0)
    bench.settle()
    for ready in bench.filling([it for it in pending if increment.index.units[it].fills]):
        crew.share_out(ready, len(ready), bench.perform, report=told)
        bench.settle()
    return bench.made()


class _Bench:
    def __init__(
        self,
        increment: Increment,
        base: int,
        tree: Tree,
        skeleton: Skeleton,
        place: _Place,
    ) -> None:
        find, stored, folder = place
        self._index = increment.index
        self._sizes = skeleton.sizes
        self._origins = skeleton.origins
        self._new = frozenset(skeleton.new)
        self._find = find
        self._stored = stored
        self._folder = folder
        self._recipe = increment.units(base)
        self._outputs = {
            number: increment.outputs(self._index.units[number], skeleton.sizes)
            for number in self._recipe
        }
        _check_slices(self._outputs.values(), self._sizes)
        contents = list(tree.contents.items())
        self._decoder = Decoder(increment.maps, Bases(find))
        self._wanted = {
            number: Wanted.of(self._index.units[number], numbers, contents)
            for number, numbers in self._recipe.items()
        }
        self._offsets = _offsets(self._index.units, stored.first)
        self._digests: dict[int, bytes] = {}
        self._quoted: dict[int, bytes] = {}
        self.failed: dict[int, str] = {}

    def pending(self, report: Callable[[int], None]) -> list[int]:
        """The units still to be done; those that cannot be are noted, those done before told."""
        left = []
        for number in self._recipe:
            unit = self._index.units[number]
            if not is_known(unit):
                self.failed[number] = "this holdall is too old for how it is made"
            elif self._is_done(number):
                report(self._amount(number))
            else:
                self._undo(number)
                if any(self._find(digest) is None for digest in self._wanted[number].bases):
                    self.failed[number] = "a file it builds on is missing or changed"
                else:
                    left.append(number)
        return left

    def arriving(self, pending: list[int], first: list[int]) -> Iterator[int]:
        """The units of `first` as each can be read."""
        if self._stored.stream is None:
            yield from self._in_order(first)
            return
        wanted, now = set(pending), set(first)
        for number, unit in enumerate(self._index.units):
            data = exactly(self._stored.stream, unit.stored)
            if number in wanted:
                os.lseek(self._stored.fd, self._offsets[number], os.SEEK_SET)
                write_all(self._stored.fd, data)
            if number in now:
                yield number
        if self._stored.stream.read(1):
            raise CorruptError("The increment goes on after its end.")

    def _in_order(self, units: list[int]) -> list[int]:
        """The dearest first, so that all end together; those of one program beside each other."""
        cost: dict[int, int] = {}
        group: dict[int, bytes] = {}
        groups: Counter[bytes] = Counter()
        for number in units:
            unit, parts = self._index.units[number], self._wanted[number].parts
            cost[number] = unit.raw + _STORED_COST * unit.stored + self._wanted[number].length
            group[number] = parts[0][1] if parts else b""
            groups[group[number]] += cost[number]
        return sorted(units, key=lambda it: (-groups[group[it]], group[it], -cost[it]))

    def perform(self, number: int) -> int:
        """Decode one unit and write what it makes; returns the bytes, or FAILED."""
        unit = self._index.units[number]
        data = os.pread(self._stored.fd, unit.stored, self._offsets[number])
        if len(data) != unit.stored or sha256(data).digest() != unit.sha256:
            raise CorruptError(
                f"The increment's unit {number + 1} is not what its publisher signed."
            )
        made = self._decoder.decode(unit, data, self._wanted[number])
        if made is None:
            return FAILED
        if unit.fills:
            made = fill(made, [self._plain_sha256(content) for content in unit.fills])
        outputs = self._outputs[number]
        if sum(output.length for output in outputs) != len(made):
            raise CorruptError(f"The increment's unit {number + 1} makes too little or too much.")
        self._write(number, outputs, memoryview(made))
        return self._amount(number)

    def filling(self, pending: list[int]) -> Iterator[list[int]]:
        """The units that quote contents, each with others for which all of theirs are there, too.

        What is given must be done and settled before the next is asked for.
        """
        ready: list[int] = []
        for number in pending:
            if ready and self._lacking(number):
                yield ready
                ready = []
            if self._can_fill(number):
                ready.append(number)
        if ready:
            yield ready

    def _lacking(self, number: int) -> frozenset[int]:
        """The contents a unit quotes that are still to be made."""
        return (self._new & set(self._index.units[number].fills)) - self._digests.keys()

    def _can_fill(self, number: int) -> bool:
        """Whether the contents a unit quotes are there; it fails where one of them has failed.

        Raises CorruptError where it quotes contents that nothing before it was to make.
        """
        if any(content >= len(self._origins) for content in self._index.units[number].fills):
            raise CorruptError("The increment quotes a content that its tree does not have.")
        lacking = self._lacking(number)
        if lacking - {output.content for it in self.failed for output in self._outputs[it]}:
            raise CorruptError("The increment quotes a content that is not there yet.")
        if lacking:
            self.failed[number] = "a file it quotes could not be made"
        return not lacking

    def settle(self) -> None:
        """Read the records of finished units, and give whole contents their names."""
        slices: dict[int, dict[int, bytes]] = {}
        for number, outputs in self._outputs.items():
            record = None if number in self.failed else self._read_record(number)
            if record is None:
                continue
            for output, told in zip(outputs, record.outputs, strict=True):
                if output.content not in self._new:
                    continue
                if self._is_whole(output):
                    self._digests[output.content] = told
                else:
                    slices.setdefault(output.content, {})[output.offset] = told
        for content, leaves in slices.items():
            joined = b"".join(leaves[offset] for offset in sorted(leaves))
            if content in self._digests or len(joined) != SIZE * -(-self._sizes[content] // BLOCK):
                continue
            digest = digest_of_leaves(joined, self._sizes[content])
            self._digests[content] = digest
            with suppress(FileNotFoundError):
                os.truncate(self._sliced(content), self._sizes[content])
                os.rename(self._sliced(content), self._named(digest))

    def made(self) -> Made:
        """What there is now."""
        failed = {
            output.content: why
            for number, why in self.failed.items()
            for output in self._outputs[number]
            if output.content in self._new
        }
        for content in self._new - self._digests.keys() - failed.keys():
            failed[content] = "the increment has no unit for it"
        for content in self._digests:
            failed.pop(content, None)
        return Made(dict(self._digests), failed)

    def _write(self, number: int, outputs: list[Slice], made: memoryview) -> None:
        told, at = [], 0
        for output in outputs:
            piece = made[at : at + output.length]
            at += output.length
            if output.content not in self._new:
                told.append(b"")
            elif self._is_whole(output):
                told.append(digest_of(piece))
                write_whole(self._named(told[-1]), piece)
            else:
                told.append(leaf_hashes(piece))
                write_at(self._sliced(output.content), piece, output.offset)
        path = self._record(number)
        write_whole(f"{path}.new", msgspec.msgpack.encode(_Record(told)))
        os.rename(f"{path}.new", path)

    def _is_done(self, number: int) -> bool:
        """Whether an earlier run finished a unit and what it made is still what it was."""
        record = self._read_record(number)
        return record is not None and all(
            output.content not in self._new or self._is_there(output, told)
            for output, told in zip(self._outputs[number], record.outputs, strict=True)
        )

    def _undo(self, number: int) -> None:
        """Have nothing say that a unit is done; its slices are missing where the others are."""
        for output in self._outputs[number]:
            if output.content in self._new and not self._is_whole(output):
                with suppress(FileNotFoundError):
                    os.rename(self._joined(output.content), self._sliced(output.content))
        with suppress(FileNotFoundError):
            os.unlink(self._record(number))

    def _is_there(self, output: Slice, told: bytes) -> bool:
        if self._is_whole(output):
            data = read(self._named(told), 0, output.length + 1)
            return data is not None and digest_of(data) == told
        is_last = output.offset + output.length == self._sizes[output.content]
        for path in (self._sliced(output.content), self._joined(output.content)):
            data = read(path, output.offset, output.length + is_last)
            if data is not None and len(data) == output.length and leaf_hashes(data) == told:
                return True
        return False

    def _joined(self, content: int) -> str:
        """Where a content that was made of slices lies once all were there."""
        leaves = {}
        for number, outputs in self._outputs.items():
            for at, output in enumerate(outputs):
                if output.content == content and (record := self._read_record(number)):
                    leaves[output.offset] = record.outputs[at]
        joined = b"".join(leaves[offset] for offset in sorted(leaves))
        return self._named(digest_of_leaves(joined, self._sizes[content]))

    def _amount(self, number: int) -> int:
        outputs = self._outputs[number]
        return sum(output.length for output in outputs if output.content in self._new)

    def _plain_sha256(self, content: int) -> bytes:
        """The SHA-256 of a content that is there, read once."""
        if content not in self._quoted:
            self._quoted[content] = self._hashed(content)
        return self._quoted[content]

    def _hashed(self, content: int) -> bytes:
        origin = self._origins[content]
        path = self._named(self._digests[content]) if origin is None else self._find(origin)
        if path is None:
            raise CorruptError("The increment quotes a content that is not there.")
        with open(path, "rb") as file:
            return file_digest(file, sha256).digest()

    def _is_whole(self, output: Slice) -> bool:
        return output.length == self._sizes[output.content]

    def _read_record(self, number: int) -> _Record | None:
        try:
            with open(self._record(number), "rb") as file:
                record = msgspec.msgpack.decode(file.read(), type=_Record)
        except (FileNotFoundError, msgspec.MsgspecError):
            return None
        expected = [self._told_length(output) for output in self._outputs[number]]
        return record if [len(told) for told in record.outputs] == expected else None

    def _told_length(self, output: Slice) -> int:
        if output.content not in self._new:
            return 0
        return SIZE if self._is_whole(output) else SIZE * -(-output.length // BLOCK)

    def _record(self, number: int) -> str:
        return f"{self._folder}/unit-{number}"

    def _sliced(self, content: int) -> str:
        return f"{self._folder}/content-{content}"

    def _named(self, digest: bytes) -> str:
        return f"{self._folder}/{digest.hex()}"


def _check_slices(made: Iterable[list[Slice]], sizes: tuple[int, ...]) -> None:
    """Raise CorruptError where slices overlap or do not end between blocks.

    Then the hashes of their blocks would not be those of the file that is made of them.
    """
    ends: dict[int, int] = {}
    for content, offset, length in sorted(chain.from_iterable(made)):
        size = sizes[content]
        if length == size:
            continue
        end = offset + length
        if not length or offset < ends.get(content, 0) or (end % BLOCK and end != size):
            raise CorruptError("The increment makes a content of slices that do not fit together.")
        ends[content] = end


def _offsets(units: tuple[Unit, ...], first: int) -> list[int]:
    offsets = [first]
    for unit in units:
        offsets.append(offsets[-1] + unit.stored)
    return offsets
