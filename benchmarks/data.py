"""The data sets: real packages as trees of files, and one made up for trying the harness."""

import hashlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks.packages import Kind, fetch, unpack

BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Dataset:
    """One app in one or two versions, named by what is asked for; no requirement: made up.

    With ``days``, a version comes with what it depends on as that was on a day: what somebody
    has who installed it then, and not what its name brings today.
    """

    name: str
    versions: tuple[str, ...]
    requirement: str | None = None
    with_dependencies: bool = False
    kind: Kind = Kind.WHEEL
    days: tuple[str, ...] = ()


DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset("ansible", ("11.9.0", "11.10.0"), "ansible"),
        Dataset("pyside6", ("6.8.1", "6.8.2"), "PySide6_Essentials"),
        Dataset("spyder", ("6.1.7",), "spyder", with_dependencies=True),
        Dataset("sample", ("1", "2")),
    )
}


@dataclass(frozen=True)
class Release:
    """One version of an app: a source folder whose ``files/`` is what gets installed."""

    dataset: str
    version: str
    source: Path
    app_id: str

    @property
    def name(self) -> str:
        return f"{self.dataset}-{self.version}"

    @property
    def files(self) -> Path:
        return self.source / "files"

    @cached_property
    def contents(self) -> dict[str, tuple[bytes, int]]:
        """The digest and size of every file by its path."""
        return {
            str(path.relative_to(self.files)): (_digest(path), path.lstat().st_size)
            for path in sorted(self.files.rglob("*"))
            if path.is_file() and not path.is_symlink()
        }

    @property
    def size(self) -> int:
        return sum(size for _, size in self.contents.values())

    def novelty(self, old: "Release") -> int:
        """The bytes of the contents that an older release has not, each once."""
        had = {digest for digest, _ in old.contents.values()}
        return sum(size for digest, size in set(self.contents.values()) if digest not in had)

    @property
    def fingerprint(self) -> str:
        """Tells two trees apart, for what is kept between runs."""
        lines = (f"{digest.hex()} {path}\n" for path, (digest, _) in self.contents.items())
        return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def unique_bytes(*releases: Release) -> int:
    """What the releases' different contents need, each once, in whole blocks."""
    sizes = dict(entry for release in releases for entry in release.contents.values())
    return sum(-(-size // BLOCK) * BLOCK for size in sizes.values())


def directory_bytes(*releases: Release) -> int:
    """What the releases' directories need at the least: a block each, per version."""
    folders = (path for release in releases for path in release.files.rglob("*") if path.is_dir())
    return sum(BLOCK for _ in folders)


def releases_of(dataset: Dataset, cache: Path, folder: Path) -> Iterator[Release]:
    """Lay out every version of a data set below ``folder``, fetching what the cache lacks."""
    for number, version in enumerate(dataset.versions):
        name = f"{dataset.name}-{version}"
        app_id = f"org.holdall.bench.{dataset.name.capitalize()}"
        release = Release(dataset.name, version, folder / name, app_id)
        release.files.mkdir(parents=True)
        if dataset.requirement is None:
            _make_up(release.files, changed=number > 0)
        else:
            day = dataset.days[number] if dataset.days else None
            packages = cache / "wheels" / (f"{name}-of-{day}" if day else name)
            alone = not dataset.with_dependencies
            fetch(dataset.kind, dataset.requirement, version, packages, alone=alone, day=day)
            unpack(packages, release.files)
        # Some peers share a file between versions only where its time is the same, too.
        for path in release.files.rglob("*"):
            os.utime(path, (0, 0), follow_symlinks=False)
        yield release


def small_release(folder: Path, number: int) -> Release:
    """One of many small apps, for listings."""
    release = Release(
        "small", str(number), folder / f"small-{number}", f"org.holdall.small.App{number}"
    )
    release.files.mkdir(parents=True)
    (release.files / "greeting").write_text(f"I am app {number}.\n")
    return release


def _make_up(files: Path, *, changed: bool) -> None:
    """600 small files, 3 large ones; of every twentieth some words differ in another version."""
    for number in range(603):
        chance = random.Random(number)
        path = files / f"part{number % 23}" / f"file{number}.txt"
        path.parent.mkdir(exist_ok=True)
        size = 2_000_000 if number >= 600 else chance.randrange(100, 20_000)
        words = [f"word{chance.randrange(500)}" for _ in range(size // 8)]
        if changed and number % 20 == 0:
            words[0::200] = [f"other{number}" for _ in words[0::200]]
        path.write_text(" ".join(words))


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
