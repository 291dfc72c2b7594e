"""A store that hostile input is tried on, and what must be so afterwards.

The command line is the real one, called in this process: its parser, its errors, its exit codes.
"""

import contextlib
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path

from bundles import Seen, snapshot
from holdall.cli.main import main
from surroundings import HoldallCli

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Refusal:
    """How a command failed: the error's class, its sentence, the exit code."""

    kind: str
    message: str
    code: int


@dataclass(frozen=True, slots=True)
class Victim:
    """A store with an app in it, and the home of its user."""

    root: Path
    home: Path

    def seen(self) -> dict[str, Seen]:
        """The store and the home, but for the number of the last writer and what is being freed."""
        passing = (self.root / "lock", self.root / "trash")
        return snapshot(self.root, self.home, without=passing)

    def refuses(self, *argv: str | Path, code: int = 4) -> Refusal:
        """Run a command on the store; it must be refused in one sentence and change nothing."""
        before = self.seen()
        status, _, complaints = call("--json", "--root", self.root, *argv)
        return self._judged(status, complaints, before, code)

    def refuses_as_a_program(self, cli: HoldallCli, *argv: str | Path, code: int = 4) -> Refusal:
        """The same through a process of its own."""
        before = self.seen()
        done = cli("--json", "--root", self.root, *argv, expect=None, timeout=60)
        return self._judged(done.returncode, done.stderr, before, code)

    def accepts(self, *argv: str | Path) -> str:
        """Run a command on the store; it must be done. Returns what it printed."""
        status, printed, complaints = call("--json", "--root", self.root, *argv)
        assert status == 0, complaints
        return printed

    def _judged(self, status: int, complaints: str, before: dict[str, Seen], code: int) -> Refusal:
        after = self.seen()
        assert status == code, f"ended with {status}, not {code}: {complaints}"
        refusal = read_refusal(complaints)
        assert refusal.code == code
        assert differences(before, after) == []
        return refusal


def call(*argv: str | Path) -> tuple[int, str, str]:
    """Run the command line in this process; returns exit code, standard output and error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main([str(word) for word in argv])
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
    return status, out.getvalue(), err.getvalue()


def read_refusal(complaints: str) -> Refusal:
    """The one error among what was printed, which must be one plain sentence."""
    found = [line for line in complaints.splitlines() if line.startswith('{"error"')]
    assert len(found) == 1, complaints
    error = json.loads(found[0])["error"]
    message = error["message"]
    assert message.endswith("."), message
    assert not _CONTROL.search(message), ascii(message)
    assert error["kind"] not in {"HoldallError", "Exception"}, message
    return Refusal(error["kind"], message, error["code"])


def differences(before: dict[str, Seen], after: dict[str, Seen]) -> list[str]:
    """The paths that are not as they were."""
    paths = before.keys() | after.keys()
    return sorted(path for path in paths if before.get(path) != after.get(path))
