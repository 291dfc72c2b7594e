"""The ports between what delivers contents and what lays them on disk, or shows them."""

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple, Protocol

Pieces = Iterable[bytes | memoryview]


class Batch(NamedTuple):
    """A unit of work of a source: one worker produces all of its contents.

    `size` in bytes, `count` of contents.
    """

    number: int
    size: int
    count: int  # type: ignore[assignment]  # hides a method of tuples


class ContentSource(Protocol):
    """Something that has contents, by digest. Bytes it gives are checked by whoever takes them."""

    @property
    def arrives(self) -> bool:
        """Whether contents come with time, so that other work is better done first."""
        ...

    def available(self, wanted: Collection[bytes]) -> set[bytes]:
        """Those of the wanted contents that the source has."""
        ...

    def batches(self, wanted: Collection[bytes]) -> list[Batch]:
        """The batches that hold every wanted content, in the best order to ask for them."""
        ...

    def feed(self, batches: list[Batch]) -> Iterator[int]:
        """The numbers of the batches as each becomes ready; may be run in a process of its own."""
        ...

    def produce(self, batch: int, wanted: Collection[bytes]) -> Iterator[tuple[bytes, Pieces]]:
        """Each wanted content of a batch as its raw digest and its bytes in pieces.

        The pieces are valid until the next is asked for.
        """
        ...


class RandomContents(Protocol):
    """Something that has contents, by digest, to be read anywhere by any number of threads.

    Unlike those of a `ContentSource`, the bytes it gives were checked.
    """

    def read(self, digest: bytes, offset: int, size: int) -> list[memoryview]:
        """`size` bytes of a content from an offset on, in pieces; it has that many.

        Raises NotFoundError for a content it has not, and CorruptError for bytes that are not what
        was signed.
        """
        ...

    @property
    def busy(self) -> bool:
        """Whether it just makes ready what it expects to be read."""
        ...

    def rest(self) -> None:
        """Keep no contents in memory; they are had again when they are read."""
        ...
