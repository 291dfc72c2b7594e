"""Fixtures of the integration tests: a sample app as bundles, made once."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bundles import trusting_store
from disks import unmount
from hostility import Victim
from increments import Versions, make_versions
from sample_app import Bundles, make_bundles
from surroundings import PYTHON, HoldallCli, Require, environment_for, make_home, not_here


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    """The sample app's versions, each as a bundle."""
    folder = tmp_path_factory.mktemp("sample")
    holdall = HoldallCli(PYTHON, environment_for(make_home(folder / "home")))
    return make_bundles(folder, holdall)


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: kills do not care, and syncs cost nothing there."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else tmp_path) as folder:
        yield Path(folder)


@pytest.fixture
def small_disk(tmp_path: Path, require: Require) -> Iterator[Path]:
    """A journalled ext4 of 12 MB without blocks kept for root; needs root."""
    if os.geteuid() != 0:
        not_here("needs root")
    image, point = tmp_path / "small.img", tmp_path / "small"
    with image.open("wb") as file:
        file.truncate(12 << 20)
    point.mkdir()
    subprocess.run([require("mkfs.ext4"), "-q", "-m", "0", "-b", "4096", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, point], check=True)
    yield point
    unmount(point)


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    """The versions and the increments between them."""
    return make_versions(tmp_path_factory.mktemp("versions"))


@pytest.fixture
def store(tmp_path: Path, isolated_home: Path) -> Victim:
    """An empty store that trusts the publisher."""
    trusting_store(tmp_path / "store")
    return Victim(tmp_path / "store", isolated_home)


@pytest.fixture
def user(store: Victim, versions: Versions) -> Victim:
    """A store with version 1.0."""
    store.accepts("install", versions.full("1.0"))
    return store
