"""Which updates an offer makes cheaper than the whole bundle, and by how much."""

from typing import NamedTuple

from holdall.model.offer import Offer, OfferedRelease
from holdall.model.ref import Ref


class Update(NamedTuple):
    """From a version to another: bytes to fetch, and those of the whole bundle.

    `to_newest` says whether the other is the newest of its ref; `line` is branch and architecture
    where there are several.
    """

    old: str
    new: str
    size: int
    full: int
    is_increment: bool
    to_newest: bool
    line: str = ""

    @property
    def way(self) -> str:
        """What is fetched."""
        return "by increment" if self.is_increment else "changed parts"


def updates(offer: Offer) -> tuple[Update, ...]:
    """The cheapest way between each two releases of a ref; to the newest first."""
    several = len(offer.refs) > 1
    found: list[Update] = []
    for ref in offer.refs:
        line = f"{ref.branch}, {ref.arch}" if several else ""
        releases = offer.releases_of(ref)
        by_digest = {release.release: release for release in releases}
        sizes = _increments(offer, ref)
        for new in releases:
            bases = [
                base for base in by_digest if base in new.ranges or (base, new.release) in sizes
            ]
            bases.sort(key=lambda base: releases.index(by_digest[base]))
            for base in bases:
                made = _update(by_digest[base], new, sizes.get((base, new.release)))
                if made.size < made.full:
                    found.append(made._replace(to_newest=new == releases[0], line=line))
    return tuple(sorted(found, key=lambda update: not update.to_newest))


def _increments(offer: Offer, ref: Ref) -> dict[tuple[str, str], int]:
    """The smallest increment between two releases."""
    sizes: dict[tuple[str, str], int] = {}
    for item in offer.increments_of(ref):
        for base in item.bases:
            pair = base, item.release
            sizes[pair] = min(item.size, sizes.get(pair, item.size))
    return sizes


def _update(old: OfferedRelease, new: OfferedRelease, increment: int | None) -> Update:
    whole = new.bundle.size
    ranged = new.ranges.get(old.release, whole) + new.bundle.head
    is_increment = increment is not None and increment < ranged
    size = min(ranged, whole, ranged if increment is None else increment)
    return Update(old.version, new.version, size, whole, is_increment, to_newest=False)
