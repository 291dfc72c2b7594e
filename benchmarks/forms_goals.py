"""What composefs is held to: what a second version adds to the page cache, and its image."""

from collections.abc import Iterator

from benchmarks.contenders import Verb
from benchmarks.data import BLOCK, Release
from benchmarks.forms_rounds import Course, Figures
from benchmarks.forms_ways import Lodging
from benchmarks.measure import wait_for_quiet
from benchmarks.results import SUBJECT, Of, Row, Target, Unit, row

COMPOSEFS = "composefs"
_SHARING = Target(2, Of.VALUE)
_IMAGE_BYTES = Target(4_000_000, Of.VALUE)
_IMAGE_SECONDS = Target(0.5, Of.VALUE)
_HELD_TO_IT = "ansible"


def sharing(found: Figures, old: Release, new: Release) -> Iterator[Row]:
    """The growth by cachestat once the second version was read, against what it changed."""
    changed, pages = new.novelty(old), changed_pages(old, new)
    contents, everything = found["content pages more"], found["pages more"]
    rows = (
        ("contents that the second version changed", Unit.BYTES, changed, None),
        ("the same in whole pages", Unit.BYTES, pages, None),
        ("page cache, growth, pool", Unit.BYTES, contents, None),
        ("page cache, growth, pool and all else", Unit.BYTES, everything, None),
        ("growth of the pool, off the pages", Unit.PERCENT, off(contents, pages), _SHARING),
        ("growth of all, off the pages", Unit.PERCENT, off(everything, pages), None),
        ("growth of the pool, off the bytes", Unit.PERCENT, off(contents, changed), None),
    )
    for measure, unit, value, target in rows:
        yield row(measure, new.dataset, unit, {SUBJECT: [value]}, target=target)


def changed_pages(old: Release, new: Release) -> int:
    """The bytes of the pages that hold the contents which an older release has not, each once."""
    had = {digest for digest, _ in old.contents.values()}
    fresh = {digest: size for digest, size in new.contents.values() if digest not in had}
    return sum(-(-size // BLOCK) * BLOCK for size in fresh.values())


def off(value: float, wanted: float) -> float:
    """How far a figure is from another, in per cent of that, whichever is the larger."""
    return abs(value - wanted) / wanted * 100 if wanted else 0.0


def metadata(course: Course, tree: Lodging) -> Iterator[Row]:
    """The image of the old release's names: its size, and how long it takes to make."""
    laboratory, old = course.laboratory, course.old
    disks = course.disks[tree.system]
    image = disks.blank("image")
    try:
        with disks.remounted(image) as root:
            for verb in (Verb.PREPARE, Verb.INSTALL):
                laboratory.runner.run(tree.plan(verb, old, root))
            wait_for_quiet(laboratory.patience)
            command = tree.subject.imaging(tree.subject.store(root), max(5, laboratory.runs))
            size, *seconds = map(float, laboratory.runner.output(command).split())
    finally:
        image.unlink()
    held = old.dataset == _HELD_TO_IT
    for measure, unit, values, target in (
        ("metadata image, size", Unit.BYTES, [size], _IMAGE_BYTES),
        ("metadata image, time to make it", Unit.SECONDS, seconds, _IMAGE_SECONDS),
    ):
        wanted = target if held else None
        yield row(measure, old.dataset, unit, {SUBJECT: values}, target=wanted)
