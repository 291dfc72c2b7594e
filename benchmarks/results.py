"""Figures: what was measured, against what, and whether a target was met; kept as JSON."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path

from benchmarks.measure import paired_ratio

SUBJECT = "holdall"
INCREMENT = "increment"
BUILT = "built"  # when an increment was made that was kept, and is only applied anew
COLUMNS = ("tar", "plain", SUBJECT, "ostree", "flatpak", "casync")


class Unit(Enum):
    SECONDS = "s"
    MILLISECONDS = "ms"
    MICROSECONDS = "µs"
    MEGABYTES = "MB"
    BYTES = "bytes"
    SPEED = "MB/s"
    COUNT = ""
    PERCENT = "%"
    TIMES = "x"


class Of(Enum):
    """What a target limits."""

    RATIO = "ratio"
    VALUE = "value"


@dataclass(frozen=True, slots=True)
class Target:
    """The most that the subject's ratio, or its value in the row's unit, may be; or the least."""

    limit: float
    of: Of = Of.RATIO
    least: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """A contender's figure: the median, its ratio to the baseline's, and every run."""

    value: float
    ratio: float | None
    runs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One thing measured on one data set, for every contender that can do it.

    ``notes`` name what stands in a column where that is not the column's own contender.
    """

    measure: str
    dataset: str
    unit: Unit
    cells: Mapping[str, Cell]
    baseline: str
    target: Target | None = None
    notes: Mapping[str, str] | None = None

    @property
    def met(self) -> bool | None:
        """Whether the subject meets the target; None where there is no target or no figure."""
        cell = self.cells.get(SUBJECT)
        if self.target is None or cell is None:
            return None
        figure = cell.ratio if self.target.of is Of.RATIO else cell.value
        if figure is None:
            return None
        limit = self.target.limit
        return figure >= limit if self.target.least else figure <= limit


@dataclass(frozen=True, slots=True)
class Report:
    """The rows of one part on one data set, and the circumstances they were measured in."""

    part: str
    dataset: str
    circumstances: Mapping[str, str]
    rows: tuple[Row, ...]


def moments(report: Report) -> str:
    """When a report was measured, how often, and from which commit."""
    about = report.circumstances
    when = f"{about['begun']} to {about['ended']}"
    return f"{when}, {about['runs']} runs, commit {about['commit']}"


def row(
    measure: str,
    dataset: str,
    unit: Unit,
    runs: Mapping[str, Sequence[float]],
    *,
    baseline: str = "tar",
    reference: Sequence[float] = (),
    target: Target | None = None,
    notes: Mapping[str, str] | None = None,
) -> Row:
    """Make a row of every contender's runs: medians, and medians of the ratios run by run.

    ``reference`` is what ratios are taken to, where it is not a column's runs but a figure that
    ``baseline`` describes.
    """
    base = reference or runs.get(baseline, ())
    cells = {
        name: Cell(statistics.median(values), paired_ratio(values, base), tuple(values))
        for name, values in runs.items()
        if values
    }
    return Row(measure, dataset, unit, cells, baseline, target, notes)


def save(report: Report, folder: Path) -> None:
    """Keep a report; the next measurement of the same part and data set takes its place."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report.part}-{report.dataset}.json"
    text = json.dumps(asdict(report), default=_plain, indent=1)
    path.write_text(text + "\n")


def load(path: Path) -> Report:
    """Read a report that ``save`` wrote."""
    kept = json.loads(path.read_text())
    rows = tuple(
        Row(
            measure=entry["measure"],
            dataset=entry["dataset"],
            unit=Unit(entry["unit"]),
            cells={
                name: Cell(cell["value"], cell["ratio"], tuple(cell["runs"]))
                for name, cell in entry["cells"].items()
            },
            baseline=entry["baseline"],
            target=_target(entry["target"]),
            notes=entry["notes"],
        )
        for entry in kept["rows"]
    )
    return Report(kept["part"], kept["dataset"], kept["circumstances"], rows)


def _target(kept: Mapping[str, float | str] | None) -> Target | None:
    if not kept:
        return None
    return Target(float(kept["limit"]), Of(kept["of"]), least=bool(kept.get("least")))


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"no JSON form for {value!r}")
