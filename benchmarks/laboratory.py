"""Where measurements are made: it publishes releases, brings disks into a state, and times jobs."""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

from benchmarks.contenders import Contender
from benchmarks.data import Release
from benchmarks.disk import Disks
from benchmarks.errors import BenchmarkError
from benchmarks.measure import Footprint, Job, Runner, Sample, interleaved, wait_for_quiet
from benchmarks.peers import missing_packages
from benchmarks.subject import Holdall

Figure = TypeVar("Figure")
DISK_SIZE = 8 << 30


@dataclass(frozen=True, slots=True)
class Publication:
    """What making a release's network form cost, and its size in bytes."""

    sample: Sample
    footprint: Footprint
    size: int


@dataclass(frozen=True, slots=True)
class Trial:
    """A job to be timed, the image of the disk it starts from, and a look at what it made."""

    start: Path
    job: Callable[[Path], Job]
    check: Callable[[Path], None] = lambda _: None


@dataclass(frozen=True)
class Laboratory:
    """The rooms and tools of one run of the benchmarks."""

    runner: Runner
    disks: Disks
    shop: Path
    cache: Path
    subject: Holdall
    peers: tuple[Contender, ...]
    runs: int
    patience: float
    peers_only: bool = False
    _published: dict[Path, Publication] = field(default_factory=dict)

    @property
    def contenders(self) -> tuple[Contender, ...]:
        return self.peers if self.peers_only else (*self.peers, self.subject)

    def publication(self, contender: Contender, release: Release) -> Publication:
        """Publish a release the first time it is asked for."""
        path = contender.published(release)
        if path not in self._published:
            say(f"publish {release.name} with {contender.name}")
            kept = path.suffix == ".zst"
            make = self._archive if kept else self._publish
            self._published[path] = make(contender, release)
        return self._published[path]

    def withdraw(self, release: Release) -> None:
        """Free the memory that a release takes, published and as a tree."""
        for contender in self.contenders:
            path = contender.published(release)
            if self._published.pop(path, None):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.rmtree(release.source)

    def time(self, trials: Mapping[str, Trial]) -> dict[str, list[Sample]]:
        """Run the trials in turn, each on a disk of its own, as often as the run asks for."""
        return self._in_turn(trials, lambda job, _: self.runner.run(job))

    def time_until_still(self, trials: Mapping[str, Trial]) -> dict[str, list[float]]:
        """As ``time``, in seconds until the number of files on the disk changes no more."""

        def run(job: Job, root: Path) -> float:
            begun = time.perf_counter()
            self.runner.run(job)
            return last_change(root) - begun

        return self._in_turn(trials, run)

    def time_by_job(self, trials: Mapping[str, Trial]) -> dict[str, list[float]]:
        """As ``time``, for jobs of one command each, which print themselves what they took."""
        return self._in_turn(trials, lambda job, _: float(self.runner.output(*job)))

    def _in_turn(
        self, trials: Mapping[str, Trial], run: Callable[[Job, Path], Figure]
    ) -> dict[str, list[Figure]]:
        figures: dict[str, list[Figure]] = {name: [] for name in trials}
        for name in interleaved(tuple(trials), self.runs):
            trial = trials[name]
            with self.disks.copy(trial.start) as root:
                job = trial.job(root)
                wait_for_quiet(self.patience)
                figures[name].append(run(job, root))
                trial.check(root)
        return figures

    def footprints(self, trials: Mapping[str, Trial]) -> dict[str, Footprint]:
        """Run each trial once more, watching its memory."""
        found = {}
        for name, trial in trials.items():
            with self.disks.copy(trial.start) as root:
                found[name] = self.runner.observe(trial.job(root), interval=0.002)[1]
                trial.check(root)
        return found

    def _publish(self, contender: Contender, release: Release) -> Publication:
        wait_for_quiet(self.patience)
        sample, footprint = self.runner.observe(contender.publish(release), interval=0.05)
        return Publication(sample, footprint, _size(contender.published(release)))

    def _archive(self, tar: Contender, release: Release) -> Publication:
        """Publish with tar, or take what an earlier run made of the same files."""
        kept = self.cache / "archives" / f"{release.name}-{release.fingerprint}.tar.zst"
        costs = kept.with_suffix(".json")
        if not costs.exists():
            publication = self._publish(tar, release)
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(tar.published(release), kept)
            costs.write_text(json.dumps(asdict(publication)))
            return publication
        shutil.copyfile(kept, tar.published(release))
        known = json.loads(costs.read_text())
        return Publication(
            Sample(**known["sample"]), Footprint(**known["footprint"]), known["size"]
        )


def furnish(
    folder: Path,
    mount_point: Path,
    *,
    cache: Path,
    holdall: str | None,
    contend: Callable[[Path], tuple[Contender, ...]],
    runs: int,
    patience: float,
    peers_only: bool = False,
) -> Laboratory:
    """Set up a laboratory in a folder; ``contend`` returns holdall's peers, given the shop."""
    shop = folder / "shop"
    for needed in (shop, folder / "tmp"):
        needed.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
    }
    laboratory = Laboratory(
        runner=Runner(folder / "stderr", environment),
        disks=Disks(folder / "images", mount_point, DISK_SIZE),
        shop=shop,
        cache=cache,
        subject=Holdall(shop, holdall),
        peers=contend(shop),
        runs=runs,
        patience=patience,
        peers_only=peers_only,
    )
    if missing := missing_packages(laboratory.contenders):
        raise BenchmarkError(f"programs are missing: apt install {' '.join(missing)}")
    return laboratory


def last_change(root: Path, *, still: float = 0.3, interval: float = 0.005) -> float:
    """Wait until a disk has had the same number of files for a while; return when it got it."""
    changed, files = time.perf_counter(), os.statvfs(root).f_ffree
    while time.perf_counter() - changed < still:
        time.sleep(interval)
        if (now := os.statvfs(root).f_ffree) != files:
            changed, files = time.perf_counter(), now
    return changed


def say(text: str) -> None:
    """Tell whoever waits what is going on; standard output is for the table."""
    print(text, file=sys.stderr, flush=True)


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(file.lstat().st_size for file in files if file.is_file())
