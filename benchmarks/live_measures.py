"""What is measured of the form live, and what it is held to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from benchmarks.deployment import MEGABYTE
from benchmarks.live_ways import EXT4, KERNEL, LIVE, POOLED
from benchmarks.measure import paired_ratio
from benchmarks.results import Row, Unit

NAMES, LIBRARIES = "ansible", "qt"
"""The data sets: many small files, and few large ones."""

SMALL_FILES = 10_000
PAGES = 1000
PAGE = 4096
_OFTEN = 4


class Visit(NamedTuple):
    """What is read between two mounts: a first time that is cold, and again.

    The names of both in a round's figures; without ``warm`` there is one time only. Where
    ``habit`` is true an earlier start is known, which is a reading of the same. ``often`` is how
    many times as many rounds it takes as others, to say something.
    """

    dataset: str
    cold: str
    warm: str
    step: Mapping[str, Any]
    habit: bool = False
    often: int = 1


def visits(large: Sequence[str], largest: str) -> tuple[Visit, ...]:
    """All visits; the large files of the libraries are told, and the largest."""
    widgets = {"step": "start", "module": "PySide6.QtWidgets"}
    whole = {"step": "whole", "paths": list(large)}
    pages = {"step": "scattered", "path": largest, "count": PAGES}
    return (
        Visit(NAMES, "find", "find again", {"step": "find", "words": []}),
        Visit(NAMES, "find -ls", "find -ls again", {"step": "find", "words": ["-ls"]}),
        Visit(NAMES, "small", "small again", {"step": "small", "count": SMALL_FILES}),
        Visit(LIBRARIES, "whole", "whole again", whole, often=_OFTEN),
        Visit(LIBRARIES, "pages", "", pages, often=_OFTEN),
        Visit(LIBRARIES, "import first", "", widgets),
        Visit(LIBRARIES, "import", "import again", widgets, habit=True, often=_OFTEN),
    )


# By its name in a round: as the table names it, its unit, what a figure is multiplied with.
MEASURES: Mapping[str, tuple[str, Unit, float]] = {
    "find": ("find, cold", Unit.MILLISECONDS, 1000),
    "find again": ("find, warm", Unit.MILLISECONDS, 1000),
    "find -ls": ("find -ls, cold", Unit.MILLISECONDS, 1000),
    "find -ls again": ("find -ls, warm", Unit.MILLISECONDS, 1000),
    "small": ("10k small files, cold", Unit.MILLISECONDS, 1000),
    "small again": ("10k small files, warm", Unit.MILLISECONDS, 1000),
    "whole": ("sequential, cold", Unit.SPEED, 1 / MEGABYTE),
    "whole again": ("sequential, warm", Unit.SPEED, 1 / MEGABYTE),
    "pages": ("4 KiB at random, cold, each", Unit.MICROSECONDS, 1_000_000),
    "import first": ("import, never started, cold", Unit.MILLISECONDS, 1000),
    "import": ("import, cold", Unit.MILLISECONDS, 1000),
    "import again": ("import, warm", Unit.MILLISECONDS, 1000),
    "mount": ("mount", Unit.MILLISECONDS, 1000),
    "run": ("start", Unit.MILLISECONDS, 1000),
    "memory": ("server, most memory", Unit.MEGABYTES, 1 / MEGABYTE),
    "share": ("server, share of memory", Unit.MEGABYTES, 1 / MEGABYTE),
    "small time": ("server, time for 10k small files", Unit.MILLISECONDS, 1000),
    "whole time": ("server, time for sequential", Unit.MILLISECONDS, 1000),
}


class Goal(NamedTuple):
    """A limit of a measure on a data set: of a way's figure, or of its ratio to another's."""

    measure: str
    dataset: str
    way: str
    limit: float
    against: str = ""
    least: bool = False


GOALS: tuple[Goal, ...] = (
    Goal("whole", LIBRARIES, LIVE, 400, least=True),
    Goal("whole again", LIBRARIES, LIVE, 0.9, EXT4, least=True),
    Goal("find again", NAMES, LIVE, 1.5, EXT4),
    Goal("find -ls again", NAMES, LIVE, 1.5, EXT4),
    Goal("small", NAMES, LIVE, 1.0, KERNEL),
    Goal("import", LIBRARIES, LIVE, 1.2, EXT4),
    Goal("mount", NAMES, LIVE, 100),
    Goal("memory", NAMES, LIVE, 100),
    Goal("memory", LIBRARIES, LIVE, 100),
    Goal("whole", LIBRARIES, POOLED, 0.95, EXT4, least=True),
    Goal("whole again", LIBRARIES, POOLED, 0.95, EXT4, least=True),
    Goal("pages", LIBRARIES, POOLED, 1.05, EXT4),
)


@dataclass(frozen=True, slots=True)
class Judged:
    """A goal with what was measured; ``spare`` is how much better than the limit, in per cent."""

    goal: Goal
    unit: Unit
    value: float
    ratio: float | None

    @property
    def figure(self) -> float:
        return self.value if self.ratio is None else self.ratio

    @property
    def spare(self) -> float:
        better = self.figure / self.goal.limit - 1
        return 100 * (better if self.goal.least else 0 - better)

    @property
    def verdict(self) -> str:
        """Met or missed, and by how much."""
        if self.spare < 0:
            return f"**missed** by {-self.spare:.0f} %"
        return f"met, {self.spare:.0f} % to spare"


def judged(rows: Sequence[Row]) -> list[Judged]:
    """Every goal for which there are figures; ratios are those of the same round."""
    found = {(row.measure, row.dataset): row for row in rows}
    made = []
    for goal in GOALS:
        row = found.get((MEASURES[goal.measure][0], goal.dataset))
        if row is None or (cell := row.cells.get(goal.way)) is None:
            continue
        other = row.cells.get(goal.against)
        if goal.against and other is None:
            continue
        ratio = paired_ratio(cell.runs, other.runs) if other else None
        made.append(Judged(goal, row.unit, cell.value, ratio))
    return made
