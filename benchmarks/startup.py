"""The part start-up: how long the commands take that a person waits for every time."""

import os
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.contenders import Verb
from benchmarks.data import Release, small_release
from benchmarks.errors import BenchmarkError
from benchmarks.laboratory import Laboratory, say
from benchmarks.measure import Command, interleaved, wait_for_quiet
from benchmarks.peers import Flatpak
from benchmarks.results import Row, Unit, row

_LEAST_RUNS = 20
_MANY = 100
_DATASET = "small apps"
_PASS = {"plain": "python -c pass"}
_BWRAP = {"plain": "bare bwrap"}
_SHIM = """\
#!/bin/sh
printf '%s\\0' "$@" >'{folder}/arguments'
for fd in 3 4 5 6 7; do
    [ ! -e /proc/self/fd/$fd ] || eval "cat <&$fd" >'{folder}/'$fd
done
"""


@dataclass(frozen=True, slots=True)
class Shelf:
    """Stores with the same apps, installed by holdall and by flatpak, below one folder."""

    laboratory: Laboratory
    flatpak: Flatpak
    root: Path

    def fill(self, releases: Sequence[Release]) -> None:
        """Publish and install the apps with both."""
        subject, repo = self.laboratory.subject, self.flatpak.shop / "small.flatpak"
        run = self.laboratory.runner.run
        run(subject.plan(Verb.PREPARE, releases[0], self.root))
        run(self.flatpak.plan(Verb.PREPARE, releases[0], self.root))
        for release in releases:
            if not subject.published(release).exists():
                run(subject.publish(release))
                run(self.flatpak.export(release, repo))
        bundles = [subject.published(release) for release in releases]
        run((subject.command(subject.store(self.root), "install", *bundles),))
        run(self.flatpak.offer(repo, self.root))
        words = ("install", "--assumeyes", "--noninteractive", "apps")
        apps = [release.app_id for release in releases]
        run((self.flatpak.command(self.root, *words, *apps),))

    def holdall(self, verb: str, *argv: str) -> Command:
        subject = self.laboratory.subject
        return subject.command(subject.store(self.root), verb, *argv)


def startup(laboratory: Laboratory, launcher: str) -> Iterator[Row]:
    """Listing, finding and starting apps; ``launcher`` is the launch file's path in the store."""
    (flatpak,) = (peer for peer in laboratory.peers if isinstance(peer, Flatpak))
    releases = [small_release(laboratory.shop / "small", number) for number in range(_MANY)]

    def fill(root: Path) -> None:
        for name, apps in (("one", releases[:1]), ("many", releases)):
            say(f"install {len(apps)} small apps with holdall and flatpak")
            Shelf(laboratory, flatpak, root / name).fill(apps)

    image = laboratory.disks.image("start-up", fill)
    with laboratory.disks.remounted(image) as root:
        shelves = [Shelf(laboratory, flatpak, root / name) for name in ("one", "many")]
        commands = _commands(shelves[0], shelves[1], releases[0].app_id, launcher)
        runs = _time(laboratory, commands)
    image.unlink()
    yield from _rows(runs)


def _commands(
    one: Shelf, many: Shelf, app_id: str, launcher: str
) -> dict[tuple[str, str], Command]:
    """Every command to be timed, by what it does and in which column it stands."""
    laboratory, flatpak = one.laboratory, one.flatpak
    run = one.holdall("run", app_id)
    launch = Command.of(laboratory.subject.store(one.root) / launcher.format(id=app_id))
    return {
        ("pass", "plain"): Command.of(sys.executable, "-c", "pass"),
        ("list, 1 app", "holdall"): one.holdall("list"),
        ("list, 1 app", "flatpak"): flatpak.command(one.root, "list"),
        (f"list, {_MANY} apps", "holdall"): many.holdall("list"),
        (f"list, {_MANY} apps", "flatpak"): flatpak.command(many.root, "list"),
        ("path", "holdall"): one.holdall("path", app_id),
        ("path", "flatpak"): flatpak.command(one.root, "info", "--show-location", app_id),
        ("run true", "plain"): bare_bwrap(laboratory, run, laboratory.shop / "run"),
        ("run true", "holdall"): run,
        ("run true", "flatpak"): flatpak.command(one.root, "run", app_id),
        ("launch file", "plain"): bare_bwrap(laboratory, launch, laboratory.shop / "launch"),
        ("launch file", "holdall"): launch,
    }


def _time(
    laboratory: Laboratory, commands: Mapping[tuple[str, str], Command]
) -> dict[tuple[str, str], list[float]]:
    for command in commands.values():
        laboratory.runner.run((command,))
    rounds = max(_LEAST_RUNS, laboratory.runs)
    say(f"time {len(commands)} commands, {rounds} rounds")
    wait_for_quiet(laboratory.patience)
    runs: dict[tuple[str, str], list[float]] = {key: [] for key in commands}
    for key in interleaved(tuple(commands), rounds):
        runs[key].append(laboratory.runner.run((commands[key],)).wall * 1000)
    return runs


def _rows(runs: Mapping[tuple[str, str], Sequence[float]]) -> Iterator[Row]:
    measures = dict.fromkeys(measure for measure, _ in runs if measure != "pass")
    for measure in measures:
        cells = {column: taken for (named, column), taken in runs.items() if named == measure}
        started = "plain" in cells
        cells = {"plain": runs["pass", "plain"]} | cells
        notes = _BWRAP if started else _PASS
        yield _row(measure, cells, notes)
        if started:
            floor = statistics.median(cells["plain"])
            beyond = {
                name: [taken - floor for taken in values]
                for name, values in cells.items()
                if name != "plain"
            }
            yield _row(f"{measure}, beyond bare bwrap", beyond, None)


def _row(measure: str, runs: Mapping[str, Sequence[float]], notes: Mapping[str, str] | None) -> Row:
    return row(measure, _DATASET, Unit.MILLISECONDS, runs, baseline="plain", notes=notes)


def bare_bwrap(laboratory: Laboratory, command: Command, folder: Path) -> Command:
    """Return bwrap alone, with the arguments and open files that a command gives it.

    They are caught in ``folder`` by a run of the command that meets another bwrap on its PATH.
    """
    folder.mkdir()
    shim = folder / "bwrap"
    shim.write_text(_SHIM.format(folder=folder))
    shim.chmod(0o755)
    laboratory.runner.run((command.within({"PATH": f"{folder}:{os.environ['PATH']}"}),))
    if not (folder / "arguments").exists():
        line = " ".join(command.argv)
        raise BenchmarkError(f"no bwrap was found by its name on the PATH while this ran: {line}")
    arguments = (folder / "arguments").read_text().split("\0")[:-1]
    opened = tuple((int(path.name), path) for path in folder.iterdir() if path.name.isdigit())
    return replace(Command.of("bwrap", *arguments), opened=opened)
