"""What tests of mounts look at: what is mounted, who serves it, images to mount.

Must not import holdall.
"""

import ctypes
import os
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from surroundings import not_here

_CLONE_NEWNS = 0x20000
_FUSE = Path("/dev/fuse")


@contextmanager
def fuse_for_everybody(folder: Path) -> Iterator[None]:
    """Let every user open /dev/fuse, as systems commonly do; seen by this process and its children.

    The machine's own device stays as it is. What root's tests have is theirs alone also where
    every user may open that: some change it.
    """
    if os.geteuid() != 0 and os.access(_FUSE, os.R_OK | os.W_OK):
        yield
        return
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS):
        not_here("needs a mount namespace of its own")
    subprocess.run(["mount", "--make-rslave", "/"], check=True)
    node = folder / "fuse"
    os.mknod(node, stat.S_IFCHR | 0o666, _FUSE.stat().st_rdev)
    node.chmod(0o666)
    subprocess.run(["mount", "--bind", node, _FUSE], check=True)
    try:
        yield
    finally:
        # lazily: who has it open may be about to end
        subprocess.run(["umount", "--lazy", _FUSE], check=True)


def mounted_below(folder: Path) -> list[str]:
    """The lines of what this process sees mounted at or below a folder."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [line for line in lines if f"{line.split()[4]}/".startswith(f"{folder}/")]


def command_lines() -> Iterator[tuple[int, list[str]]]:
    """Every process with its words."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_bytes().decode(errors="replace")
            yield int(process.name), words.split("\0")


def servers_of(folder: Path) -> list[int]:
    """The processes of squashfuse that serve an image from below a folder."""
    return [
        process
        for process, words in command_lines()
        if "squashfuse" in words[0] and any(word.startswith(f"{folder}/") for word in words)
    ]


def answering(folder: Path) -> list[int]:
    """The processes that answer for a bundle from below a folder, be it removed or not."""
    return [
        int(process.name)
        for process in Path("/proc").glob("[0-9]*")
        if any(one.startswith(f"{folder}/") and "/bundle" in one for one in held_by(process))
    ]


def held_by(process: Path) -> list[str]:
    """What a process (/proc/PID) has open; what it opens or closes meanwhile may be left out."""
    found = []
    with suppress(OSError):
        for fd in (process / "fd").iterdir():
            with suppress(OSError):
                found.append(str(fd.readlink()))
    return found


def loops_of(folder: Path) -> list[str]:
    """The loop devices whose file lies below a folder."""
    found = []
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):  # it is detached meanwhile
            if (file := path.read_text().strip()).startswith(f"{folder}/"):
                found.append(file)
    return sorted(found)


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether a condition comes to hold before long."""
    end = time.monotonic() + 60
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def make_image(kind: str, folder: Path, image: Path, *, offset: int = 0) -> int:
    """Write an image of a folder into a file, from an offset on; returns its own size."""
    plain = image.with_suffix(".plain")
    argv: list[str | Path] = ["mkfs.erofs", "--quiet", plain, folder]
    if kind == "squashfs":
        argv = ["mksquashfs", folder, plain, "-quiet", "-no-progress", "-all-root"]
    subprocess.run(argv, check=True, capture_output=True)
    data = plain.read_bytes()
    plain.unlink()
    image.write_bytes(bytes(offset) + data + b"what follows the image")
    return len(data)
