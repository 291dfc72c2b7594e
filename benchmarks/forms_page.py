"""The page docs/benchmarks-forms.md: what every installed form costs, beside plain tools."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.forms_measures import CACHE, DISK, MEASURES, TIMES
from benchmarks.results import SUBJECT, Report, Row, load, moments
from benchmarks.table import aligned, limit, number, verdict

_ORDER = ("forms", "user", "goals")
_TIMES_OF = {"begun", "ended", "runs", "commit", "not measured"}
_HEAD = """\
# Benchmarks of the installed forms

Made by `python -m benchmarks forms --page PAGE`; do not edit."""
_METHOD = """\
How to read the tables. Each line is one way to have an app on disk. Each round gives every way a
fresh disk, in turn (A B C, B C A, …): the old version is installed, the new one beside it from its
full bundle, both are read, and both are removed. Between these steps the disk is unmounted and
mounted again, so that nothing of it is in the cache; all network forms lie on tmpfs. Figures are
medians; in brackets is the median of the ratios to tar's figure of the same round.

- **Ways.** `tar` is `tar --zstd -xf`, into a folder for each version. The *plain* ways begin with
  the same: `mksquashfs` and `mkfs.erofs` make an image of what it unpacked, compressed as
  `local-image` is, which `mount -o loop` mounts; a btrfs snapshot is brought to the new tree by
  `rsync --checksum --inplace` from one that lies unpacked in memory. ostree pulls from an archive
  repository, and checks out by hard links. None of them verifies a signature, and none waits for
  the disk. The others are holdall's forms, by its command line, as root: verified, and durable.
  *kernel* and *squashfuse* say who reads an image that the publisher made. The two ways called
  btrfs that need it lie on btrfs, by its own defaults; all else, and tar for all ratios, on ext4.
- **Times.** *remove* is of both versions: until the command returns, and until the number of free
  blocks changes no more and no process works on the disk. btrfs frees what was deleted up to half a
  minute later by itself; it is told to do so at once, and the time is what that takes. *mount* is a
  whole command; of btrfs in a file it mounts that file. *Cold* and *warm read* are the first and
  second reading of every file of the old version, in the order of their paths, by one Python
  process (`benchmarks/reading.py`).
- **Disk** is what the file system has given out more than for the empty store, by statvfs(2), of
  btrfs by `btrfs filesystem usage` (which counts metadata twice, as it keeps it). *All removed* is
  what is not given back, *then swept* the same after `holdall gc`.
- **Page cache** is what the whole machine holds more (`Cached` + `Buffers` - `Shmem` of
  /proc/meminfo) once both versions were read. It is taken this way since no question about a file
  is right for all forms: a FUSE server's file and the image below it both have pages, so do a loop
  device and its file, and what EROFS and btrfs keep beside files can be asked for by nobody. It
  includes file systems' own metadata, and what else the machine read in those seconds. *Growth* is
  the part that reading the second version added. *By cachestat* are the same two asked of inodes,
  each once, by cachestat(2): of all files on the disk and in the mounts, and of loop devices over
  them. That is exact, but blind for the rest.
- **Memory** is the most that all processes of the command held at any instant, a page that several
  map counted once, looked at every 10 ms in a round that is not timed. The server's is that of
  squashfuse or erofsfuse after every file of one version was read.

MB are millions of bytes."""
_USER = """\
Installed and read by an ordinary user, whose kernel mounts no images: squashfuse serves them, in
the app's own namespace, and holdall's are read inside the app's sandbox. /dev/fuse is open to all,
as on most machines. Ratios are to tar's, read by the same user."""
_GOALS = """\
Of composefs. A second version should add no more to the page cache than it changed: the growth is
by cachestat, of the pool's files, against the pages of the contents that the new version has and
the old one has not. All else is the metadata image, whose pages every version has for itself. The
image is made of the tree, in a process of its own; the time is that of the one call."""


def kept(folder: Path) -> list[Report]:
    """All that is kept, in the order of the page."""

    def place(report: Report) -> tuple[int, str]:
        return _ORDER.index(report.part), report.dataset

    return sorted((load(path) for path in folder.glob("*.json")), key=place)


def render(reports: Sequence[Report]) -> str:
    """Return the whole page."""
    if not reports:
        return f"{_HEAD}\n\nNothing has been measured yet.\n"
    judged = [row.met for report in reports for row in report.rows if row.target is not None]
    lines = [
        _HEAD,
        "",
        *facts(reports),
        "",
        _METHOD,
        "",
        tables(reports),
        "",
        f"Targets: {judged.count(True)} met, {judged.count(False)} missed.",
        "",
        "Measured (load: processes that wanted a processor, the harness's own included):",
        "",
        *(moment(report) for report in reports),
    ]
    return "\n".join(lines) + "\n"


def tables(reports: Sequence[Report]) -> str:
    """Return the parts with their tables."""
    parts = []
    for report in reports:
        if report.part == "forms":
            shown = "\n\n".join(_ways(report, keys) for keys in (TIMES, DISK, CACHE))
            parts.append(f"## {report.dataset}\n\n{shown}")
        elif report.part == "user":
            title = f"## {report.dataset}, as an ordinary user"
            parts.append(f"{title}\n\n{_USER}\n\n{_ways(report, TIMES)}")
    if goals := [report for report in reports if report.part == "goals"]:
        parts.append(f"## Goals\n\n{_GOALS}\n\n{_goals(goals)}")
    return "\n\n".join(parts)


def _ways(report: Report, keys: Sequence[str]) -> str:
    return of_ways(report, [MEASURES[key][0] for key in keys])


def of_ways(report: Report, measures: Sequence[str]) -> str:
    """A table of one line a way, one column for each of the measures that there are."""
    rows = {row.measure: row for row in report.rows}
    chosen = [rows[measure] for measure in measures if measure in rows]
    ways = dict.fromkeys(way for row in chosen for way in row.cells)
    lines = [["", *(row.measure for row in chosen)]]
    lines += [[way, *(_cell(row, way) for row in chosen)] for way in ways]
    return aligned(lines, (0,))


def _cell(row: Row, way: str) -> str:
    cell = row.cells.get(way)
    if cell is None:
        return "-"
    figure = number(cell.value, row.unit)
    return figure if cell.ratio is None or way == row.baseline else f"{figure} ({cell.ratio:.2f}x)"


def _goals(reports: Sequence[Report]) -> str:
    lines = [["measure", "data", SUBJECT, "target", "verdict"]]
    lines += [
        [
            row.measure,
            row.dataset,
            number(row.cells[SUBJECT].value, row.unit),
            limit(row.target, row.unit),
            verdict(row),
        ]
        for report in reports
        for row in report.rows
    ]
    return aligned(lines, (0, 1, 3, 4))


def facts(reports: Sequence[Report]) -> list[str]:
    """What the machine was; where reports differ, every answer."""
    facts: dict[str, dict[str, None]] = {}
    for report in reports:
        for name, fact in report.circumstances.items():
            facts.setdefault(name, {})[fact] = None
    skipped = {*_TIMES_OF, "flatpak", "casync", "bwrap"}
    return [f"- {name}: {' / '.join(told)}" for name, told in facts.items() if name not in skipped]


def moment(report: Report) -> str:
    """When a report was measured, and what of it could not be."""
    lost = report.circumstances.get("not measured")
    text = f"- {report.part}, {report.dataset}: {moments(report)}"
    return f"{text}; **not measured**: {lost}" if lost else text
