"""The form btrfs on btrfs: subvolumes of root's, and of users with and without the right to delete.

That is on a disk of each test's own; what is the same for every form is in ``tests/conformance``.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from disks import disk
from holdall.system import btrfs
from sample_app import APP, VERSIONS, Bundles, installed_versions, tree_on_disk
from surroundings import Finished, HoldallCli, OrdinaryUser, Require, expected, run

pytestmark = pytest.mark.root
ROOT, ALLOWED, PLAIN = "root", "a user who may delete", "a user who may not"
UNTRUSTED = 4


@dataclass(frozen=True, slots=True)
class Place:
    """Somebody's store on a btrfs, and the command on it."""

    who: str
    cli: HoldallCli
    disk: Path
    store: Path
    bundles: Bundles
    source: Path

    def __call__(self, *words: str | Path, expect: int = 0) -> Finished:
        return self.cli("--root", self.store, *words, expect=expect)

    def install(self, version: str) -> None:
        bundle = self.bundles.bundle(version)
        self("install", "--form", "btrfs", *self.bundles.trust, bundle)

    def files(self, version: str) -> Path:
        found = {value: key for key, value in installed_versions(self.store).items()}
        (folder,) = self.store.glob(f"deployments/*/*/*/{found[version]}")
        return folder / "files"

    def subvolumes(self) -> list[str]:
        """The paths of all there are on the disk."""
        listed = subprocess.run(
            ["btrfs", "subvolume", "list", self.disk], check=True, capture_output=True, text=True
        )
        return [line.split(" path ")[1] for line in listed.stdout.splitlines()]

    def traced(self, strace: Path, *words: str | Path, options: tuple[str, ...]) -> Finished:
        """A command under strace."""
        holdall = (self.cli.python, "-m", "holdall", "--root", self.store, *words)
        return run(
            [strace, "-qq", "-o", self.store.parent / "calls", *options, *holdall],
            environment=self.cli.environment,
            directory=Path("/"),
            user=self.cli.user,
        )

    def calls(self) -> str:
        """What each process called, one after the other."""
        return "".join(path.read_text() for path in self.store.parent.glob("calls*"))


@pytest.fixture(params=[ROOT, ALLOWED, PLAIN])
def place(request: pytest.FixtureRequest, bundles: Bundles) -> Iterator[Place]:
    option = "user_subvol_rm_allowed" if request.param == ALLOWED else "noatime"
    with disk("btrfs", 1 << 30, option) as point:
        home = point / "home"
        home.mkdir()
        copied = replace(bundles, folder=home)
        for version in VERSIONS:
            shutil.copy(bundles.bundle(version), copied.bundle(version))
        if request.param == ROOT:
            cli: HoldallCli = request.getfixturevalue("holdall_cli")
        else:
            user: OrdinaryUser = request.getfixturevalue("ordinary_user")
            cli = user.holdall
            user.give(home, *home.iterdir())
        yield Place(request.param, cli, point, home / "store", copied, bundles.folder)


def set_read_only(path: Path, *, read_only: bool) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        btrfs.set_read_only(fd, read_only=read_only)
    finally:
        os.close(fd)


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Let a version be changed as its owner can, and be sealed again."""
    set_read_only(path, read_only=False)
    yield
    set_read_only(path, read_only=True)


def blocks(path: Path) -> set[str]:
    """Where a file's bytes lie on the disk."""
    listed = subprocess.run(["filefrag", "-v", path], check=True, capture_output=True, text=True)
    found = re.findall(r"^ *\d+: +\d+\.\. *\d+: +(\d+)\.\.", listed.stdout, re.MULTILINE)
    assert found
    return set(found)


def test_versions_are_read_only_snapshots(place: Place) -> None:
    place.install("1.0")
    place("update", place.bundles.bundle("2.0"))
    place("update", place.bundles.bundle("3.0"))
    for version in VERSIONS:
        assert tree_on_disk(place.files(version)) == tree_on_disk(place.source / version / "files")
        state = btrfs.state(str(place.files(version)))
        assert state is not None
        assert state.read_only
    assert len(place.subvolumes()) == 3
    with pytest.raises(OSError, match="Read-only file system"):
        (place.files("3.0") / "version").write_text("4.0")
    place("verify")


def test_a_version_takes_only_what_it_changes(place: Place) -> None:
    place.install("1.0")
    place("update", place.bundles.bundle("2.0"))
    old, new = (tree_on_disk(place.source / version / "files") for version in ("1.0", "2.0"))
    same = [name for name, data in new.items() if old.get(name) == data and len(data) > 4096]
    assert len(same) > 50
    for name in same:
        assert blocks(place.files("1.0") / name) == blocks(place.files("2.0") / name)
    assert blocks(place.files("1.0") / "large") != blocks(place.files("2.0") / "large")


def test_what_is_removed_is_gone_by_one_call_where_that_is_allowed(
    place: Place, require: Require
) -> None:
    place.install("1.0")
    place("update", place.bundles.bundle("2.0"))
    count = sum(not path.is_dir() for path in place.files("2.0").rglob("*"))
    calls = ("-ff", "-e", "trace=unlink,unlinkat,ioctl")
    expected(place.traced(require("strace"), "remove", APP, options=calls), 0)
    assert place.subvolumes() == []
    assert not list((place.store / "trash").iterdir())
    made = place.calls()
    if place.who == PLAIN:
        assert made.count("unlinkat(") > 2 * count
    else:
        assert made.count("unlinkat(") < 60 < count
        deleted = re.findall(r"SNAP_DESTROY.* = (.*)", made)
        assert deleted.count("0") == 2


def test_a_version_that_was_written_to_is_no_base(place: Place) -> None:
    place.install("1.0")
    files = place.files("1.0")
    with writable(files):
        (files / "lib/abc.py").write_text("import that")
        (files / "added").write_text("by hand")
    assert "lib/abc.py" in place("verify", expect=UNTRUSTED).stdout
    place("update", place.bundles.bundle("2.0"))
    assert tree_on_disk(place.files("2.0")) == tree_on_disk(place.source / "2.0" / "files")


def test_a_version_that_can_be_written_to_is_found(place: Place) -> None:
    place.install("1.0")
    set_read_only(place.files("1.0"), read_only=False)
    assert "can be written to" in place("verify", expect=UNTRUSTED).stdout
    place("repair", place.bundles.bundle("1.0"))
    place("verify")
    state = btrfs.state(str(place.files("1.0")))
    assert state is not None
    assert state.read_only


def test_a_version_in_another_form_gives_its_blocks(place: Place) -> None:
    place("install", "--form", "tree", *place.bundles.trust, place.bundles.bundle("1.0"))
    place("install", "--form", "btrfs", place.bundles.bundle("2.0"))
    assert btrfs.state(str(place.files("2.0"))) is not None
    same = next(
        name
        for name, data in tree_on_disk(place.files("2.0")).items()
        if len(data) > 4096 and data == tree_on_disk(place.files("1.0")).get(name)
    )
    assert blocks(place.files("1.0") / same) == blocks(place.files("2.0") / same)
    place("verify")


def test_it_is_converted_there_and_back(place: Place) -> None:
    place("install", "--form", "tree", *place.bundles.trust, place.bundles.bundle("1.0"))
    place("convert", APP, "--form", "btrfs")
    assert btrfs.state(str(place.files("1.0"))) is not None
    place("verify")
    place("convert", APP, "--form", "tree")
    place("verify")
    place("gc")
    assert place.subvolumes() == []


KILLS = {"ioctl": range(1, 9), "rename": range(1, 8), "syncfs": range(1, 4), "unlink": range(1, 4)}


@pytest.mark.slow
@pytest.mark.parametrize("step", ["update", "remove"])
@pytest.mark.parametrize("place", [ROOT, PLAIN], indirect=True)
def test_a_command_that_is_killed_leaves_no_subvolume(
    place: Place, require: Require, step: str
) -> None:
    bundle = place.bundles.bundle
    words: list[str | Path] = ["remove", APP, "--version", "2.0"]
    if step == "update":
        words = ["update", "--allow-downgrade", bundle("2.0")]
    place.install("1.0")
    landed = 0
    for call, number in ((call, number) for call, numbers in KILLS.items() for number in numbers):
        present = "2.0" in installed_versions(place.store).values()
        if step == "remove" and not present:
            place("update", "--allow-downgrade", bundle("2.0"))
        elif step == "update" and present:
            place("remove", APP, "--version", "2.0")
        inject = f"inject={call}:signal=SIGKILL:when={number}"
        ended = place.traced(require("strace"), *words, options=("-e", inject))
        landed += ended.returncode == -9
        assert ended.returncode in {-9, 0}, (call, number, ended)
        place("gc")
        place("verify")
        assert len(place.subvolumes()) == len(installed_versions(place.store)), (call, number)
    assert landed > 5
