"""Fixtures of the integration tests: a sample app as bundles, made once."""

import pytest

from sample_app import Bundles, make_bundles
from surroundings import PYTHON, HoldallCli, environment_for, make_home


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    """The sample app's versions, each as a bundle."""
    folder = tmp_path_factory.mktemp("sample")
    holdall = HoldallCli(PYTHON, environment_for(make_home(folder / "home")))
    return make_bundles(folder, holdall)
