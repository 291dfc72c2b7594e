"""The command live: apps read out of their bundles, beside folders, images, and a pool."""

import argparse
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from benchmarks import forms, live_page, machine
from benchmarks.data import DATASETS, Dataset, Release, releases_of
from benchmarks.disk import Disks, own_mounts, workplace
from benchmarks.errors import BenchmarkError
from benchmarks.forms_goals import sharing
from benchmarks.forms_rounds import Figures
from benchmarks.forms_stock import have_key, place
from benchmarks.forms_user import fuse_for_all
from benchmarks.laboratory import DISK_SIZE, Laboratory, furnish, say
from benchmarks.live_checks import checking, sizes
from benchmarks.live_measures import LIBRARIES, MEASURES, NAMES, visits
from benchmarks.live_rounds import Gallery, large_files, with_speeds
from benchmarks.live_sharing import grown
from benchmarks.live_ways import EXT4, FRAME, POOLED, Stored, Way, framed, ways
from benchmarks.measure import Command, interleaved
from benchmarks.page import Figures as Printed
from benchmarks.peers import absent
from benchmarks.results import Report, Row, row, save

_RESULTS = Path(__file__).parent / "results/live"
_SHARINGS = 3  # a kernel that reclaims memory on its own takes some pages away at times
_PACKAGES = ("squashfs-tools", "squashfuse", "erofsfuse")
_FILE_SYSTEM = "ext4 with a journal, in a loop file on tmpfs, mounted afresh for every reading"
# PySide6's libraries with what they cannot be imported without.
_QT = Dataset(LIBRARIES, ("6.8.1",), "PySide6_Essentials", with_dependencies=True)


def describe(command: argparse.ArgumentParser, cache: Path) -> None:
    """Add the options of the command."""
    command.add_argument("--rounds", type=int, default=5, help="timed rounds (%(default)s)")
    command.add_argument(
        "--only", metavar="WAY[,WAY]", help=f"these ways beside {EXT4}; nothing is kept"
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
        "--patience", type=float, default=1, help="seconds to wait for quiet a step"
    )
    command.set_defaults(write=None, quick=False)


def run(arguments: argparse.Namespace) -> Printed:
    """Measure, keep and print the figures; the page of the main job has none of them.

    Raises BenchmarkError in the end where something could not be measured; the rest is kept.
    """
    own_mounts()
    reports: list[Report] = []
    with workplace() as (folder, mount_point), fuse_for_all():
        laboratory = furnish(
            folder,
            mount_point,
            cache=arguments.cache,
            holdall=None,
            contend=lambda _: (),
            runs=arguments.rounds,
            patience=arguments.patience,
        )
        bench = Bench(laboratory, folder, mount_point, _chosen(arguments, laboratory))
        bench.lay_out(keep=arguments.keep_bundles)
        for report in bench.reports():
            reports.append(report)
            if not arguments.only:
                save(report, arguments.results)
    print(live_page.tables(reports))
    if arguments.page:
        kept = reports if arguments.only else live_page.kept(arguments.results)
        arguments.page.write_text(live_page.render(kept))
    if bench.failures:
        raise BenchmarkError("; ".join(bench.failures))
    return Printed((), {})


def _chosen(arguments: argparse.Namespace, laboratory: Laboratory) -> tuple[Way, ...]:
    found = ways(laboratory.subject)
    if arguments.only:
        wanted = {EXT4, *arguments.only.split(",")}
        if unknown := wanted - {way.name for way in found}:
            raise BenchmarkError(f"no such way: {', '.join(sorted(unknown))}")
        found = tuple(way for way in found if way.name in wanted)
    if missing := absent({program for way in found for program in way.programs}):
        raise BenchmarkError(f"programs are missing: apt install {' '.join(missing)}")
    return found


@dataclass(frozen=True, slots=True)
class Bench:
    """All that a run of the command needs; ``failures`` are sentences."""

    laboratory: Laboratory
    folder: Path
    mount_point: Path
    ways: tuple[Way, ...]
    releases: dict[str, tuple[Release, ...]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def lay_out(self, *, keep: bool) -> None:
        """Have the releases as trees, and their bundles and archives in the shop."""
        laboratory = self.laboratory
        for dataset in (DATASETS[NAMES], _QT):
            say(f"lay out {dataset.name}")
            sources = laboratory.shop / "sources"
            found = tuple(releases_of(dataset, laboratory.cache, sources))
            self.releases[dataset.name] = found
            for release in found:
                self.publish(release, keep=keep)
        # the user's Python keeps there what it compiled of holdall
        compiled = self.folder / "compiled"
        compiled.mkdir(exist_ok=True)
        compiled.chmod(0o777)

    def reports(self) -> Iterator[Report]:
        """Measure it all."""
        yield from self._readings()
        for name, (release, *_) in self.releases.items():
            yield self._report("checking", name, checking(self.laboratory, release))
        if any(way.name == POOLED for way in self.ways) and not self._lost(POOLED):
            yield self._report("sharing", NAMES, self._sharing())
        yield self._report("sizes", NAMES, sizes(self.laboratory, self._first().values()))

    def publish(self, release: Release, *, keep: bool) -> None:
        """Have the bundle of a release in the shop; to ``keep`` is to take kept ones, too."""
        laboratory, made = self.laboratory, framed(self.laboratory.shop, release)
        have_key(laboratory, keep=keep)
        kept = place(laboratory.cache, release, made)
        assert kept is not None
        if keep and kept.exists():
            shutil.copyfile(kept, made)
            return
        say(f"build {made.name}")
        build = laboratory.subject.build(release)
        argv = [*build.argv, "--frame-size", FRAME]
        argv[argv.index("-o") + 1] = str(made)
        laboratory.runner.run((Command(tuple(argv), build.environment),))
        if keep:
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made, kept)

    def _readings(self) -> Iterator[Report]:
        place = self.folder / "view"
        place.mkdir()
        gallery = Gallery(self.laboratory, self._disks(), self._first(), place)
        image, there, lost = gallery.image(self.ways)
        self.failures.extend(lost)
        present = [way for way in self.ways if way.name in there]
        for name in self.releases:
            yield self._report("readings", name, self._read(gallery, image, present, name))
        image.unlink()

    def _read(
        self, gallery: Gallery, image: Path, present: Sequence[Way], dataset: str
    ) -> Iterator[Row]:
        yield from rows_of(dataset, self._rounds(gallery, image, present, dataset))

    def _rounds(
        self, gallery: Gallery, image: Path, present: Sequence[Way], dataset: str
    ) -> dict[str, list[Figures]]:
        """Every visit as often as told, each way in turn."""
        release = gallery.releases[dataset]
        large = large_files(release)
        found: dict[str, list[Figures]] = {way.name: [] for way in present}

        for visit in visits(large, max(large, key=lambda path: release.contents[path][1])):
            if visit.dataset != dataset:
                continue
            say(f"measure {dataset}: {visit.cold}")
            for way in interleaved(present, self.laboratory.runs * visit.often):
                with self._noting(way):
                    figures = gallery.visit(image, way, visit)
                    found[way.name].append(with_speeds(figures, release, large))
        if dataset == NAMES:
            say(f"measure {dataset}: start")
            for way in interleaved(present, self.laboratory.runs):
                with self._noting(way):
                    found[way.name].append(gallery.start(image, way))
        return found

    def _sharing(self) -> Iterator[Row]:
        (way,) = (way for way in self.ways if isinstance(way, Stored) and way.name == POOLED)
        old, new = self.releases[NAMES]
        found = [grown(self.laboratory, self._disks(), way, old, new) for _ in range(_SHARINGS)]
        yield from sharing({key: median(one[key] for one in found) for key in found[0]}, old, new)

    @contextmanager
    def _noting(self, way: Way) -> Iterator[None]:
        """Go on where something cannot be measured; it is told in the end."""
        try:
            yield
        except BenchmarkError as error:
            self.failures.append(f"{way.name}: {error}")
            say(f"benchmarks: {self.failures[-1]}")

    def _lost(self, name: str) -> bool:
        return any(one.startswith(f"{name}: ") for one in self.failures)

    def _first(self) -> dict[str, Release]:
        return {name: found[0] for name, found in self.releases.items()}

    def _disks(self) -> Disks:
        return Disks(self.folder / "images", self.mount_point, DISK_SIZE)

    def _report(self, part: str, dataset: str, rows: Iterator[Row]) -> Report:
        say(f"measure {part}: {dataset}")
        begun, before = machine.moment(), len(self.failures)
        measured = tuple(rows)
        about = machine.facts() | {"file system": _FILE_SYSTEM} | forms.versions(_PACKAGES)
        times = {"begun": begun, "ended": machine.moment(), "runs": str(self.laboratory.runs)}
        lost = {"not measured": "; ".join(self.failures[before:])} if self.failures[before:] else {}
        return Report(part, dataset, about | times | lost, measured)


def rows_of(dataset: str, found: Mapping[str, Sequence[Figures]]) -> Iterator[Row]:
    """A row for each measure, with every way that has a figure in each round; ratios to ext4's."""
    for key, (measure, unit, factor) in MEASURES.items():
        runs = {
            name: [one[key] * factor for one in figures if key in one]
            for name, figures in found.items()
        }
        most = max(map(len, runs.values()), default=0)
        whole = {name: values for name, values in runs.items() if most and len(values) == most}
        if whole:
            yield row(measure, dataset, unit, whole, baseline=EXT4)
