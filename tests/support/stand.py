"""Where a form is looked at: a store of somebody's, on a file system, and what runs from it.

Takes of holdall the names of forms: they are met through the program, as a user does.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from holdall.forms.table import FORMS
from holdall.system.locks import is_leased
from ledger import REFUSED_TO
from mounts import eventually, loops_of
from specimen import Specimen, Version
from surroundings import Finished, HoldallCli

UNSUPPORTED = 7
_PASSING = {("staging",), ("trash",), ("journal",), ("volume",)}  # even an empty folder is too much
_BY_CHANCE = re.compile(r"(?<=^volume/[0-9a-f]{64})\.[0-9a-f]{8}")
ROOT, USER = "root", "user"


@dataclass(frozen=True, slots=True)
class Case:
    """A form, and who has it: root or a user without privileges."""

    form: str
    who: str

    def __str__(self) -> str:
        return f"{self.form}-{self.who}"


CASES = tuple(
    Case(form, who) for form in FORMS for who in (ROOT, USER) if (form, who) not in REFUSED_TO
)


class Guest:
    """The specimen's program in its sandbox; ask it words, it answers from its own files."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def __call__(self, word: str) -> object:
        stream = _stream(self._process.stdin)
        stream.write(f"{word}\n")
        stream.flush()
        line = _stream(self._process.stdout).readline()
        assert line, f"the app ended with {self._process.wait()} when asked for {word}"
        answer: object = json.loads(line)
        return answer

    def end(self) -> None:
        """Let it end by itself."""
        _stream(self._process.stdin).close()
        assert self._process.wait(60) == 0


@dataclass(frozen=True, slots=True)
class Stand:
    """Somebody's store for one form, and the specimen to put into it."""

    case: Case
    cli: HoldallCli
    store: Path
    specimen: Specimen

    @property
    def options(self) -> tuple[str | Path, ...]:
        return ("--root", self.store)

    def do(self, *words: str | Path, expect: int | None = 0) -> Finished:
        """A command on this store."""
        return self.cli(*self.options, *words, expect=expect, timeout=300)

    def json(self, *words: str | Path) -> object:
        return self.cli.json(*self.options, *words)

    def install(self, version: Version, *, name: str = "full", form: str | None = None) -> None:
        """Install a version, in the case's form unless told otherwise."""
        form = form or self.case.form
        self.do("install", "--form", form, *self.specimen.trust, version.bundles[name])

    def update(self, version: Version, *, name: str = "full") -> None:
        self.do("update", version.bundles[name])

    def facts(self) -> dict[str, object]:
        """What the store says about the installed version."""
        facts = self.json("info", self.specimen.app)
        assert isinstance(facts, dict)
        return facts

    @contextmanager
    def guest(self) -> Iterator[Guest]:
        """The active version, started as a user does."""
        uid, gid = self.cli.user or (None, None)
        with subprocess.Popen(
            [
                *map(str, (self.cli.python, "-m", "holdall", *self.options, "run")),
                self.specimen.app,
            ],
            env=dict(self.cli.environment),
            user=uid,
            group=gid,
            extra_groups=None if uid is None else [],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            cwd="/",
            start_new_session=True,
        ) as process:
            try:
                # who holds the lease is started before the app, but may come to that after it
                (active,) = self.store.glob(f"active/{self.specimen.app}/*/*")
                lease = active.resolve() / "lease"
                assert eventually(lambda: is_leased(str(lease)) or process.poll() is not None)
                yield Guest(process)
            finally:
                _stream(process.stdin).close()
                if process.poll() is None:
                    process.wait(60)

    def listing(self) -> object:
        """What an app sees of its own files, by plain system calls."""
        with self.guest() as app:
            return app("listing")

    def deployments(self) -> list[Path]:
        """The folders of all that is installed."""
        return sorted(path.parent for path in self.store.glob("deployments/*/*/*/*/release"))

    def traces(self) -> dict[str, list[str]]:
        """All that a store has on this machine: names in its folder, mounts, loop devices.

        What apps keep, and what the store only counts with, is left out.
        """
        return {
            "names": sorted(self._names()),
            "mounts": sorted(
                line.split()[4]
                for line in Path("/proc/self/mountinfo").read_text().splitlines()
                if str(self.store) in line
            ),
            "loops": loops_of(self.store),
        }

    def _names(self) -> Iterator[str]:
        for folder, folders, names in os.walk(self.store):
            below = Path(folder).relative_to(self.store)
            if below.parts[:1] in {("data",), ("state",)}:
                folders.clear()
                continue
            names += [name for name in folders if Path(folder, name).is_symlink()]
            found = [str(below / name) for name in names]
            if below.parts[:1] in _PASSING and below.parts[1:]:
                found.append(str(below))
            yield from (_BY_CHANCE.sub("", name) for name in found)


def _stream(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream
