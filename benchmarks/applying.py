"""The part increment: what holdall's increments take, to make and to apply."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.contenders import Verb
from benchmarks.data import Release
from benchmarks.deployment import MEGABYTE
from benchmarks.errors import BenchmarkError
from benchmarks.laboratory import Laboratory, Trial, say
from benchmarks.measure import Footprint, Job, Sample, wait_for_quiet
from benchmarks.pairs import Pair
from benchmarks.results import SUBJECT, Of, Row, Target, Unit, row

SIZE = "increment, size"
FULL = "full bundle, size"
NEW = "new contents"
MAKING = "apply, speed, making of contents alone"
_APPLIED = ("apply, ", NEW)
_APPLY_SPEED = 100
_APPLY_MEMORY = 256
_KINDS = ("largest process", "all processes", "all processes, shared pages once")


def build(
    laboratory: Laboratory, pair: Pair, old: Release, new: Release, *, keep: bool
) -> Iterator[Row]:
    """Build the increment; to ``keep`` it and the bundles is to have them in the cache, too."""
    for release in (old, new):
        _publish(laboratory, release, keep=keep)
    yield from _build(laboratory, pair, old, new)
    full = laboratory.subject.published(new).stat().st_size
    yield _row(pair, FULL, Unit.BYTES, [full])
    if keep:
        made = laboratory.subject.increment(old, new)
        shutil.copyfile(made, _kept_increment(laboratory, old, new))


def fetch(
    laboratory: Laboratory, old: Release, new: Release, built: Sequence[Row]
) -> Iterator[Row]:
    """Have the increment that was kept when the rows ``built`` were measured; return those.

    Raises BenchmarkError where there is none, or it is another.
    """
    kept = _kept_increment(laboratory, old, new)
    rows = [row for row in built if not row.measure.startswith(_APPLIED)]
    sizes = [row.cells[SUBJECT].value for row in rows if row.measure == SIZE]
    if not kept.exists() or sizes != [kept.stat().st_size]:
        message = f"{new.name} from {old.version}: the increment that was measured is not kept"
        raise BenchmarkError(f"{message}; measure once with --keep-bundles")
    _publish(laboratory, old, keep=True)
    shutil.copyfile(kept, laboratory.subject.increment(old, new))
    yield from rows


def _kept_increment(laboratory: Laboratory, old: Release, new: Release) -> Path:
    name = f"{new.name}-{new.fingerprint}-from-{old.version}-{old.fingerprint}.holdall"
    return laboratory.cache / "bundles" / name


def _publish(laboratory: Laboratory, release: Release, *, keep: bool) -> None:
    """Have the full bundle; to ``keep`` it is to take it from the cache where it is known."""
    subject = laboratory.subject
    folder = laboratory.cache / "bundles"
    kept = folder / f"{release.name}-{release.fingerprint}.holdall"
    if keep and kept.exists():
        if not subject.key_store.exists():
            shutil.copytree(folder / "key-store", subject.key_store, symlinks=True)
        shutil.copyfile(kept, subject.published(release))
        return
    if keep and folder.exists() and not subject.key_store.exists():
        shutil.copytree(folder / "key-store", subject.key_store, symlinks=True)
    say(f"publish {release.name} with holdall")
    laboratory.runner.run(subject.publish(release))
    if keep:
        if not folder.exists():
            shutil.copytree(subject.key_store, folder / "key-store", symlinks=True)
        shutil.copyfile(subject.published(release), kept)


def _build(laboratory: Laboratory, pair: Pair, old: Release, new: Release) -> Iterator[Row]:
    say(f"make the increment: {pair.title}")
    wait_for_quiet(laboratory.patience)
    command = laboratory.subject.build_increment(old, new)
    sample, footprint = laboratory.runner.observe((command,), interval=0.05)
    size = laboratory.subject.increment(old, new).stat().st_size
    yield _row(pair, SIZE, Unit.BYTES, [size], _most(pair.size))
    yield _row(
        pair, "increment, build, time", Unit.SECONDS, [sample.wall], _most(pair.build_seconds)
    )
    yield _row(pair, "increment, build, processor time", Unit.SECONDS, [sample.cpu])
    yield from _memory(pair, "increment, build", footprint, pair.build_megabytes)


def apply(laboratory: Laboratory, pair: Pair, old: Release, new: Release) -> Iterator[Row]:
    """Apply the increment over a store with the old release, and compare every file."""
    subject = laboratory.subject

    def fill(root: Path) -> None:
        for verb in (Verb.PREPARE, Verb.INSTALL):
            laboratory.runner.run(subject.plan(verb, old, root))

    def check(root: Path) -> None:
        path = laboratory.runner.output(subject.command(subject.store(root), "path", new.app_id))
        compare(new.files, Path(path.removesuffix("\n")))

    say(f"prepare a disk: {old.name}")
    image = laboratory.disks.image("increment", fill)
    made = subject.increment(old, new)
    whole = Trial(
        image, lambda root: (subject.command(subject.store(root), "install", made),), check
    )
    start = Trial(image, lambda root: (subject.command(subject.store(root), "list"),))
    say(f"apply the increment: {pair.title}")
    samples = laboratory.time({SUBJECT: whole, "start": start})
    footprint = laboratory.footprints({SUBJECT: whole})[SUBJECT]
    making = _making(laboratory, image, made)
    image.unlink()
    yield from _speeds(pair, new.novelty(old) / MEGABYTE, samples, making)
    yield from _memory(pair, "apply", footprint, _APPLY_MEMORY)


def _speeds(
    pair: Pair, novelty: float, samples: Mapping[str, Sequence[Sample]], making: Sequence[float]
) -> Iterator[Row]:
    taken = [sample.wall for sample in samples[SUBJECT]]
    beyond = [wall - begun.wall for wall, begun in zip(taken, samples["start"], strict=True)]
    yield _row(pair, NEW, Unit.MEGABYTES, [novelty])
    yield _row(pair, "apply, time", Unit.SECONDS, taken)
    yield _row(pair, "apply, processor time", Unit.SECONDS, [one.cpu for one in samples[SUBJECT]])
    least = Target(_APPLY_SPEED, Of.VALUE, least=True)
    yield _row(pair, "apply, speed", Unit.SPEED, [novelty / wall for wall in taken], least)
    measure = "apply, speed, without process start"
    yield _row(pair, measure, Unit.SPEED, [novelty / wall for wall in beyond if wall > 0])
    if making:
        yield _row(pair, MAKING, Unit.SPEED, [novelty / wall for wall in making])


def _making(laboratory: Laboratory, image: Path, increment: Path) -> list[float]:
    """Seconds of making the contents alone; none where holdall is one that cannot be asked."""
    subject = laboratory.subject
    if subject.making(image, increment) is None:
        return []

    def job(root: Path) -> Job:
        command = subject.making(subject.store(root), increment)
        return () if command is None else (command,)

    return laboratory.time_by_job({SUBJECT: Trial(image, job)})[SUBJECT]


def _memory(pair: Pair, verb: str, footprint: Footprint, limit: float | None) -> Iterator[Row]:
    """The goal is for the sum that counts each page once: what the machine gives the job."""
    # Pages are divided among all that map them, the harness, too: no sum is below its largest part.
    once = max(footprint.proportional, footprint.largest)
    peaks = (footprint.largest, footprint.resident, once)
    for kind, peak in zip(_KINDS, peaks, strict=True):
        target = _most(limit) if kind == _KINDS[-1] else None
        measure = f"{verb}, peak memory, {kind}"
        yield _row(pair, measure, Unit.MEGABYTES, [peak / MEGABYTE], target)


def _most(limit: float | None) -> Target | None:
    return None if limit is None else Target(limit, Of.VALUE)


def _row(
    pair: Pair, measure: str, unit: Unit, values: list[float], target: Target | None = None
) -> Row:
    return row(measure, pair.title, unit, {SUBJECT: values}, target=target)


def compare(wanted: Path, found: Path) -> None:
    """Compare two trees: names, kinds, targets of links, what may be run, and every byte."""
    names, others = _names(wanted), _names(found)
    if differing := sorted(names ^ others):
        raise BenchmarkError(f"the installed tree is another: {differing[0]} is only in one")
    for name in sorted(names):
        if not _alike(wanted / name, found / name):
            raise BenchmarkError(f"the installed tree is another: {name} differs")


def _names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def _alike(one: Path, other: Path) -> bool:
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and one.readlink() == other.readlink()
    if one.is_dir() or other.is_dir():
        return one.is_dir() and other.is_dir()
    modes = (path.stat().st_mode & 0o111 for path in (one, other))
    return len({bool(mode) for mode in modes}) == 1 and _same_bytes(one, other)


def _same_bytes(one: Path, other: Path) -> bool:
    with one.open("rb") as first, other.open("rb") as second:
        while block := first.read(1 << 20):
            if second.read(1 << 20) != block:
                return False
        return not second.read(1)
