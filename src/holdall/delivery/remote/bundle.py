"""A full bundle at a remote, of which only the frames that are wanted are fetched.

They come into a sparse file that has each where the bundle has it, so that `BundleSource` reads
them as it reads a bundle's. What has come survives a kill of the command, and the next goes on.
"""

import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from hashlib import sha256
from io import BytesIO
from typing import Protocol

from holdall.delivery import layout
from holdall.delivery.bundle import Preamble, read_preamble
from holdall.delivery.index import Frame
from holdall.delivery.remote.lanes import Lanes, Run, Span, Target, runs_of
from holdall.delivery.remote.ledger import Ledger
from holdall.delivery.remote.transport import NoRangesError, Transport
from holdall.errors import CorruptError
from holdall.model.offer import ContentFile
from holdall.system.files import read_regular, write_atomic
from holdall.system.kernel import punch_hole
from holdall.trust.envelope import open_envelope

_PIECE = 2**20
_TRIES = 2  # from the beginning, where a server knows no ranges
_MAX_HEAD = (
    layout.HEAD_SIZE
    + 3 * layout.SECTION_HEADER
    + layout.MAX_ENVELOPE
    + layout.MAX_TREE
    + layout.MAX_INDEX
    + layout.MAX_LEAD
)
_OPEN = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC

Report = Callable[[int], None]


class Hash(Protocol):
    """Something that hashes."""

    def update(self, data: bytes, /) -> None:
        """Take the next bytes."""

    def digest(self) -> bytes:
        """The digest of all."""
        ...


class RemoteBundle:
    """The bundle `file` of a remote; what has come of it is in `folder`, which the caller made.

    The caller removes the folder when it needs nothing of it any more. `lanes` are the connections
    at once, where what is wanted is not in one piece.

    A bundle is installed from it so::

        opened = open_preamble(remote.preamble(), …)
        source = BundleSource(
            opened, remote.spool, file.head, bring=lambda frames: remote.bring(frames, tally.add)
        )
        total = remote.wanted(source.frames(wanted))

    `bring` runs in a process of its own then, so `tally` is a `Tally`, which is read here.
    """

    def __init__(
        self, transport: Transport, file: ContentFile, folder: str, *, lanes: int = 4
    ) -> None:
        self._transport = transport
        self._file = file
        self._lanes = lanes
        self._hasher: Callable[[], Hash] = sha256
        self._head = f"{folder}/head"
        self._ledger = Ledger(f"{folder}/there")
        self.spool = os.open(f"{folder}/frames", _OPEN, 0o600)
        """A descriptor to read the frames from, each at its place in the bundle."""

    def close(self) -> None:
        """Close the files; what they hold stays."""
        os.close(self.spool)
        self._ledger.close()

    def preamble(self) -> Preamble:
        """All before the first frame: by one request, or none where it is there from before.

        Its parts belong together and its signatures are right, whoever made them. Raises as
        `Transport.pieces`, and CorruptError. A caller that refuses what it says calls `forget`.
        """
        file = self._file
        if file.head > min(_MAX_HEAD, file.size):
            raise CorruptError(f"The head of {file.name} is longer than a bundle's may be.")
        with suppress(OSError, ValueError, CorruptError):
            return _checked(read_regular(self._head, limit=file.head), file)
        data = b"".join(self._transport.pieces(file.name, 0, file.head))
        preamble = _checked(data, file)
        write_atomic(self._head, data, mode=0o600)
        return preamble

    def forget(self) -> None:
        """Have nothing of it any more, so that all is fetched anew."""
        with suppress(FileNotFoundError):
            os.unlink(self._head)
        self._ledger.remove(0, self._file.size)
        os.ftruncate(self.spool, 0)

    def wanted(self, frames: Iterable[Frame]) -> int:
        """The bytes still to be fetched to have all of these."""
        return sum(span.end - span.start for span in self._missing(frames))

    def bring(
        self, frames: Iterable[Frame], report: Report, hasher: Callable[[], Hash] = sha256
    ) -> Iterator[Frame]:
        """Fetch what is missing of these; yields each, in file order, when it is in the spool.

        What is yielded has the SHA-256 the index says, which the caller has checked, or another
        digest, which `hasher` makes; what has not is fetched a second time. `report` gets the bytes
        of them as they come, in any thread; together `wanted(frames)`, more where what was there
        before was wrong. Raises as
        `Transport.pieces`, CorruptError for a frame that is wrong both times, and OSError.

        A server without ranges sends all from the beginning of the bundle up to the last of them.
        """
        self._hasher = hasher
        left = deque(sorted(frames))
        right = {frame for frame in left if self._is_there(frame)}
        doubted: set[Frame] = set()
        tries = 0
        while left:
            try:
                yield from self._fetched(left, right, report, whole=tries > 0)
            except NoRangesError:
                tries += 1
                if tries > _TRIES:
                    raise
            except _WrongFrameError:
                frame = left[0]
                if frame in doubted:
                    raise CorruptError(
                        f"{self._transport.address}/{self._file.name} is not what its publisher "
                        f"signed: its frame at {frame.offset} is wrong."
                    ) from None
                doubted.add(frame)
                self._ledger.remove(frame.offset, frame.offset + frame.stored)

    def drop(self, frames: Iterable[Frame]) -> None:
        """Give the space of these back to the file system; they are there no more."""
        for frame in frames:
            self._ledger.remove(frame.offset, frame.offset + frame.stored)
            punch_hole(self.spool, self._file.head + frame.offset, frame.stored)

    def _fetched(
        self, left: deque[Frame], right: Collection[Frame], report: Report, *, whole: bool
    ) -> Iterator[Frame]:
        """The frames that are left, as they are there; each is taken out when it was used."""
        spans = list(self._missing(left))
        runs = [Run(-self._file.head, spans)] if whole and spans else runs_of(spans)
        target = Target(self.spool, self._ledger, self._file.head)
        with Lanes(self._transport, self._file.name, target, report) as lanes:
            lanes.start(runs, self._lanes)
            while left:
                frame = left[0]
                lanes.wait(frame.offset + frame.stored)
                if frame not in right and not self._is_right(frame):
                    raise _WrongFrameError
                yield frame
                left.popleft()

    def _missing(self, frames: Iterable[Frame]) -> Iterator[Span]:
        """What is to be fetched of each."""
        self._ledger.look()
        for frame in frames:
            end = frame.offset + frame.stored
            start = self._ledger.reach(frame.offset, end)
            if start < end:
                yield Span(start, end)

    def _is_there(self, frame: Frame) -> bool:
        """Whether all of a frame came before and is right; what is wrong is struck out."""
        end = frame.offset + frame.stored
        if self._ledger.reach(frame.offset, end) < end:
            return False
        if self._is_right(frame):
            return True
        self._ledger.remove(frame.offset, end)
        return False

    def _is_right(self, frame: Frame) -> bool:
        hasher = self._hasher()
        at = self._file.head + frame.offset
        end = at + frame.stored
        while at < end and (piece := os.pread(self.spool, min(end - at, _PIECE), at)):
            hasher.update(piece)
            at += len(piece)
        return hasher.digest() == frame.sha256


class _WrongFrameError(Exception):
    """A frame is all there, and is not what the index says."""


def _checked(data: bytes, file: ContentFile) -> Preamble:
    """What stands before the frames of `file`; raises CorruptError where it does not fit."""
    preamble = read_preamble(BytesIO(data))
    if preamble.head.is_increment or (preamble.first, preamble.size) != (file.head, file.size):
        raise CorruptError(f"{file.name} is not the bundle that is offered.")
    packing = open_envelope(preamble.envelope).release.packing
    held = (sha256(preamble.tree).hexdigest(), sha256(preamble.index).hexdigest())
    if held != (packing.tree, packing.index):
        raise CorruptError(f"{file.name} has another tree or index than its signed release names.")
    return preamble
