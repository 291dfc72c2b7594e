"""The page docs/benchmarks.md: the circumstances, how it is measured, and the one table."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.results import Report, load
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


def render(reports: Sequence[Report]) -> str:
    """Return the whole page."""
    lines = [
        "# Benchmarks",
        "",
        "Made by `python -m benchmarks main-job --write docs/benchmarks.md`; do not edit.",
        "",
        *_facts(reports),
        "",
        _METHOD,
        markdown(reports),
        "",
        *_summary(reports),
        "",
        *_moments(reports),
    ]
    return "\n".join(lines) + "\n"


def kept(folder: Path) -> tuple[Report, ...]:
    """Return every kept report, in the order of the page."""
    reports = [load(path) for path in sorted(folder.glob("*.json"))]
    return tuple(sorted(reports, key=lambda report: (PARTS.index(report.part), report.dataset)))


def _facts(reports: Sequence[Report]) -> list[str]:
    """What the machine was; where reports differ, every answer."""
    facts: dict[str, dict[str, None]] = {}
    for report in reports:
        for name, fact in report.circumstances.items():
            facts.setdefault(name, {})[fact] = None
    moments = {"begun", "ended", "runs", "commit"}
    return [f"- {name}: {' / '.join(told)}" for name, told in facts.items() if name not in moments]


def _summary(reports: Sequence[Report]) -> list[str]:
    judged = [row.met for report in reports for row in report.rows if row.target is not None]
    met, missed = judged.count(True), judged.count(False)
    return [f"Targets: {met} met, {missed} missed, {judged.count(None)} not measured."]


def _moments(reports: Sequence[Report]) -> list[str]:
    lines = ["Measured (load: processes that wanted a processor, the harness's own included):", ""]
    for report in reports:
        about = report.circumstances
        lines.append(
            f"- {report.part}, {report.dataset}: {about['begun']} to {about['ended']}, "
            f"{about['runs']} runs, commit {about['commit']}"
        )
    return lines
