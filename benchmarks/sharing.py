"""The part sharing: what two versions of an app take, on disk and in the page cache."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import Contender, Verb
from benchmarks.data import directory_bytes, unique_bytes
from benchmarks.deployment import MEGABYTE
from benchmarks.laboratory import say
from benchmarks.measure import wait_for_quiet
from benchmarks.pagecache import cached_bytes
from benchmarks.results import Row, Target, Unit, row
from benchmarks.stage import Stage

_ALMOST_NOTHING_MORE = Target(1.02)


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Bytes: taken from the file system, by files, and of cache once both versions were read."""

    taken: int
    allocated: int
    cached: int


def sharing(stage: Stage) -> Iterator[Row]:
    """Old and new release installed together, against their different contents in whole blocks."""
    able = [one for one in stage.laboratory.contenders if one.name != "plain"]
    found = {contender.name: _occupancy(stage, contender) for contender in able}
    unique = unique_bytes(stage.old, stage.new)
    folders = directory_bytes(stage.old, stage.new)
    contents = f"unique contents, {unique / MEGABYTE:,.1f} MB"
    with_folders = f"contents + directories, {(unique + folders) / MEGABYTE:,.1f} MB"
    measures = (
        ("two versions, file system used", "taken", contents, unique),
        ("two versions, file system used", "taken", with_folders, unique + folders),
        ("two versions, blocks of files", "allocated", contents, unique),
        ("two versions, page cache", "cached", contents, unique),
    )
    for measure, attribute, baseline, reference in measures:
        runs = {name: [getattr(one, attribute) / MEGABYTE] for name, one in found.items()}
        yield row(
            measure,
            stage.dataset,
            Unit.MEGABYTES,
            runs,
            baseline=baseline,
            reference=[reference / MEGABYTE],
            target=_ALMOST_NOTHING_MORE,
            notes={"tar": "copies"},
        )


def _occupancy(stage: Stage, contender: Contender) -> Occupancy:
    laboratory, old, new = stage.laboratory, stage.old, stage.new
    say(f"two versions side by side: {stage.dataset}, {contender.name}")
    for release in (old, new):
        laboratory.publication(contender, release)
    run = laboratory.runner.run
    taken = allocated = 0

    def fill(root: Path) -> None:
        nonlocal taken, allocated
        run(contender.plan(Verb.PREPARE, old, root))
        taken, allocated = _used(root), _allocated(_files(root))
        for verb, release in (
            (Verb.OFFER, old),
            (Verb.INSTALL, old),
            (Verb.OFFER, new),
            (Verb.ADD, new),
        ):
            run(contender.plan(verb, release, root))

    image = laboratory.disks.image("two-versions", fill)
    try:
        with laboratory.disks.remounted(image) as root:
            wait_for_quiet(laboratory.patience)
            taken = _used(root) - taken
            allocated = _allocated(_files(root)) - allocated
            deployed = [file for tree in contender.trees(root) for file in _files(tree)]
            for file in deployed:
                _read(file)
            return Occupancy(taken, allocated, cached_bytes(deployed))
    finally:
        image.unlink()


def _used(root: Path) -> int:
    os.sync()
    system = os.statvfs(root)
    return (system.f_blocks - system.f_bfree) * system.f_frsize


def _allocated(files: Iterable[Path]) -> int:
    inodes = {file.lstat().st_ino: file.lstat().st_blocks * 512 for file in files}
    return sum(inodes.values())


def _files(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        yield from (path for name in names if not (path := Path(folder, name)).is_symlink())


def _read(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 20):
            pass
