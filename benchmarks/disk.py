"""File systems in files in memory, which everything is timed on: a journalled ext4, or a btrfs.

Every timed run gets its own: a fresh one, or a copy of an image that was brought into the wanted
state before. So no run meets what an earlier one left, in the cache or on the disk.
"""

import ctypes
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.errors import BenchmarkError

DESCRIPTION = "ext4 with a journal, in a loop file on tmpfs, made afresh for every run"
_CLONE_NEWNS = 0x00020000


class Disks:
    """Makes, copies and mounts images; all of them live in one folder in memory.

    ``system`` is ext4 or btrfs.
    """

    def __init__(self, folder: Path, mount_point: Path, size: int, system: str = "ext4") -> None:
        self._folder = folder
        self._mount_point = mount_point
        self._size = size
        self._system = system
        folder.mkdir(parents=True, exist_ok=True)

    def image(self, name: str, fill: Callable[[Path], None]) -> Path:
        """Make an image, let ``fill`` bring it into its state, and keep it for copies."""
        path = self.blank(name)
        with self._mounted(path) as root:
            fill(root)
        return path

    def blank(self, name: str) -> Path:
        """Make an image of an empty file system."""
        path = self._folder / f"{name}.{self._system}"
        self._format(path)
        return path

    @contextmanager
    def copy(self, image: Path) -> Iterator[Path]:
        """Mount a copy of an image; the copy is gone afterwards, the image as it was."""
        path = self._folder / f"copy.{self._system}"
        _call("cp", "--sparse=always", str(image), str(path))
        try:
            with self._mounted(path) as root:
                yield root
        finally:
            path.unlink()

    @contextmanager
    def remounted(self, image: Path) -> Iterator[Path]:
        """Mount an image itself: nothing of it is in the page cache then."""
        with self._mounted(image) as root:
            yield root

    def _format(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        with path.open("wb") as file:
            file.truncate(self._size)
        if self._system == "btrfs":
            _call("mkfs.btrfs", "-q", "-f", str(path))
            return
        # Tables that are not written stay holes of the loop file: images are cheap to copy.
        lazy = "lazy_itable_init=1,lazy_journal_init=1"
        _call("mkfs.ext4", "-q", "-F", "-m", "0", "-O", "has_journal", "-E", lazy, str(path))

    @contextmanager
    def _mounted(self, image: Path) -> Iterator[Path]:
        options = "loop,noinit_itable" if self._system == "ext4" else "loop"
        _call("mount", "-o", options, str(image), str(self._mount_point))
        try:
            yield self._mount_point
        finally:
            _unmount(self._mount_point)


def _unmount(mount_point: Path, patience: float = 30) -> None:
    """Unmount; a program that still holds the disk (a freeing of trash, say) is waited for."""
    deadline = time.monotonic() + patience
    while True:
        try:
            _call("umount", "-R", str(mount_point))
        except BenchmarkError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def _call(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"{' '.join(argv)} failed: {done.stderr.strip()}")


def own_mounts() -> None:
    """Give this process a mount namespace: whatever ends it takes its mounts away, too."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS):
        reason = os.strerror(ctypes.get_errno())
        raise BenchmarkError(f"cannot make a mount namespace: {reason}; run the benchmarks as root")
    _call("mount", "--make-rprivate", "/")


@contextmanager
def bind(source: Path, place: Path) -> Iterator[None]:
    """Have a file seen at another's place for a while."""
    _call("mount", "--bind", str(source), str(place))
    try:
        yield
    finally:
        _unmount(place)


@contextmanager
def workplace(memory: Path = Path("/dev/shm")) -> Iterator[tuple[Path, Path]]:  # noqa: S108 - the tmpfs
    """Lend a folder in memory and a mount point; both go, and so do a killed run's before."""
    for stale in memory.glob("holdall-bench-*"):
        owner = stale.name.rpartition("-")[2]
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(stale)
    folder = memory / f"holdall-bench-{os.getpid()}"
    folder.mkdir(mode=0o755)
    mount_point = Path(tempfile.mkdtemp(prefix="holdall-bench-"))
    try:
        yield folder, mount_point
    finally:
        shutil.rmtree(folder)
        mount_point.rmdir()
