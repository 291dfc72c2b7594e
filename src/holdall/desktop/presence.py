"""What an app has on the host: exported files brought to what is wanted, and never anyone else's.

A record per app says which files and folders are ours, by content: one that is not in it, or that
was changed since, belongs to somebody else and is neither overwritten nor removed. The record names
what is about to be made before it is made, so wherever this is killed nothing is left unowned.
On the path of ``remove``: does not load the model.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from holdall.errors import CorruptError, ProgramError, UnsupportedError
from holdall.system import process
from holdall.system.files import plain_errors, write_atomic

if TYPE_CHECKING:
    from holdall.desktop.exports import ExportedFile

# What the desktop's own tools leave beside exported files, by the folder it is left in.
_CACHES = {
    "applications": ("mimeinfo.cache",),
    "mime": (
        *("XMLnamespaces", "aliases", "generic-icons", "globs", "globs2", "icons", "magic"),
        *("mime.cache", "subclasses", "treemagic", "types", "version"),
    ),
}


class ExportTarget(NamedTuple):
    """The host's folders that exports go to: XDG_DATA_HOME or its like, and one on the PATH."""

    data_home: str
    bin_home: str

    def path(self, file: "ExportedFile") -> str:
        """Where a file stands."""
        return f"{self.data_home if file.root == 'data' else self.bin_home}/{file.path}"


class Applied(NamedTuple):
    """What was done; `kept` are the paths of others' files that stood in the way."""

    written: tuple[str, ...]
    removed: tuple[str, ...]
    kept: tuple[str, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for each file that was left alone."""
        return tuple(f"{path} is not holdall's; it was left as it is." for path in self.kept)


class _Record(NamedTuple):
    """Our files with the SHA-256 of every content we may have given them, and folders we made.

    `unfinished` while files are being put there: the desktop's caches may not know of them yet.
    """

    files: dict[str, list[str]]
    folders: list[str]
    unfinished: bool = False


def apply(target: ExportTarget, record_path: str, wanted: "Iterable[ExportedFile]") -> Applied:
    """Bring the host to `wanted` for the app whose record is at `record_path`; () leaves nothing.

    The same call again, after any interruption, ends in the same state. The record is gone when
    nothing is left. Raises HoldallError where the operating system refuses.
    """
    goal = {target.path(file): file for file in wanted}
    with plain_errors("The app's entries cannot be brought to the desktop"):
        return _Application(target, Path(record_path), _read(record_path), goal).carry_out()


class _Application(NamedTuple):
    target: ExportTarget
    record_path: Path
    old: _Record
    goal: "dict[str, ExportedFile]"

    def carry_out(self) -> Applied:
        for path in self.old.files:
            _beside(path).unlink(missing_ok=True)
        kept = {path for path in (*self.goal, *self.old.files) if self._is_foreign(path)}
        fresh = {
            path: file
            for path, file in self.goal.items()
            if path not in kept and _digest_at(path) != _digest(file.data)
        }
        folders = self._missing_folders(fresh)
        if fresh:
            self._note(fresh, folders)
        for path, file in fresh.items():
            _place(Path(path), file, new=path not in self.old.files)
        obsolete = [path for path in self.old.files if path not in self.goal and path not in kept]
        for path in obsolete:
            Path(path).unlink(missing_ok=True)
        _refresh(self.target, (*(self.goal if self.old.unfinished else fresh), *obsolete))
        self._conclude(kept, [*self.old.folders, *folders])
        return Applied(tuple(fresh), tuple(obsolete), tuple(sorted(kept)))

    def _is_foreign(self, path: str) -> bool:
        """Whether something stands at `path` that we did not put there."""
        there = Path(path)
        if there.is_symlink() or (there.exists() and not there.is_file()):
            return True
        found = _digest_at(path)
        # after a loss of power our own file may be there without its contents
        ours = (*self.old.files.get(path, ()), *([_digest(b"")] if path in self.old.files else ()))
        return found is not None and found not in ours

    def _missing_folders(self, fresh: Iterable[str]) -> list[str]:
        missing = {
            str(folder) for path in fresh for folder in Path(path).parents if not folder.exists()
        }
        return sorted(missing - set(self.old.folders))

    def _note(self, fresh: "dict[str, ExportedFile]", folders: list[str]) -> None:
        """Write down what is ours and what is about to be."""
        files = {path: list(digests) for path, digests in self.old.files.items()}
        for path, file in fresh.items():
            files.setdefault(path, []).append(_digest(file.data))
        _write(self.record_path, _Record(files, [*self.old.folders, *folders], unfinished=True))

    def _conclude(self, kept: set[str], folders: list[str]) -> None:
        """Leave no folder of ours empty, and a record of exactly what stands."""
        files = {path: [_digest(file.data)] for path, file in self.goal.items() if path not in kept}
        left = [one for one in sorted(folders, reverse=True) if not _remove_empty(Path(one))]
        if files:
            _write(self.record_path, _Record(files, sorted(left)))
            return
        _hand_over(self.record_path, left)
        self.record_path.unlink(missing_ok=True)


def _read(record_path: str) -> _Record:
    try:
        stored = json.loads(Path(record_path).read_bytes())
        files = {str(path): [str(one) for one in known] for path, known in stored["files"].items()}
        folders = [str(folder) for folder in stored["folders"]]
        return _Record(files, folders, bool(stored.get("unfinished", False)))
    except FileNotFoundError:
        return _Record({}, [])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptError(
            f"The record of exported files {record_path} is damaged; remove it and export again."
        ) from error


def _write(record_path: Path, record: _Record) -> None:
    stored: dict[str, object] = {"format": 1, "files": record.files, "folders": record.folders}
    if record.unfinished:
        stored["unfinished"] = True
    write_atomic(str(record_path), json.dumps(stored, indent=1).encode(), durable=True)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _digest_at(path: str) -> str | None:
    try:
        return _digest(Path(path).read_bytes())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None


def _beside(path: str) -> Path:
    """Where a file is made before it gets its name: known beforehand, so it can be swept."""
    folder, _, name = path.rpartition("/")
    return Path(f"{folder}/.{name}.holdall-new")


def _place(path: Path, file: "ExportedFile", *, new: bool) -> None:
    """Put the file there whole; a name that is new must still be free at that moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _beside(str(path))
    beside.write_bytes(file.data)
    beside.chmod(file.mode)
    if new:
        path.hardlink_to(beside)
        beside.unlink()
    else:
        beside.replace(path)


def _remove_empty(folder: Path) -> bool:
    """Remove `folder` if nothing is in it; whether it is gone."""
    with suppress(OSError):
        folder.rmdir()
    return not folder.exists()


def _drop_caches(folder: Path) -> None:
    """Remove the tools' caches from a folder that has nothing else."""
    caches = {folder / name for name in _CACHES[folder.name]}
    if set(folder.iterdir()) <= caches:
        for cache in caches:
            cache.unlink(missing_ok=True)


def _hand_over(record_path: Path, folders: list[str]) -> None:
    """Give folders that are still in use to a record that uses them; the last app removes them."""
    others = [path for path in record_path.parent.glob("*.json") if path != record_path]
    for other in others if folders else []:
        record = _read(str(other))
        used = [one for one in folders if any(path.startswith(f"{one}/") for path in record.files)]
        if not set(used) <= set(record.folders):
            _write(other, record._replace(folders=sorted({*record.folders, *used})))


def _refresh(target: ExportTarget, changed: Iterable[str]) -> None:
    """Tell the desktop's caches, where they matter and the tools are there."""
    home, paths = target.data_home, tuple(changed)
    for kind, program, package in (
        ("applications", "update-desktop-database", "desktop-file-utils"),
        ("mime", "update-mime-database", "shared-mime-info"),
    ):
        folder = Path(home, kind)
        if any(path.startswith(f"{folder}/") for path in paths) and folder.is_dir():
            _refresh_folder(folder, program, package)
    icons = f"{home}/icons/"
    shown = [path.removeprefix(icons) for path in paths if path.startswith(icons)]
    for theme in {path.partition("/")[0] for path in shown}:
        _refresh_theme(Path(icons) / theme)


def _refresh_folder(folder: Path, program: str, package: str) -> None:
    """Have a tool renew its caches in a folder, unless they are all that is left there."""
    _drop_caches(folder)
    if not any(folder.iterdir()):
        return
    with suppress(UnsupportedError, ProgramError):
        process.run([process.find_program(program, package=package), str(folder)])
    for child in folder.iterdir():
        with suppress(OSError):
            child.rmdir()
    _drop_caches(folder)


def _refresh_theme(folder: Path) -> None:
    """Renew a theme's cache where there is one, else its folder's time, which says as much."""
    with suppress(UnsupportedError, ProgramError, FileNotFoundError):
        if (folder / "icon-theme.cache").exists():
            name = "gtk-update-icon-cache"
            program = process.find_program(name, package=name)
            process.run([program, "--quiet", "--force", "--ignore-theme-index", str(folder)])
        else:
            os.utime(folder)
