"""Many clients that update at once from one server, while the publisher publishes."""

import json
import os
import statistics
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.errors import BenchmarkError
from benchmarks.laboratory import say
from benchmarks.measure import Command
from benchmarks.repositories_market import Answer, Market, opened, stock
from benchmarks.results import SUBJECT, Of, Row, Target, Unit, row

Running = tuple[Path, float, subprocess.Popen[bytes]]
_APPS = 3
_SIZE = 500_000
_NEWEST = 25
_NICE = ("nice", "-n", "10")  # the publisher is one of hundreds, and would hardly come to publish
_SAMPLE = 40


@dataclass(frozen=True, slots=True)
class Ended:
    """A client's end: how, when it began and ended, what it printed and complained of."""

    store: Path
    status: int
    begun: float
    ended: float
    answer: Answer
    complaints: str


def crowd(folder: Path, clients: int) -> Iterator[Row]:
    """Measure so many, and look at every store afterwards."""
    with opened(folder) as market:
        bundles = folder / "bundles"
        stock(market, "bundles", market.subject.key_store, bundles, _APPS, _NEWEST, _SIZE)
        _put_out(market, bundles, 1)
        stores = _furnish(market, clients)
        _put_out(market, bundles, 2)
        market.server.traffic()
        say(f"{clients} clients update")
        begun = time.perf_counter()
        running = [(store, time.perf_counter(), _start(market, store)) for store in stores]
        started = time.perf_counter()
        with ThreadPoolExecutor(1) as publisher:
            publishing = publisher.submit(_keep_publishing, market, bundles, running)
            ended = _wait(running)
            newest = publishing.result()
        traffic = market.server.traffic()
        taken = max(one.ended for one in ended) - begun
        yield _row(clients, "time until all have ended", Unit.SECONDS, taken)
        median = statistics.median(one.ended - one.begun for one in ended)
        yield _row(clients, "time of a client, median", Unit.SECONDS, median)
        at_once = sum(one.ended > started for one in ended)
        yield _row(clients, "clients that ran when the last was started", Unit.COUNT, at_once)
        yield _row(clients, "publications begun while they ran", Unit.COUNT, newest - 2)
        yield _row(clients, "on the wire in all", Unit.MEGABYTES, traffic.wire / 1e6)
        yield _row(clients, "on the wire, a client", Unit.BYTES, traffic.wire / clients)
        yield _row(clients, "requests", Unit.COUNT, len(traffic.requests))
        yield from _consistent(market, clients, ended, newest)


def _furnish(market: Market, clients: int) -> list[Path]:
    """Stores that have all apps, copies of one."""
    first = market.folder / "first"
    market.join(first)
    market.ask(first, "install", *(f"org.example.Real{app}" for app in range(_APPS)))
    stores = [market.folder / f"client-{number}" for number in range(clients)]
    for store in stores:
        market.runner.run((Command.of("cp", "-a", first, store),))
    return stores


def _put_out(market: Market, bundles: Path, version: int) -> None:
    market.add(*(bundles / f"{app}-{version}.holdall" for app in range(_APPS)))
    market.publish()


def _keep_publishing(market: Market, bundles: Path, running: Sequence[Running]) -> int:
    """Publish version after version until all clients have ended; returns the newest."""
    newest = 2
    while newest < _NEWEST and any(_runs(process.pid) for _, _, process in running):
        newest += 1
        _put_out(market, bundles, newest)
    return newest


def _runs(pid: int) -> bool:
    """Whether a process that was started has not ended; who waits for it, learns how."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False


def _start(market: Market, store: Path) -> "subprocess.Popen[bytes]":
    command = market.command(store, "update")
    with store.with_suffix(".out").open("wb") as out, store.with_suffix(".err").open("wb") as err:
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(store),
            "LANG": "C.UTF-8",
            **dict(command.environment),
        }
        return subprocess.Popen([*_NICE, *command.argv], stdout=out, stderr=err, env=environment)


def _wait(running: Sequence[Running]) -> list[Ended]:
    """Wait for all, noting when each ended."""
    left = {process.pid: (store, begun, process) for store, begun, process in running}
    ended = []
    while left:
        for pid, (store, begun, process) in list(left.items()):
            if process.poll() is None:
                continue
            del left[pid]
            out = store.with_suffix(".out").read_text() or "null"
            complaints = store.with_suffix(".err").read_text()
            now = time.perf_counter()
            status = process.returncode
            ended.append(Ended(store, status, begun, now, json.loads(out), complaints))
        time.sleep(0.02)
    return ended


def _consistent(market: Market, clients: int, ended: Sequence[Ended], newest: int) -> Iterator[Row]:
    """Look at every store, and once more at some after another update."""
    none = Target(0, Of.VALUE)
    failed = [one for one in ended if one.status]
    for one in failed[:3]:
        say(f"{one.store.name} ended with {one.status}: {one.complaints[-500:]}")
    yield _row(clients, "clients that failed", Unit.COUNT, len(failed), none)
    found = [_version(market, one) for one in ended]
    say(f"versions that were reached: {sorted(Counter(found).items())}")
    yield _row(clients, "published states they ended at", Unit.COUNT, len(set(found)))
    published = {f"{version}.0" for version in range(2, newest + 1)}
    wrong = sum(version not in published for version in found)
    yield _row(clients, "stores that are not of one published state", Unit.COUNT, wrong, none)
    loud = sum(bool(one.complaints) for one in ended)
    yield _row(clients, "clients that said anything on the way", Unit.COUNT, loud)
    unsound = late = 0
    sample = ended[:: max(1, len(ended) // _SAMPLE)][:_SAMPLE]
    for one in sample:
        unsound += not _is_sound(market, one.store)
        market.ask(one.store, "update")
        rows = market.ask(one.store, "list")
        late += {item["version"] for item in rows} != {f"{newest}.0"}
    measure = f"of {len(sample)} stores, those that verify finds fault with"
    yield _row(clients, measure, Unit.COUNT, unsound, none)
    measure = f"of {len(sample)} stores, those not at the newest after another update"
    yield _row(clients, measure, Unit.COUNT, late, none)


def _version(market: Market, one: Ended) -> str:
    """The version of all of a client's apps; empty where they differ, or are not as it said.

    One look at the repository serves all apps of a run: of two editions would be half a state.
    """
    listed = {item["ref"]: item["version"] for item in market.ask(one.store, "list")}
    told = {item["ref"]: item["version"] for item in one.answer or []}
    same = len(listed) == _APPS and listed == told and len(set(listed.values())) == 1
    return str(min(listed.values())) if same else ""


def _is_sound(market: Market, store: Path) -> bool:
    try:
        market.ask(store, "verify")
    except BenchmarkError as error:
        say(str(error))
        return False
    return True


def _row(clients: int, measure: str, unit: Unit, value: float, target: Target | None = None) -> Row:
    return row(measure, f"{clients} clients", unit, {SUBJECT: [value]}, target=target)
