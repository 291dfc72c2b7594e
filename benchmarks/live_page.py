"""The page docs/benchmarks-live.md: apps read out of their bundles, beside folders and images."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.forms_page import facts, moment, of_ways
from benchmarks.live_measures import LIBRARIES, MEASURES, NAMES, Judged, judged
from benchmarks.live_ways import EROFSFUSE
from benchmarks.results import SUBJECT, Report, Row, load
from benchmarks.table import aligned, limit, number, verdict

_ORDER = ("readings", "checking", "sharing", "sizes")
_HEAD = """\
# Benchmarks of live

Made by `python -m benchmarks live --page PAGE`; do not edit."""
_METHOD = """\
How to read the tables. Each line is one way to have an app's files read by an ordinary user, who
is nobody's: a number without an account. All ways lie on one disk. It is unmounted and mounted
again before every reading, so that nothing of it is in the cache, but programs of the system are.
Each figure is measured in turn (A B C, B C A, …); figures are medians, and in brackets is the
median of the ratios to ext4's figure of the same round.

- **Ways.** *ext4* is the form `tree`: a folder. *live* is the form of that name, from a bundle in
  frames of 640K. *live over pool* is the same where the version lay in the store's pool before:
  names are live's, contents are read from the pool by an overlay. These three are holdall's,
  installed by the user, and read in the app's sandbox, by `holdall run`. *kernel squashfs* is an
  image (zstd, blocks of 128K) that root mounts by a loop device; *squashfuse*, *squashfuse_ll* and
  *erofsfuse* serve an image to all users, started by root."""
_WITHOUT = " erofsfuse was not to be had (Debian 12 does not have it), so it has no line."
_READINGS = """\
- **Readings.** *find* lists all names of ansible, by the program of that name. *10k small files*
  are the first 10,000 of ansible, found folder by folder in the order of names and read one after
  another by one Python process (`benchmarks/live_reader.py`), finding included. *Sequential* are
  all files of PySide6 of a MiB or more, from end to end in pieces of a MiB; *4 KiB at random* are
  1000 pages of the largest of them. These two, and *import*, are measured in four times as many
  rounds: whether a processor sleeps that the disk's kernel thread is to run on makes each of them
  one of two figures, for ext4 some 2 or 5 GB/s and 12 or 46 µs, whichever way is read. *Import* is
  `python3 -c 'import PySide6.QtWidgets'` as a whole process, from an app whose start is known from
  the time before, as live remembers what an app reads first; *never started* is the first time.
  *Warm* is the median of three more times. The page cache then has all of it: of what came through
  FUSE in single pages of 4 KiB, of what ext4 read in larger pieces, which the kernel copies out
  faster.
- **Mount** is until the app's top folder was listed, in a process as `holdall run` is, with what
  that has to import for it; of images it is the whole command. *Start* is all of `holdall run`
  with a program that does nothing.
- **Server** is the process that answers for the mount, observed once the 10,000 files, or the large
  ones, were read cold and warm: the most memory it ever had, its share where pages are mapped by
  several, and the processor time that the cold reading took of it.

MB are millions of bytes."""
_CHECKING = """\
Whether each compressed frame is compared with the signed index before it is decoded, or each 4 KiB
of what is served with a leaf of its content's Merkle tree after that. Measured on the bundle's
contents, read by one process that also has live's second thread (`benchmarks/live_checking.py`),
without any kernel between; ratios are to *each frame*.

holdall checks frames. A frame is checked once for all that is read of it, and its compressed bytes
are fewer than those that are served, so it costs less; the leaves would have to be in the bundle,
where nothing compresses them; and who checks leaves has given bytes to a decoder before anybody
vouched for them. At random, decoding a whole
frame is what a read costs, whichever way it is checked: so the frames are kept short."""
_SHARING = """\
Two versions that lie in one pool, both read through live, one after the other. The second should
add no more to the page cache than it changed: growth is by cachestat(2), of the pool's files, and
the median of three times."""
_SIZES = """\
What short frames cost a download: the bundle beside one solid archive of the same files, made by
`zstd -19 --long=27`."""
_GOALS = """\
Ratios are medians of those of the same round."""
TABLES = {
    NAMES: (
        ("find", "find again", "find -ls", "find -ls again"),
        ("small", "small again", "mount", "run"),
        ("memory", "share", "small time"),
    ),
    LIBRARIES: (
        ("whole", "whole again", "pages"),
        ("import first", "import", "import again"),
        ("memory", "share", "whole time"),
    ),
}
_TITLES = {NAMES: "ansible: many small files", LIBRARIES: "PySide6: large files"}


def kept(folder: Path) -> list[Report]:
    """All that is kept, in the order of the page."""

    def place(report: Report) -> tuple[int, int]:
        return _ORDER.index(report.part), list(_TITLES).index(report.dataset)

    return sorted((load(path) for path in folder.glob("*.json")), key=place)


def render(reports: Sequence[Report]) -> str:
    """Return the whole page."""
    if not reports:
        return f"{_HEAD}\n\nNothing has been measured yet.\n"
    measured = {way for report in reports for row in report.rows for way in row.cells}
    method = _METHOD if EROFSFUSE in measured else _METHOD + _WITHOUT
    lines = [
        _HEAD,
        "",
        *facts(reports),
        "",
        f"{method}\n{_READINGS}",
        "",
        tables(reports),
        "",
        "Measured (load: processes that wanted a processor, the harness's own included):",
        "",
        *(moment(report) for report in reports),
    ]
    return "\n".join(lines) + "\n"


def tables(reports: Sequence[Report]) -> str:
    """Return the goals, then the parts with their tables."""
    rows = [row for report in reports for row in report.rows]
    parts = [f"## Goals\n\n{_GOALS}\n\n{_goals(judged(rows), rows)}"]
    for report in reports:
        if report.part == "readings":
            shown = [
                of_ways(report, [MEASURES[key][0] for key in keys])
                for keys in TABLES[report.dataset]
            ]
            parts.append(f"## {_TITLES[report.dataset]}\n\n" + "\n\n".join(shown))
    if checked := [report for report in reports if report.part == "checking"]:
        shown = [
            f"{_TITLES[report.dataset]}:\n\n{of_ways(report, [row.measure for row in report.rows])}"
            for report in checked
        ]
        parts.append(f"## Checking frames, or leaves\n\n{_CHECKING}\n\n" + "\n\n".join(shown))
    for part, title, words in (
        ("sharing", "Sharing the page cache", _SHARING),
        ("sizes", "Size of the bundle", _SIZES),
    ):
        if found := [row for report in reports if report.part == part for row in report.rows]:
            parts.append(f"## {title}\n\n{words}\n\n{_figures(found)}")
    return "\n\n".join(parts)


def _goals(found: Sequence[Judged], rows: Sequence[Row]) -> str:
    lines = [["", "data", "way", "measured", "against", "ratio", "goal", "verdict"]]
    for one in found:
        goal, sign = one.goal, "≥" if one.goal.least else "≤"
        wanted = f"{goal.limit:g}x" if goal.against else f"{goal.limit:g} {one.unit.value}"
        lines.append(
            [
                *(MEASURES[goal.measure][0], goal.dataset, goal.way),
                *(number(one.value, one.unit), goal.against),
                *("" if one.ratio is None else f"{one.ratio:.2f}x", f"{sign} {wanted}"),
                one.verdict,
            ]
        )
    for row in rows:
        if row.target is None or (cell := row.cells.get(SUBJECT)) is None:
            continue
        against, ratio = ("", "") if cell.ratio is None else (row.baseline, f"{cell.ratio:.2f}x")
        lines.append(
            [
                *(row.measure, row.dataset, "", number(cell.value, row.unit), against, ratio),
                *(limit(row.target, row.unit), verdict(row)),
            ]
        )
    return aligned(lines, (0, 1, 2, 4, 6, 7))


def _figures(rows: Sequence[Row]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row.cells))
    lines = [["", "data", *names]]
    for row in rows:
        found = [row.cells.get(name) for name in names]
        told = [number(one.value, row.unit) if one else "-" for one in found]
        lines.append([row.measure, row.dataset, *told])
    return aligned(lines, (0, 1))
