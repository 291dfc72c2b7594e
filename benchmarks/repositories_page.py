"""The page docs/benchmarks-repositories.md: what repositories cost, and how that grows."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.results import SUBJECT, Report, Row, load, moments
from benchmarks.table import aligned, limit, number, verdict

_ORDER = ("growth", "wire", "crowd")
FACTS = ("system", "kernel", "processor", "memory", "file system", "python", "zstd")
_GROWTH = """\
Repositories of apps with five versions and four increments each. Ten apps are real, and installed
by the client; of the others only the offers are. Every command is a process of its own, as a person
starts it, and what it prints is JSON. nginx serves on loopback; bytes are from its log, both ways
with the heads of HTTP. *Publish all* signs all of it at once, and *one changed app* is the newest
version of a real one, over what is published (median of 3). `search` is timed within an hour of
its last look (median of 9), and then asks for nothing."""
_WIRE = """\
An update of a big app, with the bundles and the increment of the [benchmarks](benchmarks.md).
*Bodies* are those of all answers, metadata too; the plan, which `--dry-run` prints, is of content
files alone. *On the wire* adds the requests and the heads. What the new contents weigh compressed
is no single number, since a content is compressed together with its neighbours: the target is told
for each way to weigh them. Without an increment, frames are fetched whole, with what an old version
has of them, too: what is fetched is the frames that have new contents, and the heads."""
_CROWD = """\
All clients are started at once, each a process with a store of its own that has three apps of an
older publication, and the publisher goes on publishing newer versions of all three until the last
client has ended; to come to it, it has a higher priority than they have (nice 10). A store is of
one published state where every app has the same version, one that was published, and the one that
the client said it has. Loopback, server, publisher and clients share the machine's cores."""


def kept(folder: Path) -> list[Report]:
    """All that is kept, in the order of the page."""

    def place(report: Report) -> tuple[int, int, str]:
        size, _, _ = report.dataset.partition("-")
        return _ORDER.index(report.part), int(size) if size.isdigit() else 0, report.dataset

    return sorted((load(path) for path in folder.glob("*.json")), key=place)


def render(reports: Sequence[Report]) -> str:
    """Return the whole page."""
    judged = [row.met for report in reports for row in report.rows if row.target is not None]
    lines = [
        "# Benchmarks of repositories",
        "",
        "Made by `python -m benchmarks repositories --page PAGE`; do not edit.",
        "",
        *_facts(reports),
        "",
        tables(reports),
        "",
        f"Targets: {judged.count(True)} met, {judged.count(False)} missed.",
        "",
        "Measured (load: processes that wanted a processor, the harness's own included):",
        "",
        *(f"- {report.part}, {report.dataset}: {moments(report)}" for report in reports),
    ]
    return "\n".join(lines) + "\n"


def tables(reports: Sequence[Report]) -> str:
    """Return the parts with their tables."""
    parts = []
    for part, title, words in (
        ("growth", "What grows with the apps", _GROWTH),
        ("wire", "Bytes on the wire", _WIRE),
        ("crowd", "Many clients at once", _CROWD),
    ):
        if chosen := [report for report in reports if report.part == part]:
            parts.append(f"## {title}\n\n{words}\n\n{_table(chosen)}")
    return "\n\n".join(parts)


def _table(reports: Sequence[Report]) -> str:
    """One line a measure, one column a report; the verdict is over all columns."""
    columns = [{row.measure: row for row in report.rows} for report in reports]
    measures = dict.fromkeys(row.measure for report in reports for row in report.rows)
    heads = [report.rows[0].dataset for report in reports]
    lines = [["measure", *heads, "target", "verdict"]]
    for measure in measures:
        rows = [column.get(measure) for column in columns]
        known = [row for row in rows if row]
        lines.append(
            [
                measure,
                *(number(row.cells[SUBJECT].value, row.unit) if row else "-" for row in rows),
                limit(known[0].target, known[0].unit),
                _verdict(known),
            ]
        )
    return aligned(lines, (0, len(heads) + 1, len(heads) + 2))


def _verdict(rows: Sequence[Row]) -> str:
    verdicts = dict.fromkeys(verdict(row) for row in rows)
    return " / ".join(verdicts)


def _facts(reports: Sequence[Report]) -> list[str]:
    """What the machine was; where reports differ, every answer."""
    facts: dict[str, dict[str, None]] = {}
    for report in reports:
        for name in FACTS:
            facts.setdefault(name, {})[report.circumstances[name]] = None
    return [f"- {name}: {' / '.join(told)}" for name, told in facts.items()]
