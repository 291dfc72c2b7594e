"""The parts install, update, remove and verify: jobs timed on disks in a known state."""

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.contenders import Contender, Verb
from benchmarks.laboratory import Trial
from benchmarks.measure import Sample
from benchmarks.results import SUBJECT, Of, Row, Target, Unit, row
from benchmarks.stage import Stage

MEGABYTE = 1_000_000
_MEMORY = Target(150, Of.VALUE)


def install(stage: Stage) -> Iterator[Row]:
    """The old release into an empty store."""
    old = stage.old

    def trial(contender: Contender) -> Trial:
        return Trial(
            stage.empty(contender, old), lambda root: contender.plan(Verb.INSTALL, old, root)
        )

    trials = {contender.name: trial(contender) for contender in stage.laboratory.contenders}
    samples = stage.laboratory.time(trials)
    notes = {"tar": "tar -xf", "plain": "tar + syncfs"}
    yield _wall(stage, "install", samples, Target(1.0), notes)
    yield _processor(stage, "install", samples, notes)
    yield from _memory(stage, "install", trials)


def update(stage: Stage) -> Iterator[Row]:
    """The new release where the old one is installed; the baseline extracts the new one."""
    new = stage.new

    def trial(contender: Contender) -> Trial:
        return Trial(
            stage.installed(contender), lambda root: contender.plan(Verb.UPDATE, new, root)
        )

    trials = {contender.name: trial(contender) for contender in stage.laboratory.contenders[1:]}
    samples = stage.laboratory.time({"tar": stage.baseline(new), **trials})
    notes = {"tar": "tar -xf", "plain": "tar + syncfs"}
    yield _wall(stage, "update", samples, Target(0.5), notes)
    yield _processor(stage, "update", samples, notes)
    yield from _memory(stage, "update", {SUBJECT: trials[SUBJECT]} if SUBJECT in trials else {})


def remove(stage: Stage) -> Iterator[Row]:
    """The old release from a store of nothing else: until return, and until all is freed."""
    old = stage.old

    def trial(contender: Contender) -> Trial:
        return Trial(
            stage.installed(contender), lambda root: contender.plan(Verb.REMOVE, old, root)
        )

    trials = {contender.name: trial(contender) for contender in stage.laboratory.contenders[1:]}
    trials = {"tar": stage.baseline(old), **trials}
    samples = stage.laboratory.time(trials)
    notes = {"plain": "rm -rf", "tar": "tar -xf"}
    yield _wall(stage, "remove", samples, None, notes)
    freed = stage.laboratory.time_until_still(trials)
    measure = "remove, time until all is freed"
    yield row(measure, stage.dataset, Unit.SECONDS, freed, notes=notes)


def verify(stage: Stage) -> Iterator[Row]:
    """Every file of the installed old release, from a cold file system."""
    old = stage.old

    def trial(contender: Contender) -> Trial:
        return Trial(
            stage.installed(contender), lambda root: contender.plan(Verb.VERIFY, old, root)
        )

    able = [one for one in stage.laboratory.contenders if one.name not in {"tar", "casync"}]
    trials = {contender.name: trial(contender) for contender in able}
    samples = stage.laboratory.time({"tar": stage.baseline(old), **trials})
    notes = {"plain": "sha256sum", "tar": "tar -xf"}
    yield _wall(stage, "verify", samples, None, notes)
    yield _processor(stage, "verify", samples, notes)


def _wall(
    stage: Stage,
    verb: str,
    samples: Mapping[str, Sequence[Sample]],
    target: Target | None,
    notes: Mapping[str, str],
) -> Row:
    runs = {name: [sample.wall for sample in taken] for name, taken in samples.items()}
    measure = f"{verb}, time"
    return row(measure, stage.dataset, Unit.SECONDS, runs, target=target, notes=notes)


def _processor(
    stage: Stage,
    verb: str,
    samples: Mapping[str, Sequence[Sample]],
    notes: Mapping[str, str],
) -> Row:
    runs = {name: [sample.cpu for sample in taken] for name, taken in samples.items()}
    return row(f"{verb}, processor time", stage.dataset, Unit.SECONDS, runs, notes=notes)


def _memory(stage: Stage, verb: str, trials: Mapping[str, Trial]) -> Iterator[Row]:
    footprints = stage.laboratory.footprints(trials)
    kinds = {
        "largest process": {name: found.largest for name, found in footprints.items()},
        "all processes": {name: found.resident for name, found in footprints.items()},
        "all processes, shared pages once": {
            name: found.proportional for name, found in footprints.items()
        },
    }
    for kind, found in kinds.items():
        runs = {name: [peak / MEGABYTE] for name, peak in found.items()}
        measure = f"{verb}, peak memory, {kind}"
        yield row(measure, stage.dataset, Unit.MEGABYTES, runs, target=_MEMORY)
