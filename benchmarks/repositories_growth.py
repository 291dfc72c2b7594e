"""How a repository's costs grow with its apps: publishing, the metadata of clients, search."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.laboratory import say
from benchmarks.measure import Sample, wait_for_quiet
from benchmarks.repositories_market import Market, opened, stock
from benchmarks.repositories_server import Traffic
from benchmarks.results import SUBJECT, Of, Row, Target, Unit, row

INSTALLED = 10
_VERSIONS = 5
_ROUNDS = 3
_SIZE = 20_000
_SEARCHES = 9
_SEARCH = ("search", "paint", "math")
_METADATA = Target(200_000, Of.VALUE)


def growth(folder: Path, apps: int, patience: float) -> Iterator[Row]:
    """Measure a repository of so many apps with five versions each, ten of which are real."""
    with opened(folder) as market:
        bundles = folder / "bundles"
        key_store = market.subject.key_store
        versions = _VERSIONS + _ROUNDS + 1
        stock(market, "bundles", key_store, bundles, INSTALLED, versions, _SIZE)
        say(f"publish {apps:,} apps")
        stock(market, "offers", market.repository, apps - INSTALLED)
        first = [_bundle(bundles, app, at + 1) for app in range(INSTALLED) for at in range(5)]
        market.add(*first)
        wait_for_quiet(patience)
        yield from _times(apps, "publish all", [market.publish()])
        yield from _shape(market, apps)
        yield from _clients(market, bundles, apps, patience)


def _clients(market: Market, bundles: Path, apps: int, patience: float) -> Iterator[Row]:
    user, searcher = market.folder / "user", market.folder / "searcher"
    yield from _traffic(apps, "remote add", [market.join(user)])
    market.join(searcher)
    market.ask(user, "install", *(f"org.example.Real{app}" for app in range(INSTALLED)))
    nothing = [market.did(user, "update") for _ in range(3)]
    assert all(answer == [] for answer, _ in nothing)
    count = Target(2, Of.VALUE)
    yield from _traffic(apps, "update, nothing new", [taken for _, taken in nothing], count)
    yield from _one_changed(market, bundles, apps, patience)
    market.add(*(_bundle(bundles, app, _VERSIONS + _ROUNDS + 1) for app in range(INSTALLED)))
    market.publish()
    measure = f"update, metadata, {INSTALLED} of {INSTALLED} apps changed"
    yield from _traffic(apps, measure, [_updated(market, user, INSTALLED)], limit=_METADATA)
    yield from _search(market, apps, patience)


def _one_changed(market: Market, bundles: Path, apps: int, patience: float) -> Iterator[Row]:
    added, published, updated, refreshed = [], [], [], []
    for at in range(_ROUNDS):
        wait_for_quiet(patience)
        added.append(market.add(_bundle(bundles, 0, _VERSIONS + 1 + at)))
        published.append(market.publish())
        refreshed.append(market.did(market.folder / "searcher", *_SEARCH, "--refresh")[1])
        updated.append(_updated(market, market.folder / "user", 1))
    yield from _times(apps, "repo add, one changed app", added)
    yield from _times(apps, "repo publish, one changed app", published)
    measure = f"update, metadata, 1 of {INSTALLED} apps changed"
    yield from _traffic(apps, measure, updated, limit=_METADATA)
    yield from _traffic(apps, "search --refresh after a publication", refreshed)


def _search(market: Market, apps: int, patience: float) -> Iterator[Row]:
    searcher = market.folder / "searcher"
    search = (market.command(searcher, *_SEARCH),)
    market.server.traffic()
    wait_for_quiet(patience)
    values = [1000 * market.runner.run(search).wall for _ in range(_SEARCHES)]
    assert not market.server.traffic().requests
    yield _row(apps, "search, time", Unit.MILLISECONDS, values, Target(200, Of.VALUE))
    found = market.ask(searcher, *_SEARCH)
    yield _row(apps, "search, apps found", Unit.COUNT, [len(found)])


def _updated(market: Market, user: Path, changed: int) -> Traffic:
    answer, taken = market.did(user, "update")
    assert len(answer) == changed
    return taken.metadata


def _shape(market: Market, apps: int) -> Iterator[Row]:
    """The number of bins, and the snapshot that lists them."""
    folder = market.repository / "metadata"
    newest = max(folder.glob("*.apps.json"), key=_number)
    role = json.loads(newest.read_bytes())["signed"]
    bits = role["delegations"]["succinct_roles"]["bit_length"]
    yield _row(apps, "bins", Unit.COUNT, [2**bits])
    snapshot = max(folder.glob("*.snapshot.json"), key=_number)
    yield _row(apps, "snapshot", Unit.BYTES, [snapshot.stat().st_size])
    files = [path for path in market.repository.rglob("*") if path.is_file()]
    yield _row(apps, "files in the repository", Unit.COUNT, [len(files)])


def _number(path: Path) -> int:
    return int(path.name.partition(".")[0])


def _bundle(folder: Path, app: int, version: int) -> Path:
    return folder / f"{app}-{version}.holdall"


def _times(apps: int, measure: str, samples: Sequence[Sample]) -> Iterator[Row]:
    walls, cpus = [one.wall for one in samples], [one.cpu for one in samples]
    yield _row(apps, f"{measure}, time", Unit.SECONDS, walls)
    yield _row(apps, f"{measure}, processor time", Unit.SECONDS, cpus)


def _traffic(
    apps: int,
    measure: str,
    taken: Sequence[Traffic],
    count: Target | None = None,
    limit: Target | None = None,
) -> Iterator[Row]:
    requests = [len(one.requests) for one in taken]
    yield _row(apps, f"{measure}, requests", Unit.COUNT, requests, count)
    yield _row(apps, f"{measure}, bytes", Unit.BYTES, [one.wire for one in taken], limit)


def _row(
    apps: int, measure: str, unit: Unit, values: Sequence[float], target: Target | None = None
) -> Row:
    return row(measure, f"{apps:,} apps", unit, {SUBJECT: values}, target=target)
