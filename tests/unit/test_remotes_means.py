"""Which way to a release costs least on the network, by what is installed."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from bundles import APP, REF
from holdall.journeys.choosing import Chosen
from holdall.journeys.host import Host, root_host
from holdall.journeys.procuring import means_to
from holdall.journeys.refreshing import Connection
from holdall.model.offer import ContentFile, Offer, OfferedIncrement, OfferedRelease
from holdall.model.ref import Ref

HEAD, SIZE = 100, 10_000
NOBODY = cast("Connection", None)


def digest(number: int) -> str:
    return f"{number:064}"


def release(number: int, **ranges: int) -> OfferedRelease:
    """Version `number`; `ranges` say what is missing from a version, as v1=500."""
    return OfferedRelease(
        release=digest(number),
        arch="x86_64",
        branch="stable",
        version=str(number),
        kind="app",
        tree="",
        size=50_000,
        entries=10,
        bundle=ContentFile(digest(100 + number), SIZE, HEAD),
        signers=(),
        ranges={digest(int(name[1:])): size for name, size in ranges.items()},
    )


def increment(new: int, *bases: int, size: int) -> OfferedIncrement:
    return OfferedIncrement(
        arch="x86_64",
        branch="stable",
        release=digest(new),
        bases=tuple(map(digest, bases)),
        sha256=digest(1000 + 10 * new + bases[0]),
        size=size,
    )


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return root_host(str(tmp_path))


def have(host: Host, *numbers: int) -> None:
    for number in numbers:
        path = Path(host.layout.deployment(Ref.parse(REF), digest(number)))
        path.mkdir(parents=True)
        (path / "lease").touch()


def way(
    host: Host, releases: Sequence[OfferedRelease], *increments: OfferedIncrement
) -> tuple[list[int], int, bool]:
    """The sizes of the increments on the way to the first release, all bytes, and if exact."""
    offer = Offer(1, APP, releases=tuple(releases), increments=increments)
    means = means_to(host, Chosen(NOBODY, Ref.parse(REF), offer, releases[0]))
    return [item.size for item in means.increments], means.download, means.exact


def test_nothing_is_installed_and_all_is_fetched(host: Host) -> None:
    assert way(host, [release(2, v1=500), release(1)], increment(2, 1, size=50)) == ([], SIZE, True)


def test_what_is_installed_costs_nothing(host: Host) -> None:
    have(host, 2)
    assert way(host, [release(2), release(1)]) == ([], 0, True)


def test_an_increment_is_taken_where_it_is_smaller(host: Host) -> None:
    have(host, 1)
    releases = [release(2, v1=500), release(1)]
    assert way(host, releases, increment(2, 1, size=599)) == ([599], 599, True)
    assert way(host, releases, increment(2, 1, size=601)) == ([], HEAD + 500, True)


def test_a_chain_is_taken_where_it_is_smaller_than_one_step(host: Host) -> None:
    have(host, 1)
    steps = [increment(2, 1, size=20), increment(3, 2, size=30), increment(3, 1, size=60)]
    releases = [release(3, v1=500), release(2), release(1)]
    assert way(host, releases, *steps) == ([20, 30], 50, True)
    assert way(host, releases, *steps[:2], increment(3, 1, size=45)) == ([45], 45, True)


def test_any_installed_version_may_be_where_it_begins(host: Host) -> None:
    have(host, 1, 2)
    releases = [release(3, v1=500, v2=200), release(2), release(1)]
    assert way(host, releases) == ([], HEAD + 200, True)
    assert way(host, releases, increment(3, 2, 1, size=90)) == ([90], 90, True)


def test_a_chain_does_not_lead_over_newer_releases_nor_unknown_ones(host: Host) -> None:
    have(host, 1)
    over_newer = [increment(3, 1, size=5), increment(2, 3, size=5)]
    assert way(host, [release(2), release(3), release(1)], *over_newer) == ([], SIZE, False)
    over_unknown = [increment(7, 1, size=5), increment(2, 7, size=5)]
    assert way(host, [release(2), release(1)], *over_unknown) == ([], SIZE, False)


def test_over_a_version_that_was_never_offered_only_the_head_tells(host: Host) -> None:
    have(host, 9)
    assert way(host, [release(2, v1=500), release(1)]) == ([], SIZE, False)
