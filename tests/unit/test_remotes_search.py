"""Searching a large catalogue that is fresh: at once, and with nothing costly loaded."""

import json
import time
from pathlib import Path

import pytest

from holdall.journeys.host import Host, root_host
from holdall.journeys.searching import search
from holdall.model.catalogue import Entry, Version
from holdall.store import remotes as records
from holdall.store.remotes import Freshness, Remote
from surroundings import PYTHON, environment_for, run

COUNT = 10_000
COSTLY = {"tuf", "urllib3", "ssl", "cryptography", "securesystemslib", "rich", "subprocess"}
PROBE = """
import sys
from holdall.cli.main import main
main(sys.argv[1:])
print(*sys.modules, sep="\\n", file=sys.stderr)
"""


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A store with a remote whose catalogue has many apps, asked just now."""
    from holdall.delivery.remote.trusted import write_entries

    host = root_host(str(tmp_path / "store"))
    remote = Remote("shop", "https://example.org", "0" * 64, f"{host.layout.remotes}/shop")
    records.write(remote)
    records.write_freshness(remote, Freshness(time.time(), time.time() + 86400, time.time()))
    write_entries(
        remote,
        (
            Entry(
                f"org.example.App{number:05}",
                name=f"App {number}",
                summary=f"Does the thing number {number} quite well",
                developer=f"Developer {number % 100}",
                refs={"x86_64/stable": Version("1.0", 1000, 100)},
            )
            for number in range(COUNT)
        ),
    )
    return host


def test_one_of_many_is_found(host: Host) -> None:
    (found,) = search(["app07777"], host)
    assert (found.ref, found.name) == ("org.example.App07777/x86_64/stable", "App 7777")


def test_the_best_of_many_come_first(host: Host) -> None:
    found = search(["app", "1234"], host)
    assert found[0].id == "org.example.App01234"
    assert len(found) == 1
    assert len(search(["developer 7"], host)) == COUNT // 100 * 11


def test_many_are_searched_fast(host: Host) -> None:
    def once() -> float:
        begun = time.process_time()  # a busy machine does not slow it
        search(["thing", "777"], host)
        return time.process_time() - begun

    assert min(once() for _ in range(5)) < 0.15


def test_a_fresh_catalogue_is_searched_without_anything_costly(
    host: Host, isolated_home: Path
) -> None:
    words = ["--json", "--root", host.layout.root, "search", "07777"]
    done = run([PYTHON, "-c", PROBE, *words], environment=environment_for(isolated_home))
    assert [row["id"] for row in json.loads(done.stdout)] == ["org.example.App07777"]
    assert not {name.partition(".")[0] for name in done.stderr.split()} & COSTLY
