"""The contents of a bundle in a file for whoever takes all of them, each frame checked first."""

from collections.abc import Callable, Collection, Iterator, Mapping

from holdall.delivery.random import FrameContents
from holdall.store.contents import Batch, Pieces

_BYTES_A_BATCH = 8 * 2**20
_CONTENTS_A_BATCH = 512
_PIECE = 2**18


class FrameSource:
    """A `ContentSource` over contents, by digest and length in the order they are best read in.

    `reach` is called once in each process that takes some, as what it gives belongs to one. What is
    damaged is known when its pieces are asked for; those after it can be had.
    """

    arrives = False

    def __init__(self, contents: Mapping[bytes, int], reach: Callable[[], FrameContents]) -> None:
        self._contents, self._reach = contents, reach
        self._found: FrameContents | None = None
        self._batches: list[list[bytes]] = []

    def available(self, wanted: Collection[bytes]) -> set[bytes]:
        """Those of the wanted contents that it was made with."""
        return set(wanted) & self._contents.keys()

    def batches(self, wanted: Collection[bytes]) -> list[Batch]:
        """Spans of contents that lie side by side."""
        self._batches, sizes = [], list[int]()
        for digest, size in self._contents.items():
            if digest not in wanted:
                continue
            last = self._batches[-1:]
            if not last or sizes[-1] >= _BYTES_A_BATCH or len(last[0]) >= _CONTENTS_A_BATCH:
                self._batches.append([])
                sizes.append(0)
            self._batches[-1].append(digest)
            sizes[-1] += size
        return [
            Batch(number, size, len(self._batches[number])) for number, size in enumerate(sizes)
        ]

    def feed(self, batches: list[Batch]) -> Iterator[int]:
        """All at once."""
        yield from (batch.number for batch in batches)

    def produce(self, batch: int, wanted: Collection[bytes]) -> Iterator[tuple[bytes, Pieces]]:  # noqa: ARG002 - `batches` knew
        """The contents of one span; their pieces raise CorruptError."""
        self._found = self._found or self._reach()
        for digest in self._batches[batch]:
            yield digest, self._pieces(self._found, digest)

    def _pieces(self, found: FrameContents, digest: bytes) -> Iterator[memoryview]:
        size = self._contents[digest]
        for at in range(0, size, _PIECE):
            yield from found.read(digest, at, min(_PIECE, size - at))
