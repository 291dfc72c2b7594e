"""The demo works for whoever has just cloned the repository, and cleans up."""

import shutil
from pathlib import Path

import pytest

from surroundings import OrdinaryUser

CHECKOUT = Path(__file__).parent.parent.parent
TAKEN = ("LICENSE", "README.md", "docs", "pyproject.toml", "scripts", "src")


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.root
@pytest.mark.usefixtures("sandbox")
def test_the_demo_runs_without_root_and_leaves_nothing(ordinary_user: OrdinaryUser) -> None:
    clone = ordinary_user.home / "clone"
    clone.mkdir()
    for name in TAKEN:
        if (CHECKOUT / name).is_dir():
            # other tests may be writing into those
            caches = shutil.ignore_patterns("__pycache__")
            shutil.copytree(CHECKOUT / name, clone / name, ignore=caches)
        else:
            shutil.copy(CHECKOUT / name, clone / name)
    temporary = ordinary_user.home / "tmp"
    temporary.mkdir()
    ordinary_user.give(clone, temporary)
    finished = ordinary_user.run("env", f"TMPDIR={temporary}", clone / "scripts/demo", timeout=280)
    assert "Done in" in finished.stdout
    assert not list(temporary.iterdir())
    left = {path.name for path in ordinary_user.home.iterdir()}
    assert left <= {"clone", "tmp", "run", ".cache"}
