"""The plain tools beside holdall's forms: tar, images, btrfs snapshots, ostree's checkouts."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import Program, Verb
from benchmarks.data import Release
from benchmarks.forms_ways import BTRFS, EROFS, EXT4, SQUASHFS, SUBVOLUMES, View, Way
from benchmarks.measure import Command, Job
from benchmarks.peers import Ostree, Tar

TAR = "tar"
_TAR = (Program("tar", "tar"), Program("zstd", "zstd"))


@dataclass(frozen=True, slots=True)
class Unpacked:
    """``tar --zstd -xf`` beside what is there: the baseline of every ratio."""

    tar: Tar
    name: str = TAR
    system: str = EXT4
    programs: tuple[Program, ...] = _TAR

    def published(self, release: Release) -> Path:
        return self.tar.published(release)

    def publish(self, release: Release) -> Job:
        return self.tar.publish(release)

    def plan(self, verb: Verb, release: Release, root: Path) -> Job:
        match verb:
            case Verb.INSTALL | Verb.ADD:
                make = Command.of("mkdir", root / release.name)
                return (make, *self.tar.plan(verb, release, root))
            case Verb.REMOVE:
                return (Command.of("rm", "-rf", *root.glob(f"{release.dataset}-*")),)
            case _:
                return ()

    def sweep(self, root: Path) -> Job:  # noqa: ARG002 - nothing is left
        return ()

    def view(self, release: Release, root: Path, place: Path) -> View:  # noqa: ARG002 - a folder
        return View(root / release.name)


@dataclass(frozen=True, slots=True)
class Imaged:
    """An image made of what tar unpacked, mounted by the kernel by way of a loop device.

    It is compressed as holdall's own ``local-image`` is.
    """

    unpacked: Unpacked
    kind: str
    system: str = EXT4

    @property
    def name(self) -> str:
        return f"{self._maker.command} + loop"

    @property
    def programs(self) -> tuple[Program, ...]:
        return (*_TAR, self._maker)

    def published(self, release: Release) -> Path:
        return self.unpacked.published(release)

    def publish(self, release: Release) -> Job:
        return self.unpacked.publish(release)

    def plan(self, verb: Verb, release: Release, root: Path) -> Job:
        unpack = self.unpacked.plan(verb, release, root)
        if verb not in {Verb.INSTALL, Verb.ADD}:
            return unpack
        tree, image = root / release.name, self._image(release, root)
        if self.kind == "erofs":
            make = Command.of("mkfs.erofs", "-zlz4", "-C65536", image, tree)
        else:
            compress = ("-comp", "zstd", "-Xcompression-level", "3", "-b", "128K")
            options = (*compress, "-noappend", "-no-progress", "-quiet")
            make = Command.of("mksquashfs", tree, image, *options)
        return (*unpack, make, Command.of("rm", "-rf", tree))

    def sweep(self, root: Path) -> Job:  # noqa: ARG002 - nothing is left
        return ()

    def view(self, release: Release, root: Path, place: Path) -> View:
        image = self._image(release, root)
        mount = Command.of("mount", "-t", self.kind, "-o", "loop,ro", image, place)
        return View(place, (mount,), (Command.of("umount", place),))

    @property
    def _maker(self) -> Program:
        return EROFS[0] if self.kind == "erofs" else SQUASHFS[0]

    def _image(self, release: Release, root: Path) -> Path:
        return root / f"{release.name}.{self.kind}"


@dataclass(frozen=True, slots=True)
class Snapshots:
    """Subvolumes: of what tar unpacked, then a snapshot of it, brought to the new tree by rsync.

    rsync has the new tree before it, unpacked in memory; it is told to compare contents, since the
    times of all files are the same, and to write changed blocks alone, so that others are shared.
    """

    unpacked: Unpacked
    name: str = "btrfs snapshot + rsync"
    system: str = BTRFS
    programs: tuple[Program, ...] = (*_TAR, *SUBVOLUMES, Program("rsync", "rsync"))

    def published(self, release: Release) -> Path:
        return self.unpacked.published(release)

    def publish(self, release: Release) -> Job:
        return self.unpacked.publish(release)

    def plan(self, verb: Verb, release: Release, root: Path) -> Job:
        tree = root / release.name
        seal = Command.of("btrfs", "property", "set", "-ts", tree, "ro", "true")
        match verb:
            case Verb.INSTALL:
                create = Command.of("btrfs", "-q", "subvolume", "create", tree)
                return (create, *self.unpacked.tar.plan(verb, release, root), seal)
            case Verb.ADD:
                (base,) = root.glob(f"{release.dataset}-*")
                options = ("-a", "--delete", "--checksum", "--inplace", "--no-whole-file")
                return (
                    Command.of("btrfs", "-q", "subvolume", "snapshot", base, tree),
                    Command.of("rsync", *options, f"{release.files}/", f"{tree}/"),
                    seal,
                )
            case Verb.REMOVE:
                trees = sorted(root.glob(f"{release.dataset}-*"))
                return (Command.of("btrfs", "-q", "subvolume", "delete", *trees),)
            case _:
                return ()

    def sweep(self, root: Path) -> Job:  # noqa: ARG002 - nothing is left
        return ()

    def view(self, release: Release, root: Path, place: Path) -> View:
        return self.unpacked.view(release, root, place)


@dataclass(frozen=True, slots=True)
class Checkouts:
    """``ostree checkout`` by hard links, out of a repository that was pulled into."""

    ostree: Ostree
    name: str = "ostree checkout"
    system: str = EXT4
    programs: tuple[Program, ...] = (Program("ostree", "ostree"),)

    def published(self, release: Release) -> Path:
        return self.ostree.published(release)

    def publish(self, release: Release) -> Job:
        return self.ostree.publish(release)

    def plan(self, verb: Verb, release: Release, root: Path) -> Job:
        if verb is not Verb.REMOVE:
            return self.ostree.plan(verb, release, root)
        trees = sorted(self.ostree.trees(root))
        repo = f"--repo={root / 'repo'}"
        return (
            Command.of("rm", "-rf", *trees),
            Command.of("ostree", repo, "refs", "--delete", *(tree.name for tree in trees)),
            Command.of("ostree", repo, "prune", "--refs-only"),
        )

    def sweep(self, root: Path) -> Job:  # noqa: ARG002 - nothing is left
        return ()

    def view(self, release: Release, root: Path, place: Path) -> View:  # noqa: ARG002 - a folder
        return View(root / release.name)


def peers(shop: Path) -> tuple[Way, ...]:
    """Return the plain tools, the baseline first."""
    unpacked = Unpacked(Tar(shop))
    return (
        unpacked,
        Imaged(unpacked, "squashfs"),
        Imaged(unpacked, "erofs"),
        Snapshots(unpacked),
        Checkouts(Ostree(shop)),
    )
