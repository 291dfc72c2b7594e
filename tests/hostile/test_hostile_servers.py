"""Servers of a repository that send what nobody asked for, or nothing, at any request of an update.

Whatever they do is told in one sentence, changes nothing that is installed, and is over when the
server is right again.
"""

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import pytest

import servers
from bundles import APP, Seen
from holdall.journeys.repository_deltas import make_deltas
from hostility import Victim, call, differences, read_refusal
from patience import GENEROUS, HASTY, STRICT, clients
from repositories import Station, files_of
from servers import Fault, Server

# The server's threads are here when commands fork their workers, which take no lock of theirs.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning"),
    pytest.mark.slow,
]

SAME = random.Random(1).randbytes(600_000)
OLD = SAME + random.Random(2).randbytes(300_000)
NEW = SAME + random.Random(3).randbytes(300_000)

FAULTS: dict[str, Fault] = {
    "wrong bytes": servers.wrong,
    "half the file": servers.short,
    "a longer file": servers.longer,
    "no bytes": servers.empty,
    "no answer": servers.silent,
    "no end of waiting": servers.hanging,
    "no end of bytes": servers.endless,
    "a byte now and then": servers.dripping(0.05),
    "a byte of a header now and then": servers.dripping_head(0.05),
    "no HTTP": servers.garbage,
    "another encoding": servers.squeezed,
    "another range": servers.other_range,
    "a broken connection": servers.breaking(50),
    "a reset connection": servers.breaking(50, reset=True),
    "a stop": servers.pausing(50),
    "404": servers.absent,
    "403": servers.status(403),
    "500": servers.status(500),
    "429": servers.status(429, Retry_After="3600"),
    "a redirect to a file": servers.moved("file:///etc/passwd"),
    "redirects without end": servers.moved(""),
}

SLOW = {
    "no end of waiting": HASTY,
    "a stop": HASTY,
    "a byte now and then": STRICT,
    "a byte of a header now and then": STRICT,
}
"""How patient to be with a fault that takes time; all else gets all the time it needs."""


class Request(NamedTuple):
    """Which request of an update: to a name, after so many others to it."""

    name: str
    after: int = 0


REQUESTS = {
    "timestamp": Request("metadata/timestamp.json"),
    "snapshot": Request("metadata/*.snapshot.json"),
    "bin": Request("metadata/*.bin-*.json"),
    "offer": Request("targets/apps/*"),
    "head": Request("content/*"),
    "frames": Request("content/*", after=1),
}

HARMLESS = {("a longer file", "head"), ("a longer file", "frames")}
"""The right bytes, and more after them than anybody looks at."""

KINDS = {"NetworkError", "NotFoundError", "CorruptError", "UntrustedError"}

Files = dict[str, bytes]


class States(NamedTuple):
    """A repository's files when it offers 1.0 only, 2.0 too, and an increment between them."""

    fingerprint: str
    old: Files
    new: Files
    increment: Files


@pytest.fixture(scope="module")
def states(tmp_path_factory: pytest.TempPathFactory) -> States:
    station = Station(tmp_path_factory.mktemp("station"), now=datetime.now(UTC))
    station.own_key()
    found = []
    for version, data in (("1.0", OLD), ("2.0", NEW)):
        files = {"bin/editor": b"#!/bin/sh\n", "share/long.bin": data}
        station.add(station.bundle(version, files=files))
        station.publish()
        found.append(files_of(station.path))
    make_deltas(str(station.path), station.host)
    station.publish()
    states = States(station.made.fingerprint, found[0], found[1], files_of(station.path))
    assert len(states.increment.keys() - states.new.keys()) >= 3
    return states


@pytest.fixture
def server(states: States) -> Iterator[Server]:
    with servers.serving(states.old) as running:
        yield running


@pytest.fixture
def user(tmp_path: Path, isolated_home: Path, server: Server, states: States) -> Iterator[Victim]:
    """A store with 1.0, and the remote it came from."""
    victim = Victim(tmp_path / "store", isolated_home)
    with clients(GENEROUS):
        victim.accepts("remote", "add", "shop", server.address, "--root", states.fingerprint)
        victim.accepts("install", APP)
        yield victim


def installed(victim: Victim) -> str:
    (row,) = json.loads(victim.accepts("list"))
    return str(row["version"])


def kept(victim: Victim) -> dict[str, Seen]:
    """What a failed update must not change: all but what was fetched of it, and the metadata."""
    passing = (f"{victim.root}/partial", f"{victim.root}/state/remotes")
    return {path: seen for path, seen in victim.seen().items() if not path.startswith(passing)}


@pytest.mark.parametrize("place", REQUESTS)
@pytest.mark.parametrize("fault", FAULTS)
def test_an_update_fails_in_one_sentence_and_works_the_next_time(
    server: Server, user: Victim, states: States, fault: str, place: str
) -> None:
    server.files = dict(states.new)
    before = kept(user)
    name, after = REQUESTS[place]
    server.fault(FAULTS[fault], name, after=after)
    with clients(SLOW.get(fault, GENEROUS)):
        status, _, complaints = call("--json", "--root", user.root, "update")
    if (fault, place) in HARMLESS:
        assert (status, installed(user)) == (0, "2.0"), complaints
        return
    assert status in {1, 3, 4}, complaints
    assert read_refusal(complaints).kind in KINDS
    assert differences(before, kept(user)) == []
    assert installed(user) == "1.0"
    server.heal()
    user.accepts("update")
    assert installed(user) == "2.0"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_an_increment_costs_a_download_at_most(
    server: Server, user: Victim, states: States, fault: str
) -> None:
    server.files = dict(states.increment)
    (increment,) = (
        name for name in states.increment.keys() - states.new.keys() if name.startswith("content/")
    )
    server.fault(FAULTS[fault], increment)
    with clients(SLOW.get(fault, GENEROUS)):
        status, _, complaints = call("--json", "--root", user.root, "update")
    assert (status, installed(user)) in {(0, "2.0"), (1, "1.0")}, complaints
    server.heal()
    user.accepts("update")
    assert installed(user) == "2.0"
