"""The form btrfs where the store is not on btrfs: root keeps one in a file of the store."""

import os
import random
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from disks import disk, unmount
from holdall.system import btrfs
from holdall.system.volume import Volume
from mounts import eventually
from sample_app import APP, Bundles, installed_versions, tree_on_disk
from surroundings import Finished, HoldallCli, OrdinaryUser, Require, run

pytestmark = pytest.mark.root
MEBI = 2**20
LEAST = 256 * MEBI
GONE, NO_SPACE, UNSUPPORTED = 3, 6, 7
BIG = "org.example.Big"


@dataclass(frozen=True, slots=True)
class Place:
    """Root's store on a journalled ext4."""

    cli: HoldallCli
    store: Path
    bundles: Bundles

    def __call__(self, *words: str | Path, expect: int = 0) -> Finished:
        return self.cli("--root", self.store, *words, expect=expect)

    def json(self, *words: str) -> list[dict[str, Any]]:
        rows = self.cli.json("--root", self.store, *words)
        assert isinstance(rows, list)
        return rows

    def install(self, version: str, expect: int = 0) -> Finished:
        options = ("--form", "btrfs", "--allow-downgrade", *self.bundles.trust)
        return self("install", *options, self.bundles.bundle(version), expect=expect)

    @property
    def file(self) -> Path:
        return self.store / "volume.btrfs"

    @property
    def point(self) -> Path:
        return self.store / "volume"

    @property
    def files(self) -> Path:
        """The files of the active version."""
        return Path(self("path", APP).stdout.rstrip("\n"))

    def loops(self) -> list[str]:
        """The loop devices of the volume."""
        listed = subprocess.run(
            ["losetup", "-nO", "NAME", "-j", self.file], check=True, capture_output=True
        )
        return listed.stdout.decode().split()

    def subvolumes(self) -> list[str]:
        return sorted(path.name for path in self.point.iterdir())

    def free(self) -> None:
        """Give everything back that can be."""
        self("gc")

    def restart(self) -> None:
        """What a restart of the machine does to mounts."""
        unmount(self.point)


@pytest.fixture
def ground() -> Iterator[Path]:
    """A journalled ext4 that is open to every user."""
    with disk("ext4", 2 << 30) as point:
        yield point


@pytest.fixture
def place(ground: Path, holdall_cli: HoldallCli, bundles: Bundles) -> Iterator[Place]:
    made = Place(holdall_cli, ground / "store", bundles)
    yield made
    if made.point.is_mount():
        unmount(made.point)


@pytest.fixture
def big(ground: Path, place: Place) -> Callable[[int], Path]:
    """Bundles of so many MiB that nothing makes smaller."""

    def make(size: int) -> Path:
        source, bundle = ground / f"big{size}", ground / f"big{size}.holdall"
        (source / "files").mkdir(parents=True)
        chance = random.Random(size)
        with (source / "files/data").open("wb") as file:
            for _ in range(size):
                file.write(chance.randbytes(MEBI))
        (source / "holdall.toml").write_text(
            f'id = "{BIG}"\nversion = "1.{size}"\nkind = "app"\ncommand = ["/app/data"]\n'
            '[about]\nname = "Big"\nsummary = "Is large"\n'
        )
        place("build", source, "-o", bundle, "--level", "1", "--unsigned")
        return bundle

    return make


def test_versions_lie_in_one_file_and_are_read_where_they_always_are(place: Place) -> None:
    place.install("1.0")
    place("update", place.bundles.bundle("2.0"))
    assert place.file.stat().st_size < 128 * MEBI
    assert place.file.stat().st_blocks * 512 >= place.file.stat().st_size
    assert place.file.stat().st_mode & 0o777 == 0o600
    assert tree_on_disk(place.files) == tree_on_disk(place.bundles.files("2.0"))
    assert place.files.is_symlink()
    assert not str(place.files.readlink()).startswith("/")
    state = btrfs.state(str(place.files))
    assert state is not None
    assert state.read_only
    assert len(place.subvolumes()) == 2
    assert len(place.loops()) == 1
    place("verify")


def test_all_is_given_back_when_nothing_is_left(place: Place) -> None:
    place.install("1.0")
    place("update", place.bundles.bundle("2.0"))
    place("remove", APP, "--version", "1.0")
    place.free()
    assert len(place.subvolumes()) == 1
    place("verify")
    place("remove", APP)
    assert eventually(lambda: not place.file.exists())
    place.free()
    assert not place.point.exists()
    assert not list(place.store.rglob(".volume"))
    assert not list((place.store / "deployments").iterdir())
    assert not place.loops()


@pytest.mark.parametrize("words", [("remove",), ("convert", "--form", "tree")])
def test_the_last_app_gives_all_back_when_it_goes(place: Place, words: tuple[str, ...]) -> None:
    place.install("1.0")
    place(words[0], APP, *words[1:])
    assert eventually(lambda: not place.file.exists())
    assert eventually(lambda: not place.loops())


def test_what_is_left_in_it_keeps_it(place: Place) -> None:
    place.install("1.0")
    place("update", place.bundles.bundle("2.0"))
    place("remove", APP, "--version", "1.0")
    assert eventually(lambda: len(place.subvolumes()) == 1)
    place("verify")


def test_one_that_was_made_and_never_used_is_given_back_by_the_first_gc(place: Place) -> None:
    place.store.mkdir()
    Volume(str(place.store)).make_room(0)
    place.free()
    assert not place.file.exists()
    assert not place.point.exists()


def test_a_small_one_grows_to_what_can_be_resized(place: Place, big: Callable[[int], Path]) -> None:
    place.install("1.0")
    place("install", "--form", "btrfs", "--insecure-unsigned", big(80))
    assert place.file.stat().st_size == LEAST
    place("verify")


def test_one_whose_growing_was_cut_off_below_that_is_used(place: Place) -> None:
    place.install("1.0")
    os.truncate(place.file, place.file.stat().st_size + 16 * MEBI)
    place.restart()
    place("update", place.bundles.bundle("2.0"))
    place("verify")


def test_what_is_in_it_is_counted_with_the_app_and_the_rest_once(place: Place) -> None:
    place.install("1.0")
    place("update", place.bundles.bundle("2.0"))
    os.sync()
    rows = {row["ref"].partition("/")[0]: row["unique"] for row in place.json("du")}
    taken = place.file.stat().st_blocks * 512
    held = sum(path.lstat().st_blocks * 512 for path in place.files.rglob("*"))
    assert held < rows[APP] < 3 * held
    assert taken - 3 * held < rows["volume"] < taken - held
    measured = run(["du", "-sx", "--block-size=1", place.store], environment=os.environ)
    assert rows["total"] == int(measured.stdout.split()[0])


@pytest.mark.slow
def test_it_grows_with_what_is_installed_and_shrinks_again(
    place: Place, big: Callable[[int], Path]
) -> None:
    place.install("1.0")
    place("install", "--form", "btrfs", "--insecure-unsigned", big(300))
    grown = place.file.stat().st_size
    assert grown > 350 * MEBI
    place("verify")
    place("remove", BIG)
    place.free()
    shrunk = place.file.stat().st_size
    assert shrunk <= grown - 64 * MEBI
    assert os.statvfs(place.point).f_blocks * 4096 == shrunk
    place("verify")
    place("install", "--form", "btrfs", "--insecure-unsigned", big(301))
    place("verify")


@pytest.mark.slow
def test_what_the_disk_cannot_hold_is_refused(
    place: Place, ground: Path, big: Callable[[int], Path]
) -> None:
    place.install("1.0")
    size = place.file.stat().st_size
    bundle = big(300)
    filler = ground / "filler"
    room = os.statvfs(ground).f_bavail * 4096 - 100 * MEBI
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, room)
    refused = place(*("install", "--form", "btrfs", "--insecure-unsigned", bundle), expect=NO_SPACE)
    assert "MiB more" in refused.stderr
    assert place.file.stat().st_size == size
    place("update", place.bundles.bundle("2.0"))
    place("verify")
    filler.unlink()
    place("install", "--form", "btrfs", "--insecure-unsigned", bundle)


def test_after_a_restart_root_mounts_it_by_any_command(place: Place) -> None:
    place.install("1.0")
    for words in (("path", APP), ("verify",), ("update", place.bundles.bundle("2.0"))):
        place.restart()
        place(*words)
        assert place.point.is_mount()
        assert len(place.loops()) == 1
    assert tree_on_disk(place.files) == tree_on_disk(place.bundles.files("2.0"))


@pytest.mark.usefixtures("sandbox")
def test_after_a_restart_an_app_starts_from_the_menu(place: Place) -> None:
    place.install("1.0")
    (stub,) = place.store.glob("run/*/*/stable")
    place.restart()
    environment = {**place.cli.environment, "HOLDALL_COMMAND": "/usr/bin/head"}
    started = run([stub, "-n", "1", "/app/version"], environment=environment)
    assert (started.returncode, started.stdout) == (0, "1.0\n"), started
    assert place.point.is_mount()
    place("run", APP, "--command", "/usr/bin/true")


def test_after_a_restart_others_are_told(place: Place, ordinary_user: OrdinaryUser) -> None:
    place.install("1.0")
    told = ordinary_user.holdall("--root", place.store, "path", APP)
    assert told.stdout.startswith(str(place.store))
    place.restart()
    told = ordinary_user.holdall("--root", place.store, "path", APP, expect=UNSUPPORTED)
    assert "is not mounted" in told.stderr
    assert not place.point.is_mount()


def test_an_ordinary_user_is_told_what_it_takes(
    bundles: Bundles, ordinary_user: OrdinaryUser
) -> None:
    store = ordinary_user.home / "store"
    copied = ordinary_user.home / "sample.holdall"
    copied.write_bytes(bundles.bundle("1.0").read_bytes())
    ordinary_user.give(copied)
    words = ("install", "--form", "btrfs", *bundles.trust, copied)
    refused = ordinary_user.holdall("--root", store, *words, expect=UNSUPPORTED)
    assert "needs that, or root" in refused.stderr
    assert installed_versions(store) == {}
    assert not list((store / "staging").iterdir())


def test_a_device_that_is_there_already_is_used(place: Place) -> None:
    place.install("1.0")
    place.restart()
    subprocess.run(["losetup", "--find", place.file], check=True)
    place("path", APP)
    assert len(place.loops()) == 1
    place("verify")
    unmount(place.point)
    subprocess.run(["losetup", "-d", *place.loops()], check=True)


def test_one_that_the_kernel_has_made_read_only_is_mounted_anew(place: Place) -> None:
    place.install("1.0")
    subprocess.run(["mount", "-o", "remount,ro", place.point], check=True)
    place("update", place.bundles.bundle("2.0"))
    place("verify")


def test_a_file_that_is_larger_than_what_is_in_it_is_used_to_its_end(place: Place) -> None:
    place.install("1.0")
    os.truncate(place.file, LEAST + 64 * MEBI)
    place.restart()
    place("update", place.bundles.bundle("2.0"))
    assert os.statvfs(place.point).f_blocks * 4096 == LEAST + 64 * MEBI


def test_a_version_that_runs_outlives_its_removal(place: Place) -> None:
    place.install("1.0")
    (deployment,) = place.store.glob("deployments/*/*/stable/*")
    version = place.files / "version"
    with (
        subprocess.Popen(
            ["python3", "-c", HOLD, deployment / "lease", version],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as runner,
    ):
        assert runner.stdout is not None
        assert runner.stdout.readline() == b"1.0\n"
        place("remove", APP)
        place.free()
        (kept,) = place.subvolumes()
        place.install("2.0")
        place.free()
        assert len(place.subvolumes()) == 2
        assert runner.communicate(b"\n")[0] == b"1.0\n"
    place.free()
    assert len(place.subvolumes()) == 1
    assert kept not in place.subvolumes()


HOLD = """
import fcntl, os, struct, sys
lease = os.open(sys.argv[1], os.O_RDONLY)
fcntl.fcntl(lease, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_RDLCK, 0, 0, 0, 0))
folder = os.open(os.path.dirname(sys.argv[2]), os.O_RDONLY)
def say():
    with open(os.open("version", os.O_RDONLY, dir_fd=folder)) as file:
        print(file.read().strip(), flush=True)
say()
sys.stdin.readline()
say()
"""

KILLS = {
    "ioctl": range(1, 9, 2),
    "rename": range(1, 8, 2),
    "symlink": range(1, 4),
    "fallocate": range(1, 2),
    "mkdir": range(1, 12, 4),
    "syncfs": range(1, 3),
    "vfork": range(1, 9),
}


@pytest.mark.slow
@pytest.mark.parametrize("first", [True, False])
def test_a_command_that_is_killed_leaves_one_whole_volume(
    place: Place, require: Require, *, first: bool
) -> None:
    words = ("install", "--form", "btrfs", "--allow-downgrade", *place.bundles.trust)
    strace = (require("strace"), "-qq", "-o", place.store.parent / "calls")
    landed = 0
    for call, number in ((call, number) for call, numbers in KILLS.items() for number in numbers):
        if not first:
            place.install("1.0")
        inject = f"inject={call}:signal=SIGKILL:when={number}"
        holdall = (place.cli.python, "-m", "holdall", "--root", place.store, *words)
        ended = run(
            [*strace, "-e", inject, *holdall, place.bundles.bundle("2.0")],
            environment=place.cli.environment,
        )
        assert ended.returncode in {-9, 0}, (call, number, ended)
        landed += ended.returncode == -9
        place("verify")
        place.install("2.0")
        place.free()
        assert len(place.loops()) == 1
        assert len(place.subvolumes()) == len(installed_versions(place.store)), (call, number)
        place("verify")
        place("remove", APP)
        place.free()
        assert not place.file.exists()
        assert not (place.store / ".volume.tmp").exists()
    assert landed > 8


@pytest.mark.parametrize("program", ["mkfs.btrfs", "mount"])
def test_what_a_killed_command_left_running_is_waited_for(
    place: Place, require: Require, tmp_path: Path, program: str
) -> None:
    slow, begun, ended = tmp_path / program, tmp_path / "begun", tmp_path / "ended"
    slow.write_text(f'#!/bin/sh\n: >{begun}\nsleep 1\n{require(program)} "$@"\n: >{ended}\n')
    slow.chmod(0o755)
    environment = {**place.cli.environment}
    environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
    words = ("install", "--form", "btrfs", *place.bundles.trust, place.bundles.bundle("1.0"))
    holdall = (place.cli.python, "-m", "holdall", "--root", place.store, *words)
    with subprocess.Popen([*map(str, holdall)], env=environment) as killed:
        assert eventually(begun.exists)
        killed.kill()
    place.install("2.0")
    assert ended.exists()
    assert len(place.loops()) == 1
    place("verify")
