"""Bundles with an image: making the image, and having contents out of one.

An image is hashed before anything reads it, and what is in it is held against the signed tree.
"""

import os
import tempfile
import weakref
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import BinaryIO, Final

from holdall.delivery.bundle import Opened, exactly
from holdall.delivery.index import Frame
from holdall.delivery.layout import MAX_IMAGE
from holdall.errors import CorruptError, UsageError
from holdall.forms import imaging, laying, seeding
from holdall.forms.folder_source import FolderSource
from holdall.forms.port import Parcel
from holdall.model import tree as trees
from holdall.model.digest import Hasher
from holdall.model.release import PackedImage
from holdall.model.tree import File, Tree
from holdall.publish.scan import Scan
from holdall.store.contents import Batch, Pieces
from holdall.system import images
from holdall.system.files import remove_tree, write_all

_PIECE: Final = 2**20

Bring = Callable[[Sequence[Frame]], Iterator[Frame]]


def pack_image(scanned: Scan, out: BinaryIO, kind: str, *, level: int, room: str) -> PackedImage:
    """Write an image of a source folder to `out`, which is empty.

    Takes room in the folder `room` for the files twice, and for the image.
    The image has just what the tree says, which is checked. Raises UsageError for what is too large
    or changed meanwhile, UnsupportedError, ProgramError, NoSpaceError.
    """
    images.maker(kind)
    with tempfile.TemporaryDirectory(prefix=".holdall-", dir=room) as work:
        tree = scanned.tree
        try:
            source = FolderSource(tree, scanned.folder)
            laying.lay_down(seeding.plan(tree), source, f"{work}/files", passing=True)
        except CorruptError as error:
            raise UsageError(
                "A file changed while it was packed; build again when nothing writes to the folder."
            ) from error
        os.chmod(f"{work}/files", 0o755)
        name = trees.tree_digest(trees.encode(tree)).raw[:16]
        images.make(kind, f"{work}/files", f"{work}/image", name=name, level=level)
        found = imaging.measure(f"{work}/image")
        if found.size > MAX_IMAGE:
            raise UsageError(
                f"The image takes {found.size} bytes, and a bundle holds one of {MAX_IMAGE}; build"
                " without --image."
            )
        with open(f"{work}/image", "rb") as image:
            _check_whole(kind, image.fileno(), found.size, tree, f"{work}/read")
            images.copy_range(image.fileno(), out.fileno(), found.size)
    return PackedImage(kind=kind, size=found.size, digest=found.digest)  # type: ignore[arg-type]  # checked by `maker`


def _check_whole(kind: str, fd: int, size: int, tree: Tree, folder: str) -> None:
    """Raise CorruptError unless an image has a tree's files, byte for byte."""
    imaging.check_listing(kind, fd, 0, size, tree=tree)
    paths = [file.path for file in tree.files]
    images.extract(kind, fd, 0, size, folder=folder, paths=paths)
    for file in tree.files:
        hasher = Hasher()
        with open(f"{folder}/{file.path}", "rb", buffering=0) as stream:
            while piece := stream.read(_PIECE):
                hasher.update(piece)
        if hasher.digest() != file.digest:
            raise CorruptError(f"The image that was made has another {file.path}; build again.")


class ImageSource:
    """A `ContentSource` over a bundle's image, or the bundle itself as a `Parcel`.

    `before` is what stands before the image in the bundle. The image is at `offset` of `fd`, or
    comes there: out of a `stream` that is at it, or by `bring` as in `BundleSource`. Contents are
    read out of it, once it was checked, into a folder below `work` that is removed with this.
    """

    def __init__(
        self,
        opened: Opened,
        fd: int,
        offset: int,
        *,
        before: bytes = b"",
        work: str = "",
        stream: BinaryIO | None = None,
        bring: Bring | None = None,
    ) -> None:
        if opened.image is None:
            raise AssertionError(opened)
        self._tree, self._image = opened.tree, opened.image
        self._fd, self._offset = fd, offset
        self._stream, self._bring, self._before = stream, bring, before
        self._files = {file.digest: file for file in opened.tree.files}
        name = f"holdall-{os.urandom(16).hex()}"
        self._folder = f"{work or tempfile.gettempdir()}/{name}"
        self._wanted: tuple[File, ...] = ()
        self._turn = 0
        self._source = FolderSource(Tree(()), "")
        self.close = weakref.finalize(self, remove_tree, self._folder)
        """Removes what was read out; done by itself when nobody has this any more."""

    @property
    def arrives(self) -> bool:
        """Always: nothing can be read before the image was checked."""
        return True

    def available(self, wanted: Collection[bytes]) -> set[bytes]:
        """Those of the wanted contents that the tree has."""
        return set(wanted) & self._files.keys()

    def frames(self, wanted: Collection[bytes]) -> list[Frame]:
        """The image as one frame, where anything is wanted of it."""
        size = self._image.size
        return [Frame(0, size, 0, size, self._image.raw)] if wanted else []

    def batches(self, wanted: Collection[bytes]) -> list[Batch]:
        """Spans of files in the tree's order."""
        self._turn += 1
        self._wanted = tuple(file for file in self._files.values() if file.digest in wanted)
        self._source = FolderSource(Tree(tuple(sorted(self._wanted))), self._place)
        return self._source.batches(wanted)

    def feed(self, batches: list[Batch]) -> Iterator[int]:
        """All, when the image is there, was checked, and was read."""
        if batches:
            self._read_out()
        elif self._stream is not None:
            self.arrive()
        yield from (batch.number for batch in batches)

    def produce(self, batch: int, wanted: Collection[bytes]) -> Iterator[tuple[bytes, Pieces]]:
        """The contents of one span."""
        if not os.path.isdir(self._place):
            self._read_out()
        yield from self._source.produce(batch, wanted)

    def parcel(self) -> Parcel:
        """The bundle with its image, to be kept as it is; then nothing else is asked of this."""
        image = self._image
        return Parcel(image.kind, len(self._before), image.size, image.digest, self._copy)

    def _copy(self, path: str) -> None:
        out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            write_all(out, self._before)
            if self._stream is not None:
                self._arrive_by(self._stream, out)
                return
            if self._bring is not None:
                self.arrive()
            images.copy_range(self._fd, out, self._image.size, start=self._offset)
        finally:
            os.close(out)

    def arrive(self) -> None:
        """Have the image where it is read, and check it; raises CorruptError."""
        if self._stream is not None:
            os.lseek(self._fd, self._offset, os.SEEK_SET)
            self._arrive_by(self._stream, self._fd)
        elif self._bring is not None:
            for _ in self._bring(self.frames(self._files)):
                pass
        else:
            check_digest(self._fd, self._offset, self._image)

    @property
    def _place(self) -> str:
        return f"{self._folder}/{self._turn}"

    def _arrive_by(self, stream: BinaryIO, out: int) -> None:
        hasher, left = Hasher(), self._image.size
        while left:
            piece = exactly(stream, min(left, _PIECE))
            hasher.update(piece)
            write_all(out, piece)
            left -= len(piece)
        _check(hasher, self._image)
        if stream.read(1):
            raise CorruptError("The bundle goes on after its end.")

    def _read_out(self) -> None:
        self.arrive()
        image = self._image
        at = (image.kind, self._fd, self._offset, image.size)
        imaging.check_listing(*at, tree=self._tree)
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        images.extract(*at, folder=self._place, paths=[file.path for file in self._wanted])


def check_digest(fd: int, offset: int, image: PackedImage) -> None:
    """Raise CorruptError unless the image at `offset` of a file is the one that was signed."""
    hasher, end = Hasher(), offset + image.size
    while offset < end and (piece := os.pread(fd, min(_PIECE, end - offset), offset)):
        hasher.update(piece)
        offset += len(piece)
    _check(hasher, image)


def _check(hasher: Hasher, image: PackedImage) -> None:
    if hasher.digest() != image.raw:
        raise CorruptError("The bundle's image is not what the publisher signed.")
