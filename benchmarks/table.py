"""The one table: every figure with its ratio, its target, and whether that was met."""

from collections.abc import Iterable, Sequence

from benchmarks.results import COLUMNS, SUBJECT, Of, Report, Row, Target, Unit

_HEADINGS = ("measure", "data", *COLUMNS, "ratio to", "target", "verdict")
_PATTERNS = {
    Unit.SECONDS: "{:.2f} s",
    Unit.MILLISECONDS: "{:.1f} ms",
    Unit.MICROSECONDS: "{:,.0f} µs",
    Unit.MEGABYTES: "{:,.1f} MB",
    Unit.BYTES: "{:,.0f}",
    Unit.COUNT: "{:,.0f}",
    Unit.SPEED: "{:,.1f} MB/s",
    Unit.PERCENT: "{:.2f} %",
    Unit.TIMES: "{:.3f}x",
}
_TEXTS = (0, 1, len(_HEADINGS) - 3, len(_HEADINGS) - 2, len(_HEADINGS) - 1)


def markdown(reports: Iterable[Report]) -> str:
    """Return the table in Markdown, aligned for reading as text, too."""
    lines = [_line(row) for report in reports for row in report.rows]
    return aligned([_HEADINGS, *lines], _TEXTS)


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
        limit(row.target, row.unit),
        verdict(row),
    )


def _cell(row: Row, name: str) -> str:
    cell = row.cells.get(name)
    if cell is None:
        return "-"
    note = (row.notes or {}).get(name)
    words = [
        number(cell.value, row.unit),
        *([f"({cell.ratio:.2f}x)"] if cell.ratio is not None else []),
    ]
    text = " ".join([*words, *([note] if note else [])])
    return f"**{text}**" if name == SUBJECT else text


def number(value: float, unit: Unit) -> str:
    """Write a figure with its unit."""
    return _PATTERNS[unit].format(value)


def limit(target: Target | None, unit: Unit) -> str:
    """Write what a row is measured against."""
    if target is None:
        return ""
    sign = "≥" if target.least else "≤"
    if target.of is Of.RATIO:
        return f"{sign} {target.limit:g}x"
    if unit in {Unit.BYTES, Unit.COUNT}:
        return f"{sign} {target.limit:,.0f}"
    return f"{sign} {target.limit:g} {unit.value}"


def aligned(lines: Sequence[Sequence[str]], texts: Sequence[int]) -> str:
    """Return lines of cells, the first of them headings; columns not named as texts are numbers."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = [
        "-" * width if place in texts else "-" * (width - 1) + ":"
        for place, width in enumerate(widths)
    ]
    padded = [
        [
            text.ljust(width) if place in texts else text.rjust(width)
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in lines
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in (padded[0], rule, *padded[1:]))
