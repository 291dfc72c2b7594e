"""The fixtures that other tests stand on do what they say."""

import os
from pathlib import Path

import pytest

from surroundings import OrdinaryUser, run


@pytest.mark.root
def test_an_ordinary_user_is_not_root(ordinary_user: OrdinaryUser) -> None:
    assert ordinary_user.run("id", "-u").stdout.strip() == str(ordinary_user.uid)


@pytest.mark.root
def test_an_ordinary_user_has_an_empty_home_of_its_own(ordinary_user: OrdinaryUser) -> None:
    ordinary_user.run("sh", "-c", 'touch "$HOME/mine" && ls -A "$HOME"')
    assert {path.name for path in ordinary_user.home.iterdir()} == {"mine", "run"}


@pytest.mark.root
def test_an_ordinary_user_can_import_holdall(ordinary_user: OrdinaryUser) -> None:
    ordinary_user.run(ordinary_user.python, "-c", "import holdall, msgspec")


@pytest.mark.root
def test_an_ordinary_user_may_not_read_the_home_of_another(
    ordinary_user: OrdinaryUser, isolated_home: Path
) -> None:
    ordinary_user.run("ls", isolated_home, expect=2)


@pytest.mark.root
def test_the_loop_file_system_is_a_journalled_ext4(ext4_loop: Path) -> None:
    mounts = run(["findmnt", "-n", "-o", "FSTYPE,OPTIONS", ext4_loop], environment=os.environ)
    assert mounts.stdout.startswith("ext4")
    assert "nojournal" not in mounts.stdout


def test_the_sandbox_starts_a_program(sandbox: Path) -> None:
    finished = run(
        [sandbox, "--unshare-all", "--ro-bind", "/", "/", "echo", "inside"], environment={}
    )
    assert finished.stdout == "inside\n"
