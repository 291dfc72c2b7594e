"""Checking a whole bundle before it is handed out: each frame, each content, each unit.

What installing would find wrong with it, found where it can still be mended.
"""

import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from hashlib import sha256
from typing import NamedTuple

from holdall.delivery.bundle import Opened
from holdall.errors import CorruptError, UntrustedError, UsageError
from holdall.journeys.arrival import Arrival, arriving
from holdall.journeys.trusting import vouched
from holdall.model.digest import Hasher, digest_of
from holdall.model.statement import Statement
from holdall.store.contents import Pieces
from holdall.system.crew import share_out
from holdall.trust.envelope import open_statement

_PIECE = 2**20
_ALONE = 8 * 2**20  # bytes up to which forking workers costs more than it saves

Told = Callable[[int], None]


class Examined(NamedTuple):
    """A bundle whose signatures and sections are right; `parts` are its frames or units.

    Full bundles have `opened`, increments `statement`.
    """

    arrival: Arrival
    parts: tuple[tuple[int, bytes], ...]
    opened: Opened | None = None
    statement: Statement | None = None

    @property
    def size(self) -> int:
        """The file's length."""
        return self.arrival.preamble.size

    @property
    def work(self) -> int:
        """The bytes that checking it goes through: of the file, and of all contents."""
        contents = sum(self.opened.tree.contents.values()) if self.opened else 0
        return self.size + contents


def examine(stack: ExitStack, path: str) -> Examined:
    """Open a bundle and check all before its frames; it stays open as long as `stack`.

    Raises UntrustedError for one that nobody signed, CorruptError, UsageError, NotFoundError.
    """
    arrival = stack.enter_context(arriving(path))
    if not arrival.seekable:
        raise UsageError("A repository takes bundles in files, not from a stream.")
    if not arrival.signed.signers:
        raise UntrustedError(f"{path} is not signed; a repository hands out signed bundles only.")
    if not arrival.is_increment:
        opened = arrival.open()
        frames = tuple((frame.stored, frame.sha256) for frame in opened.index.frames)
        return Examined(arrival, frames, opened=opened)
    from holdall.delivery.increment import open_increment

    said = open_statement(arrival.preamble.statement)
    vouched(arrival.signed, arrival.digest, said)
    units = open_increment(arrival.preamble, said.statement).index.units
    parts = tuple((unit.stored, unit.sha256) for unit in units)
    return Examined(arrival, parts, statement=said.statement)


def check(examined: Examined, told: Told, work: str) -> str:
    """Check every byte of a bundle; returns the SHA-256 of its file, as 64 digits.

    Contents of an image are read out below the folder `work` meanwhile. Raises CorruptError. `told`
    gets the bytes done, in all `examined.work`.
    """
    if examined.opened is None:
        return _check_parts(examined, told)
    source = examined.arrival.source(examined.opened, work)
    contents = examined.opened.tree.contents
    batches = source.batches(contents)
    path = examined.arrival.path

    def perform(task: int) -> int:
        found = source.produce(task, contents)
        return sum(
            _check_content(path, digest, contents[digest], pieces) for digest, pieces in found
        )

    if examined.work < _ALONE:
        for batch in batches:
            told(perform(batch.number))
        return _check_parts(examined, told)
    digests: list[str] = []
    share_out(
        source.feed(batches),
        len(batches),
        perform,
        meanwhile=lambda: digests.append(_check_parts(examined, told)),
        report=lambda _task, amount: told(amount),
    )
    return digests[0]


def _check_content(path: str, digest: bytes, size: int, pieces: Pieces) -> int:
    """Raise CorruptError unless pieces make a content; returns its size."""
    hasher = Hasher()
    for piece in pieces:
        if len(piece) == size:
            found = digest_of(piece)
            break
        hasher.update(piece)
    else:
        found = hasher.digest()
    if found != digest:
        raise CorruptError(f"{path} has a content that is not what its publisher signed.")
    return size


def _check_parts(examined: Examined, told: Told) -> str:
    fd = examined.arrival.seekable_fd()
    whole = sha256()
    at = examined.arrival.preamble.first
    for data in _pieces(fd, 0, at):
        whole.update(data)
        told(len(data))
    for stored, expected in examined.parts:
        data = b"".join(_pieces(fd, at, at + stored))
        if len(data) != stored or sha256(data).digest() != expected:
            raise CorruptError(
                f"{examined.arrival.path} is not what its publisher signed at byte {at}."
            )
        whole.update(data)
        told(stored)
        at += stored
    if examined.opened and examined.opened.image:
        # held against its digest where its contents were read out of it
        for data in _pieces(fd, at, examined.size):
            whole.update(data)
            told(len(data))
    return whole.hexdigest()


def _pieces(fd: int, start: int, end: int) -> Iterable[bytes]:
    while start < end and (data := os.pread(fd, min(_PIECE, end - start), start)):
        yield data
        start += len(data)
