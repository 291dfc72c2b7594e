"""Two versions of a real app take what their different contents take, on disk and in memory.

The core of ansible is a pair small enough for every run; benchmarks/ measures the large ones.
"""

import ctypes
import errno
import os
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from bundles import trusting_store
from holdall.forms import erofs
from holdall.journeys.installed import known_tree
from surroundings import HoldallCli
from viewed import reading

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.data import Dataset, Release, directory_bytes, releases_of, unique_bytes
from benchmarks.pagecache import cached_bytes

pytestmark = [pytest.mark.network, pytest.mark.root]

PAIR = Dataset("core", ("2.18.14", "2.18.15"), "ansible-core")
SLACK = 1.02
RESERVE = 8 * 8192 + 4096  # what a store keeps aside, whatever is in it
TRIES = 3  # readings of the page cache, one of which has to be right: kernels take pages away
_CACHESTAT = 451


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Release, Release]:
    """Both versions as source folders."""
    top = tmp_path_factory.mktemp("pair")
    old, new = releases_of(PAIR, top / "cache", top)
    return old, new


def used(disk: Path) -> int:
    """The bytes taken from a file system."""
    os.sync()
    status = os.statvfs(disk)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def regular_files(*folders: Path) -> list[Path]:
    return [
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    ]


def allocated(paths: Iterable[Path]) -> int:
    """The bytes of blocks that files have, an inode with many names counted once."""
    inodes = {path.lstat().st_ino: path.lstat().st_blocks * 512 for path in paths}
    return sum(inodes.values())


def in_cache(paths: list[Path]) -> int:
    """The bytes of page cache that files have, by cachestat(2), or mincore(2) before Linux 6.5."""
    libc = ctypes.CDLL(None, use_errno=True)
    whole = (ctypes.c_uint64 * 2)(0, 0)
    pages = 0
    for path in {path.lstat().st_ino: path for path in paths}.values():
        counts = (ctypes.c_uint64 * 5)()
        with path.open("rb") as file:
            if libc.syscall(_CACHESTAT, file.fileno(), whole, counts, 0):
                assert ctypes.get_errno() == errno.ENOSYS
                return cached_bytes(paths)
        pages += counts[0]
    return pages * os.sysconf("SC_PAGE_SIZE")


def forget(paths: list[Path]) -> None:
    """Take files out of the page cache."""
    os.sync()
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def read(paths: list[Path]) -> None:
    for path in paths:
        path.read_bytes()


def growth(files: list[Path]) -> int:
    """The bytes of page cache that reading files takes."""
    forget(files)
    cold = in_cache(files)
    read(files)
    return in_cache(files) - cold


def install_both(
    holdall: HoldallCli,
    pair: tuple[Release, Release],
    disk: Path,
    bundles: Path,
    form: str = "tree",
) -> None:
    """Install the old version and update it to the new one."""
    holdall("key", "generate")
    ready = []
    for release in pair:
        (release.source / "holdall.toml").write_text(
            f'id = "{release.app_id}"\nversion = "{release.version}"\n'
            'kind = "app"\ncommand = "true"\n'
        )
        ready.append(bundles / f"{release.name}.holdall")
        holdall("build", release.source, "-o", ready[-1], "--level", "3")
    key = holdall.json("key", "list")
    fingerprint = key[0]["fingerprint"] if isinstance(key, list) else ""
    for bundle in ready:
        trusted = ("--trust-key", fingerprint)
        holdall("--root", disk / "store", "install", *trusted, "--form", form, bundle)


def test_two_versions_share_disk_and_page_cache(
    holdall_cli: HoldallCli, pair: tuple[Release, Release], ext4_loop: Path, tmp_path: Path
) -> None:
    before = used(ext4_loop)
    install_both(holdall_cli, pair, ext4_loop, tmp_path)
    ask = ("--root", ext4_loop / "store", "path", pair[0].app_id, "--version")
    folders = [Path(holdall_cli(*ask, item.version).stdout.rstrip("\n")) for item in pair]
    taken = used(ext4_loop) - before
    unique = unique_bytes(*pair)
    both = sum(unique_bytes(release) for release in pair)
    assert unique < 0.8 * both

    files = regular_files(*folders)
    assert unique <= allocated(files) <= unique * SLACK
    beside = [path for folder in folders for path in folder.parent.iterdir() if path.is_file()]
    signed = allocated(beside)
    assert taken <= (unique + directory_bytes(*pair) + signed) * SLACK + RESERVE

    grown = [growth(files) for _ in range(TRIES)]
    assert any(unique * 0.98 <= one <= unique * SLACK for one in grown), (unique, grown)


def test_a_second_version_read_through_composefs_adds_what_changed_to_the_page_cache(
    holdall_cli: HoldallCli, pair: tuple[Release, Release], ext4_loop: Path, tmp_path: Path
) -> None:
    install_both(holdall_cli, pair, ext4_loop, tmp_path, "composefs")
    host = trusting_store(ext4_loop / "store")
    (ref,) = host.catalog.refs()
    old, new = (host.catalog.version(ref, release.version) for release in pair)
    trees = [known_tree(old), known_tree(new)]
    assert trees[0]
    assert trees[1]
    page = os.sysconf("SC_PAGE_SIZE")
    changed = trees[1].contents.keys() - trees[0].contents.keys()
    expected = sum(-(-trees[1].contents[digest] // page) * page for digest in changed)
    assert expected < 0.5 * sum(trees[1].contents.values())

    files = regular_files(*(Path(item.path) for item in (old, new)))
    objects = [path for path in files if path.parent.name == "objects"]
    grown = []
    with reading(host, old) as first, reading(host, new) as second:
        for _ in range(TRIES):
            forget(files)
            read(regular_files(Path(first)))
            alone = in_cache(objects)
            read(regular_files(Path(second)))
            grown.append(in_cache(objects) - alone)
        # the pages are those of the objects; the names that were read through have none
        assert in_cache(regular_files(Path(first), Path(second))) == 0
    assert any(expected * 0.98 <= one <= expected * SLACK for one in grown), (expected, grown)
    assert Path(new.path, "meta.erofs").read_bytes() == erofs.image(trees[1])
