"""The catalogue of a repository: what there is to search, in segments of which few change.

Format: docs/reference/formats/repository.md, "Catalogue".
"""

from collections.abc import Iterable
from typing import Annotated

import msgspec

from holdall.errors import CorruptError
from holdall.model.offer import Sha256, Size

FORMAT = 1
TARGET = "catalogue.json"
MAX_BYTES = 2**20
MAX_SEGMENT = 64 * 2**20  # decoded
_GROWTH = 4
_Text = Annotated[str, msgspec.Meta(max_length=4096)]


class Version(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab", omit_defaults=True
):
    """The newest version of a ref; sizes in bytes, installed and of the full bundle."""

    version: _Text
    size: Size = 0
    download: Size = 0


class Entry(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab", omit_defaults=True
):
    """One app; `refs` by ``arch/branch``. One that is gone has nothing else."""

    id: _Text
    name: _Text = ""
    summary: _Text = ""
    developer: _Text = ""
    kind: _Text = "app"
    refs: dict[str, Version] = {}
    gone: bool = False


class Segment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Some entries in a file: SHA-256 and length of its stored bytes, and how many there are."""

    sha256: Sha256
    size: Size
    entries: Size

    @property
    def name(self) -> str:
        """Its name below the repository's address."""
        return f"catalogue/{self.sha256}.json.zst"


class Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The segments, oldest first; of entries with the same id the last counts."""

    format: int = FORMAT
    segments: tuple[Segment, ...] = ()


def encode(catalogue: Catalogue) -> bytes:
    """The bytes of the target `TARGET`."""
    return msgspec.json.encode(catalogue, order="sorted")


def parse(data: bytes) -> Catalogue:
    """Read them; raises CorruptError."""
    try:
        catalogue = msgspec.json.decode(data, type=Catalogue)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptError(f"The catalogue cannot be read: {str(error).rstrip('.')}.") from error
    if catalogue.format != FORMAT:
        raise CorruptError(
            f"The catalogue has format {catalogue.format}; this holdall reads {FORMAT}."
        )
    return catalogue


def encode_entries(entries: Iterable[Entry]) -> bytes:
    """A segment's decoded bytes, sorted by id."""
    return msgspec.json.encode(sorted(entries, key=lambda entry: entry.id), order="sorted")


def parse_entries(data: bytes) -> list[Entry]:
    """Read them; raises CorruptError."""
    try:
        return msgspec.json.decode(data, type=list[Entry])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptError(
            f"A segment of the catalogue cannot be read: {str(error).rstrip('.')}."
        ) from error


def merged(segments: Iterable[Iterable[Entry]]) -> dict[str, Entry]:
    """What counts of segments, oldest first: entries by id, with those that are gone."""
    return {entry.id: entry for segment in segments for entry in segment}


def to_merge(sizes: list[int], added: int) -> int:
    """How many of the newest segments, with these numbers of entries, join one of `added`.

    Keeps each segment four times as large as the next, so there are O(log n) of them, and an entry
    is written again O(log n) times.
    """
    count = 0
    for size in reversed(sizes):
        if size >= _GROWTH * added:
            break
        added += size
        count += 1
    return count
