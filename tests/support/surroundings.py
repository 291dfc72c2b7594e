"""What tests stand on: the types of the fixtures in ``conftest.py``, so that tests can name them.

Must not import holdall: a test of the program as a user meets it starts it as a process.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Protocol

import pytest

Finished = subprocess.CompletedProcess[str]
"""A program that has ended, with its output as text."""


def is_ci() -> bool:
    """Whether this runs where nothing may be left out."""
    return os.environ.get("CI", "") not in {"", "0", "false"}


def not_here(reason: str) -> NoReturn:
    """End the running test, which cannot be run here: a failure in CI, a skip elsewhere."""
    if is_ci():
        pytest.fail(f"{reason} (nothing may be skipped in CI)", pytrace=False)
    pytest.skip(reason)


class Require(Protocol):
    """Find a program, or end the test."""

    def __call__(self, program: str, /) -> Path: ...


def run(
    argv: Sequence[str | Path],
    *,
    environment: Mapping[str, str],
    directory: Path | None = None,
    typed: str | None = None,
    timeout: float = 120,
    user: tuple[int, int] | None = None,
) -> Finished:
    """Run a program to its end, with no terminal and nothing inherited but ``environment``."""
    uid, gid = user or (None, None)
    return subprocess.run(
        [str(argument) for argument in argv],
        env=dict(environment),
        cwd=directory,
        input="" if typed is None else typed,
        capture_output=True,
        check=False,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=timeout,
        start_new_session=True,
        user=uid,
        group=gid,
        extra_groups=None if user is None else [],
    )


def expected(finished: Finished, status: int | None) -> Finished:
    """Return ``finished`` if it ended with ``status`` (None: with any), else fail, showing why."""
    if status is not None and finished.returncode != status:
        command = " ".join(finished.args)
        pytest.fail(
            f"{command}\nended with {finished.returncode}, not {status}\n"
            f"--- output\n{finished.stdout}\n--- errors\n{finished.stderr}"
        )
    return finished


@dataclass(frozen=True, slots=True)
class HoldallCli:
    """The command ``holdall``, run by ``python``: call it with the arguments."""

    python: Path
    environment: Mapping[str, str]
    user: tuple[int, int] | None = None

    def __call__(
        self,
        *argv: str | Path,
        expect: int | None = 0,
        directory: Path | None = None,
        typed: str | None = None,
        environment: Mapping[str, str] | None = None,
        timeout: float = 120,
    ) -> Finished:
        """Run ``holdall ARGV…``; it must end with ``expect`` (None: with anything)."""
        finished = run(
            [self.python, "-m", "holdall", *argv],
            environment={**self.environment, **(environment or {})},
            directory=directory,
            typed=typed,
            timeout=timeout,
            user=self.user,
        )
        return expected(finished, expect)

    def json(self, *argv: str | Path, directory: Path | None = None) -> object:
        """Run ``holdall --json ARGV…`` and return what it printed."""
        answer: object = json.loads(self("--json", *argv, directory=directory).stdout)
        return answer


@dataclass(frozen=True, slots=True)
class OrdinaryUser:
    """A throwaway account without any privilege, with an empty home that only it can read."""

    name: str
    uid: int
    gid: int
    home: Path
    environment: Mapping[str, str]
    python: Path

    def run(
        self,
        *argv: str | Path,
        expect: int | None = 0,
        directory: Path | None = None,
        typed: str | None = None,
        timeout: float = 120,
    ) -> Finished:
        """Run a program as this user, in its home unless told otherwise."""
        finished = run(
            argv,
            environment=self.environment,
            directory=directory or self.home,
            typed=typed,
            timeout=timeout,
            user=(self.uid, self.gid),
        )
        return expected(finished, expect)

    @property
    def holdall(self) -> HoldallCli:
        """The command ``holdall``, run as this user."""
        return HoldallCli(self.python, self.environment, (self.uid, self.gid))

    def give(self, *paths: Path) -> None:
        """Make this user the owner of ``paths`` and of everything below them."""
        for path in paths:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)
            if path.is_dir() and not path.is_symlink():
                self.give(*path.iterdir())


def environment_for(home: Path) -> dict[str, str]:
    """Return an environment in which nothing of the real home, session or locale is left."""
    kept = {
        name: value
        for name, value in os.environ.items()
        # Where packages come from is a matter of the machine, not of the home.
        if name.startswith(("PIP_", "SSL_", "COVERAGE_")) or name in {"CI", "PATH", "TZ"}
    }
    return kept | {
        "HOME": str(home),
        "XDG_DATA_HOME": str(home / ".local/share"),
        "XDG_STATE_HOME": str(home / ".local/state"),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_RUNTIME_DIR": str((home / "run").resolve()),
        "LC_ALL": "C.UTF-8",
        "TERM": "dumb",
        "COLUMNS": "100",
        "PYTHONWARNINGS": "error",
    }


def make_home(home: Path, *, runtime: Path | None = None) -> Path:
    """Create ``home`` with the runtime directory that a login would have made.

    ``runtime`` is one that is there already: the path of a socket may have 107 bytes, which the
    folders of tests soon exceed.
    """
    home.mkdir(mode=0o700)
    if runtime is None:
        (home / "run").mkdir(mode=0o700)
    else:
        (home / "run").symlink_to(runtime)
    return home


PYTHON = Path(sys.executable)
"""The interpreter that runs the tests, with holdall and what it needs installed."""
