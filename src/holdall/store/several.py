"""Several sources as one: each content comes from the first of them that has it."""

from collections.abc import Collection, Iterator, Sequence

from holdall.errors import NotFoundError
from holdall.store.contents import Batch, ContentSource, Pieces


class Several:
    """A `ContentSource` over others. Numbers of batches are theirs, one after the other."""

    def __init__(self, sources: Sequence[ContentSource]) -> None:
        self._sources = sources
        self._firsts: list[int] = []

    @property
    def arrives(self) -> bool:
        """Whether any of them is waited for."""
        return any(source.arrives for source in self._sources)

    def available(self, wanted: Collection[bytes]) -> set[bytes]:
        """Those of the wanted contents that one of the sources has."""
        return {digest for source in self._sources for digest in source.available(wanted)}

    def batches(self, wanted: Collection[bytes]) -> list[Batch]:
        """The batches of every source, for what those before it do not have.

        Raises NotFoundError when nobody has a wanted content.
        """
        left = set(wanted)
        found: list[Batch] = []
        self._firsts = []
        first = 0
        for source in self._sources:
            mine = source.available(left)
            left -= mine
            batches = source.batches(mine)
            self._firsts.append(first)
            found += [batch._replace(number=first + batch.number) for batch in batches]
            first += 1 + max((batch.number for batch in batches), default=-1)
        if left:
            raise NotFoundError(f"{len(left)} contents are in none of the bundles given.")
        return found

    def feed(self, batches: list[Batch]) -> Iterator[int]:
        """The batches of one source after those of the other."""
        for at, source in enumerate(self._sources):
            own = [batch for batch in batches if self._source_of(batch.number) == at]
            if own or source.arrives:
                first = self._firsts[at]
                theirs = [batch._replace(number=batch.number - first) for batch in own]
                yield from (first + number for number in source.feed(theirs))

    def produce(self, batch: int, wanted: Collection[bytes]) -> Iterator[tuple[bytes, Pieces]]:
        """The wanted contents of one batch."""
        at = self._source_of(batch)
        return self._sources[at].produce(batch - self._firsts[at], wanted)

    def _source_of(self, number: int) -> int:
        return max(at for at, first in enumerate(self._firsts) if first <= number)
