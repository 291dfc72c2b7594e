"""What the project is measured for: holdall, as a user meets it, by its command line."""

import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import Program, Verb
from benchmarks.data import Release
from benchmarks.measure import Command, Job

_CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Holdall:
    """``holdall --root``: verified and durable. ``shop`` is where its bundles are published.

    The signing key is made in a store of its own, and every store that is measured starts as a
    copy of that one: the copy trusts the key.
    """

    shop: Path
    line: str | None = None
    name: str = "holdall"
    programs: tuple[Program, ...] = (Program("bwrap", "bubblewrap"),)

    def publish(self, release: Release) -> Job:
        return (*self._key(), self.build(release))

    def build(self, release: Release) -> Command:
        manifest = (
            f'id = "{release.app_id}"\nbranch = "stable"\nversion = "{release.version}"\n'
            'kind = "app"\nruntime = "host"\ncommand = "true"\n'
        )
        (release.source / "holdall.toml").write_text(manifest)
        return self.command(self.key_store, "build", release.source, "-o", self.published(release))

    def published(self, release: Release) -> Path:
        return self.shop / f"{release.name}.holdall"

    def increment(self, old: Release, new: Release) -> Path:
        """Return the file that brings a store with the old release to the new one."""
        return self.shop / f"{new.name}-from-{old.version}.holdall"

    def build_increment(self, old: Release, new: Release) -> Command:
        """Make the increment of two releases that are published."""
        made, against = self.increment(old, new), ("--against", self.published(old))
        return self.command(self.key_store, "build", self.published(new), "-o", made, *against)

    def making(self, store: Path, increment: Path) -> Command | None:
        """Apply an increment in the same way, but print what making took; None for a strange one.

        That is one started as told: which Python and which code it uses, is not known.
        """
        if self.line:
            return None
        program = Path(__file__).with_name("making.py")
        command = Command.of(sys.executable, "-P", program, store, increment)
        return command.within(self._environment)

    def imaging(self, store: Path, times: int) -> Command:
        """Make the metadata image of the store's one app; by this Python, out of this checkout."""
        program = Path(__file__).with_name("forms_image.py")
        command = Command.of(sys.executable, "-P", program, store, str(times))
        return command.within(self._environment)

    def plan(self, verb: Verb, release: Release, root: Path) -> Job:
        store = self.store(root)
        match verb:
            case Verb.PREPARE:
                copy = Command.of("cp", "-a", self.key_store, store)
                return (Command.of("mkdir", "-p", root), *self._key(), copy)
            case Verb.OFFER:
                return ()
            case Verb.INSTALL:
                return (self.command(store, "install", self.published(release)),)
            case Verb.UPDATE | Verb.ADD:
                return (self.command(store, "update", self.published(release)),)
            case Verb.REMOVE:
                return (self.command(store, "remove", release.app_id),)
            case Verb.VERIFY:
                return (self.command(store, "verify", release.app_id),)

    def trees(self, root: Path) -> tuple[Path, ...]:
        return tuple(self.store(root).glob("deployments/*/*/*/*/files"))

    def store(self, root: Path) -> Path:
        return root / "holdall"

    def command(self, store: Path, verb: str, *argv: str | Path) -> Command:
        """Return a holdall command on a store."""
        return Command.of(*self.argv, "--root", store, verb, *argv).within(self._environment)

    @property
    def argv(self) -> tuple[str, ...]:
        """How holdall is started: as told, or by this interpreter out of this checkout."""
        return tuple(shlex.split(self.line)) if self.line else (sys.executable, "-m", "holdall")

    @property
    def _environment(self) -> dict[str, str]:
        if self.line:
            return {}
        known = os.environ.get("PYTHONPATH")
        return {"PYTHONPATH": os.pathsep.join(filter(None, (str(_CHECKOUT / "src"), known)))}

    @property
    def key_store(self) -> Path:
        return self.shop / "key-store"

    def _key(self) -> Job:
        generate = self.command(self.key_store, "key", "generate")
        return () if self.key_store.exists() else (generate,)
