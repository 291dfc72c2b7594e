"""The part build: what a network form costs to make, and how large it is."""

from collections.abc import Callable, Iterator

from benchmarks.deployment import MEGABYTE
from benchmarks.laboratory import Publication
from benchmarks.results import Row, Target, Unit, row
from benchmarks.stage import Stage

_MEASURES: tuple[tuple[str, Unit, Callable[[Publication], float]], ...] = (
    ("build, time", Unit.SECONDS, lambda made: made.sample.wall),
    ("build, processor time", Unit.SECONDS, lambda made: made.sample.cpu),
    (
        "build, peak memory, all processes",
        Unit.MEGABYTES,
        lambda made: made.footprint.resident / MEGABYTE,
    ),
    ("network form, size", Unit.MEGABYTES, lambda made: made.size / MEGABYTE),
)


def build(stage: Stage) -> Iterator[Row]:
    """The old release's network form, made once; the baseline is tar | zstd -19 --long=27."""
    laboratory = stage.laboratory
    makers = [contender for contender in laboratory.contenders if contender.name != "plain"]
    made = {contender.name: laboratory.publication(contender, stage.old) for contender in makers}
    for measure, unit, figure in _MEASURES:
        runs = {name: [figure(publication)] for name, publication in made.items()}
        target = Target(1.08) if measure == "network form, size" else None
        yield row(measure, stage.dataset, unit, runs, target=target, notes={"tar": "tar, zstd -19"})
