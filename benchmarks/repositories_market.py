"""A publisher with a repository, an nginx that hands it out, and users with stores of their own."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import repositories_server
from benchmarks.measure import Command, Runner, Sample
from benchmarks.repositories_server import Server, Traffic
from benchmarks.subject import Holdall

Answer = Any  # what a command printed as JSON; a figure that is not there fails loudly


@dataclass(frozen=True, slots=True)
class Market:
    """All of it lies below ``folder``."""

    folder: Path
    runner: Runner
    subject: Holdall
    server: Server
    fingerprint: str

    @property
    def repository(self) -> Path:
        return self.folder / "repository"

    def command(self, store: Path, *argv: str | Path) -> Command:
        """``holdall --json`` on a store."""
        return self.subject.command(store, "--json", *argv)

    def ask(self, store: Path, *argv: str | Path) -> Answer:
        """Run a command to its end and return what it printed."""
        return json.loads(self.runner.output(self.command(store, *argv)))

    def add(self, *bundles: Path) -> Sample:
        """``repo add``."""
        return self._publisher("repo", "add", self.repository, *bundles)

    def publish(self) -> Sample:
        """``repo publish``."""
        return self._publisher("repo", "publish", self.repository)

    def join(self, store: Path) -> Traffic:
        """``remote add``; returns what that took."""
        self.server.traffic()
        root = ("--root", self.fingerprint)
        self.ask(store, "remote", "add", "shop", self.server.address, *root)
        return self.server.traffic()

    def did(self, store: Path, *argv: str | Path) -> tuple[Answer, Traffic]:
        """Run a command; return what it printed, and what it asked the server for."""
        self.server.traffic()
        return self.ask(store, *argv), self.server.traffic()

    def _publisher(self, *argv: str | Path) -> Sample:
        return self.runner.run((self.command(self.subject.key_store, *argv),))


@contextmanager
def opened(folder: Path, key_store: Path | None = None) -> Iterator[Market]:
    """A market with an empty repository, whose publisher has a new signing key or another's."""
    folder.mkdir()
    (folder / "tmp").mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONPYCACHEPREFIX": os.environ.get("PYTHONPYCACHEPREFIX", str(folder / "compiled")),
    }
    runner, subject = Runner(folder / "stderr", environment), Holdall(folder)
    if key_store:
        shutil.copytree(key_store, subject.key_store, symlinks=True)
    else:
        runner.run((subject.command(subject.key_store, "key", "generate"),))
    repository = folder / "repository"
    init = subject.command(subject.key_store, "--json", "repo", "init", repository)
    fingerprint = json.loads(runner.output(init))["fingerprint"]
    with repositories_server.serving(repository, folder / "nginx") as server:
        yield Market(folder, runner, subject, server, fingerprint)


def stock(market: Market, *argv: str | Path | int) -> str:
    """Run the program that stocks a repository; returns what it printed."""
    program = Path(__file__).with_name("repositories_stock.py")
    command = Command.of(sys.executable, "-P", program, *map(str, argv))
    known = {"PYTHONPATH": str(program.parents[1] / "src")}
    return market.runner.output(command.within(known))
