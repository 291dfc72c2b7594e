"""A store survives whatever ends a command: SIGKILL at any moment and at any step, a full disk.

After each such end the very next commands work, the old version or the new one is whole and active,
and once `gc` has run nothing is left that should not be there.
"""

import itertools
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from sample_app import APP, Bundles, installed_versions, tree_on_disk
from surroundings import PYTHON, Finished, Require, environment_for, expected, run
from workbench import Ended, Workbench, workbench

KILLS = 200
SEED = 20_260_514
GONE, NO_SPACE = 3, 6
COMMITTING = ("rename", "symlink", "fsync", "syncfs")
TIDYING = ("unlink", "mkdir", "rmdir", "unlinkat")


@dataclass(frozen=True, slots=True)
class State:
    """What a store has: the active version, if any, and all that are installed."""

    active: str | None
    installed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Step:
    """A command, written with {1.0} for a bundle, and the states before and after it."""

    name: str
    words: str
    before: State
    after: State

    def argv(self, bundles: Bundles) -> list[str]:
        """The words of the command line."""
        return [
            str(bundles.bundle(word[1:-1])) if word.startswith("{") else word
            for word in self.words.split()
        ]


def state(active: str | None, *installed: str) -> State:
    return State(active, frozenset(installed))


NOTHING = state(None)
FIRST = state("1.0", "1.0")
SECOND = state("2.0", "1.0", "2.0")
THIRD = state("3.0", "1.0", "2.0", "3.0")
BACK = state("2.0", "1.0", "2.0", "3.0")
FEWER = state("2.0", "2.0", "3.0")
LAST = state("3.0", "3.0")
STEPS = (
    Step("install", "install --allow-downgrade {1.0}", NOTHING, FIRST),
    Step("update", "update {2.0}", FIRST, SECOND),
    Step("update again", "update --allow-downgrade {3.0}", SECOND, THIRD),
    Step("rollback", f"rollback {APP} --to 2.0", THIRD, BACK),
    Step("gc", "gc --keep 1", BACK, FEWER),
    Step("remove active", f"remove {APP} --version 2.0", FEWER, LAST),
    Step("remove", f"remove {APP}", LAST, NOTHING),
)


class World:
    """A store with its exports, commands on it, and what it should look like."""

    def __init__(self, folder: Path, bundles: Bundles, bench: Workbench) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.host = folder / "host"
        self.bundles = bundles
        self.bench = bench
        self._trees = {
            version: tree_on_disk(bundles.files(version)) for version in ("1.0", "2.0", "3.0")
        }
        self._exports: dict[str | None, dict[str, bytes | str]] = {None: {}}
        self._seconds: dict[str, float] = {}

    def do(self, step: Step, *, kill_after: float | None = None) -> Ended:
        return self.bench(*step.argv(self.bundles), kill_after=kill_after)

    def rehearse(self) -> None:
        """Go round all steps without harm, noting how long each takes and what it shows."""
        for step in STEPS:
            self.keep(step)
            ended = self.do(step)
            assert ended.status == 0, (step.name, ended)
            self._seconds[step.name] = ended.seconds
            if step.after.active not in self._exports:
                self._exports[step.after.active] = tree_on_disk(self.host)
            self.check_after(step)

    def keep(self, step: Step) -> None:
        """Remember the store as it is before a step."""
        self._copy(self.folder, self.folder / f"before {step.name}")

    def reset(self, step: Step) -> None:
        """Bring the store to what it was before a step."""
        self._copy(self.folder / f"before {step.name}", self.folder)

    def _copy(self, source: Path, target: Path) -> None:
        target.mkdir(exist_ok=True)
        for name in ("store", "host"):
            shutil.rmtree(target / name, ignore_errors=True)
            if (source / name).exists():
                subprocess.run(["cp", "-a", source / name, target / name], check=True)

    def seconds(self, step: Step) -> float:
        return self._seconds[step.name]

    def ended_before(self, step: Step, moment: float) -> None:
        """A step took less time than when it was rehearsed, perhaps on a machine that was busy."""
        self._seconds[step.name] = moment

    def traced(self, step: Step, strace: Path, *options: str | Path) -> Finished:
        """Do a step as a user would, in a process of its own, under strace."""
        options = ("-qq", "-o", self.folder / "calls", *options)
        holdall = (PYTHON, "-m", "holdall", "--root", self.store, "--export-to", self.host)
        return run(
            [strace, *options, *holdall, "--json", *step.argv(self.bundles)],
            environment=environment_for(self.folder / "home"),
        )

    def calls(self, step: Step, strace: Path) -> dict[str, int]:
        """How often a step makes each system call that changes something."""
        self.reset(step)
        expected(self.traced(step, strace, "-e", f"trace={','.join(COMMITTING + TIDYING)}"), 0)
        made = re.findall(r"^(\w+)\(", (self.folder / "calls").read_text(), re.MULTILINE)
        return {name: made.count(name) for name in COMMITTING + TIDYING if name in made}

    def keeping(self) -> Iterator[Path]:
        """The folders in which the store keeps something, but for those of apps' own files."""
        for top, folders, _ in os.walk(self.store):
            parts = Path(top).relative_to(self.store).parts
            deepest = {"deployments": 4, "trash": 0, "staging": 0, "pool": 0, "data": 0}
            if len(parts) <= deepest.get(parts[0] if parts else "", 9):
                yield Path(top)
            else:
                folders.clear()

    def active(self) -> str | None:
        """The active version, as the link says."""
        links = list((self.store / "active").glob("*/*/*"))
        return installed_versions(self.store)[links[0].readlink().name] if links else None

    def check_between(self, step: Step) -> None:
        """Old or new is whole and active, and commands that read say the same."""
        # before any command could mend it: what the menu starts
        assert self.active() in {step.before.active, step.after.active}
        rows = self.bench.expect(0, "--json", "list").json()
        assert isinstance(rows, list)
        active = rows[0]["version"] if rows else None
        assert active in {step.before.active, step.after.active}
        verified = self.bench.expect(0, "--json", "verify").json()
        assert isinstance(verified, list)
        found = frozenset(item["version"] for item in verified)
        assert all(not item["faults"] for item in verified)
        assert step.before.installed & step.after.installed <= found
        assert found <= step.before.installed | step.after.installed
        if active is None:
            self.bench.expect(GONE, "path", APP)
        else:
            path = Path(self.bench.expect(0, "path", APP).output.rstrip("\n"))
            assert tree_on_disk(path) == self._trees[active]
            assert active in found

    def finish(self, step: Step) -> None:
        """The same command again: it does the rest, or there was none."""
        again = self.do(step)
        done = step.name.startswith("remove") and again.status == GONE
        assert done or again.status == 0, (step.name, again)
        assert not self.bench.left_running()
        self.bench.expect(0, "gc")
        self.check_after(step)

    def check_after(self, step: Step) -> None:
        """The state is the new one, and not a file is there beyond it."""
        assert not self.bench.left_running()
        assert frozenset(installed_versions(self.store).values()) == step.after.installed
        for folder in ("staging", "journal", "trash"):
            assert not list((self.store / folder).glob("*"))
        assert not strays(self.store)
        assert tree_on_disk(self.host) == self._exports[step.after.active]
        links = list((self.store / "active").glob("*/*/*"))
        assert len(links) == len(list((self.store / "run").glob("*/*/*")))
        if step.after.active is None:
            assert not links
        else:
            assert installed_versions(self.store)[links[0].resolve().name] == step.after.active


def strays(store: Path) -> list[Path]:
    """Files half written and folders of apps that are not there, outside of the apps' own files."""
    found = []
    for folder in ("journal", "active", "run", "state", "deployments"):
        for top, folders, names in os.walk(store / folder):
            if len(Path(top).relative_to(store).parts) >= 5:
                folders.clear()
                continue
            found += [Path(top, name) for name in names if name.startswith(".")]
            if not folders and not names and folder in {"active", "run", "deployments"}:
                found.append(Path(top))
    return [path for path in found if path.parent != store]


@contextmanager
def world(folder: Path, bundles: Bundles) -> Iterator[World]:
    environment = environment_for(folder / "home")
    options = ("--root", folder / "store", "--export-to", folder / "host")
    with workbench(PYTHON, environment, folder / "bench", *options) as bench:
        made = World(folder, bundles, bench)
        made.store.mkdir()
        bench.expect(0, "install", *bundles.trust, bundles.bundle("1.0"))
        bench.expect(0, "remove", APP)
        assert not bench.left_running()
        made.rehearse()
        yield made


def test_a_store_survives_kills_at_random_moments(memory: Path, bundles: Bundles) -> None:
    sys.stdout.write(f"seed {SEED}\n")
    chance = random.Random(SEED)
    landed = 0
    with world(memory, bundles) as one:
        # some come when the command has ended already: those are made up for
        for number, step in zip(range(3 * KILLS), itertools.cycle(STEPS), strict=False):
            moment = chance.uniform(0, one.seconds(step))
            sys.stdout.write(f"{number}: {step.name} killed after {moment * 1000:.1f} ms\n")
            if one.do(step, kill_after=moment).killed:
                landed += 1
            else:
                one.ended_before(step, moment)
            one.check_between(step)
            one.finish(step)
            if landed == KILLS:
                break
        while step is not STEPS[-1]:
            step = STEPS[STEPS.index(step) + 1]
            one.finish(step)
    assert landed == KILLS


@pytest.mark.parametrize("data", [b"", b'{"serial": '], ids=["empty", "half"])
def test_what_was_not_written_to_its_end_is_nobodys(
    memory: Path, bundles: Bundles, data: bytes
) -> None:
    """Files that get their names once they are whole lie everywhere, as after as many kills."""
    with world(memory, bundles) as one:
        for step in STEPS:
            for folder in one.keeping():
                (folder / ".0123456789abcdef.tmp").write_bytes(data)
            assert one.do(step).status == 0
            for words in ("list", "verify", "du", "ps", "key list", "remote list", "gc --dry-run"):
                one.bench.expect(0, *words.split())
            one.finish(step)


@pytest.mark.parametrize("name", [step.name for step in STEPS if step.name != "update again"])
def test_a_store_survives_kills_at_every_step(
    memory: Path, bundles: Bundles, require: Require, name: str
) -> None:
    strace = require("strace")
    step = next(step for step in STEPS if step.name == name)
    with world(memory, bundles) as one:
        for call, number in chosen(one.calls(step, strace)):
            one.reset(step)
            inject = f"inject={call}:signal=SIGKILL:when={number}"
            ended = one.traced(step, strace, "-e", f"trace={call}", "-e", inject)
            assert ended.returncode == -9, (call, number, ended)
            one.check_between(step)
            one.finish(step)


def chosen(calls: dict[str, int]) -> Iterator[tuple[str, int]]:
    """Which calls to kill at, by name and number: all of the commit, some of the rest."""
    for name, count in calls.items():
        picked = count if name in COMMITTING else 1
        yield from ((name, 1 + at * count // picked) for at in range(picked))


def test_a_note_torn_by_a_power_loss_is_dropped(memory: Path, bundles: Bundles) -> None:
    with world(memory, bundles) as one:
        for step in STEPS[:3]:
            one.do(step)
        for torn in (b"", b"{", bytes(100)):
            (one.store / "journal" / f"{APP}~x86_64~stable").write_bytes(torn)
            one.check_between(STEPS[2])
            one.finish(STEPS[2])


REFUSED = ("pwrite64:1", "mkdir:1", "mkdirat:1", "linkat:1", "syncfs:1", "symlink:1")
REFUSED_RENAMES = tuple(f"rename:{number}" for number in range(1, 8))


@pytest.mark.parametrize("name", ["install", "update", "remove active"])
def test_a_disk_that_fills_up_costs_a_command_but_no_app(
    memory: Path, bundles: Bundles, require: Require, name: str
) -> None:
    strace = require("strace")
    step = next(step for step in STEPS if step.name == name)
    seen = set()
    with world(memory, bundles) as one:
        for call, _, number in (word.partition(":") for word in (*REFUSED, *REFUSED_RENAMES)):
            one.reset(step)
            inject = f"inject={call}:error=ENOSPC:when={number}+"
            follow = ("-f",) if call in {"mkdirat", "linkat"} else ()
            ended = one.traced(step, strace, *follow, "-e", f"trace={call}", "-e", inject)
            assert ended.returncode in {0, NO_SPACE}, (call, number, ended)
            seen.add(ended.returncode)
            if ended.returncode == NO_SPACE:
                assert "no space left on device" in ended.stderr
                assert one.active() == step.before.active, (call, number, ended)
            else:
                assert one.active() == step.after.active, (call, number, ended)
            one.check_between(step)
            one.finish(step)
    assert NO_SPACE in seen


def fill(disk: Path) -> None:
    """Leave not a block free."""
    for size in (1 << 20, 4096, 1):
        with suppress(OSError), (disk / f"filler{size}").open("ab", buffering=0) as file:
            while file.write(b"x" * size):
                os.fsync(file.fileno())


@pytest.mark.root
def test_a_full_disk_refuses_updates_and_lets_apps_be_removed(
    small_disk: Path, tmp_path: Path, bundles: Bundles
) -> None:
    environment = environment_for(tmp_path / "home")
    store = small_disk / "store"
    with workbench(PYTHON, environment, tmp_path / "bench", "--root", store) as bench:
        bench.expect(0, "install", *bundles.trust, bundles.bundle("1.0"))
        bench.expect(0, "update", bundles.bundle("2.0"))
        before = installed_versions(store)
        fill(small_disk)
        refused = bench.expect(NO_SPACE, "update", bundles.bundle("3.0"))
        assert "free some space" in refused.errors
        assert installed_versions(store) == before
        assert '"faults": []' in bench.expect(0, "--json", "verify").output
        assert tree_on_disk(Path(bench.expect(0, "path", APP).output.strip())) == tree_on_disk(
            bundles.files("2.0")
        )
        bench.expect(0, "remove", APP, "--version", "1.0")
        bench.expect(0, "remove", APP)
        assert not bench.left_running()
        bench.expect(0, "gc")
        assert not installed_versions(store)
        bench.expect(0, "install", bundles.bundle("3.0"))
