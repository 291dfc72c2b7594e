"""Bundles as files that forms keep: being copied, packed here, and read at random.

This module is the `holdall.forms.port.Bundles`. On the start path of apps that lie in one: imports
as little as can be.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from holdall.delivery.bundle import BundleSource, Opened, Preamble
    from holdall.delivery.habit import Laid
    from holdall.forms.port import Filled, Older, Packing, Shelved, Whole
    from holdall.model.tree import Tree
    from holdall.store.contents import ContentSource

_LONG = 2 * 2**20  # bytes that a frame holds


def read(fd: int, packing: "Packing", before: bytes, habit: bytes) -> "Shelved":
    """See `holdall.forms.port.Bundles`."""
    from holdall.delivery.habit import Habit
    from holdall.delivery.index import chart
    from holdall.delivery.random import AHEAD, FrameContents
    from holdall.forms.port import Shelved
    from holdall.model.tree import outline

    encoded, index_encoded = sections(packing, before)
    tree = outline(encoded)
    index = chart(index_encoded, tree.sizes)
    known = Habit(habit, len(index.starts) - 1, packing.frame)
    # a thread that decodes long frames ahead takes as much memory again
    ahead = AHEAD if packing.frame <= _LONG else 0
    contents = FrameContents(fd, packing.first, index, tree.digests, habit=known, ahead=ahead)
    return Shelved(tree, contents, lambda: known.encoded)


def inherit(habit: bytes, older: "tuple[Older, Tree]", newer: "tuple[Older, Tree]") -> bytes:
    """See `holdall.forms.port.Bundles`."""
    from holdall.delivery.habit import inherited

    return inherited(habit, _laid(*older), _laid(*newer))


def _laid(bundle: "Older", tree: "Tree") -> "Laid":
    from holdall.delivery.habit import Laid
    from holdall.delivery.index import chart

    sizes = tree.contents
    found = chart(sections(bundle.packing, bundle.before)[1], list(sizes.values()))
    places = dict(zip(sizes, found.places, strict=True))
    spans = {file.path: (places[file.digest], file.size) for file in tree.files if file.size}
    return Laid(found.starts, spans)


def source(fd: int, packing: "Packing", before: bytes, tree: "Tree") -> "ContentSource":
    """See `holdall.forms.port.Bundles`."""
    from holdall.delivery.frames import FrameSource
    from holdall.delivery.index import chart
    from holdall.delivery.random import FrameContents
    from holdall.model.tree import outline

    encoded, index_encoded = sections(packing, before)
    whole = outline(encoded)
    index = chart(index_encoded, whole.sizes)
    numbers = sorted(range(len(whole.digests)), key=index.places.__getitem__)
    wanted = tree.contents
    contents = {
        whole.digests[one]: whole.sizes[one] for one in numbers if whole.digests[one] in wanted
    }

    def reach() -> FrameContents:
        return FrameContents(fd, packing.first, index, whole.digests, ahead=0)

    return FrameSource(contents, reach)


def pack(
    tree: "Tree",
    path: str,
    fill: "Callable[[Collection[bytes]], Filled]",
    older: "Older | None",
) -> "Packing":
    """See `holdall.forms.port.Bundles`."""
    from holdall.journeys import packing

    return packing.pack(tree, path, fill, older)


def whole(
    preamble: "Preamble", opened: "Opened", source: "BundleSource", file: int | None
) -> "Whole":
    """A bundle with frames as what a form may keep; then nothing else is asked of its source.

    `file` is a descriptor of the bundle, where it is one: what is kept shares its blocks if the
    file system can.
    """
    from holdall.delivery.bundle import BundleSource
    from holdall.errors import CorruptError
    from holdall.forms.port import Whole
    from holdall.system.files import write_all
    from holdall.system.kernel import clone_file

    def copy(path: str) -> None:
        out = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            if file is not None and clone_file(file, out):
                # somebody may have written to the other one since it was looked at
                if os.pread(out, preamble.first, 0) != preamble.data:
                    raise CorruptError("The bundle changed while it was installed.")
                for _ in BundleSource(opened, out, preamble.first).stored():
                    pass
                return
            write_all(out, preamble.data)
            for stored in source.stored():
                write_all(out, stored)
        finally:
            os.close(out)

    return Whole(packing_of(preamble, (frame.raw for frame in opened.index.frames)), copy)


def packing_of(preamble: "Preamble", frames: "Iterable[int]") -> "Packing":
    """How a bundle lies in its file, whose frames hold so many bytes."""
    from holdall.forms.port import Packing

    return Packing(*preamble.spans, preamble.first, preamble.size, max(frames, default=0))


def sections(packing: "Packing", before: bytes) -> tuple[bytes, bytes]:
    """The tree and the index of a bundle, decoded, out of what stands before its frames."""
    from holdall.delivery.zstandard import unpack

    (tree_at, tree_size), (index_at, index_size) = packing.tree, packing.index
    tree, index = before[tree_at : tree_at + tree_size], before[index_at : index_at + index_size]
    return unpack(tree), unpack(index)
