"""The victim of every test here: a store that trusts the attacker's key, with one app installed."""

from pathlib import Path

import pytest

from bundles import make_bundle, trusting_store
from hostility import Victim


@pytest.fixture(scope="session")
def installed_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the version that is installed."""
    return make_bundle(tmp_path_factory.mktemp("bundle") / "one.holdall")


@pytest.fixture
def victim(tmp_path: Path, isolated_home: Path, installed_bundle: Path) -> Victim:
    """A store with version 1.0 of the app; the key that attackers sign with is trusted for all."""
    root = tmp_path / "store"
    trusting_store(root)
    chosen = Victim(root, isolated_home)
    chosen.accepts("install", installed_bundle)
    return chosen
