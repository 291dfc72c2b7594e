"""The store's own btrfs in a file, where something else was put in its place."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bundles import APP, make_bundle, trusting_store
from disks import disk, unmount
from hostility import call, read_refusal
from surroundings import OrdinaryUser

pytestmark = [pytest.mark.root, pytest.mark.integration]


@pytest.fixture
def store(installed_bundle: Path) -> Iterator[Path]:
    """Root's store on ext4 with an app in its volume, as after a restart."""
    with disk("ext4", 1 << 30) as ground:
        root = ground / "store"
        trusting_store(root)
        words = ("install", "--form", "btrfs", installed_bundle)
        status, _, complaints = call("--json", "--root", root, *words)
        assert status == 0, complaints
        unmount(root / "volume")
        yield root
        if (root / "volume").is_mount():
            unmount(root / "volume")


def overwritten(path: Path) -> None:
    path.write_bytes(b"garbage" * 2**20)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def damaged(path: Path) -> None:
    """The superblock and its copy have a wrong checksum."""
    with path.open("r+b") as file:
        for place in (2**16, 2**26):
            file.seek(place)
            file.write(b"\xff" * 32)


Spoil = Callable[[Path], None]


def refusal_of(store: Path, *words: str | Path) -> str:
    """What a command on the store is refused with, by exit code 4."""
    status, _, complaints = call("--json", "--root", store, *words)
    assert status == 4, complaints
    return read_refusal(complaints).message


@pytest.mark.parametrize("spoil", [overwritten, emptied, damaged])
def test_garbage_is_named_with_the_way_out(
    store: Path, installed_bundle: Path, tmp_path: Path, spoil: Spoil
) -> None:
    newer = make_bundle(tmp_path / "two.holdall", version="2.0")
    file = store / "volume.btrfs"
    spoil(file)
    commands: list[list[str | Path]] = [["path", APP], ["gc"], ["update", newer]]
    for words in commands:
        told = refusal_of(store, *words)
        assert told.startswith(f"{file} is damaged")
        assert "move it away" in told
    file.rename(store.parent / "away")
    status, _, complaints = call("--root", store, "repair", installed_bundle)
    assert status == 0, complaints
    status, _, complaints = call("--root", store, "verify")
    assert status == 0, complaints


@pytest.mark.parametrize("name", ["volume", "volume.btrfs", ".volume"])
def test_what_another_user_put_there_is_refused(store: Path, name: str) -> None:
    path = store / name
    if name == ".volume":
        path.unlink()
        path.symlink_to("/etc")
    else:
        subprocess.run(["chown", "65534:65534", path], check=True)
    assert str(path) in refusal_of(store, "gc")


def test_other_users_cannot_hold_up_root(store: Path, ordinary_user: OrdinaryUser) -> None:
    for folder in (store.parent, store):
        folder.chmod(0o755)
    call("--root", store, "path", APP)
    for name in ("lock", "volume.lock"):
        assert (store / name).stat().st_mode & 0o777 == 0o600
        done = ordinary_user.run("flock", "-n", store / name, "true", expect=66)
        assert "Permission denied" in done.stderr
    unmount(store / "volume")
    with subprocess.Popen(
        ["flock", store, "sh", "-c", "echo up; exec sleep 60"],
        user=ordinary_user.uid,
        group=ordinary_user.gid,
        extra_groups=[],
        stdout=subprocess.PIPE,
        cwd="/",
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"up\n"
        try:
            status, _, complaints = call("--root", store, "path", APP)
        finally:
            holder.kill()
    assert status == 0, complaints
