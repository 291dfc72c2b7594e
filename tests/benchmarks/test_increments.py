import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from benchmarks.applying import SIZE, apply, build, compare, fetch
from benchmarks.contenders import Verb
from benchmarks.data import DATASETS, Release
from benchmarks.disk import Disks
from benchmarks.errors import BenchmarkError
from benchmarks.laboratory import Laboratory, furnish
from benchmarks.measure import Runner
from benchmarks.pairs import Pair
from benchmarks.results import SUBJECT, Row
from benchmarks.subject import Holdall

_PAIR = Pair("sample", "made up", DATASETS["sample"], 100_000)

pytestmark = pytest.mark.slow

# Bundles are tarballs, and an increment is the full bundle; {spoil} may change what is installed.
_HOLDALL = """\
import pathlib, shutil, sys, tarfile
_, _, root, verb, *rest = sys.argv
store = pathlib.Path(root)
files = store / "files"
match verb, rest:
    case "key", ["generate"]:
        store.mkdir()
    case "build", [source, "-o", made]:
        with tarfile.open(made, "w") as tar:
            tar.add(pathlib.Path(source, "files"), "files")
    case "build", [full, "-o", made, "--against", old]:
        assert pathlib.Path(old).exists()
        shutil.copy(full, made)
    case "install", [bundle]:
        shutil.rmtree(files, ignore_errors=True)
        shutil.unpack_archive(bundle, store, "tar")
        {spoil}
    case "path", [_]:
        print(files)
    case "list", []:
        pass
    case _:
        sys.exit(f"not expected: {{sys.argv}}")
"""


class Folders(Disks):
    """Disks that are folders, for which nobody needs to be root."""

    def image(self, name: str, fill: Callable[[Path], None]) -> Path:
        image = self._folder / name
        image.touch()
        fill(self._contents(image))
        return image

    @contextmanager
    def copy(self, image: Path) -> Iterator[Path]:
        shutil.copytree(self._contents(image), self._mount_point)
        yield self._mount_point
        shutil.rmtree(self._mount_point)

    def _contents(self, image: Path) -> Path:
        return image.with_suffix(".d")


def laboratory(folder: Path, spoil: str = "pass") -> Laboratory:
    program = folder / "holdall.py"
    program.write_text(_HOLDALL.format(spoil=spoil))
    (folder / "room").mkdir()
    made = furnish(
        folder / "room",
        folder / "disk",
        cache=folder / "cache",
        holdall=f"{sys.executable} -S {program}",
        contend=lambda _: (),
        runs=2,
        patience=0,
    )
    object.__setattr__(made, "disks", Folders(folder / "images", folder / "disk", 0))
    return made


def release(folder: Path, version: str, **files: str) -> Release:
    made = Release("app", version, folder / version, "org.example.App")
    made.files.mkdir(parents=True)
    for name, text in files.items():
        (made.files / name).write_text(text)
    return made


def measure(laboratory: Laboratory, folder: Path, *, keep: bool = False) -> dict[str, Row]:
    old = release(folder / "sources", "1", a="x", b="y" * 500_000)
    new = release(folder / "sources", "2", a="x", b="z" * 500_000)
    rows = (*build(laboratory, _PAIR, old, new, keep=keep), *apply(laboratory, _PAIR, old, new))
    return {row.measure: row for row in rows}


def test_sizes_and_costs_are_measured_and_held_against_the_goals(tmp_path: Path) -> None:
    rows = measure(laboratory(tmp_path), tmp_path)
    assert rows[SIZE].cells[SUBJECT].value > 500_000
    assert rows[SIZE].met is False
    assert rows["new contents"].cells[SUBJECT].value == 0.5
    seconds = rows["apply, time"].cells[SUBJECT].runs
    assert rows["apply, speed"].cells[SUBJECT].runs == tuple(0.5 / taken for taken in seconds)
    memory = rows["apply, peak memory, all processes, shared pages once"]
    assert memory.cells[SUBJECT].value > 1
    assert memory.met is True


@pytest.mark.parametrize(
    "spoil", ["(files / 'b').write_text('z' * 499_999)", "(files / 'c').touch()"]
)
def test_an_installed_tree_that_is_another_fails_the_run(tmp_path: Path, spoil: str) -> None:
    with pytest.raises(BenchmarkError, match=r"the installed tree is another: [bc] "):
        measure(laboratory(tmp_path, spoil), tmp_path)


def test_full_bundles_may_be_kept_with_their_key(tmp_path: Path) -> None:
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        made = laboratory(folder)
        object.__setattr__(made, "cache", tmp_path / "cache")
        measure(made, folder, keep=True)
    kept = sorted(path.name for path in (tmp_path / "cache" / "bundles").iterdir())
    assert [name.partition("-")[0] for name in kept] == ["app", "app", "app", "key"]


def test_a_kept_increment_is_applied_without_making_it_again(tmp_path: Path) -> None:
    rows = measure(laboratory(tmp_path), tmp_path, keep=True)
    again = tmp_path / "again"
    again.mkdir()
    made = laboratory(again)
    object.__setattr__(made, "cache", tmp_path / "cache")
    old = release(again / "sources", "1", a="x", b="y" * 500_000)
    new = release(again / "sources", "2", a="x", b="z" * 500_000)
    known = tuple(fetch(made, old, new, tuple(rows.values())))
    applied = tuple(apply(made, _PAIR, old, new))
    assert [row.measure for row in (*known, *applied)] == list(rows)
    assert all(row is rows[row.measure] for row in known)


def test_an_increment_other_than_the_one_measured_is_not_taken(tmp_path: Path) -> None:
    made = laboratory(tmp_path)
    rows = measure(made, tmp_path, keep=True)
    (kept,) = (tmp_path / "cache" / "bundles").glob("*-from-*")
    kept.write_bytes(b"another")
    old = release(tmp_path / "more", "1", a="x", b="y" * 500_000)
    new = release(tmp_path / "more", "2", a="x", b="z" * 500_000)
    with pytest.raises(BenchmarkError, match="is not kept; measure once with --keep-bundles"):
        tuple(fetch(made, old, new, tuple(rows.values())))


@pytest.mark.parametrize("change", ["mode", "link", "bytes", "kind", "name"])
def test_trees_are_compared_to_the_bit(tmp_path: Path, change: str) -> None:
    trees = [tmp_path / "one", tmp_path / "other"]
    for tree in trees:
        (tree / "sub").mkdir(parents=True)
        (tree / "file").write_bytes(b"x" * 3_000_000)
        (tree / "link").symlink_to("file")
    compare(*trees)
    other = trees[1]
    match change:
        case "mode":
            (other / "file").chmod(0o755)
        case "link":
            (other / "link").unlink()
            (other / "link").symlink_to("sub")
        case "bytes":
            (other / "file").write_bytes(b"x" * 2_999_999 + b"y")
        case "kind":
            (other / "sub").rmdir()
            (other / "sub").touch()
        case _:
            (other / "sub").rename(other / "sup")
    with pytest.raises(BenchmarkError, match="the installed tree is another"):
        compare(*trees)


def test_new_contents_count_once(tmp_path: Path) -> None:
    old = release(tmp_path, "1", a="same")
    new = release(tmp_path, "2", a="same", b="new", c="new", d="newer")
    assert new.novelty(old) == 8


def test_making_alone_is_timed_by_the_call_the_command_makes(tmp_path: Path) -> None:
    subject = Holdall(tmp_path / "shop")
    runner = Runner(tmp_path / "log", dict(os.environ, HOME=str(tmp_path)))
    text = Random(1).randbytes(200_000).hex()
    old = release(tmp_path, "1", a=text, b="same")
    new = release(tmp_path, "2", a=text + "more", b="same")
    (tmp_path / "shop").mkdir()
    for made in (old, new):
        runner.run(subject.publish(made))
    runner.run((subject.build_increment(old, new),))
    root = tmp_path / "root"
    for verb in (Verb.PREPARE, Verb.INSTALL):
        runner.run(subject.plan(verb, old, root))
    command = subject.making(subject.store(root), subject.increment(old, new))
    assert command is not None
    assert 0 < float(runner.output(command)) < 60
