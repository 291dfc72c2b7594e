"""Installing, updating and removing in any form is all or nothing, whenever a command is killed.

After each kill the old version or the new one is active and whole. After the next command and
``gc``, nothing is there that an undisturbed life would not have left: no name in the store, no
mount, no loop device.
"""

import itertools
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from ledger import EVIDENCE, is_full
from stand import ROOT, Case, Stand
from surroundings import Require, expected, run
from workbench import Ended, Workbench, workbench

KILLS = 200 if is_full() else 9
POINTS = 60 if is_full() else 3
SEED = 20_261_123
GONE = 3
MOST = 0.8  # of the kills at system calls, which have to land
COMMITTING = ("rename", "renameat2", "symlink", "fsync", "syncfs", "link", "ioctl", "mount")
TIDYING = ("unlink", "mkdir", "rmdir", "unlinkat", "umount2")


@dataclass(frozen=True, slots=True)
class Step:
    """A command, and the versions that may be active before and after it."""

    name: str
    before: str | None
    after: str | None

    def words(self, stand: Stand) -> list[str]:
        """The command line."""
        specimen = stand.specimen
        match self.name:
            case "install":
                form = ["--form", stand.case.form, "--allow-downgrade", *specimen.trust]
                return ["install", *form, str(specimen.old.bundle)]
            case "update":
                return ["update", str(specimen.new.bundle)]
            case "convert":
                return ["convert", specimen.app, "--form", "tree"]
            case "convert back":
                return ["convert", specimen.app, "--form", stand.case.form]
            case _:
                return ["remove", specimen.app]


INSTALL, UPDATE = Step("install", None, "1.0"), Step("update", "1.0", "2.0")
AWAY, BACK = Step("convert", "2.0", "2.0"), Step("convert back", "2.0", "2.0")
REMOVE = Step("remove", "2.0", None)
STEPS = (INSTALL, UPDATE, AWAY, BACK, REMOVE)


class World:
    """A store, commands on it, and what each undisturbed step leaves and takes."""

    def __init__(self, stand: Stand, bench: Workbench) -> None:
        self.stand = stand
        self._bench = bench
        self._left: dict[str, dict[str, list[str]]] = {}
        self._seconds: dict[str, float] = {}

    def do(self, step: Step, *, kill_after: float | None = None) -> Ended:
        return self._bench(*step.words(self.stand), kill_after=kill_after)

    def rehearse(self) -> None:
        """Go round all steps without harm."""
        for step in STEPS:
            ended = self.do(step)
            assert ended.status == 0, (step, ended)
            self._seconds[step.name] = ended.seconds
            self.settle()
            self._left[step.name] = self.stand.traces()

    def settle(self) -> None:
        """Let all that was left for later be done."""
        assert not self._bench.left_running()
        self._bench.expect(0, "gc")
        assert not self._bench.left_running()

    def moment(self, step: Step, chance: random.Random) -> float:
        """A moment of a step's life."""
        return chance.uniform(0, self._seconds[step.name])

    def ended_before(self, step: Step, moment: float) -> None:
        """A step took less time than when it was rehearsed, perhaps on a machine that was busy."""
        self._seconds[step.name] = moment

    def check_between(self, step: Step) -> None:
        """Old or new is active and whole."""
        rows = self._bench.expect(0, "--json", "list").json()
        assert isinstance(rows, list)
        assert {row["version"] for row in rows} <= {step.before, step.after}
        assert rows or None in {step.before, step.after}
        verified = self._bench.expect(0, "--json", "verify").json()
        assert isinstance(verified, list)
        assert all(not item["faults"] for item in verified)

    def finish(self, step: Step) -> None:
        """The same command again: it does the rest, or there was none."""
        again = self.do(step)
        assert again.status == 0 or (step is REMOVE and again.status == GONE), (step, again)
        self.settle()
        self.check_left(step)

    def check_left(self, step: Step) -> None:
        """Nothing is there beyond what an undisturbed step leaves."""
        for kind, names in self.stand.traces().items():
            before = self._left[step.name][kind]
            more = sorted((Counter(names) - Counter(before)).elements())
            assert not more, (step, kind, len(more))
            assert names == before, (step, kind)

    def traced(self, step: Step, strace: Path, *options: str) -> int:
        """Do a step in a process of its own under strace."""
        cli = self.stand.cli
        kept = self.stand.store.parent / "calls"
        holdall = (cli.python, "-m", "holdall", *self.stand.options, "--json")
        finished = run(
            [strace, "-qq", "-o", kept, *options, *holdall, *step.words(self.stand)],
            environment=cli.environment,
            user=cli.user,
        )
        return finished.returncode if finished.returncode < 0 else expected(finished, 0).returncode

    def points(self, step: Step, strace: Path, chance: random.Random) -> list[tuple[str, int]]:
        """Some of the system calls by which a step changes something, by name and number."""
        self.traced(step, strace, "-e", f"trace={','.join(COMMITTING + TIDYING)}")
        self.settle()
        text = (self.stand.store.parent / "calls").read_text(errors="replace")
        made = re.findall(r"^(\w+)\(", text, re.MULTILINE)
        counts: dict[str, int] = {}
        every = []
        for name in made:
            counts[name] = counts.get(name, 0) + 1
            every.append((name, counts[name]))
        return chance.sample(every, min(POINTS, len(every)))


@contextmanager
def world(stand: Stand, folder: Path) -> Iterator[World]:
    cli = stand.cli
    with workbench(cli.python, cli.environment, folder, *stand.options, user=cli.user) as bench:
        made = World(stand, bench)
        made.rehearse()
        yield made


@pytest.fixture
def killed(stand: Stand) -> Iterator[World]:
    """A store that was rehearsed on."""
    with world(stand, stand.store.parent / "bench") as one:
        yield one


@pytest.mark.measures("N3")
def test_a_form_survives_kills_at_random_moments(
    killed: World, case: Case, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(SEED)
    wanted = KILLS if case.who == ROOT else -(-KILLS // 2)
    landed = 0
    for _, step in zip(range(4 * wanted), itertools.cycle(STEPS), strict=False):
        moment = killed.moment(step, chance)
        if landed < wanted and killed.do(step, kill_after=moment).killed:
            landed += 1
            killed.check_between(step)
        else:
            killed.ended_before(step, moment)
        killed.finish(step)
        if landed == wanted and step is REMOVE:
            break
    assert landed == wanted
    record_property(EVIDENCE, {"kills": landed})


@pytest.mark.measures("N3")
def test_a_form_survives_kills_at_system_calls(
    killed: World, require: Require, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(SEED)
    strace = require("strace")
    points = {step: killed.points(step, strace, chance) for step in STEPS}
    landed = 0
    for at in range(POINTS):
        for step in STEPS:
            call, number = points[step][at % len(points[step])]
            inject = f"inject={call}:signal=SIGKILL:when={number}"
            ended = killed.traced(step, strace, "-e", f"trace={call}", "-e", inject)
            # its workers may have left a process less to do than when the calls were counted
            landed += ended == -9
            killed.check_between(step)
            killed.finish(step)
    assert landed >= MOST * POINTS * len(STEPS)
    record_property(EVIDENCE, {"kills": landed})
