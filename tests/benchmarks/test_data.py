import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.contenders import Program, Verb
from benchmarks.data import DATASETS, Dataset, Release, releases_of, unique_bytes
from benchmarks.pagecache import PAGE, cached_bytes
from benchmarks.peers import missing_packages, peers
from benchmarks.subject import Holdall


def release(folder: Path, version: str, **files: str) -> Release:
    made = Release("app", version, folder / version, "org.example.App")
    made.files.mkdir(parents=True)
    for name, text in files.items():
        (made.files / name).write_text(text)
    return made


def test_contents_that_two_versions_share_count_once(tmp_path: Path) -> None:
    old = release(tmp_path, "1", a="same", b="old", copy="same")
    new = release(tmp_path, "2", a="same", b="n" * 5000)
    assert unique_bytes(old, new) == 4096 + 4096 + 8192


def test_a_fingerprint_tells_trees_apart(tmp_path: Path) -> None:
    one = release(tmp_path, "1", a="x").fingerprint
    assert one == release(tmp_path, "2", a="x").fingerprint
    assert one != release(tmp_path, "3", b="x").fingerprint


@pytest.mark.slow
def test_the_made_up_set_is_the_same_every_time_and_changes_in_part(tmp_path: Path) -> None:
    old, new = releases_of(DATASETS["sample"], tmp_path, tmp_path / "a")
    again, _ = releases_of(DATASETS["sample"], tmp_path, tmp_path / "b")
    assert old.fingerprint == again.fingerprint
    changed = [path for path, content in old.contents.items() if new.contents[path] != content]
    assert len(changed) == 31


def test_a_file_just_written_is_cached_wholly_and_counts_once_under_two_names(
    tmp_path: Path,
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * (3 * PAGE + 1))
    other = tmp_path / "other"
    other.hardlink_to(file)
    # more than once, as kernels take pages away
    assert 4 * PAGE in [cached_bytes([file, other]) for _ in range(3) if file.read_bytes()]
    (tmp_path / "empty").touch()
    assert cached_bytes([tmp_path / "empty"]) == 0


def test_missing_programs_are_named_by_their_packages(tmp_path: Path) -> None:
    absent = Holdall(tmp_path, programs=(Program("no-such-program", "nothing"),))
    assert missing_packages((absent,)) == ("nothing",)


@pytest.mark.parametrize("verb", [Verb.INSTALL, Verb.UPDATE, Verb.ADD])
def test_every_peer_can_install_update_and_add(tmp_path: Path, verb: Verb) -> None:
    new = release(tmp_path, "2", a="x")
    for peer in peers(tmp_path):
        assert peer.plan(verb, new, tmp_path / "disk")


def test_dependencies_of_a_day_are_kept_apart_from_those_of_today(tmp_path: Path) -> None:
    today = Dataset("app", ("1",), "app")
    then = replace(today, days=("2026-08-29",))
    for folder, content in (("app-1", "today"), ("app-1-of-2026-08-29", "then")):
        packages = tmp_path / "wheels" / folder
        packages.mkdir(parents=True)
        (packages / "complete").touch()
        with zipfile.ZipFile(packages / "app-1-py3-none-any.whl", "w") as wheel:
            wheel.writestr("app/file", content)
    found = [
        (next(releases_of(dataset, tmp_path, tmp_path / name)).files / "app/file").read_text()
        for dataset, name in ((today, "a"), (then, "b"))
    ]
    assert found == ["today", "then"]
