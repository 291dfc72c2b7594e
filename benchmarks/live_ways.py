"""What the form live is measured beside: a folder, images the kernel or a program reads, a pool.

A way only plans, as all contenders. holdall's are installed and run by an ordinary user; images are
mounted by root, for that user to read.
"""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks import live_reader
from benchmarks.contenders import Program
from benchmarks.data import Release
from benchmarks.forms_user import as_user
from benchmarks.measure import Command, Job
from benchmarks.subject import Holdall

EXT4, KERNEL, LIVE, POOLED = "ext4", "kernel squashfs", "live", "live over pool"
EROFSFUSE = "erofsfuse"
FRAME = "640K"
_PYTHON = "/usr/bin/python3"
_SQUASHFS = ("-comp", "zstd", "-b", "128K", "-noappend", "-no-progress", "-quiet")


class Way(Protocol):
    """One way to have an app's files read by an ordinary user."""

    @property
    def name(self) -> str: ...

    @property
    def programs(self) -> tuple[Program, ...]: ...

    def install(self, release: Release, root: Path) -> Job:
        """Lay a release down on a disk that is the user's."""

    def mount(self, release: Release, root: Path, place: Path) -> Job:
        """What root does before it can be read; empty: nothing. It is ended by umount."""

    def reader(self, release: Release, root: Path, place: Path) -> Command:
        """What reads as it is told: `live_reader`."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A form of holdall: one that is installed, and those it is then converted to.

    It is read by ``holdall run``, in the app's sandbox.
    """

    subject: Holdall
    name: str
    forms: tuple[str, ...]
    programs: tuple[Program, ...] = (Program("bwrap", "bubblewrap"),)

    def install(self, release: Release, root: Path) -> Job:
        first, *others = self.forms
        bundle = framed(self.subject.shop, release)
        jobs = [self.command(root, "install", "--form", first, bundle)]
        jobs += [self.command(root, "convert", release.app_id, "--form", one) for one in others]
        return tuple(jobs)

    def mount(self, release: Release, root: Path, place: Path) -> Job:  # noqa: ARG002 - none
        return ()

    def reader(self, release: Release, root: Path, place: Path) -> Command:  # noqa: ARG002 - /app
        return self.version(root, release, ())

    def version(self, root: Path, release: Release, options: tuple[str, ...]) -> Command:
        """The reader, of a version that is told by options."""
        words = ("--command", "python3", *options, "--", "-I", "-c", _text(), "/app")
        return self.command(root, "run", release.app_id, *words)

    def command(self, root: Path, verb: str, *argv: str | Path) -> Command:
        """A command of holdall on this way's store, by the user."""
        (command,) = as_user((self.subject.command(self.store(root), verb, *argv),), root)
        return command

    def store(self, root: Path) -> Path:
        return root / self.name.replace(" ", "-")


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is mounted by the kernel from a loop device, or by a program over FUSE."""

    name: str
    kind: str
    server: str = ""

    @property
    def programs(self) -> tuple[Program, ...]:
        makers = {"squashfs": Program("mksquashfs", "squashfs-tools")}
        maker = makers.get(self.kind, Program("mkfs.erofs", "erofs-utils"))
        package = self.server.removesuffix("_ll")
        return (maker, *((Program(self.server, package),) if self.server else ()))

    def install(self, release: Release, root: Path) -> Job:
        image = self._image(release, root)
        if image.exists():
            return ()
        if self.kind == "erofs":
            return (Command.of("mkfs.erofs", "-zlz4", "-C65536", image, release.files),)
        return (Command.of("mksquashfs", release.files, image, *_SQUASHFS),)

    def mount(self, release: Release, root: Path, place: Path) -> Job:
        image = self._image(release, root)
        if self.server:
            return (Command.of(self.server, "-o", "allow_other", image, place),)
        return (Command.of("mount", "-t", self.kind, "-o", "loop,ro", image, place),)

    def reader(self, release: Release, root: Path, place: Path) -> Command:  # noqa: ARG002 - as Way
        (command,) = as_user((Command.of(_PYTHON, "-I", "-c", _text(), place),), root)
        return command

    def _image(self, release: Release, root: Path) -> Path:
        return root / f"{release.name}.{self.kind}"


def framed(shop: Path, release: Release) -> Path:
    """The bundle of a release in frames of the size that is recommended for it."""
    return shop / f"{release.name}-{FRAME}.holdall"


def stored(subject: Holdall) -> tuple[Stored, ...]:
    """holdall's own ways, the baseline first."""
    return (
        Stored(subject, EXT4, ("tree",)),
        Stored(subject, LIVE, ("live",)),
        Stored(subject, POOLED, ("pool", "live")),
    )


def ways(subject: Holdall) -> tuple[Way, ...]:
    """All that is measured, in the order of the table; few machines have erofsfuse."""
    baseline, *others = stored(subject)
    images = [
        Image(KERNEL, "squashfs"),
        Image("squashfuse", "squashfs", "squashfuse"),
        Image("squashfuse_ll", "squashfs", "squashfuse_ll"),
    ]
    if shutil.which(EROFSFUSE):
        images.append(Image(EROFSFUSE, "erofs", EROFSFUSE))
    return (baseline, *images, *others)


def mounting(way: Stored, root: Path, release: Release) -> Command:
    """A program that mounts the app as starting it does, and prints what that took."""
    program = Path(__file__).with_name("live_mounting.py")
    plain = way.subject.command(way.store(root), "run")
    command = Command.of(sys.executable, "-P", program, way.store(root), release.app_id)
    (made,) = as_user((command.within(dict(plain.environment)),), root)
    return made


def _text() -> str:
    return Path(live_reader.__file__).read_text()
