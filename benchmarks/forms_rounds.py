"""One life of an app in one form: installed, updated beside, read, removed, on a disk of its own.

Between the steps the disk is mounted afresh: nothing of it is in the page cache then, and nothing
else is emptied for it.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import Verb
from benchmarks.data import Release
from benchmarks.disk import Disks
from benchmarks.errors import BenchmarkError
from benchmarks.forms_ways import View, Way
from benchmarks.laboratory import Laboratory
from benchmarks.measure import Job, peak_of, wait_for_quiet
from benchmarks.pagecache import all_cached, own_pages
from benchmarks.reading import Reading, read_all
from benchmarks.space import seconds_until_freed, used

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Course:
    """The rooms for it: a laboratory, disks by file system, two releases, places to mount at."""

    laboratory: Laboratory
    disks: Mapping[str, Disks]
    old: Release
    new: Release
    places: tuple[Path, Path]

    def timed(self, way: Way) -> Figures:
        """Every step timed, and what it takes of the disk; seconds and bytes."""
        disks = self.disks[way.system]
        image = disks.blank("life")
        found: Figures = {}
        try:
            with disks.remounted(image) as root:
                self._run(way.plan(Verb.PREPARE, self.old, root))
                empty = used(root)
                found["install"] = self._seconds(way.plan(Verb.INSTALL, self.old, root))
            with disks.remounted(image) as root:
                found["one"] = used(root) - empty
                found["update"] = self._seconds(way.plan(Verb.ADD, self.new, root))
            with disks.remounted(image) as root:
                found["two"] = used(root) - empty
                found |= self._read(way, root)
            with disks.remounted(image) as root:
                found["remove"] = self._seconds(way.plan(Verb.REMOVE, self.new, root))
                found["freed"] = found["remove"] + seconds_until_freed(root)
                found["left"] = used(root) - empty
                if sweep := way.sweep(root):
                    self._run(sweep)
                    found["swept"] = used(root) - empty
        finally:
            image.unlink()
        return found

    def observed(self, way: Way) -> Figures:
        """What takes no clock: memory, and by cachestat what lies in the page cache; bytes."""
        disks = self.disks[way.system]
        image = disks.blank("life")
        found: Figures = {}
        try:
            with disks.remounted(image) as root:
                self._run(way.plan(Verb.PREPARE, self.old, root))
                found["install memory"] = self._peak(way.plan(Verb.INSTALL, self.old, root))
            with disks.remounted(image) as root:
                one, contents = self._pages(way, root, [self.old], found)
            with disks.remounted(image) as root:
                found["update memory"] = self._peak(way.plan(Verb.ADD, self.new, root))
            with disks.remounted(image) as root:
                both = self._pages(way, root, [self.old, self.new], found)
                found["pages"], found["content pages"] = both
        finally:
            image.unlink()
        found["pages more"] = found["pages"] - one
        found["content pages more"] = found["content pages"] - contents
        return found

    def _read(self, way: Way, root: Path) -> Figures:
        found: Figures = {}
        views = [
            way.view(release, root, place)
            for release, place in zip((self.old, self.new), self.places, strict=True)
        ]
        with self._mounted(views) as seconds:
            if seconds:
                found["mount"] = seconds[0]
            wait_for_quiet(self.laboratory.patience)
            before = all_cached()
            found["cold"] = check(self.old, read_all(str(views[0].folder))).seconds
            found["warm"] = check(self.old, read_all(str(views[0].folder))).seconds
            between = all_cached()
            check(self.new, read_all(str(views[1].folder)))
            found["cache"] = all_cached() - before
            found["cache more"] = found["cache"] - (between - before)
        return found

    def _pages(
        self, way: Way, root: Path, releases: Sequence[Release], found: Figures
    ) -> tuple[int, int]:
        """The bytes cached of all that is read and lies below it, and of pooled contents alone.

        What a program took to serve one version goes to ``found``.
        """
        places = self.places[: len(releases)]
        views = [way.view(one, root, place) for one, place in zip(releases, places, strict=True)]
        with self._mounted(views):
            for release, view in zip(releases, views, strict=True):
                check(release, read_all(str(view.folder)))
            if served := [peak_of(pid) for pid in _servers(views[0].folder)]:
                found["server memory"] = sum(served)
            folders = [root, *(view.folder for view in views)]
            everything = own_pages(
                [*_loop_devices(root), *(path for one in folders for path in files_below(one))]
            )
            return everything, own_pages(files_below(root / "holdall" / "pool"))

    @contextmanager
    def _mounted(self, views: Sequence[View]) -> Iterator[list[float]]:
        """Mount what is to be mounted; lends the seconds of each."""
        done: list[View] = []
        seconds: list[float] = []
        try:
            for view in views:
                if view.mount:
                    seconds.append(self._seconds(view.mount))
                    done.append(view)
            yield seconds
        finally:
            for view in reversed(done):
                self._run(view.unmount)

    def _run(self, job: Job) -> None:
        self.laboratory.runner.run(job)

    def _seconds(self, job: Job) -> float:
        wait_for_quiet(self.laboratory.patience)
        return self.laboratory.runner.run(job).wall

    def _peak(self, job: Job) -> int:
        """The most memory, a page that several map counted once."""
        footprint = self.laboratory.runner.observe(job, interval=0.01)[1]
        return max(footprint.largest, footprint.proportional)


def check(release: Release, reading: Reading) -> Reading:
    """Return a reading that was of all the release's files; raises BenchmarkError for another."""
    wanted = (len(release.contents), release.size)
    if (reading.files, reading.size) != wanted:
        raise BenchmarkError(
            f"{release.name} has {wanted[0]} files of {wanted[1]} bytes, but what was read were "
            f"{reading.files} of {reading.size}"
        )
    return reading


def files_below(folder: Path) -> Iterator[Path]:
    """All that is below a folder, but folders."""
    for where, _, names in os.walk(folder):
        yield from (Path(where, name) for name in names)


def _servers(folder: Path) -> Iterator[int]:
    """The programs that serve a file system mounted there by FUSE."""
    for told in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            program, *words = told.read_bytes().split(b"\0")
        except (OSError, ValueError):
            continue
        if b"fuse" in program and bytes(folder) in words:
            yield int(told.parent.name)


def _loop_devices(root: Path) -> Iterator[Path]:
    """The loop devices whose files lie below a mount point."""
    for told in Path("/sys/block").glob("loop*/loop/backing_file"):
        if Path(told.read_text().rstrip("\n")).is_relative_to(root):
            yield Path("/dev", told.parent.parent.name)
