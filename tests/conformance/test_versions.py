"""What a second version takes, on the disk and of the page cache, and that real apps are whole.

The core of ansible is a pair small enough for every form and everybody. The whole ansible and
PySide6 are taken once for each form as root; with HOLDALL_CONFORMANCE=full by everybody.
"""

import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ledger import EVIDENCE, GRADE, is_full
from mounts import eventually
from specimen import Specimen, Version, equip, fingerprint, pack
from stand import CASES, Guest, Stand
from surroundings import PYTHON, HoldallCli, environment_for, make_home

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.data import DATASETS, Dataset, releases_of

pytestmark = [pytest.mark.usefixtures("sandbox"), pytest.mark.network, pytest.mark.root]

CORE = Dataset("core", ("2.18.14", "2.18.15"), "ansible-core")
SETS = {"core": CORE, "ansible": DATASETS["ansible"], "pyside6": DATASETS["pyside6"]}
KEPT = Path.home() / ".cache/holdall-bench"  # whose home it is before tests have their own
BLOCK = 4096
SLACK = 1.02
OWN = 0.05  # of a version: what a form may have for itself, such as an image of all names
MUCH = 0.9  # of what the first version takes: a second one that takes it again shares nothing
ASIDE = 300_000  # what a store keeps, whatever is in it
BEFORE = {"live": "pool"}  # what is in a pool by then is all that it shares
_CACHESTAT = 451


LARGE = [case for case in CASES if case.who == "root" or is_full()]
PAIRS = [(name, case) for name in SETS for case in (CASES if name == "core" else LARGE)]


Shop = Callable[[str], Specimen]


@pytest.fixture(scope="module")
def shop(shelf: Path) -> Iterator[Shop]:
    """Real packages by name, in two versions each; one at a time is kept."""
    have: dict[str, Specimen] = {}

    def ask(name: str) -> Specimen:
        folder = shelf / name
        if name not in have:
            for other in have:
                shutil.rmtree(shelf / other)
            have.clear()
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            have[name] = made(name, folder)
        return have[name]

    yield ask
    for name in have:
        shutil.rmtree(shelf / name)


def made(name: str, folder: Path) -> Specimen:
    """A package's versions as bundles."""
    holdall = HoldallCli(PYTHON, environment_for(make_home(folder / "home")))
    trust = ("--trust-key", fingerprint(holdall))
    releases = releases_of(SETS[name], kept_packages(folder), folder)
    versions = tuple(equip(one.app_id, one.version, one.source) for one in releases)
    for version in versions:
        pack(version, holdall)
    return Specimen(versions, trust)


def kept_packages(folder: Path) -> Path:
    """Where packages are looked for, and kept: the benchmarks' place, if it is there already."""
    return KEPT if KEPT.is_dir() else folder / "packages"


def blocks(contents: dict[bytes, int]) -> int:
    return sum(-(-size // BLOCK) * BLOCK for size in contents.values())


def novelty(old: Version, new: Version) -> int:
    """What the contents take that the old version has not."""
    had = old.contents
    return blocks({digest: size for digest, size in new.contents.items() if digest not in had})


def used(disk: Path) -> int:
    """The bytes taken from a file system."""
    os.sync()
    status = os.statvfs(disk)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def kept_files(stand: Stand) -> Iterator[Path]:
    """The files on the disk that hold contents."""
    for folder, folders, names in os.walk(stand.store):
        if Path(folder) == stand.store:
            folders[:] = set(folders) - {"data", "state"}
        yield from (path for name in names if not (path := Path(folder, name)).is_symlink())


def cached(stand: Stand, *guests: Guest) -> int:
    """The bytes of page cache that hold what apps see, and what it is kept in; once each."""
    libc = ctypes.CDLL(None, use_errno=True)
    whole, pages = (ctypes.c_uint64 * 2)(0, 0), {}
    for path in kept_files(stand):
        counts = (ctypes.c_uint64 * 5)()
        with path.open("rb") as file:
            assert not libc.syscall(_CACHESTAT, file.fileno(), whole, counts, 0), errno.errorcode[
                ctypes.get_errno()
            ]
            status = os.fstat(file.fileno())
        pages[f"{status.st_dev}:{status.st_ino}"] = counts[0] * BLOCK
    for guest in guests:
        seen = guest("cached")
        assert isinstance(seen, dict), seen
        pages |= seen
    return sum(pages.values())


def forget(stand: Stand, but: frozenset[int] = frozenset()) -> frozenset[int]:
    """Take what is kept out of the page cache, `but` some inodes; returns the inodes."""
    os.sync()
    found = set()
    for path in kept_files(stand):
        with path.open("rb") as file:
            found.add(inode := os.fstat(file.fileno()).st_ino)
            if inode not in but:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return frozenset(found)


def graded(fully: Sequence[bool], shares: Sequence[bool]) -> str:
    """How much is shared, of disk and page cache: all that could be, some of it, or nothing."""
    return "yes" if all(fully) and all(shares) else "partly" if any(shares) else "no"


@pytest.mark.parametrize(("name", "case"), PAIRS, ids=str)
@pytest.mark.measures("R2", "N2")
def test_a_second_version_of_a_real_app(
    stand: Stand,
    name: str,
    shop: Shop,
    record_property: Callable[[str, object], None],
) -> None:
    real = shop(name)
    stand = replace(stand, specimen=real)
    disk = stand.store.parent
    empty = used(disk)
    stand.install(real.old, form=BEFORE.get(stand.case.form))
    stand.do("convert", real.app, "--form", stand.case.form)
    # what lay otherwise is freed behind the command
    assert eventually(lambda: not any(stand.store.glob("trash/*")))
    stand.do("gc")
    before = used(disk)
    had = forget(stand)
    with stand.guest() as first:
        size = first("read")
        # more than once, as kernels take pages away
        alone = max(cached(stand, first) for _ in range(2) if first("read") == size)
        stand.update(real.new)
        grown = used(disk) - before
        forget(stand, but=had)
        with stand.guest() as second:
            assert second("listing") == real.new.listing
            both = max(
                cached(stand, first, second)
                for _ in range(2)
                if first("read") == size and second("read")
            )
            second.end()
        first.end()
    new = novelty(real.old, real.new)
    folders = BLOCK * sum(path.is_dir() for path in real.new.files.rglob("*"))
    full = blocks(real.new.contents)
    assert new < 0.95 * full
    own = OWN * full + ASIDE
    fully = (grown <= (new + folders) * SLACK + own, both - alone <= new * SLACK + own)
    shares = (grown < MUCH * (before - empty), both - alone < MUCH * alone)
    record_property(GRADE, {"N2": graded(fully, shares)})
    record_property(
        EVIDENCE,
        {"of": name, "whole": full, "new": new, "disk": grown, "cache": both - alone},
    )
