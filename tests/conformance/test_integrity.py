"""A byte that changes on the disk is found: when it is read, at launch, or by verify."""

import errno
import mmap
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ledger import EVIDENCE, GRADE
from mounts import eventually
from specimen import NOISE, Specimen
from stand import CASES, Stand

pytestmark = pytest.mark.usefixtures("sandbox")

CORRUPT = 4
_SUBVOLUME = 256  # the inode of each subvolume's own folder


def holders(top: Path, wanted: bytes) -> Iterator[tuple[Path, int]]:
    """Each file below a folder that has these bytes, and where; an inode once."""
    seen = set()
    for folder, _, names in os.walk(top):
        for path in (Path(folder, name) for name in names):
            status = path.lstat()
            if path.is_symlink() or status.st_size < len(wanted) or status.st_ino in seen:
                continue
            seen.add(status.st_ino)
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
                if (at := data.find(wanted)) >= 0:
                    yield path, at


def occurrences(path: Path, wanted: bytes) -> list[int]:
    """Wherever a file has these bytes."""
    found = [-1]
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as data:
        while (at := data.find(wanted, found[-1] + 1)) >= 0:
            found.append(at)
    return found[1:]


def flip(path: Path, at: int) -> None:
    """Change one byte; the file's times stay as they are."""
    status = path.stat()
    with writable(path), path.open("r+b", buffering=0) as file:
        byte = os.pread(file.fileno(), 1, at)
        os.pwrite(file.fileno(), bytes([byte[0] ^ 1]), at)
        os.fsync(file.fileno())
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Make a read-only subvolume writable for a while, as its owner could."""
    try:
        path.open("r+b").close()
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
        folder = next(folder for folder in path.parents if folder.stat().st_ino == _SUBVOLUME)
        setting = ["btrfs", "property", "set", "-f", "-t", "subvol", str(folder), "ro"]
        subprocess.run([*setting, "false"], check=True)
        yield
        subprocess.run([*setting, "true"], check=True)
    else:
        yield


@pytest.mark.measures("N7")
def test_a_flipped_byte_is_found(
    stand: Stand, specimen: Specimen, record_property: Callable[[str, object], None]
) -> None:
    stand.install(specimen.old)
    noise = (specimen.old.files / NOISE).read_bytes()
    places = list(holders(stand.store, noise[200_000:200_064]))
    path, at = min(places, key=lambda place: place[0].stat().st_size)
    flip(path, at)

    found = []
    if stand.cli(*stand.options, "run", specimen.app, expect=None).returncode == CORRUPT:
        found.append("at launch")
    else:
        with stand.guest() as app:
            faults = app("faults")
        assert faults in ({}, {NOISE: os.strerror(errno.EIO)})
        if faults:
            found.append("when read")
    told = stand.do("verify", expect=CORRUPT)
    assert NOISE in told.stdout + told.stderr or path.name in told.stdout + told.stderr
    found.append("by verify")

    record_property(GRADE, {"N7": "yes" if "when read" in found else "partly"})
    record_property(EVIDENCE, {"found": found, "in": str(path.relative_to(stand.store).name)})


@pytest.mark.parametrize("case", [case for case in CASES if case.form == "btrfs"], ids=str)
@pytest.mark.measures("N7")
def test_btrfs_does_not_hand_out_what_the_disk_has_spoiled(
    stand: Stand,
    specimen: Specimen,
    memory_disk: Path,
    record_property: Callable[[str, object], None],
) -> None:
    stand.install(specimen.old)
    os.sync()
    noise = (specimen.old.files / NOISE).read_bytes()
    disks = (stand.store / "volume.btrfs", memory_disk / "btrfs.img")
    disk = next(path for path in disks if path.exists())
    # blocks of what lay there before, and was removed, may have the same bytes
    for at in occurrences(disk, noise[200_000:200_064]):
        flip(disk, at)

    def is_refused() -> bool:
        """Whether it is, once the kernel has let go of what it read before."""
        with (stand.deployments()[0] / "files" / NOISE).open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        with stand.guest() as app:
            return bool(app("faults") == {NOISE: os.strerror(errno.EIO)})

    assert eventually(is_refused)
    assert NOISE in stand.do("verify", expect=CORRUPT).stdout
    # what its owner writes has a right sum: that is what the other test finds
    record_property(GRADE, {"N7": "partly"})
    record_property(EVIDENCE, {"found": ["when read, if the disk did it"]})
