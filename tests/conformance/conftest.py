"""Fixtures of the conformance suite: every form, as root and as an ordinary user.

A test names the requirements that it measures by the mark ``measures``; what came of it goes into
the ledger (``tests/support/ledger.py``) with the test's report.
"""

import contextlib
import ctypes
import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from disks import unmount
from ledger import CASE, MEASURES
from specimen import Specimen, fingerprint, pack, write_made_up
from stand import CASES, ROOT, USER, Case, Stand
from surroundings import (
    PYTHON,
    HoldallCli,
    OrdinaryUser,
    Require,
    environment_for,
    make_home,
    not_here,
)

HERE = Path(__file__).parent
APP = "org.example.Specimen"
_CLONE_NEWNS = 0x00020000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """None of this is a unit test, wherever it is collected from."""
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.integration)
            item.add_marker(pytest.mark.slow)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that takes a ``case`` once for each form and each who may have it."""
    marks = metafunc.definition.iter_markers("parametrize")
    if "case" in metafunc.fixturenames and not any("case" in mark.args[0] for mark in marks):
        metafunc.parametrize("case", CASES, ids=str, scope="function")


@pytest.fixture(autouse=True)
def ledger(request: pytest.FixtureRequest, record_property: object) -> None:
    """Note in the report what a test measures of which form."""
    assert callable(record_property)
    mark = request.node.get_closest_marker("measures")
    if mark is not None:
        record_property(MEASURES, list(mark.args))
    if "case" in request.fixturenames:
        case: Case = request.getfixturevalue("case")
        record_property(CASE, [case.form, case.who])


@pytest.fixture(scope="session", autouse=True)
def own_mounts() -> Iterator[None]:
    """Mounts that nobody else sees, and FUSE for every user, as distributions have it."""
    if os.geteuid() != 0:
        yield
        return
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS):
        not_here("needs a mount namespace of its own")
    subprocess.run(["mount", "--make-rslave", "/"], check=True)
    device = Path("/dev/fuse")
    with tempfile.TemporaryDirectory(prefix="holdall-fuse-") as folder:
        if device.exists() and stat.S_IMODE(device.stat().st_mode) != 0o666:
            node = Path(folder) / "fuse"
            os.mknod(node, stat.S_IFCHR | 0o666, device.stat().st_rdev)
            node.chmod(0o666)
            subprocess.run(["mount", "--bind", node, device], check=True)
            yield
            subprocess.run(["umount", "--lazy", device], check=True)
        else:
            yield


@pytest.fixture(scope="session")
def shelf() -> Iterator[Path]:
    """A folder in memory, where there is one, that every user may read."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="holdall-forms-", dir=shared if shared.is_dir() else None
    ) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def memory_disk(shelf: Path) -> Iterator[Path]:
    """A folder in memory for file systems in files."""
    folder = shelf / "memory"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6g,mode=755", "forms", folder], check=True)
    yield folder
    unmount(folder)


@pytest.fixture(scope="session")
def grounds(memory_disk: Path, require: Require) -> Iterator[dict[str, Path]]:
    """A journalled ext4 and a btrfs that lets users remove subvolumes; open as /tmp is."""
    made = {}
    with contextlib.ExitStack() as cleanup:
        for kind, make, option in (
            ("ext4", ["mkfs.ext4", "-q", "-m", "0", "-O", "has_journal"], "noinit_itable"),
            ("btrfs", ["mkfs.btrfs", "-q"], "user_subvol_rm_allowed"),
        ):
            image, point = memory_disk / f"{kind}.img", memory_disk / kind
            with image.open("wb") as file:
                file.truncate(3 << 30)
            subprocess.run([require(make[0]), *make[1:], image], check=True)
            point.mkdir()
            subprocess.run(["mount", "-o", f"loop,{option}", image, point], check=True)
            cleanup.callback(unmount, point)
            point.chmod(0o1777)
            made[kind] = point
        yield made


@pytest.fixture
def ground(case: Case, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder for a store, on a file system where the case's form is for who has it."""
    if os.geteuid() != 0:
        yield tmp_path
        return
    grounds: dict[str, Path] = request.getfixturevalue("grounds")
    kind = "btrfs" if (case.form, case.who) == ("btrfs", USER) else "ext4"
    folder = Path(tempfile.mkdtemp(dir=grounds[kind]))
    yield folder
    subprocess.run(["umount", "--lazy", folder / "store/volume"], check=False, capture_output=True)
    unlock = ["find", str(folder), "-inum", "256", "-exec", "btrfs", "property", "set", "{}", "ro"]
    if kind == "btrfs":
        subprocess.run([*unlock, "false", ";"], check=False, capture_output=True)
    take_away(folder)


def take_away(folder: Path, patience: float = 30) -> None:
    """Remove a folder that a freeing of trash may still be at work in."""
    end = time.monotonic() + patience
    while folder.exists():
        assert time.monotonic() < end, f"{folder} cannot be removed"
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def specimen(shelf: Path) -> Specimen:
    """The made-up app: two versions, and the increment between them."""
    folder = shelf / "specimen"
    folder.mkdir()
    holdall = HoldallCli(PYTHON, environment_for(make_home(folder / "home")))
    trust = ("--trust-key", fingerprint(holdall))
    versions = tuple(write_made_up(APP, number, folder / f"v{number}") for number in (1, 2))
    for version in versions:
        pack(version, holdall)
    pack(versions[1], holdall, "increment", "--against", versions[0].bundle)
    return Specimen(versions, trust)


@pytest.fixture(scope="session")
def pictured(specimen: Specimen) -> Specimen:
    """The same with bundles that bring an image of the publisher's, named by its kind."""
    holdall = HoldallCli(PYTHON, environment_for(specimen.old.files.parents[1] / "home"))
    for version in specimen.versions:
        # not as images are made here, so that one can be told from the other
        pack(version, holdall, "squashfs", "--image", "squashfs", "--no-compress")
    return specimen


@pytest.fixture
def cli(case: Case, request: pytest.FixtureRequest) -> HoldallCli:
    """The command as who has the case's form."""
    if case.who == ROOT and os.geteuid() != 0:
        not_here("needs root")
    if case.who == USER and os.geteuid() == 0:
        user: OrdinaryUser = request.getfixturevalue("ordinary_user")
        return user.holdall
    here: HoldallCli = request.getfixturevalue("holdall_cli")
    return here


@pytest.fixture
def stand(case: Case, cli: HoldallCli, ground: Path, specimen: Specimen) -> Stand:
    """An empty store of whom the case says."""
    if cli.user is not None:
        os.chown(ground, *cli.user)
    return Stand(case, cli, ground / "store", specimen)
