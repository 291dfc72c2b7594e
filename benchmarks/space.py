"""What is taken of a file system, and when what was removed is given back."""

import os
import re
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.errors import BenchmarkError

_STILL = 0.3
_INTERVAL = 0.005
_PATIENCE = 60.0


def used(root: Path) -> int:
    """The bytes that a file system has given out, once all is written back.

    Of btrfs: data and metadata, the latter twice, as it keeps it by itself.
    """
    os.sync()
    if root not in _btrfs_below(root):
        system = os.statvfs(root)
        return (system.f_blocks - system.f_bfree) * system.f_frsize
    said = _btrfs("filesystem", "usage", "-b", str(root))
    return int(_found(r"^\s+Used:\s+(\d+)$", said))


def seconds_until_freed(root: Path) -> float:
    """Wait until nothing more becomes free below a mount point; returns the seconds that took.

    A btrfs there frees what was deleted when it next writes, half a minute later at most: it is
    told to at once, as soon as it has any, and the time is that of doing it.
    """
    begun = changed = time.perf_counter()
    before = _free(root)
    while time.perf_counter() - changed < _STILL or is_worked_on(root):
        time.sleep(_INTERVAL)
        cleaned = [_clean(volume) for volume in _btrfs_below(root)]
        if (now := _free(root)) != before or any(cleaned):
            changed, before = time.perf_counter(), now
        if time.perf_counter() - begun > _PATIENCE:
            raise BenchmarkError(f"what was removed is not all free after {_PATIENCE:.0f} s")
    return changed - begun


def is_worked_on(root: Path) -> bool:
    """Whether a process that was started with a path below the folder still runs."""
    below = bytes(root) + b"/"
    for process in Path("/proc").iterdir():
        # any of them may end meanwhile
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().split(b"\0")
            if any(word.startswith(below) for word in words):
                return True
    return False


def _clean(volume: Path) -> bool:
    """Have the deleted subvolumes of a btrfs dropped; returns whether there were any."""
    try:
        if not _btrfs("subvolume", "list", "-d", str(volume)):
            return False
        _btrfs("filesystem", "sync", str(volume))
    except BenchmarkError:
        # one in a file goes with the last app that lies in it
        if volume in _btrfs_below(volume):
            raise
    return True


def _btrfs_below(root: Path) -> list[Path]:
    """The mount points of btrfs at and below a folder."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    found = (Path(place) for _, place, kind, *_ in mounts if kind == "btrfs")
    return [place for place in found if place.is_relative_to(root)]


def _free(root: Path) -> tuple[int, int]:
    system = os.statvfs(root)
    return system.f_bfree, system.f_ffree


def _btrfs(*argv: str) -> str:
    done = subprocess.run(("btrfs", *argv), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"btrfs {' '.join(argv)} failed: {done.stderr.strip()}")
    return done.stdout


def _found(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        raise BenchmarkError(f"btrfs said what this harness does not understand: {text!r}")
    return found[1]
