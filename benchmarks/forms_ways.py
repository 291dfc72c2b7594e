"""What the table of forms compares: holdall's forms, and plain tools that do the same.

A way is a contender that also says where a version's files are read, and on which file system it
lives. Its REMOVE takes away every version. It only plans, as all contenders.
"""

import shutil
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from benchmarks.contenders import Program, Verb
from benchmarks.data import Release
from benchmarks.errors import BenchmarkError
from benchmarks.measure import Command, Job
from benchmarks.subject import Holdall
from holdall.forms.port import Form, Traits

EXT4, BTRFS = "ext4", "btrfs"


@dataclass(frozen=True, slots=True)
class View:
    """A folder in which a version's files are read, and what makes and ends it; empty: nothing."""

    folder: Path
    mount: Job = ()
    unmount: Job = ()


class Way(Protocol):
    """One way to have two versions of an app on disk."""

    @property
    def name(self) -> str: ...

    @property
    def system(self) -> str:
        """The file system it lives on."""

    @property
    def programs(self) -> tuple[Program, ...]: ...

    def published(self, release: Release) -> Path:
        """The file or folder of the network form."""

    def publish(self, release: Release) -> Job:
        """Make the network form of a release."""

    def plan(self, verb: Verb, release: Release, root: Path) -> Job:
        """PREPARE, INSTALL into what is empty, ADD beside what is there, REMOVE all."""

    def sweep(self, root: Path) -> Job:
        """What gives back the space that removing left, where there is such a thing."""

    def view(self, release: Release, root: Path, place: Path) -> View:
        """How the release is read; ``place`` is an empty folder to mount it at."""


@dataclass(frozen=True, slots=True)
class Lodging:
    """A form of holdall; ``image`` is the kind of image in the bundle that is installed, or ""."""

    subject: Holdall
    name: str
    form: str
    options: tuple[str, ...] = ()
    image: str = ""
    system: str = EXT4
    programs: tuple[Program, ...] = ()

    def published(self, release: Release) -> Path:
        kind = f"-{self.image}" if self.image else ""
        return self.subject.shop / f"{release.name}{kind}.holdall"

    def publish(self, release: Release) -> Job:
        """Build the bundle; the key has to be there."""
        build = self.subject.build(release)
        options = ("--image", self.image) if self.image else ()
        argv = [*build.argv, *options]
        argv[argv.index("-o") + 1] = str(self.published(release))
        return (Command(tuple(argv), build.environment),)

    def plan(self, verb: Verb, release: Release, root: Path) -> Job:
        store, bundle = self.subject.store(root), self.published(release)
        match verb:
            case Verb.INSTALL:
                options = ("--form", self.form, *self.options)
                return (self.subject.command(store, "install", *options, bundle),)
            case Verb.ADD:
                return (self.subject.command(store, "update", bundle),)
            case _:
                return self.subject.plan(verb, release, root)

    def sweep(self, root: Path) -> Job:
        return (self.subject.command(self.subject.store(root), "gc"),)

    def view(self, release: Release, root: Path, place: Path) -> View:
        store = self.subject.store(root)
        if _traits(self.form).folder:
            folder = _deployment(store, release) / "files"
            # A folder of btrfs in a file is there once that is mounted, and stays.
            ready = self.subject.command(store, "path", release.app_id)
            return View(folder, () if folder.is_dir() else (ready,))
        version = ("--version", release.version)
        return View(
            place,
            (self.subject.command(store, "mount", release.app_id, place, *version),),
            (self.subject.command(store, "unmount", place),),
        )


def _deployment(store: Path, release: Release) -> Path:
    """The folder of an installed version."""
    wanted = f'"version":"{release.version}"'.encode()
    for said in store.glob("deployments/*/*/*/*/release"):
        if wanted in said.read_bytes():
            return said.parent
    raise BenchmarkError(f"{release.name} is not installed in {store}")


EROFS = (Program("mkfs.erofs", "erofs-utils"),)
SQUASHFS = (Program("mksquashfs", "squashfs-tools"),)
_SQUASHFUSE = (*SQUASHFS, Program("squashfuse", "squashfuse"))
_EROFSFUSE = (*EROFS, Program("erofsfuse", "erofsfuse"))
SUBVOLUMES = (Program("btrfs", "btrfs-progs"),)
_KERNEL = ("--allow-kernel-parser",)
# In the order of the table: name, form, options of install, kind of image in the bundle.
_FORMS: tuple[tuple[str, str, tuple[str, ...], str, str, tuple[Program, ...]], ...] = (
    ("tree", "tree", (), "", EXT4, ()),
    ("pool", "pool", (), "", EXT4, ()),
    ("image: erofs, kernel", "image", _KERNEL, "erofs", EXT4, EROFS),
    ("image: erofs, erofsfuse", "image", (), "erofs", EXT4, _EROFSFUSE),
    ("image: squashfs, kernel", "image", _KERNEL, "squashfs", EXT4, SQUASHFS),
    ("image: squashfs, squashfuse", "image", (), "squashfs", EXT4, _SQUASHFUSE),
    ("local-image: erofs", "local-image", ("--image", "erofs"), "", EXT4, EROFS),
    ("local-image: squashfs", "local-image", ("--image", "squashfs"), "", EXT4, SQUASHFS),
    ("btrfs: native", "btrfs", (), "", BTRFS, SUBVOLUMES),
    ("btrfs: loop file", "btrfs", (), "", EXT4, SUBVOLUMES),
    ("composefs", "composefs", (), "", EXT4, ()),
)


def lodgings(subject: Holdall) -> tuple[Lodging, ...]:
    """Return holdall's forms, as far as they can be imported; few machines have erofsfuse."""
    return tuple(
        Lodging(subject, name, form, options, image, system, programs)
        for name, form, options, image, system, programs in _FORMS
        if can_be_imported(form) and (programs != _EROFSFUSE or shutil.which("erofsfuse"))
    )


def can_be_imported(form: str) -> bool:
    """Whether the form is built already."""
    try:
        _traits(form)
    except ImportError:
        return False
    return True


def _traits(form: str) -> Traits:
    return cast("Form", import_module(f"holdall.forms.{form.replace('-', '_')}")).TRAITS
