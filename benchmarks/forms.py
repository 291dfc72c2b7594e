"""The command forms: what every installed form costs, beside plain tools that do the same."""

import argparse
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks import forms_page, machine
from benchmarks.data import DATASETS, Dataset, releases_of
from benchmarks.disk import Disks, own_mounts, workplace
from benchmarks.errors import BenchmarkError
from benchmarks.forms_goals import COMPOSEFS, metadata, sharing
from benchmarks.forms_measures import MEASURES
from benchmarks.forms_peers import TAR, peers
from benchmarks.forms_rounds import Course, Figures
from benchmarks.forms_stock import stock
from benchmarks.forms_user import Guest, fuse_for_all, served
from benchmarks.forms_ways import BTRFS, EXT4, Lodging, Way, lodgings
from benchmarks.laboratory import DISK_SIZE, Laboratory, furnish, say
from benchmarks.measure import interleaved
from benchmarks.page import Figures as Printed
from benchmarks.peers import absent
from benchmarks.results import Report, Row, row, save

_RESULTS = Path(__file__).parent / "results/forms"
_PACKAGES = ("squashfs-tools", "squashfuse", "erofs-utils", "btrfs-progs", "rsync")
_FILE_SYSTEM = "ext4 with a journal, or btrfs where that is said; in a loop file on tmpfs"


def describe(command: argparse.ArgumentParser, cache: Path) -> None:
    """Add the options of the command."""
    command.add_argument("--sets", default="ansible,pyside6", help="data sets (%(default)s)")
    command.add_argument("--runs", type=int, default=3, help="timed rounds (%(default)s)")
    command.add_argument(
        "--only", metavar="FORM[,FORM]", help="these forms beside tar alone; nothing is kept"
    )
    command.add_argument(
        "--keep-bundles", action="store_true", help="take bundles from the cache, or put them there"
    )
    command.add_argument("--cache", type=Path, default=cache, help="packages, archives, bundles")
    command.add_argument(
        "--results", type=Path, default=_RESULTS, help="folder of kept figures (%(default)s)"
    )
    command.add_argument("--page", type=Path, metavar="PAGE", help="write the page of all kept")
    command.add_argument(
        "--patience", type=float, default=5, help="seconds to wait for quiet a step"
    )
    command.set_defaults(write=None, quick=False)


def run(arguments: argparse.Namespace) -> Printed:
    """Measure, keep and print the figures; the page of the main job has none of them.

    Raises BenchmarkError in the end where something could not be measured; the rest is kept.
    """
    datasets = [_dataset(name) for name in arguments.sets.split(",")]
    own_mounts()
    reports: list[Report] = []
    with workplace() as (folder, mount_point), fuse_for_all():
        bench = _bench(arguments, folder, mount_point)
        for dataset in datasets:
            for report in bench.reports(dataset):
                reports.append(report)
                if not arguments.only:
                    save(report, arguments.results)
    print(forms_page.tables(reports))
    if arguments.page:
        arguments.page.write_text(forms_page.render(forms_page.kept(arguments.results)))
    if bench.failures:
        raise BenchmarkError("; ".join(bench.failures))
    return Printed((), {})


def _dataset(name: str) -> Dataset:
    dataset = DATASETS.get(name)
    if dataset is None or len(dataset.versions) < 2:
        raise BenchmarkError(f"there is no data set {name} of two versions; see --help")
    return dataset


def _bench(arguments: argparse.Namespace, folder: Path, mount_point: Path) -> "Bench":
    laboratory = furnish(
        folder,
        mount_point,
        cache=arguments.cache,
        holdall=None,
        contend=lambda _: (),
        runs=arguments.runs,
        patience=arguments.patience,
    )
    forms = lodgings(laboratory.subject)
    others = peers(laboratory.shop)
    if arguments.only:
        wanted = arguments.only.split(",")
        forms = tuple(way for way in forms if {way.name, way.form} & set(wanted))
        if unknown := set(wanted) - {word for way in forms for word in (way.name, way.form)}:
            raise BenchmarkError(f"no such form, or not there yet: {', '.join(sorted(unknown))}")
        others = tuple(way for way in others if way.name == TAR)
    ways = (*others, *forms)
    if missing := absent({program for way in ways for program in way.programs}):
        raise BenchmarkError(f"programs are missing: apt install {' '.join(missing)}")
    places = (folder / "views" / "old", folder / "views" / "new")
    for place in places:
        place.mkdir(parents=True)
    disks = {
        system: Disks(folder / "images", mount_point, DISK_SIZE, system) for system in (EXT4, BTRFS)
    }
    return Bench(laboratory, disks, places, ways, keep_bundles=arguments.keep_bundles)


@dataclass(frozen=True, slots=True)
class Bench:
    """All that a run of the command needs.

    ``failures`` are sentences; ``seen`` is what was observed last, by the name of the way.
    """

    laboratory: Laboratory
    disks: Mapping[str, Disks]
    places: tuple[Path, Path]
    ways: tuple[Way, ...]
    keep_bundles: bool
    failures: list[str] = field(default_factory=list)
    seen: dict[str, list[Figures]] = field(default_factory=dict)

    def reports(self, dataset: Dataset) -> Iterator[Report]:
        """Measure one data set."""
        say(f"lay out {dataset.name}")
        shop = self.laboratory.shop
        old, new = releases_of(dataset, self.laboratory.cache, shop / "sources")
        course = Course(self.laboratory, self.disks, old, new, self.places)
        ways = tuple(way for way in self.ways if self._stocked(way, course))
        yield self._report(course, "forms", self._lives(course, ways))
        guests = served(ways, TAR)
        if len(guests) > 1:
            yield self._report(course, "user", self._visits(course, guests))
        if any(way.name == COMPOSEFS for way in ways):
            yield self._report(course, "goals", self._goals(course, ways))
        self._clear(course)

    def _stocked(self, way: Way, course: Course) -> bool:
        """Whether both releases can be published that way."""
        try:
            for release in (course.old, course.new):
                stock(self.laboratory, way, release, keep=self.keep_bundles)
        except BenchmarkError as error:
            self._fail(way, course, error)
            return False
        return True

    def _clear(self, course: Course) -> None:
        """Free the memory that a data set takes."""
        for way in self.ways:
            for release in (course.old, course.new):
                made = way.published(release)
                if made.is_dir():
                    shutil.rmtree(made)
                made.unlink(missing_ok=True)
        for release in (course.old, course.new):
            shutil.rmtree(release.source)

    def _lives(self, course: Course, ways: Sequence[Way]) -> Iterator[Row]:
        """Every way through its life, a few times with the clock and once without."""
        timed = self._rounds(course, ways, course.timed, self.laboratory.runs)
        yield from rows_of(course.old.dataset, timed)
        self.seen.clear()
        rest = [way for way in ways if way.name in timed]
        self.seen.update(self._rounds(course, rest, course.observed, 1))
        yield from rows_of(course.old.dataset, self.seen)

    def _visits(self, course: Course, ways: Sequence[Way]) -> Iterator[Row]:
        found = self._rounds(course, ways, Guest(course).timed, self.laboratory.runs)
        yield from rows_of(course.old.dataset, found)

    def _goals(self, course: Course, ways: Sequence[Way]) -> Iterator[Row]:
        if found := self.seen.get(COMPOSEFS):
            yield from sharing(found[0], course.old, course.new)
        (way,) = (way for way in ways if way.name == COMPOSEFS)
        assert isinstance(way, Lodging)
        yield from metadata(course, replace(way, form="tree"))

    def _rounds(
        self,
        course: Course,
        ways: Sequence[Way],
        live: Callable[[Way], Figures],
        rounds: int,
    ) -> dict[str, list[Figures]]:
        """Go through the rounds in turn; a way that fails once is in none of them."""
        found: dict[str, list[Figures]] = {way.name: [] for way in ways}
        failed: set[str] = set()
        for way in interleaved(ways, rounds):
            if way.name not in failed:
                say(f"  {way.name}")
                try:
                    found[way.name].append(live(way))
                except BenchmarkError as error:
                    failed.add(way.name)
                    self._fail(way, course, error)
        return {name: figures for name, figures in found.items() if name not in failed}

    def _fail(self, way: Way, course: Course, error: BenchmarkError) -> None:
        self.failures.append(f"{way.name}, {course.old.dataset}: {error}")
        say(f"benchmarks: {self.failures[-1]}")

    def _report(self, course: Course, part: str, rows: Iterator[Row]) -> Report:
        dataset = course.old.dataset
        say(f"measure {part}: {dataset}")
        begun, before = machine.moment(), len(self.failures)
        measured = tuple(rows)
        about = machine.facts() | {"file system": _FILE_SYSTEM} | versions(_PACKAGES)
        times = {"begun": begun, "ended": machine.moment(), "runs": str(self.laboratory.runs)}
        lost = {"not measured": "; ".join(self.failures[before:])} if self.failures[before:] else {}
        return Report(part, dataset, about | times | lost, measured)


def rows_of(dataset: str, found: Mapping[str, Sequence[Mapping[str, float]]]) -> Iterator[Row]:
    """A row for each measure, with every way that has it; ratios are to tar's."""
    for key, (measure, unit, factor) in MEASURES.items():
        runs = {
            name: [one[key] * factor for one in figures]
            for name, figures in found.items()
            if figures and key in figures[0]
        }
        if runs:
            yield row(measure, dataset, unit, runs, baseline=TAR)


def versions(packages: Sequence[str]) -> dict[str, str]:
    """The versions of Debian packages."""
    found = {}
    for package in packages:
        argv = ["dpkg-query", "-W", "-f", "${Version}", package]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        found[package] = done.stdout.strip() or "unknown"
    return found
