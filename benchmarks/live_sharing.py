"""What reading a second version adds to the page cache, where both are read from one pool."""

from pathlib import Path

from benchmarks.data import Release
from benchmarks.disk import Disks
from benchmarks.forms_rounds import Figures, files_below
from benchmarks.laboratory import Laboratory
from benchmarks.live_rounds import prepare
from benchmarks.live_ways import Stored, framed
from benchmarks.pagecache import own_pages


def grown(laboratory: Laboratory, disks: Disks, way: Stored, old: Release, new: Release) -> Figures:
    """By cachestat, in bytes: of the pool's files, and of all on the disk."""
    image = disks.blank("sharing")
    try:
        with disks.remounted(image) as root:
            prepare(laboratory, root, [way])
            jobs = [
                way.command(root, "install", "--form", way.forms[0], framed(laboratory.shop, old)),
                way.command(root, "update", framed(laboratory.shop, new)),
                way.command(root, "convert", "--form", way.forms[-1], "--all", old.app_id),
            ]
            laboratory.runner.run(tuple(jobs))
        with disks.remounted(image) as root:
            _read(laboratory, way, root, old)
            before = _cached(way, root)
            _read(laboratory, way, root, new)
            after = _cached(way, root)
    finally:
        image.unlink()
    return {"content pages more": after[0] - before[0], "pages more": after[1] - before[1]}


def _read(laboratory: Laboratory, way: Stored, root: Path, release: Release) -> None:
    reader = way.version(root, release, ("--version", release.version))
    paths = list(release.contents)
    with laboratory.runner.conversation(reader) as ask:
        ask({"step": "whole", "paths": paths})


def _cached(way: Stored, root: Path) -> tuple[int, int]:
    return own_pages(files_below(way.store(root) / "pool")), own_pages(files_below(root))
