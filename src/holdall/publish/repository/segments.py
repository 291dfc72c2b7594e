"""The catalogue's segments: a new one of what changed, joined with those that are not much larger.

Format: docs/reference/formats/repository.md, "Catalogue".
"""

import sys
from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple

from holdall.errors import CorruptError
from holdall.model import catalogue as catalogues
from holdall.model.catalogue import MAX_SEGMENT, Catalogue, Entry, Segment, Version, to_merge
from holdall.model.offer import Offer
from holdall.publish.repository.layout import Layout
from holdall.system.files import read_regular

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_LEVEL = 15


class NextCatalogue(NamedTuple):
    """A catalogue and the segments it has that are not in a file yet."""

    catalogue: Catalogue
    fresh: Mapping[Segment, bytes]


def entry_of(offer: Offer) -> Entry:
    """What the catalogue says of an app; of one without releases, that it is gone."""
    if not offer.releases:
        return Entry(offer.id, gone=True)
    refs = {}
    for ref in offer.refs:
        newest = offer.releases_of(ref)[0]
        refs[f"{ref.arch}/{ref.branch}"] = Version(newest.version, newest.size, newest.bundle.size)
    about = offer.about
    return Entry(offer.id, about.name, about.summary, about.developer, offer.releases[0].kind, refs)


def extend(layout: Layout, catalogue: Catalogue, changed: Mapping[str, Entry]) -> NextCatalogue:
    """The catalogue after some apps changed; reads no segment but those that it joins."""
    if not changed:
        return NextCatalogue(catalogue, {})
    segments = list(catalogue.segments)
    count = to_merge([segment.entries for segment in segments], len(changed))
    kept, joined = segments[: len(segments) - count], segments[len(segments) - count :]
    entries = catalogues.merged(
        [*(read_segment(layout, segment) for segment in joined), changed.values()]
    )
    # what is gone need not be said where nothing older can say otherwise
    left = [entry for entry in entries.values() if kept or not entry.gone]
    if not left:
        return NextCatalogue(Catalogue(segments=tuple(kept)), {})
    data = zstd.compress(catalogues.encode_entries(left), _LEVEL)
    made = Segment(sha256(data).hexdigest(), len(data), len(left))
    return NextCatalogue(Catalogue(segments=(*kept, made)), {made: data})


def read_segment(layout: Layout, segment: Segment) -> list[Entry]:
    """The entries of a segment; raises CorruptError."""
    data = read_regular(layout.segment(segment), limit=MAX_SEGMENT)
    if sha256(data).hexdigest() != segment.sha256:
        raise CorruptError(f"{segment.name} of the repository was changed; put the file back.")
    decoder = zstd.ZstdDecompressor()
    try:
        return catalogues.parse_entries(decoder.decompress(data, MAX_SEGMENT))
    except zstd.ZstdError as error:
        raise CorruptError(f"{segment.name} of the repository cannot be decoded.") from error
