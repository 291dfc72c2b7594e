"""What tests of updates look at in a store, and the harm they do to it."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from bundles import APP
from hostility import Victim
from increments import Versions
from sample_app import tree_on_disk

GONE, CORRUPT = 3, 4


def files(store: Victim, version: str) -> Path:
    """The installed files of a version."""
    printed = store.accepts("path", APP, "--version", version)
    return Path(json.loads(printed)["path"])


def is_whole(store: Victim, versions: Versions, active: str) -> bool:
    """Whether the active version is this one, every file is right, and nothing else is left."""
    assert tree_on_disk(files(store, active)) == tree_on_disk(versions.files(active))
    store.accepts("verify")
    assert not (store.root / "partial").exists()
    for folder in ("staging", "journal"):
        assert not list((store.root / folder).glob("*"))
    return bool(json.loads(store.accepts("list"))[0]["version"] == active)


def spoil(path: Path) -> None:
    """Change a file and hide it: the time is as it was."""
    status = path.stat()
    path.write_bytes(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def edit(path: Path) -> None:
    path.write_bytes(b"edited")


HARM: dict[str, tuple[Callable[[Path], None], int]] = {
    "deleted": (Path.unlink, GONE),
    "edited": (edit, GONE),
    "spoiled": (spoil, CORRUPT),
}
"""What is done to a file that others are made from, and the exit code that follows."""
