"""What is compared: ways to publish, install, update, remove and check an app.

A contender only plans: every verb returns a job. It knows nothing of timing, and nothing is
measured but the job it was asked for.
"""

from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Protocol

from benchmarks.data import Release
from benchmarks.measure import Job


class Verb(Enum):
    """What can be asked of a store; the first two bring it into a state and are not timed."""

    PREPARE = auto()  # make an empty store
    OFFER = auto()  # make the release, published, what the next install or update finds
    INSTALL = auto()
    UPDATE = auto()  # to the release, from the one that is installed
    ADD = auto()  # have the release beside the one that is installed, sharing what can be shared
    REMOVE = auto()
    VERIFY = auto()


@dataclass(frozen=True, slots=True)
class Program:
    """A command that must be there, and the Debian package that brings it."""

    command: str
    package: str


class Contender(Protocol):
    """One way to install apps."""

    @property
    def name(self) -> str: ...

    @property
    def programs(self) -> tuple[Program, ...]: ...

    def publish(self, release: Release) -> Job:
        """Make the network form of a release."""

    def published(self, release: Release) -> Path:
        """Return the file or folder of the network form."""

    def plan(self, verb: Verb, release: Release, root: Path) -> Job:
        """Return what does the verb to the store below ``root``; empty: there is no such verb."""

    def trees(self, root: Path) -> tuple[Path, ...]:
        """Return the folders whose files apps read, for what they take in the page cache."""
