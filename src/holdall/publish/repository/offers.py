"""How an offer changes: releases and increments that come and go. Values in, a value out."""

from collections.abc import Collection
from itertools import pairwise

import msgspec

from holdall.model.manifest import About
from holdall.model.offer import FORMAT, Offer, OfferedIncrement, OfferedRelease
from holdall.model.ref import Ref

RANGED = 16  # earlier releases of a ref for which a release says what its ranges cost


def empty(app_id: str) -> Offer:
    """The offer of an app of which there is nothing yet."""
    return Offer(format=FORMAT, id=app_id)


def with_release(offer: Offer, release: OfferedRelease, about: About) -> Offer:
    """The offer with a release, in place of the same one packed otherwise; `about` is its own."""
    others = [item for item in offer.releases if item.release != release.release]
    releases = _sorted([*others, release])
    if releases[0].release == release.release:
        offer = msgspec.structs.replace(offer, about=about)
    return msgspec.structs.replace(offer, releases=releases)


def with_ranges(offer: Offer, release: str, base: str, size: int) -> Offer:
    """The offer with what `release` costs by ranges for those who have `base`."""
    releases = tuple(
        msgspec.structs.replace(item, ranges={**item.ranges, base: size})
        if item.release == release
        else item
        for item in offer.releases
    )
    return msgspec.structs.replace(offer, releases=releases)


def to_range(offer: Offer, ref: Ref) -> list[tuple[OfferedRelease, OfferedRelease]]:
    """The releases of a ref that lack what they cost by ranges, each with the one it lacks."""
    releases = offer.releases_of(ref)
    return [
        (item, earlier)
        for at, item in enumerate(releases)
        for earlier in releases[at + 1 : at + 1 + RANGED]
        if earlier.release not in item.ranges and earlier.order < item.order
    ]


def with_increment(offer: Offer, increment: OfferedIncrement) -> Offer:
    """The offer with an increment."""
    others = [item for item in offer.increments if item.sha256 != increment.sha256]
    return msgspec.structs.replace(offer, increments=(*others, increment))


def with_newest(offer: Offer, keep: int) -> Offer:
    """The offer with the `keep` newest releases of each ref.

    Increments that make one of these stay, for those who have what they start from.
    """
    kept = {item.release for ref in offer.refs for item in offer.releases_of(ref)[:keep]}
    return only(offer, kept)


def only(offer: Offer, kept: Collection[str]) -> Offer:
    """The offer with these releases alone, and the increments that make them."""
    return msgspec.structs.replace(
        offer,
        releases=tuple(item for item in offer.releases if item.release in kept),
        increments=tuple(item for item in offer.increments if item.release in kept),
    )


def pairs_by_policy(
    offer: Offer, ref: Ref, *, depth: int, lasting: int
) -> list[tuple[OfferedRelease, OfferedRelease]]:
    """Which increments to a ref's newest release are worth having: (from, to), nearest first.

    From each of the `depth` releases before it, and from each that was the newest for at least
    `lasting` days by the dates the releases carry.
    """
    releases = offer.releases_of(ref)
    if not releases:
        return []
    newest, before = releases[0], releases[1:]
    lasted = {
        earlier.release
        for later, earlier in pairwise(releases)
        if _days(earlier.created, later.created) >= lasting
    }
    return [
        (item, newest)
        for number, item in enumerate(before)
        if number < depth or item.release in lasted
    ]


def _days(start: str, end: str) -> float:
    """The days between two dates; less than none where one of them is missing or no date."""
    from datetime import UTC, datetime

    try:
        first, last = (
            time if time.tzinfo else time.replace(tzinfo=UTC)
            for time in map(datetime.fromisoformat, (start, end))
        )
    except ValueError:
        return -1.0
    return (last - first).total_seconds() / 86400


def _sorted(releases: list[OfferedRelease]) -> tuple[OfferedRelease, ...]:
    """Newest first."""
    return tuple(
        sorted(releases, key=lambda item: (item.order, item.arch, item.branch), reverse=True)
    )
