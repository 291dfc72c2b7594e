"""The rounds of the form live: an app's files read in every way, in turn, as an ordinary user.

Everything lies on one disk in memory. Before each reading it is mounted afresh: nothing of it is in
the page cache then, and programs of the system still are.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.data import Release
from benchmarks.disk import Disks
from benchmarks.errors import BenchmarkError
from benchmarks.forms_rounds import Figures
from benchmarks.forms_user import USER
from benchmarks.laboratory import Laboratory, say
from benchmarks.live_measures import NAMES, PAGE, Visit
from benchmarks.live_ways import Stored, Way, mounting
from benchmarks.measure import Ask, Command, peak_of, seconds_of, share_of, wait_for_quiet

_AGAIN = 3  # times that something is read warm
_OBSERVED = {"small", "whole"}  # visits whose server is looked at
LARGE = 1 << 20


@dataclass(frozen=True, slots=True)
class Gallery:
    """A disk with releases in every way, and a folder to mount at."""

    laboratory: Laboratory
    disks: Disks
    releases: Mapping[str, Release]
    place: Path

    def image(self, ways: Sequence[Way]) -> tuple[Path, list[str], list[str]]:
        """Make the disk; with it the names of the ways that are on it, and why others are not."""
        there, lost = [], []

        def fill(root: Path) -> None:
            prepare(self.laboratory, root, ways)
            for way in ways:
                say(f"install: {way.name}")
                try:
                    for release in self.releases.values():
                        self.laboratory.runner.run(way.install(release, root))
                        _expect_pool(way, root)
                except BenchmarkError as error:
                    lost.append(f"{way.name}: {error}")
                else:
                    there.append(way.name)

        return self.disks.image("live", fill), there, lost

    def visit(self, image: Path, way: Way, visit: Visit) -> Figures:
        """Read once cold, then warm; and look at who served it."""
        release = self.releases[visit.dataset]
        if isinstance(way, Stored):
            self._set_habit(image, way, visit)
        with self._read(image, way, release) as (root, ask):
            servers = servers_of(root)
            before = sum(map(seconds_of, servers))
            cold = self._asked(ask, visit, release, 1)
            found = {visit.cold: _figure(visit, cold)}
            if servers and visit.cold in _OBSERVED:
                found[f"{visit.cold} time"] = sum(map(seconds_of, servers)) - before
            if visit.warm:
                found[visit.warm] = _figure(visit, self._asked(ask, visit, release, _AGAIN))
            if servers and visit.cold in _OBSERVED:
                found["memory"] = sum(map(peak_of, servers))
                found["share"] = sum(map(share_of, servers))
        return found

    def start(self, image: Path, way: Way) -> Figures:
        """Mount the app of many files, and start a program in it that does nothing."""
        laboratory, release = self.laboratory, self.releases[NAMES]
        found: Figures = {}
        with self.disks.remounted(image) as root:
            wait_for_quiet(laboratory.patience)
            if job := way.mount(release, root, self.place):
                found["mount"] = laboratory.runner.run(job).wall
                self._unmount()
            elif isinstance(way, Stored) and "live" in way.forms:
                words = laboratory.runner.output(mounting(way, root, release)).split()
                found["mount"] = float(words[-1])
        if isinstance(way, Stored):
            with self.disks.remounted(image) as root:
                wait_for_quiet(laboratory.patience)
                run = way.command(root, "run", release.app_id, "--command", "true")
                found["run"] = laboratory.runner.run((run,)).wall
        return found

    @contextmanager
    def _read(self, image: Path, way: Way, release: Release) -> Iterator[tuple[Path, Ask]]:
        with self.disks.remounted(image) as root:
            job = way.mount(release, root, self.place)
            self.laboratory.runner.run(job)
            try:
                wait_for_quiet(self.laboratory.patience)
                reader = way.reader(release, root, self.place)
                with self.laboratory.runner.conversation(reader) as ask:
                    yield root, ask
            finally:
                if job:
                    self._unmount()

    def _set_habit(self, image: Path, way: Stored, visit: Visit) -> None:
        """Have nothing known of earlier starts, or just one."""
        release = self.releases[visit.dataset]
        with self.disks.remounted(image) as root:
            for known in way.store(root).glob("deployments/*/*/*/*/habit"):
                known.unlink()
        if visit.habit and "live" in way.forms:
            with self._read(image, way, release) as (_, ask):
                self._asked(ask, visit, release, 1)

    def _asked(self, ask: Ask, visit: Visit, release: Release, times: int) -> list[float]:
        answer = ask({**visit.step, "times": times})
        if answer["done"] != (wanted := expected(visit.step, release)):
            told = f"{answer['done']} of {wanted}"
            raise BenchmarkError(f"{visit.cold}, {release.name}: what was read is {told}")
        return [float(one) for one in answer["seconds"]]

    def _unmount(self) -> None:
        self.laboratory.runner.run((Command.of("umount", self.place),))


def prepare(laboratory: Laboratory, root: Path, ways: Sequence[Way]) -> None:
    """Have stores that trust the key on an empty disk, which is the user's."""
    subject, run = laboratory.subject, laboratory.runner.run
    for way in ways:
        if isinstance(way, Stored):
            run((Command.of("cp", "-a", subject.key_store, way.store(root)),))
    (root / "home").mkdir()
    run((Command.of("chown", "-R", f"{USER}:{USER}", root),))


def expected(step: Mapping[str, Any], release: Release) -> int:
    """What a step is to have read of a release, in bytes or files."""
    match step["step"]:
        case "whole":
            return sum(release.contents[path][1] for path in step["paths"])
        case "scattered":
            return int(step["count"]) * PAGE
        case "small":
            return min(int(step["count"]), len(release.contents))
        case _:
            return 0


def large_files(release: Release) -> list[str]:
    """The files of a release that are read from end to end."""
    return [path for path, (_, size) in release.contents.items() if size >= LARGE]


def servers_of(root: Path) -> list[int]:
    """The processes that hold /dev/fuse and something on a disk."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            held = {str(fd.readlink()) for fd in (process / "fd").iterdir()}
            if "/dev/fuse" in held and any(one.startswith(f"{root}/") for one in held):
                found.append(int(process.name))
    return found


def _figure(visit: Visit, seconds: Sequence[float]) -> float:
    """Seconds; of pages those of each."""
    median = statistics.median(seconds)
    return median / visit.step["count"] if visit.step["step"] == "scattered" else median


def _expect_pool(way: Way, root: Path) -> None:
    """Whether contents are read from the pool where they should be; raises BenchmarkError."""
    if not isinstance(way, Stored) or way.forms[-1] != "live" or len(way.forms) == 1:
        return
    if not any(way.store(root).glob("deployments/*/*/*/*/objects")):
        raise BenchmarkError("this holdall reads nothing from a pool yet")


def with_speeds(found: Figures, release: Release, large: Sequence[str]) -> Figures:
    """The same figures, with speeds in the place of times where files are read from end to end."""
    size = sum(release.contents[path][1] for path in large)
    speeds = {key: size / found[key] for key in ("whole", "whole again") if key in found}
    return found | speeds
