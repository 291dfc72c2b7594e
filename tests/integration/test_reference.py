"""Pages that come from the argument parsers are current and well made."""

import os
from pathlib import Path

from surroundings import PYTHON, Require, environment_for, expected, run

ROOT = Path(__file__).parent.parent.parent


def test_the_command_reference_is_current(isolated_home: Path) -> None:
    argv = [str(PYTHON), str(ROOT / "scripts/docs"), "--check"]
    expected(run(argv, environment=environment_for(isolated_home)), 0)


def test_the_man_page_is_without_fault(require: Require) -> None:
    page = str(ROOT / "docs/man/holdall.1")
    finished = run([require("man"), "--warnings", "--local-file", page], environment=os.environ)
    assert finished.stderr == ""
    assert "SYNOPSIS" in finished.stdout
