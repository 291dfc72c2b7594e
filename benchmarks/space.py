"""What is taken of a file system, and when what was removed is given back."""

import os
import re
import subprocess
import time
from collections.abc import Callable
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
    if not is_btrfs(root):
        system = os.statvfs(root)
        return (system.f_blocks - system.f_bfree) * system.f_frsize
    said = _btrfs("filesystem", "usage", "-b", str(root))
    return int(_found(r"^\s+Used:\s+(\d+)$", said))


def seconds_until_freed(root: Path, volumes: Callable[[], list[Path]]) -> float:
    """Wait until nothing more becomes free below a mount point; returns the seconds that took.

    ``volumes`` are the btrfs among it and below it. They free what was deleted when they next
    write, half a minute later at most: they are told to at once, and the time is that of doing it.
    """
    begun = time.perf_counter()
    for volume in volumes():
        _clean(volume)
    changed, before = time.perf_counter(), _free(root)
    while time.perf_counter() - changed < _STILL:
        time.sleep(_INTERVAL)
        if (now := _free(root)) != before:
            changed, before = time.perf_counter(), now
    return changed - begun


def _clean(volume: Path) -> None:
    """Have the deleted subvolumes of a btrfs dropped."""
    deadline = time.monotonic() + _PATIENCE
    _btrfs("filesystem", "sync", str(volume))
    while _btrfs("subvolume", "list", "-d", str(volume)):
        if time.monotonic() > deadline:
            raise BenchmarkError(f"btrfs has not freed what was deleted in {_PATIENCE:.0f} s")
        time.sleep(_INTERVAL)
    _btrfs("filesystem", "sync", str(volume))


def is_btrfs(root: Path) -> bool:
    """Whether a mount point's file system is btrfs."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if place == str(root):
            return kind == "btrfs"
    return False


def mounted_below(root: Path) -> list[Path]:
    """The mount points below a folder, and that itself where it is one; the outermost first."""
    places = (line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines())
    return sorted(Path(place) for place in places if Path(place).is_relative_to(root))


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
