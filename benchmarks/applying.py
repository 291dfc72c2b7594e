"""The part increment: what holdall's increments take, to make and to apply."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks.contenders import Verb
from benchmarks.data import Release
from benchmarks.deployment import MEGABYTE
from benchmarks.errors import BenchmarkError
from benchmarks.laboratory import Laboratory, Trial, say
from benchmarks.measure import Footprint, wait_for_quiet
from benchmarks.pairs import Pair
from benchmarks.results import SUBJECT, Of, Row, Target, Unit, row

SIZE = "increment, size"
FULL = "full bundle, size"
_APPLY_SPEED = 100
_APPLY_MEMORY = 256
_KINDS = ("largest process", "all processes", "all processes, shared pages once")


def increment(
    laboratory: Laboratory, pair: Pair, old: Release, new: Release, *, keep: bool
) -> Iterator[Row]:
    """Build the increment, apply it over a store with the old release, and compare every file."""
    for release in (old, new):
        _publish(laboratory, release, keep=keep)
    yield from _build(laboratory, pair, old, new)
    full = laboratory.subject.published(new).stat().st_size
    yield _row(pair, FULL, Unit.BYTES, [full])
    yield from _apply(laboratory, pair, old, new)


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


def _apply(laboratory: Laboratory, pair: Pair, old: Release, new: Release) -> Iterator[Row]:
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
    apply = Trial(
        image, lambda root: (subject.command(subject.store(root), "install", made),), check
    )
    start = Trial(image, lambda root: (subject.command(subject.store(root), "list"),))
    say(f"apply the increment: {pair.title}")
    samples = laboratory.time({SUBJECT: apply, "start": start})
    footprint = laboratory.footprints({SUBJECT: apply})[SUBJECT]
    image.unlink()
    taken = [sample.wall for sample in samples[SUBJECT]]
    beyond = [wall - begun.wall for wall, begun in zip(taken, samples["start"], strict=True)]
    novelty = new.novelty(old) / MEGABYTE
    speeds = [novelty / wall for wall in taken]
    yield _row(pair, "new contents", Unit.MEGABYTES, [novelty])
    yield _row(pair, "apply, time", Unit.SECONDS, taken)
    yield _row(pair, "apply, processor time", Unit.SECONDS, [one.cpu for one in samples[SUBJECT]])
    least = Target(_APPLY_SPEED, Of.VALUE, least=True)
    yield _row(pair, "apply, speed", Unit.SPEED, speeds, least)
    measure = "apply, speed, without process start"
    yield _row(pair, measure, Unit.SPEED, [novelty / wall for wall in beyond if wall > 0])
    yield from _memory(pair, "apply", footprint, _APPLY_MEMORY)


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
