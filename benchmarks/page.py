"""The page docs/benchmarks.md: the circumstances, how it is measured, and the tables."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import increment_page, sizes
from benchmarks.results import BUILT, INCREMENT, Report, load, moments
from benchmarks.table import markdown

PARTS = ("install", "update", "remove", "verify", "start-up", "build", "sharing")

_METHOD = """\
How to read the table. Every time is the median of runs that took turns (A B C, B C A, …), each on a
disk of its own: a journalled ext4 in a loop file on tmpfs, fresh or a copy of a prepared image,
mounted for that run. A figure in brackets is the median of the ratios to the baseline's run of the
same round; *ratio to* names the baseline. Network forms lie on tmpfs. The baseline is
`tar --zstd -xf` of an archive by `zstd -19 --long=27`: it checks nothing and waits for no disk.

- **plain** is what one types without an installer: tar and `sync -f`, `rm -rf`, `sha256sum`.
- **holdall** is the command line: what it installs is verified, and durable when it returns.
- **ostree** pulls from an archive repository into a bare-user-only one, comparing checksums, and
  checks out by hard links. **flatpak** is `--user`, from an unsigned repository by a `file:` URL.
  Its two versions are two branches, since its update takes the old one away. They verify by
  `ostree fsck` and `flatpak repair --dry-run`.
- **casync** extracts from a chunk store; an update has the old tree as its seed. Not durable.
- Peak memory of the *largest process* is the kernel's own maximum. *All processes* is the sum over
  the process tree, sampled every 2 ms, and counts a page once for each process that maps it.
  MB are millions of bytes.
- *Contents* of two versions are their different files, each once, in blocks of 4 KiB.
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """All that was measured: reports, and what the peers' updates take."""

    reports: tuple[Report, ...]
    sizes: sizes.Kept

    @property
    def job(self) -> tuple[Report, ...]:
        return tuple(report for report in self.reports if report.part != INCREMENT)

    @property
    def increments(self) -> tuple[Report, ...]:
        return tuple(report for report in self.reports if report.part == INCREMENT)


def render(figures: Figures) -> str:
    """Return the whole page."""
    lines = [
        "# Benchmarks",
        "",
        "Made by `python -m benchmarks main-job --write docs/benchmarks.md`; do not edit.",
        "",
        "What repositories cost is on [a page of its own](benchmarks-repositories.md), and what",
        "every [installed form](benchmarks-forms.md) costs on another, as is what it costs to read",
        "an app out of its bundle: [live](benchmarks-live.md).",
        "",
        *_facts(figures.reports),
        "",
        _METHOD,
        markdown(figures.job),
        "",
        *increment_page.section(figures.increments, figures.sizes),
        *_summary(figures.reports),
        "",
        *_moments(figures.reports),
    ]
    return "\n".join(lines) + "\n"


def tables(figures: Figures) -> str:
    """Return the tables alone."""
    found = [markdown(figures.job)] if figures.job else []
    if figures.increments or figures.sizes:
        found.append(increment_page.tables(figures.increments, figures.sizes))
    return "\n\n".join(found)


def kept(folder: Path) -> Figures:
    """Return all that is kept, the reports in the order of the page."""

    def place(report: Report) -> tuple[int, str]:
        return (*PARTS, INCREMENT).index(report.part), report.dataset

    reports = [load(path) for path in sorted(folder.glob("*.json"))]
    return Figures(tuple(sorted(reports, key=place)), sizes.load(folder))


def _facts(reports: Sequence[Report]) -> list[str]:
    """What the machine was; where reports differ, every answer."""
    facts: dict[str, dict[str, None]] = {}
    for report in reports:
        for name, fact in report.circumstances.items():
            facts.setdefault(name, {})[fact] = None
    times = {"begun", "ended", "runs", "commit", BUILT}
    return [f"- {name}: {' / '.join(told)}" for name, told in facts.items() if name not in times]


def _summary(reports: Sequence[Report]) -> list[str]:
    judged = [row.met for report in reports for row in report.rows if row.target is not None]
    met, missed = judged.count(True), judged.count(False)
    return [f"Targets: {met} met, {missed} missed, {judged.count(None)} not measured."]


def _moments(reports: Sequence[Report]) -> list[str]:
    lines = ["Measured (load: processes that wanted a processor, the harness's own included):", ""]
    for report in reports:
        built = report.circumstances.get(BUILT)
        earlier = f"; made and weighed before: {built}" if built else ""
        lines.append(f"- {report.part}, {report.dataset}: {moments(report)}{earlier}")
    return lines
