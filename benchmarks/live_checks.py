"""What checking costs, by frames or by leaves; and what bundles take more for short frames."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from benchmarks.data import Release
from benchmarks.deployment import MEGABYTE
from benchmarks.forms_stock import place
from benchmarks.laboratory import Laboratory, say
from benchmarks.live_ways import framed
from benchmarks.measure import Command, interleaved, wait_for_quiet
from benchmarks.peers import Tar
from benchmarks.results import SUBJECT, Row, Target, Unit, row

FRAME, LEAF, NONE = "each frame", "each 4 KiB", "nothing"
_WAYS = {NONE: "none", FRAME: "frame", LEAF: "leaf"}
SOLID = "zstd -19 --long=27"
_LARGEST = 1.25


def checking(laboratory: Laboratory, release: Release) -> Iterator[Row]:
    """The same contents decoded and checked in each way, by a process that has them read."""
    bundle = framed(laboratory.shop, release)
    program = Path(__file__).with_name("live_checking.py")
    environment = dict(laboratory.subject.command(bundle, "list").environment)
    runs: dict[str, list[list[float]]] = {name: [] for name in _WAYS}
    for name in interleaved(tuple(_WAYS), laboratory.runs):
        wait_for_quiet(laboratory.patience)
        command = Command.of(sys.executable, "-P", program, bundle, _WAYS[name])
        words = laboratory.runner.output(command.within(environment)).split()
        runs[name].append([float(word) for word in words])
    yield from checking_rows(release.dataset, runs, bundle.stat().st_size)


def checking_rows(dataset: str, runs: dict[str, list[list[float]]], bundle: int) -> Iterator[Row]:
    """Rows of what was printed: bytes, seconds, processor time, seconds a page, leaves' bytes."""
    speed = {name: [one[0] / one[1] / MEGABYTE for one in found] for name, found in runs.items()}
    spent = {name: [one[2] * 1000 for one in found] for name, found in runs.items()}
    page = {name: [one[3] * 1_000_000 for one in found] for name, found in runs.items()}
    more = {
        FRAME: [0.0],
        LEAF: [one[4] / bundle * 100 for one in runs[LEAF]][:1],
        NONE: [0.0],
    }
    for measure, unit, figures in (
        ("all contents", Unit.SPEED, speed),
        ("processor time of that", Unit.MILLISECONDS, spent),
        ("4 KiB at random, each", Unit.MICROSECONDS, page),
    ):
        yield row(measure, dataset, unit, figures, baseline=FRAME)
    yield row("the bundle would grow by", dataset, Unit.PERCENT, more, baseline="")


def sizes(laboratory: Laboratory, releases: Iterable[Release]) -> Iterator[Row]:
    """The bundle beside one solid archive of the same files."""
    for release in releases:
        tar = Tar(laboratory.shop)
        kept = place(laboratory.cache, release, tar.published(release))
        assert kept is not None
        if not kept.exists():
            say(f"archive {release.name}")
            kept.parent.mkdir(parents=True, exist_ok=True)
            laboratory.runner.run(Tar(kept.parent).publish(release))
            Tar(kept.parent).published(release).rename(kept)
        runs = {
            SOLID: [kept.stat().st_size / MEGABYTE],
            SUBJECT: [framed(laboratory.shop, release).stat().st_size / MEGABYTE],
        }
        target = Target(_LARGEST)
        measure = "size of the bundle"
        yield row(measure, release.dataset, Unit.MEGABYTES, runs, baseline=SOLID, target=target)
