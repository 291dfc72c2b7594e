"""Contents out of a folder that has a tree's files: an installed version, whatever its form.

Whoever takes them checks them, as from every source.
"""

import os
from collections.abc import Collection, Iterator

from holdall.model.tree import File, Tree
from holdall.store.contents import Batch, Pieces
from holdall.system.kernel import open_beneath

_BYTES_A_BATCH = 8 * 2**20
_FILES_A_BATCH = 512
_PIECE = 2**20


class FolderSource:
    """A `ContentSource` over the files of `tree` in `folder`."""

    arrives = False

    def __init__(self, tree: Tree, folder: str) -> None:
        self._folder = folder
        self._files = {file.digest: file for file in tree.files}
        self._batches: list[list[File]] = []

    def available(self, wanted: Collection[bytes]) -> set[bytes]:
        """Those of the wanted contents that the tree names."""
        return set(wanted) & self._files.keys()

    def batches(self, wanted: Collection[bytes]) -> list[Batch]:
        """Spans of files in the tree's order."""
        self._batches = []
        size = 0
        for file in sorted(self._files.values(), key=lambda file: file.path):
            if file.digest not in wanted:
                continue
            last = self._batches[-1:]
            if not last or size >= _BYTES_A_BATCH or len(last[0]) >= _FILES_A_BATCH:
                self._batches.append([])
                size = 0
            self._batches[-1].append(file)
            size += file.size
        return [
            Batch(number, sum(file.size for file in batch), len(batch))
            for number, batch in enumerate(self._batches)
        ]

    def feed(self, batches: list[Batch]) -> Iterator[int]:
        """All at once."""
        yield from (batch.number for batch in batches)

    def produce(self, batch: int, wanted: Collection[bytes]) -> Iterator[tuple[bytes, Pieces]]:  # noqa: ARG002 - `batches` knew
        """The contents of one span, read file by file."""
        root = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for file in self._batches[batch]:
                fd = open_beneath(root, file.path, os.O_RDONLY | os.O_NONBLOCK)
                try:
                    yield file.digest, _pieces(fd)
                finally:
                    os.close(fd)
        finally:
            os.close(root)


def _pieces(fd: int) -> Iterator[bytes]:
    while piece := os.read(fd, _PIECE):
        yield piece
