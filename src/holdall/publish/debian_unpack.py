"""Debian packages laid out as one tree: where each path goes, what is left out, links set right.

Nothing of a package runs here. Owners, times, setuid bits and devices are not carried over. Must
not know apt, nor what the tree is for beyond the place it will be mounted at.
"""

import io
import os
import re
import shlex
import stat
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from posixpath import dirname, join, normpath, relpath

from holdall.errors import CorruptError, UsageError
from holdall.system.process import find_program, run

# Folders of the root that are links into /usr wherever the tree will be used.
_MERGED = re.compile(r"^(?:bin|sbin|lib|lib32|lib64|libx32|libo32)(?=/)")
_CARRIED = re.compile(r"(?P<root>usr|etc|opt)/(?P<rest>.+)", re.DOTALL)
_DOCUMENTATION = re.compile(
    r"share/(?:doc|man|info|gtk-doc|doc-base|lintian|bug|reportbug|menu)(?:/.*)?", re.DOTALL
)
_DEBUGGING = re.compile(r"(?:share/(?:gdb|gcc)|src|local)(?:/.*)?", re.DOTALL)
_COPYRIGHT = re.compile(r"share/doc(?:/[^/]+(?:/copyright)?)?")
# What configures a booting, administered machine; a sandbox has none of it.
_ADMINISTRATION = re.compile(
    r"etc/(?:init\.d|rc.\.d|systemd|cron\.[a-z]+|logrotate\.d|default|pam\.d|security|skel|apt|dpkg|kernel"
    r"|apparmor\.d|sysctl\.d|modprobe\.d|modules-load\.d|update-motd\.d|alternatives|ufw)(?:/.*)?"
    r"|lib/(?:systemd|udev|tmpfiles\.d|sysusers\.d|modules-load\.d|sysctl\.d|init)(?:/.*)?",
    re.DOTALL,
)
_ALTERNATIVE = re.compile(r"update-alternatives\s+((?:[^\n\\]|\\\n)*--install(?:[^\n\\;&|]|\\\n)*)")


@dataclass(frozen=True, slots=True)
class Alternative:
    """A name that several packages may answer to, as a maintainer script would register it."""

    link: str
    target: str
    priority: int


@dataclass(frozen=True, slots=True)
class Layout:
    """How package paths become tree paths.

    `mount` is where the tree will be: ``/usr`` for a runtime, whose ``etc`` is then shown as
    ``/etc``, or ``/app`` for an app, which keeps its configuration below ``/app/etc``.
    """

    mount: str
    keep_documentation: bool = False

    def place(self, path: str) -> str | None:
        """Where ``usr/bin/x`` goes in the tree, or None when it is left out."""
        merged = _MERGED.sub(r"usr/\g<0>", path)
        found = _CARRIED.fullmatch(merged)
        if not found or (found["root"] == "opt" and self.mount == "/usr"):
            return None
        placed = f"etc/{found['rest']}" if found["root"] == "etc" else found["rest"]
        if _ADMINISTRATION.fullmatch(placed) or _DEBUGGING.fullmatch(placed):
            return None
        if _DOCUMENTATION.fullmatch(placed) and not self.keep_documentation:
            return placed if _COPYRIGHT.fullmatch(placed) else None
        return placed

    def shown(self, placed: str) -> str:
        """The absolute path a program in the sandbox uses for a path of the tree."""
        if self.mount == "/usr" and re.match("etc(?:/|$)", placed):
            return f"/{placed}"
        return f"{self.mount}/{placed}"


@dataclass(frozen=True, slots=True)
class Extracted:
    """One package's files as it names them, and the script it would have run afterwards."""

    folder: Path
    postinst: str


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What a package brought: tree path → package path, and what its scripts would register."""

    origins: Mapping[str, str] = field(default_factory=dict)
    alternatives: tuple[Alternative, ...] = ()


def extract(package: Path, folder: Path) -> Extracted:
    """Unpack one package into `folder`, which must not exist yet."""
    program = find_program("dpkg-deb", package="dpkg")
    run([program, "--extract", str(package), str(folder)])
    control = run([program, "--ctrl-tarfile", str(package)])
    return Extracted(folder, _member(control, "postinst"))


def merge(extracted: Extracted, files: Path, layout: Layout) -> Unpacked:
    """Move one extracted package into the tree `files`."""
    _open_folders(extracted.folder)
    origins = dict(_move_all(extracted.folder, files, layout))
    return Unpacked(origins, tuple(alternatives_in(extracted.postinst)))


def alternatives_in(script: str) -> Iterator[Alternative]:
    """The alternatives a maintainer script registers literally; those it computes are not seen."""
    for call in _ALTERNATIVE.finditer(script):
        try:
            words = shlex.split(call[1].replace("\\\n", " "))
        except ValueError:
            continue
        if any("$" in word or "`" in word for word in words):
            continue
        priority = 0
        for position, word in enumerate(words):
            match word, words[position + 1 : position + 5]:
                case "--install", [link, _, target, rank, *_] if rank.isdigit():
                    priority = int(rank)
                    yield Alternative(link, target, priority)
                case "--slave", [link, _, target, *_]:
                    yield Alternative(link, target, priority)
                case _:
                    pass


def link_alternatives(
    files: Path, layout: Layout, alternatives: Iterable[Alternative]
) -> dict[str, str]:
    """Link every name that nothing in the tree has to its best target; tree path → package path."""
    made: dict[str, str] = {}
    ranked = sorted(alternatives, key=lambda each: (each.link, -each.priority, each.target))
    for each in ranked:
        placed, target = (layout.place(path.lstrip("/")) for path in (each.link, each.target))
        if placed is None or target is None or not os.path.lexists(files / target):
            continue
        path = files / placed
        if placed not in made and not os.path.lexists(path) and _parents_are_folders(files, placed):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(relpath(target, dirname(placed)))
            made[placed] = each.link.lstrip("/")
    return made


def settle_links(files: Path, layout: Layout, origins: Mapping[str, str]) -> None:
    """Make every link mean in the sandbox what it meant in its package.

    Links into documentation that was left out are dropped.
    """
    for placed, origin in sorted(origins.items()):
        path = files / placed
        if not path.is_symlink():
            continue
        target = str(path.readlink())
        meant = normpath(join("/", dirname(origin), target))
        goal = layout.place(meant.lstrip("/"))
        own = goal is not None and os.path.lexists(files / goal)
        wanted = layout.shown(goal) if goal is not None and own else meant
        if _DOCUMENTATION.fullmatch(placed) and not own:
            path.unlink()
            continue
        here = dirname(layout.shown(placed))
        now = normpath(join(here, target))
        if now != wanted:
            path.unlink()
            same_mount = wanted.startswith(f"{layout.mount}/") and here.startswith(layout.mount)
            path.symlink_to(relpath(wanted, here) if same_mount else wanted)


def prune_empty_documentation(files: Path) -> None:
    """Remove the folders whose documentation was left out."""
    for name, _, _ in os.walk(files / "share/doc", topdown=False):
        folder = Path(name)
        if not any(folder.iterdir()):
            folder.rmdir()


def _move_all(raw: Path, files: Path, layout: Layout) -> Iterator[tuple[str, str]]:
    for folder, folders, names in os.walk(raw):
        below = os.path.relpath(folder, raw)
        linked = [name for name in folders if Path(folder, name).is_symlink()]
        for name in sorted((*folders, *names)):
            origin = normpath(join(below, name))
            source = Path(folder, name)
            placed = layout.place(origin)
            if placed is None:
                continue
            if name in folders and name not in linked:
                _make_folder(files, placed)
            elif not _move(source, files, placed):
                continue
            yield placed, origin


def _move(source: Path, files: Path, placed: str) -> bool:
    mode = source.lstat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
        return False
    goal = files / placed
    _make_folder(files, dirname(placed))
    if goal.is_dir() and not goal.is_symlink():
        if _DOCUMENTATION.fullmatch(placed):
            return False
        raise CorruptError(
            f"Two packages disagree about {placed}: it is a folder in one of them only."
        )
    if stat.S_ISREG(mode):
        source.chmod(0o755 if mode & 0o111 else 0o644)
    source.replace(goal)
    return True


def _make_folder(files: Path, placed: str) -> None:
    """A real folder at `placed`; a link never stands in for one, nothing is written through it."""
    if not placed or ((files / placed).is_dir() and _parents_are_folders(files, f"{placed}/.")):
        return
    _make_folder(files, dirname(placed))
    path = files / placed
    if path.is_symlink() and _DOCUMENTATION.fullmatch(placed):
        path.unlink()
    if os.path.lexists(path):
        raise CorruptError(
            f"Two packages disagree about {placed}: it is a folder in one of them only."
        )
    path.mkdir(mode=0o755)


def _parents_are_folders(files: Path, placed: str) -> bool:
    parts = placed.split("/")[:-1]
    return not any(
        (files / "/".join(parts[: count + 1])).is_symlink() for count in range(len(parts))
    )


def _open_folders(raw: Path) -> None:
    """Folders of a package may be closed to ordinary users, who unpack them here."""
    for folder, folders, _ in os.walk(raw):
        for name in folders:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o755)


def _member(archive: bytes, name: str) -> str:
    with tarfile.open(fileobj=io.BytesIO(archive)) as members:
        for member in members:
            if normpath(member.name) == name and member.isfile():
                content = members.extractfile(member)
                return content.read().decode("utf-8", "replace") if content else ""
    return ""


def checked_mount(kind: str) -> str:
    """Where a tree of this kind is mounted."""
    mounts = {"runtime": "/usr", "app": "/app"}
    if kind not in mounts:
        raise UsageError(f"{kind!r} is not a kind of source folder: use app or runtime.")
    return mounts[kind]
