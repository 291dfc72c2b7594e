"""The tutorial's commands work as they stand, and print what it says they print."""

import re
from pathlib import Path

import pytest

from surroundings import PYTHON, environment_for, expected, run

PAGE = Path(__file__).parent.parent.parent / "docs/tutorial/first-app.md"
BLOCK = re.compile(r"^```(console|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def steps(page: str) -> list[tuple[str, list[str]]]:
    """Each block of commands, with the lines that the next block says it prints."""
    found: list[tuple[str, list[str]]] = []
    for kind, body in BLOCK.findall(page):
        if kind == "console":
            found.append((re.sub(r"^\$ ", "", body, flags=re.MULTILINE), []))
        else:
            found[-1][1].extend(line.strip() for line in body.splitlines() if line.strip())
    return found


@pytest.mark.usefixtures("sandbox")
def test_the_tutorial_works_as_it_is_written(isolated_home: Path) -> None:
    environment = environment_for(isolated_home)
    environment["PATH"] = f"{PYTHON.parent}:{environment['PATH']}"
    for commands, lines in steps(PAGE.read_text(encoding="utf-8")):
        finished = run(
            ["bash", "-e", "-c", commands], environment=environment, directory=isolated_home
        )
        printed = expected(finished, 0).stdout
        assert not [line for line in lines if line not in printed], printed
