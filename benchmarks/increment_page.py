"""The page's section on increments: exact sizes beside the peers', then costs."""

from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap

from benchmarks.applying import FULL, SIZE
from benchmarks.differs import DIFFERS
from benchmarks.pairs import PAIRS, Pair
from benchmarks.results import SUBJECT, Report, Row, Unit
from benchmarks.sizes import Kept, Size
from benchmarks.table import aligned, limit, number, verdict

_METHOD = """\
An increment is what somebody downloads who has the old version. **Sizes are exact**, in bytes of
the whole update, and depend neither on the machine nor on its load: the peers' are kept, and taken
again only when the data, their version or how they are asked changes. *Best peer* is the smallest
of them, with holdall's size as a multiple of it.

{manners}

holdall's increment, ostree's delta and casync's index carry the names, modes and checksums of the
whole tree, and holdall's its signatures; tars carry names and modes; what goes file by file carries
contents only, and finds the old file of a new one as holdall does, by its path. A peer that comes
to no end within its limits has no figure, and why is said below the table.

Applying is `holdall install INCREMENT` into a store that has the old version; every file of the
installed tree is compared with the new source folder, bit by bit, after every run. *Speed* is
bytes of new contents, each once, by time; without process start, the time of `holdall list` in the
same round is taken off. The goal is for the whole command, which also starts, reads the old tree,
gives every file of the new one its place, changed or not, and waits for the disk. *Making of
contents alone* is the part that grows with what is new: from when it is known what to make until
every new content is made, checked by its digest, and written; taken from the progress that the same
call reports, in a process of its own. The increment is made once, of two full bundles, on tmpfs; it
may be kept and only applied anew, for which the last lines of this page give both dates."""


def section(reports: Sequence[Report], kept: Kept) -> list[str]:
    """Return the section; empty where nothing about increments was measured."""
    rows = {report.dataset: report.rows for report in reports}
    pairs = [pair for pair in PAIRS.values() if pair.name in rows or pair.name in kept]
    if not pairs:
        return []
    manners = "\n".join(_folded(f"- **{one.name}**: {one.manner}.") for one in DIFFERS.values())
    return [
        "## Increments",
        "",
        "Made by `python -m benchmarks increments`.",
        "",
        _METHOD.format(manners=manners),
        "",
        tables(reports, kept),
        "",
        *_unmeasured(pairs, kept),
        "Peers' sizes were taken:",
        "",
        *(_moments(pair, kept[pair.name]) for pair in pairs if pair.name in kept),
        "",
    ]


def tables(reports: Sequence[Report], kept: Kept) -> str:
    """Return the table of sizes, and that of holdall's costs where they were measured."""
    rows = {report.dataset: report.rows for report in reports}
    known = [pair for pair in PAIRS.values() if pair.name in rows or pair.name in kept]
    headings = ("update, bytes", SUBJECT, "goal", "verdict", *DIFFERS, "best peer", "full bundle")
    sizes = [_sizes(pair, rows.get(pair.name, ()), kept.get(pair.name, {})) for pair in known]
    costs = [line for pair in known for line in _costs(rows.get(pair.name, ()))]
    found = [aligned([headings, *sizes], (0, 3, len(headings) - 2))]
    if costs:
        found.append(
            aligned([("measure", "update", SUBJECT, "goal", "verdict"), *costs], (0, 1, 4))
        )
    return "\n\n".join(found)


def _sizes(pair: Pair, rows: Sequence[Row], peers: Mapping[str, Size]) -> tuple[str, ...]:
    figures = {row.measure: row for row in rows}
    own = figures.get(SIZE)
    measured = {name: size.size for name, size in peers.items() if size.size is not None}
    cells = [
        f"{measured[name]:,}" if name in measured else "not measured" if name in peers else "-"
        for name in DIFFERS
    ]
    goal = f"≤ {pair.size:,}" if pair.size is not None else ""
    return (
        pair.title,
        f"**{_figure(own)}**" if own else "-",
        goal,
        verdict(own) if own else "not measured" if goal else "",
        *cells,
        _best(own, measured),
        _figure(figures[FULL]) if FULL in figures else "-",
    )


def _figure(row: Row) -> str:
    return number(row.cells[SUBJECT].value, row.unit)


def _best(own: Row | None, measured: Mapping[str, int]) -> str:
    if not measured:
        return "-"
    name = min(measured, key=lambda name: measured[name])
    return f"{name} ({own.cells[SUBJECT].value / measured[name]:.2f}x)" if own else name


def _costs(rows: Sequence[Row]) -> Iterator[tuple[str, ...]]:
    for row in rows:
        if row.unit is not Unit.BYTES:
            figure = f"**{_figure(row)}**"
            yield row.measure, row.dataset, figure, limit(row.target, row.unit), verdict(row)


def _unmeasured(pairs: Sequence[Pair], kept: Kept) -> list[str]:
    lines = [
        _folded(f"- {size.peer}, {pair.title}: {size.reason}.")
        for pair in pairs
        for size in kept.get(pair.name, {}).values()
        if size.size is None
    ]
    return ["Not measured (limits are for each peer and update):", "", *lines, ""] if lines else []


def _moments(pair: Pair, sizes: Mapping[str, Size]) -> str:
    taken = (f"{one.peer} {one.version} {one.taken}" for one in sizes.values())
    return _folded(f"- {pair.title}: {', '.join(taken)}.")


def _folded(text: str) -> str:
    return "\n".join(wrap(text, 100, subsequent_indent="  ", break_on_hyphens=False))
