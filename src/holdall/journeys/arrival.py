"""A bundle that comes in: opened, its signatures checked.

Its tree and index are decoded when somebody trusts it.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from holdall.delivery.bundle import (
    BundleSource,
    Opened,
    Preamble,
    exactly,
    open_preamble,
    read_preamble,
)
from holdall.delivery.index import Frame
from holdall.delivery.layout import HEAD_SIZE, SECTION_HEADER, parse_head, section_body
from holdall.errors import CorruptError, DeniedError, HoldallError, NotFoundError, UsageError
from holdall.model.digest import Hasher
from holdall.model.release import Release
from holdall.system.files import plain_errors
from holdall.trust.envelope import Signed, open_envelope

if TYPE_CHECKING:
    from holdall.delivery.remote.bundle import RemoteBundle
    from holdall.delivery.remote.transport import Transport
    from holdall.journeys.imaging import ImageSource

STREAM = "-"


class Fetching(NamedTuple):
    """Where a bundle comes from over a network.

    Of a full one at a remote, its `bundle`, frames are fetched when they are wanted.
    """

    transport: "Transport"
    bundle: "RemoteBundle | None" = None

    def received(self) -> int:
        """The bytes that came over this transport, of this bundle and of other files."""
        return self.transport.received


class Arrival(NamedTuple):
    """A bundle's file or stream, what stands before its frames, and its release.

    Nobody has judged it yet.
    """

    path: str
    stream: BinaryIO
    seekable: bool
    preamble: Preamble
    signed: Signed
    digest: str
    remote: Fetching | None = None

    @property
    def release(self) -> Release:
        """The release, whose signatures are right but whose signers may be anybody."""
        return self.signed.release

    @property
    def is_increment(self) -> bool:
        """Whether it makes its release from older ones."""
        return self.preamble.head.is_increment

    @property
    def file(self) -> int | None:
        """A descriptor of the whole bundle, where that is a file here."""
        return self.stream.fileno() if self.seekable and self.remote is None else None

    def open(self) -> Opened:
        """Decode the tree and the index the release names.

        Raises CorruptError, and UsageError for an increment, which has neither.
        """
        release = self.release
        if self.is_increment:
            raise UsageError(
                f"{self.path} is an increment; this takes the full bundle of "
                f"{release.manifest.id} {release.manifest.version}."
            )
        if self.preamble.head.is_local:
            raise CorruptError(
                f"{self.path} was packed by a store, for itself; give the bundle of "
                f"{release.manifest.id} {release.manifest.version} as its publisher made it."
            )
        with _told_of(self.path):
            opened = open_preamble(
                self.preamble,
                tree_sha256=release.packing.tree,
                index_sha256=release.packing.index,
                tree_digest=release.tree_digest.raw,
                image=release.packing.image,
            )
        if opened.tree.size != release.size or len(opened.tree.entries) != release.entries:
            raise CorruptError(f"The tree of {self.path} does not have the size its release says.")
        return opened

    def source(self, opened: Opened, work: str = "") -> "BundleSource | ImageSource":
        """The contents of a full bundle that is no stream.

        Those of an image are read out into a folder below `work`, or where temporary files go.
        """
        bundle = self.remote.bundle if self.remote else None
        fd = bundle.spool if bundle else self.stream.fileno()
        whole = Hasher if opened.image else sha256

        def bring(frames: Sequence[Frame]) -> Iterator[Frame]:
            return bundle.bring(frames, lambda _size: None, whole) if bundle else iter(())

        first = self.preamble.first
        if opened.image:
            from holdall.journeys.imaging import ImageSource

            before = self.preamble.data
            using = bring if bundle else None
            return ImageSource(opened, fd, first, before=before, work=work, bring=using)
        return BundleSource(opened, fd, first, bring=bring if bundle else None)

    def passing(self, opened: Opened, spool: int, work: str) -> "BundleSource | ImageSource":
        """The contents of a stream, which pass through the empty file `spool`."""
        if opened.image:
            from holdall.journeys.imaging import ImageSource

            before = self.preamble.data
            return ImageSource(opened, spool, 0, before=before, work=work, stream=self.stream)
        return BundleSource(opened, spool, self.preamble.first, stream=self.stream)

    def seekable_fd(self) -> int:
        """A descriptor that can be read anywhere; raises UsageError for a stream."""
        if not self.seekable:
            raise UsageError("This takes a bundle in a file, not a stream.")
        return self.stream.fileno()


@contextmanager
def arriving(path: str) -> Iterator[Arrival]:
    """Open the bundle at `path` ("-" for standard input) and check its signatures.

    An address will do, too. Raises NotFoundError, UsageError, CorruptError, DeniedError,
    NetworkError.
    """
    if "://" in path:
        with _fetched(path) as arrival:
            yield arrival
        return
    try:
        stream = _opened(path)
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no bundle {path}.") from error
    except PermissionError as error:
        raise DeniedError(f"You may not read the bundle {path}.") from error
    except OSError as error:
        raise UsageError(
            f"The bundle {path} cannot be opened: {(error.strerror or '').lower()}."
        ) from error
    with stream:
        seekable = stream.seekable() and stream.tell() == 0
        with plain_errors(f"{path} cannot be read"), _told_of(path):
            preamble = read_preamble(stream)
        if seekable and os.fstat(stream.fileno()).st_size != preamble.size:
            raise CorruptError(f"The bundle {path} is cut short or has something after its end.")
        yield arrived(path, stream, preamble)._replace(seekable=seekable)


@contextmanager
def _fetched(address: str) -> Iterator[Arrival]:
    """A bundle at an address, as a stream."""
    from holdall.delivery.remote.stream import BundleStream, folder_and_name
    from holdall.delivery.remote.transport import open_transport

    folder, name = folder_and_name(address)
    with (
        closing(open_transport(folder)) as transport,
        cast("BinaryIO", BundleStream(transport, name)) as stream,
    ):
        arrival = arrived(address, stream, read_preamble(stream))
        yield arrival._replace(remote=Fetching(transport))


def arrived(path: str, stream: BinaryIO, preamble: Preamble) -> Arrival:
    """What comes behind `preamble` in a stream; checks its signatures, raises CorruptError."""
    with _told_of(path):
        signed = open_envelope(preamble.envelope)
    digest = sha256(signed.payload).hexdigest()
    return Arrival(path, stream, False, preamble, signed, digest)  # noqa: FBT003 - a field


@contextmanager
def _told_of(path: str) -> Iterator[None]:
    """What is found corrupt is told with the name of the bundle before it."""
    try:
        yield
    except CorruptError as error:
        name = "Standard input" if path == STREAM else path
        raise type(error)(f"{name}: {error}") from error


class Remains(NamedTuple):
    """A damaged file that is an increment, or may be one; its release where that can be read."""

    release: Release | None


def remains_of(path: str) -> Remains | None:
    """What is left of a bundle that `arriving` found damaged; None unless it may be an increment.

    Of a stream nothing can be read again.
    """
    if path == STREAM:
        return Remains(None)
    known = False
    try:
        with _opened(path) as file:
            head = parse_head(exactly(file, HEAD_SIZE))
            known = head.is_increment
            envelope = exactly(file, SECTION_HEADER + head.envelope) if known else b""
            signed = open_envelope(section_body(1, head.envelope, envelope)) if known else None
            return Remains(signed.release) if signed else None
    except (HoldallError, OSError):
        return Remains(None) if known else None


@contextmanager
def all_arriving(paths: Sequence[str]) -> Iterator[tuple[Arrival, ...]]:
    """Open several; raises UsageError when more than one is standard input."""
    if paths.count(STREAM) > 1:
        raise UsageError("Only one bundle can come from standard input.")
    with ExitStack() as stack:
        yield tuple(stack.enter_context(arriving(path)) for path in paths)


def _opened(path: str) -> BinaryIO:
    """A bundle's file or standard input; never waits for somebody to write to a pipe."""
    if path == STREAM:
        return open(0, "rb", closefd=False)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return open(fd, "rb")
    os.close(fd)
    if stat.S_ISDIR(mode):
        raise UsageError(
            f"{path} is a folder; `holdall build {path} -o FILE` makes a bundle of it."
        )
    raise UsageError(f"{path} is no regular file; pipe a stream into `holdall install -`.")
