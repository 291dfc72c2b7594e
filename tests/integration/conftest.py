"""Fixtures of the integration tests: a sample app as bundles, made once."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sample_app import Bundles, make_bundles
from surroundings import PYTHON, HoldallCli, environment_for, make_home


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
