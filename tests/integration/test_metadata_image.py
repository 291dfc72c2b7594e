"""Metadata images: the kernel and erofs-utils read in them what the tree says."""

import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings

from holdall.forms import erofs
from holdall.model.tree import Directory, File, Symlink, Tree
from shapes import SHAPES, TREES
from surroundings import Require, not_here

METACOPY = "trusted.overlay.metacopy"
REDIRECT = "trusted.overlay.redirect"


class Seen(NamedTuple):
    """What is seen of an entry; the same inode has the same `inode`, counted as first met."""

    mode: int
    size: int
    links: int
    target: str
    attributes: dict[str, bytes]


def wanted(tree: Tree) -> dict[str, Seen]:
    """What a tree says, counted apart from how an image is made."""
    ranks = {digest: rank for rank, digest in enumerate(sorted(tree.contents))}
    places: dict[tuple[bytes, bool], int] = {}
    below: dict[str, int] = {"": 0}
    for entry in tree.entries:
        if isinstance(entry, File):
            key = entry.digest, entry.executable
            places[key] = places.get(key, 0) + 1
        elif isinstance(entry, Directory):
            below[entry.path] = 0
            below[entry.path.rpartition("/")[0]] += 1
    found = {path: Seen(0o40755, 0, 2 + count, "", {}) for path, count in below.items()}
    for entry in tree.entries:
        if isinstance(entry, Symlink):
            found[entry.path] = Seen(0o120777, len(entry.target.encode()), 1, entry.target, {})
        elif isinstance(entry, File):
            mode = 0o100755 if entry.executable else 0o100644
            links = places[entry.digest, entry.executable]
            attributes = {
                METACOPY: b"\x00\x24\x00\x01" + entry.digest,
                REDIRECT: b"/" + letters(ranks[entry.digest]),
            }
            found[entry.path] = Seen(mode, entry.size, links, "", attributes if entry.size else {})
    return found


def letters(rank: int) -> bytes:
    alphabet = b"+0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
    return bytes((alphabet[rank >> 12], alphabet[rank >> 6 & 63], alphabet[rank & 63]))


def seen(top: str) -> dict[str, Seen]:
    """All that is to be seen of a mounted image."""
    found = {"": look(top)}
    folders = [""]
    while folders:
        folder = folders.pop()
        for item in Path(f"{top}/{folder}").iterdir():
            path = f"{folder}{item.name}"
            found[path] = look(f"{top}/{path}")
            if stat.S_ISDIR(found[path].mode):
                folders.append(f"{path}/")
    return found


def look(path: str) -> Seen:
    status = os.lstat(path)
    assert (status.st_uid, status.st_gid, status.st_mtime_ns) == (0, 0, 0)
    target = str(Path(path).readlink()) if stat.S_ISLNK(status.st_mode) else ""
    names = os.listxattr(path, follow_symlinks=False)
    attributes = {name: os.getxattr(path, name, follow_symlinks=False) for name in names}
    size = 0 if stat.S_ISDIR(status.st_mode) else status.st_size
    return Seen(status.st_mode, size, status.st_nlink, target, attributes)


@contextmanager
def mounted(image: Path) -> Iterator[str]:
    point = image.with_suffix(".mounted")
    point.mkdir()
    argv = ["mount", "-t", "erofs", "-o", "ro,loop", str(image), str(point)]
    attempt = subprocess.run(argv, capture_output=True, text=True, check=False)
    if attempt.returncode != 0 and "unknown filesystem type" in attempt.stderr:
        not_here("needs a kernel with EROFS")
    assert attempt.returncode == 0, attempt.stderr
    try:
        yield str(point)
    finally:
        subprocess.run(["umount", point], check=True)
        point.rmdir()


def check(fsck: Path, image: Path) -> None:
    done = subprocess.run([fsck, image], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("shape", SHAPES)
def test_fsck_finds_nothing_wrong(tmp_path: Path, require: Require, shape: str) -> None:
    image = tmp_path / "image"
    image.write_bytes(erofs.image(SHAPES[shape]))
    check(require("fsck.erofs"), image)
    shown = subprocess.run(
        [require("dump.erofs"), "-s", image], capture_output=True, text=True, check=True
    )
    blocks = image.stat().st_size // 4096
    assert f"Filesystem blocks: {blocks}" in " ".join(shown.stdout.split())


@pytest.mark.root
@pytest.mark.parametrize("shape", SHAPES)
def test_the_kernel_shows_the_tree(tmp_path: Path, shape: str) -> None:
    image = tmp_path / "image"
    image.write_bytes(erofs.image(SHAPES[shape]))
    with mounted(image) as top:
        assert seen(top) == wanted(SHAPES[shape])


LARGE = [HealthCheck.too_slow, HealthCheck.data_too_large]


@pytest.mark.root
@settings(max_examples=40, suppress_health_check=LARGE)
@given(tree=TREES)
def test_any_tree_is_shown_as_it_is(require: Require, tree: Tree) -> None:
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image"
        image.write_bytes(erofs.image(tree))
        check(require("fsck.erofs"), image)
        with mounted(image) as top:
            assert seen(top) == wanted(tree)
