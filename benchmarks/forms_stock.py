"""Network forms for the table of forms: made where they are not kept, and kept where that is asked.

Nothing here is timed.
"""

import shutil
from pathlib import Path

from benchmarks.data import Release
from benchmarks.forms_ways import Lodging, Way
from benchmarks.laboratory import Laboratory, say


def stock(laboratory: Laboratory, way: Way, release: Release, *, keep: bool) -> None:
    """Have a release's network form in the shop; to ``keep`` bundles is to take kept ones, too.

    tar's archives are always kept: they take minutes, and depend on nothing but the files.
    """
    made = way.published(release)
    if made.exists():
        return
    if isinstance(way, Lodging):
        have_key(laboratory, keep=keep)
    kept = place(laboratory.cache, release, made)
    if kept is None or (isinstance(way, Lodging) and not keep):
        _publish(laboratory, way, release)
    elif kept.exists():
        shutil.copyfile(kept, made)
    else:
        _publish(laboratory, way, release)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(made, kept)


def _publish(laboratory: Laboratory, way: Way, release: Release) -> None:
    say(f"publish {way.published(release).name}")
    laboratory.runner.run(way.publish(release))


def place(cache: Path, release: Release, made: Path) -> Path | None:
    """Where the network form ``made`` is kept, if it is one file; as by the other benchmarks."""
    name, dot, suffix = made.name.removeprefix(release.name).partition(".")
    folder = {"tar.zst": "archives", "holdall": "bundles"}.get(suffix)
    if folder is None:
        return None
    return cache / folder / f"{release.name}-{release.fingerprint}{name}{dot}{suffix}"


def have_key(laboratory: Laboratory, *, keep: bool) -> None:
    """Have the store with the key that signs, the one of the kept bundles where those are used."""
    own, kept = laboratory.subject.key_store, laboratory.cache / "bundles" / "key-store"
    if own.exists():
        return
    if keep and kept.exists():
        shutil.copytree(kept, own, symlinks=True)
        return
    laboratory.runner.run((laboratory.subject.command(own, "key", "generate"),))
    if keep:
        shutil.copytree(own, kept, symlinks=True)
