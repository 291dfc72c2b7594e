"""What a form's life takes: no privilege, and no program that has one of its own."""

import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ledger import EVIDENCE
from specimen import Specimen
from stand import Case, Stand
from surroundings import Require, expected, run

pytestmark = pytest.mark.usefixtures("sandbox")

# A line may end before the call does; one that was seen to fail started nothing.
STARTED = re.compile(r'execve\("([^"]+)"(?!.* = -1)', re.MULTILINE)


def traced(stand: Stand, strace: Path, calls: str, *words: str | Path) -> str:
    """The system calls of these kinds that a command and all it starts make."""
    kept = stand.store.parent / "calls"
    argv = [stand.cli.python, "-m", "holdall", *stand.options, *words]
    finished = run(
        [
            strace,
            "-f",
            "--seccomp-bpf",
            "-qq",
            "-e",
            f"trace={calls}",
            "-e",
            "signal=none",
            "-o",
            kept,
            *argv,
        ],
        environment=stand.cli.environment,
        user=stand.cli.user,
    )
    expected(finished, 0)
    return kept.read_text(errors="replace")


def life(stand: Stand, specimen: Specimen) -> Iterator[tuple[str | Path, ...]]:
    """All that happens to an app, as command lines."""
    form = ("--form", stand.case.form)
    yield ("install", *form, *specimen.trust, specimen.old.bundle)
    yield ("run", specimen.app)
    yield ("update", specimen.new.bundle)
    yield ("run", specimen.app)
    yield ("verify",)
    yield ("convert", specimen.app, "--form", "tree")
    yield ("convert", specimen.app, *form)
    yield ("remove", specimen.app)
    yield ("gc",)


@pytest.mark.measures("N4", "N5")
def test_no_program_with_privileges_of_its_own_is_started(
    stand: Stand,
    case: Case,
    specimen: Specimen,
    require: Require,
    record_property: Callable[[str, object], None],
) -> None:
    strace = require("strace")
    started = set()
    for words in life(stand, specimen):
        started |= set(STARTED.findall(traced(stand, strace, "execve", *words)))
    assert any("bwrap" in program for program in started)
    helpers = sorted(program for program in started if gains(Path(program)))
    record_property(EVIDENCE, {"setuid": helpers})
    # to root they are programs as all others
    assert case.who == "root" or not helpers


def gains(program: Path) -> bool:
    """Whether a program gives who starts it a privilege."""
    try:
        status = program.stat()
    except FileNotFoundError:
        return False  # within a sandbox: nothing there can give any
    capabilities = "security.capability" in os.listxattr(program)
    return bool(status.st_mode & (stat.S_ISUID | stat.S_ISGID)) or capabilities
