"""Standard streams that are closed, or that nobody reads to the end."""

import os
import subprocess
from pathlib import Path

import pytest

from surroundings import PYTHON, Finished, environment_for, run


def in_shell(home: Path, script: str) -> Finished:
    """A line of shell, in which "$@" is the command holdall."""
    words = ("/bin/sh", "-c", script, "sh", PYTHON, "-m", "holdall")
    return run(words, environment=environment_for(home))


@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_a_command_works_with_its_streams_closed(isolated_home: Path, closed: str) -> None:
    finished = in_shell(isolated_home, f'"$@" list {closed}; echo $?')
    assert (finished.stdout, finished.stderr) == ("0\n", "")


def test_a_mistake_has_its_exit_code_even_where_nobody_is_told(isolated_home: Path) -> None:
    assert in_shell(isolated_home, '"$@" nonsense 2>&-; echo $?').stdout == "2\n"


@pytest.mark.parametrize("words", ["list --json", "forms", "--help"])
def test_who_reads_no_more_ends_a_command_quietly(isolated_home: Path, words: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [str(PYTHON), "-m", "holdall", *words.split()],
            env=environment_for(isolated_home),
            stdout=writer,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.stderr, done.returncode) == (b"", 1)
