"""The one table: every figure with its ratio, its target, and whether that was met."""

from collections.abc import Iterable, Sequence

from benchmarks.results import COLUMNS, SUBJECT, Cell, Of, Report, Row, Target, Unit

_HEADINGS = ("measure", "data", *COLUMNS, "ratio to", "target", "verdict")
_UNNUMBERED = 3


def markdown(reports: Iterable[Report]) -> str:
    """Return the table in Markdown, aligned for reading as text, too."""
    lines = [_line(row) for report in reports for row in report.rows]
    return _aligned([_HEADINGS, *lines])


def verdict(row: Row) -> str:
    """Say plainly whether the target was met."""
    if row.target is None:
        return ""
    match row.met:
        case True:
            return "met"
        case False:
            return "**missed**"
        case None:
            return "not measured"


def _line(row: Row) -> tuple[str, ...]:
    cells = [_cell(row, name) for name in COLUMNS]
    compared = any(cell.ratio is not None for cell in row.cells.values())
    baseline = (row.notes or {}).get(row.baseline, row.baseline) if compared else ""
    return (
        row.measure,
        row.dataset,
        *cells,
        baseline,
        _limit(row.target, row.unit),
        verdict(row),
    )


def _cell(row: Row, name: str) -> str:
    cell = row.cells.get(name)
    if cell is None:
        return "-"
    note = (row.notes or {}).get(name)
    words = [_number(cell, row.unit), *([f"({cell.ratio:.2f}x)"] if cell.ratio is not None else [])]
    text = " ".join([*words, *([note] if note else [])])
    return f"**{text}**" if name == SUBJECT else text


def _number(cell: Cell, unit: Unit) -> str:
    match unit:
        case Unit.SECONDS:
            return f"{cell.value:.2f} s"
        case Unit.MILLISECONDS:
            return f"{cell.value:.1f} ms"
        case Unit.MEGABYTES:
            return f"{cell.value:,.1f} MB"


def _limit(target: Target | None, unit: Unit) -> str:
    if target is None:
        return ""
    return f"≤ {target.limit:g}x" if target.of is Of.RATIO else f"≤ {target.limit:g} {unit.value}"


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    numbered = len(lines[0]) - _UNNUMBERED
    rule = [
        "-" * (width - 1) + ":" if 2 <= place < numbered else "-" * width
        for place, width in enumerate(widths)
    ]
    padded = [
        [
            text.rjust(width) if 2 <= place < numbered else text.ljust(width)
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in (padded[0], rule, *padded[1:]))
