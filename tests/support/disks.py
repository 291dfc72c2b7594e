"""File systems in files in memory, for tests that need one of a kind; for root.

They lie where every user may go: pytest's own folders are closed to others.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from surroundings import not_here, run

_MAKE = {
    "btrfs": ("mkfs.btrfs", "-q"),
    "ext4": ("mkfs.ext4", "-q", "-m", "0", "-O", "has_journal", "-E", "root_owner=0:0"),
}


@contextmanager
def disk(kind: str, size: int, option: str = "noatime") -> Iterator[Path]:
    """A fresh file system of so many bytes, mounted."""
    if os.geteuid() != 0:
        not_here("needs root")
    with ExitStack() as cleanup:
        folder = Path(cleanup.enter_context(TemporaryDirectory(prefix=f"holdall-{kind}-")))
        folder.chmod(0o755)
        memory, point = folder / "memory", folder / "disk"
        _mount(cleanup, memory, "-t", "tmpfs", "-o", f"size={size + (64 << 20)}", "tmpfs")
        image = memory / "image"
        with image.open("wb") as file:
            file.truncate(size)
        subprocess.run([*_MAKE[kind], image], check=True, capture_output=True)
        _mount(cleanup, point, "-o", f"loop,{option}", str(image))
        yield point


def unmount(point: Path, patience: float = 4) -> None:
    """Unmount, once what a command left behind has ended.

    Another namespace of mounts that was made meanwhile may keep it as long as that lives.
    """
    end = time.monotonic() + patience
    while subprocess.run(["umount", point], capture_output=True, check=False).returncode:
        if time.monotonic() > end:
            subprocess.run(["umount", "--lazy", point], check=True)
            return
        time.sleep(0.1)


def _mount(cleanup: ExitStack, point: Path, *words: str) -> None:
    point.mkdir()
    attempt = run(["mount", *words, point], environment=os.environ)
    if attempt.returncode:
        not_here(f"needs to mount: {attempt.stderr.strip()}")
    cleanup.callback(unmount, point)
