"""The peers: tar, plain tools in its place, ostree, flatpak, casync.

``shop`` is the folder in memory where network forms are published.
"""

import re
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import Contender, Program, Verb
from benchmarks.data import Release
from benchmarks.errors import BenchmarkError
from benchmarks.measure import Command, Job

_ZSTD = (Program("tar", "tar"), Program("zstd", "zstd"))


@dataclass(frozen=True, slots=True)
class Tar:
    """``tar --zstd -xf``, neither verified nor durable: the baseline of every ratio."""

    shop: Path
    name: str = "tar"
    programs: tuple[Program, ...] = _ZSTD

    def publish(self, release: Release) -> Job:
        pack = "tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C {} -c ."
        compress = "zstd -q -19 --long=27 -o {}"
        line = f"{pack.format('$0')} | {compress.format('$1')}"
        shell = ("bash", "-o", "pipefail", "-c", line)
        return (Command.of(*shell, release.files, self.published(release)),)

    def published(self, release: Release) -> Path:
        return self.shop / f"{release.name}.tar.zst"

    def plan(self, verb: Verb, release: Release, root: Path) -> Job:
        tree = root / release.name
        match verb:
            case Verb.OFFER:
                return (Command.of("mkdir", "-p", tree),)
            case Verb.INSTALL | Verb.UPDATE | Verb.ADD:
                return (Command.of("tar", "--zstd", "-xf", self.published(release), "-C", tree),)
            case _:
                return ()

    def trees(self, root: Path) -> tuple[Path, ...]:
        return (root,)


@dataclass(frozen=True, slots=True)
class Plain:
    """What one would type without an installer: tar and syncfs, rm -rf, sha256sum."""

    tar: Tar
    name: str = "plain"
    programs: tuple[Program, ...] = (*_ZSTD, Program("sha256sum", "coreutils"))

    def publish(self, release: Release) -> Job:
        return self.tar.publish(release)

    def published(self, release: Release) -> Path:
        return self.tar.published(release)

    def plan(self, verb: Verb, release: Release, root: Path) -> Job:
        tree = root / release.name
        match verb:
            case Verb.INSTALL | Verb.UPDATE | Verb.ADD:
                return (*self.tar.plan(verb, release, root), Command.of("sync", "-f", root))
            case Verb.REMOVE:
                return (Command.of("rm", "-rf", tree),)
            case Verb.VERIFY:
                line = 'find "$0" -type f -print0 | xargs -0 sha256sum'
                return (Command.of("bash", "-o", "pipefail", "-c", line, tree),)
            case _:
                return self.tar.plan(verb, release, root)

    def trees(self, root: Path) -> tuple[Path, ...]:
        return (root,)


@dataclass(frozen=True, slots=True)
class Ostree:
    """An archive repository, pulled into a bare-user-only one, checked out by hard links."""

    shop: Path
    name: str = "ostree"
    programs: tuple[Program, ...] = (Program("ostree", "ostree"),)

    def publish(self, release: Release) -> Job:
        repo = self.published(release)
        options = (f"--branch={release.name}", "--canonical-permissions")
        return (
            _ostree(repo, "init", "--mode=archive"),
            _ostree(repo, "commit", *options, release.files),
        )

    def published(self, release: Release) -> Path:
        return self.shop / f"{release.name}.ostree"

    def plan(self, verb: Verb, release: Release, root: Path) -> Job:
        repo, name, tree = root / "repo", release.name, root / release.name
        match verb:
            case Verb.PREPARE:
                return (_ostree(repo, "init", "--mode=bare-user-only"),)
            case Verb.INSTALL | Verb.UPDATE | Verb.ADD:
                # Checksums are compared as over a network; a local pull would trust its source.
                return (
                    _ostree(repo, "pull-local", "--untrusted", self.published(release), name),
                    _ostree(repo, "checkout", "-H", "-U", name, tree),
                )
            case Verb.REMOVE:
                return (
                    Command.of("rm", "-rf", tree),
                    _ostree(repo, "refs", "--delete", name),
                    _ostree(repo, "prune", "--refs-only"),
                )
            case Verb.VERIFY:
                return (_ostree(repo, "fsck", "--quiet"),)
            case Verb.OFFER:
                return ()

    def trees(self, root: Path) -> tuple[Path, ...]:
        return tuple(path for path in root.iterdir() if path.name not in {"repo", "lost+found"})


def _ostree(repo: Path, verb: str, *argv: str | Path) -> Command:
    return Command.of("ostree", f"--repo={repo}", verb, *argv)


@dataclass(frozen=True, slots=True)
class Flatpak:
    """``flatpak --user`` from a local repository, unsigned, over a runtime of one program."""

    shop: Path
    name: str = "flatpak"
    programs: tuple[Program, ...] = (Program("flatpak", "flatpak"), Program("bwrap", "bubblewrap"))

    def publish(self, release: Release) -> Job:
        return self.export(release, self.published(release))

    def export(self, release: Release, repo: Path) -> Job:
        """Export the app into a repository that may hold others."""
        metadata = (
            f"[Application]\nname={release.app_id}\nruntime={_RUNTIME}/x86_64/1\n"
            f"sdk={_RUNTIME}/x86_64/1\ncommand=true\n"
        )
        (release.source / "metadata").write_text(metadata)
        (release.source / "export").mkdir(exist_ok=True)
        return (Command.of(*_EXPORT, repo, release.source, "stable"),)

    def published(self, release: Release) -> Path:
        return self.shop / f"{release.name}.flatpak"

    def plan(self, verb: Verb, release: Release, root: Path) -> Job:
        app = f"{release.app_id}//stable"
        match verb:
            case Verb.PREPARE:
                return self._prepare(root)
            case Verb.OFFER:
                return self.offer(self.published(release), root)
            case Verb.INSTALL | Verb.UPDATE | Verb.REMOVE:
                return (self.command(root, *_WORDS[verb], app),)
            case Verb.ADD:
                return self._add(release, root)
            case Verb.VERIFY:
                repair = Command.of("flatpak", "repair", "--user", "--dry-run")
                return (repair.within(self._environment(root)),)

    def trees(self, root: Path) -> tuple[Path, ...]:
        return (root / "flatpak" / "app",)

    def command(self, root: Path, verb: str, *argv: str) -> Command:
        """Return a flatpak command on the installation below ``root``."""
        return Command.of("flatpak", "--user", verb, *argv).within(self._environment(root))

    def offer(self, repo: Path, root: Path) -> Job:
        """Have the installation look for apps in a repository."""
        url = f"file://{repo}"
        return (
            self.command(root, "remote-add", "--if-not-exists", "--no-gpg-verify", "apps", url),
            self.command(root, "remote-modify", f"--url={url}", "apps"),
        )

    def _prepare(self, root: Path) -> Job:
        runtimes = self.shop / "runtime.flatpak"
        export: Job = ()
        if not runtimes.exists():
            _lay_out_runtime(self.shop / "runtime")
            export = (Command.of(*_EXPORT, "--runtime", runtimes, self.shop / "runtime", "1"),)
        return (
            Command.of("mkdir", "-p", root / "home"),
            *export,
            self.command(root, "remote-add", "--no-gpg-verify", "runtimes", f"file://{runtimes}"),
            self.command(root, "install", *_QUIETLY, "runtimes", _RUNTIME),
        )

    def _add(self, release: Release, root: Path) -> Job:
        # An update takes the old version away; two versions stay only as two branches.
        repo = self.published(release)
        ref = f"app/{release.app_id}/x86_64"
        branch = ("build-commit-from", f"--src-ref={ref}/stable", repo, f"{ref}/next")
        return (
            Command.of("flatpak", *branch),
            self.command(root, "install", *_QUIETLY, "apps", f"{release.app_id}//next"),
        )

    def _environment(self, root: Path) -> dict[str, str]:
        return {
            "HOME": str(root / "home"),
            "FLATPAK_USER_DIR": str(root / "flatpak"),
            "FLATPAK_SYSTEM_DIR": str(root / "no-system-installation"),
        }


_RUNTIME = "org.holdall.bench.Runtime"
_QUIETLY = ("--assumeyes", "--noninteractive")
_WORDS = {
    Verb.INSTALL: ("install", *_QUIETLY, "apps"),
    Verb.UPDATE: ("update", *_QUIETLY),
    Verb.REMOVE: ("uninstall", *_QUIETLY),
}
_EXPORT = ("flatpak", "build-export", "--disable-sandbox")


def _lay_out_runtime(folder: Path) -> None:
    """A runtime with nothing in it but ``true`` and what that needs to start."""
    usr = folder / "usr"
    (folder / "files").mkdir(parents=True)
    ref = f"{_RUNTIME}/x86_64/1"
    (folder / "metadata").write_text(f"[Runtime]\nname={_RUNTIME}\nruntime={ref}\nsdk={ref}\n")
    for program in ("true", "ldconfig"):
        found = shutil.which(program, path="/usr/bin:/bin:/usr/sbin:/sbin")
        if found is None:
            raise BenchmarkError(
                f"{program} is not on this machine: apt install coreutils libc-bin"
            )
        _copy(Path(found), usr / "bin" / program)
    (usr / "sbin").symlink_to("bin")
    needed = subprocess.run(
        ["ldd", str(usr / "bin" / "true")], capture_output=True, text=True, check=True
    )
    for library in re.findall(r"(/\S*\.so\S*)", needed.stdout):
        _copy(Path(library), usr / Path(library).relative_to("/"))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


@dataclass(frozen=True, slots=True)
class Casync:
    """``casync make`` and ``extract``; verified by chunk, not durable, no store of its own."""

    shop: Path
    name: str = "casync"
    programs: tuple[Program, ...] = (Program("casync", "casync"),)

    def publish(self, release: Release) -> Job:
        index = self._index(release)
        make = ("casync", "make", "--with=unix", f"--store={self._chunks(release)}")
        return (
            Command.of("mkdir", "-p", index.parent),
            Command.of(*make, index, release.files),
        )

    def published(self, release: Release) -> Path:
        return self.shop / f"{release.name}.casync"

    def plan(self, verb: Verb, release: Release, root: Path) -> Job:
        tree = root / release.name
        match verb:
            case Verb.INSTALL:
                return (self._extract(release, root),)
            case Verb.UPDATE | Verb.ADD:
                others = (path for path in root.glob(f"{release.dataset}-*") if path != tree)
                seeds = [f"--seed={path}" for path in others]
                # Links share more, and take longer: not for what is timed.
                seeds += ["--hardlink=yes"] if verb is Verb.ADD else []
                return (self._extract(release, root, *seeds),)
            case Verb.REMOVE:
                return (Command.of("rm", "-rf", tree),)
            case _:
                return ()

    def trees(self, root: Path) -> tuple[Path, ...]:
        return (root,)

    def _extract(self, release: Release, root: Path, *options: str) -> Command:
        store = f"--store={self._chunks(release)}"
        extract = ("casync", "extract", "--with=unix", store, *options)
        command = Command.of(*extract, self._index(release), root / release.name)
        # What it notes about seeds goes to a temporary folder: let that be on the timed disk.
        return command.within({"TMPDIR": str(root)})

    def _index(self, release: Release) -> Path:
        return self.published(release) / "tree.caidx"

    def _chunks(self, release: Release) -> Path:
        return self.published(release) / "chunks.castr"


def peers(shop: Path) -> tuple[Contender, ...]:
    """Return every peer, the baseline first."""
    tar = Tar(shop)
    return (tar, Plain(tar), Ostree(shop), Flatpak(shop), Casync(shop))


def missing_packages(contenders: Iterable[Contender]) -> tuple[str, ...]:
    """Name the Debian packages whose commands are not here."""
    return absent({program for contender in contenders for program in contender.programs})


def absent(programs: Iterable[Program]) -> tuple[str, ...]:
    """Name the Debian packages of those programs that are not here."""
    missing = (program for program in programs if shutil.which(program.command) is None)
    return tuple(sorted({program.package for program in missing}))
