"""What the peers' updates take, kept by pair: found again, it is not measured again.

Sizes do not depend on the machine or on its load, so figures of different days stand side by side;
each says when it was taken.
"""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.bounded import BeyondLimitsError
from benchmarks.differs import DIFFERS, Bench, Differ
from benchmarks.laboratory import say

_FOLDER = "increment-peers"


@dataclass(frozen=True, slots=True)
class Size:
    """A peer's bytes for one update; without any, ``reason`` says why it was not measured.

    ``trees`` and ``manner`` say what was asked of it; ``seconds`` of processor time and ``peak``
    memory are of the command that made it, for information.
    """

    peer: str
    trees: str
    manner: str
    version: str
    limits: str
    taken: str
    size: int | None = None
    reason: str | None = None
    seconds: float | None = None
    peak: int | None = None


Kept = Mapping[str, Mapping[str, Size]]


def measure(
    bench: Bench, differs: Sequence[Differ], kept: Mapping[str, Size], *, again: bool
) -> Iterator[Size]:
    """Measure what is not kept of the same trees, made by the same tool in the same manner."""
    trees = f"{bench.old.fingerprint} {bench.new.fingerprint}"
    for differ in differs:
        asked = Size(
            differ.name,
            trees,
            differ.manner,
            differ.version or "unknown",
            str(bench.limits),
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        )
        known = kept.get(differ.name)
        if known is None or again or not _answers(known, asked):
            say(f"make an update with {differ.name}: {bench.new.name}")
            yield _weigh(bench, differ, asked)


def _answers(known: Size, asked: Size) -> bool:
    """Whether a kept size is what would be found again; a failure, only within its limits."""
    then = replace(known, size=None, reason=None, seconds=None, peak=None, taken=asked.taken)
    return then == asked or (known.size is not None and replace(then, limits=asked.limits) == asked)


def _weigh(bench: Bench, differ: Differ, asked: Size) -> Size:
    bench.folder.mkdir()
    try:
        size, cost = differ.make(bench)
    except BeyondLimitsError as error:
        return replace(asked, reason=str(error))
    finally:
        shutil.rmtree(bench.folder)
    return replace(asked, size=size, seconds=round(cost.seconds, 1), peak=cost.peak)


def load(folder: Path) -> Kept:
    """Return the kept sizes by pair, then by peer."""
    found = {}
    for path in sorted((folder / _FOLDER).glob("*.json")):
        sizes = [Size(**entry) for entry in json.loads(path.read_text())]
        found[path.stem] = {size.peer: size for size in sizes}
    return found


def save(folder: Path, pair: str, size: Size) -> None:
    """Keep one size, in the place of what was known of that peer and pair."""
    known = {**load(folder).get(pair, {}), size.peer: size}
    ordered = [known[peer] for peer in DIFFERS if peer in known]
    path = folder / _FOLDER / f"{pair}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(one) for one in ordered], indent=1) + "\n")
