"""A wheel's files laid out below an app's, and small programs for its entry points.

The archive is hostile input: every member's name and kind is checked before it is written. Must
not know pip or the package index.
"""

import configparser
import os
import re
import shutil
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from holdall.errors import CorruptError, UsageError
from holdall.model.tree import check_path

_DATA = re.compile(
    r"(?P<distribution>[^/]+)\.data/(?P<scheme>purelib|platlib|headers|scripts|data)/(?P<rest>.+)"
)
_ENTRY_POINT = re.compile(r"(?P<module>[\w.]+)\s*:\s*(?P<object>[\w.]+)\s*(?:\[.*\])?")
_PROGRAM = """\
#!/usr/bin/env python{python}
import os
import sys

here = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
sys.path.insert(0, os.path.join(here, {library!r}))

from {module} import {first}

if __name__ == "__main__":
    sys.exit({object}())
"""


@dataclass(frozen=True, slots=True, order=True)
class EntryPoint:
    """A program's name and the function it calls."""

    name: str
    module: str
    object: str


@dataclass(frozen=True, slots=True)
class WheelFiles:
    """What a wheel brought: paths in the tree, and programs to be written."""

    paths: tuple[str, ...]
    entry_points: tuple[EntryPoint, ...]


def unpack_wheel(wheel: Path, files: Path, library: str, python: str | None) -> WheelFiles:
    """Add a wheel's files. Raises CorruptError for a member that leaves the tree."""
    paths = []
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                goal = _goal(member, wheel.name, library)
                if goal is not None:
                    _extract(archive, member, files, goal, python)
                    paths.append(goal)
            return WheelFiles(tuple(paths), tuple(sorted(_entry_points(archive))))
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise CorruptError(f"The wheel {wheel.name} cannot be read: {error}.") from error


def write_entry_point(files: Path, library: str, point: EntryPoint, python: str | None) -> None:
    """Write ``bin/NAME``, which finds its library from where it lies itself."""
    program = _PROGRAM.format(
        python=python or "3",
        library=library,
        module=point.module,
        object=point.object,
        first=point.object.split(".")[0],
    )
    path = files / "bin" / point.name
    path.parent.mkdir(exist_ok=True)
    path.write_text(program, encoding="utf-8")
    path.chmod(0o755)


def _goal(member: zipfile.ZipInfo, wheel: str, library: str) -> str | None:
    """Where a member goes, or None when it is nothing to keep."""
    name = member.filename
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise CorruptError(f"The wheel {wheel} has {name!a}, which is neither a file nor a folder.")
    try:
        check_path(name.removesuffix("/"))
    except UsageError as error:
        raise CorruptError(f"The wheel {wheel} has a member that leaves it: {name!a}.") from error
    if member.is_dir():
        return None
    found = _DATA.fullmatch(name)
    if not found:
        return f"{library}/{name}"
    match found["scheme"]:
        case "scripts":
            return f"bin/{found['rest']}"
        case "data":
            return found["rest"]
        case "headers":
            return None
        case _:
            return f"{library}/{found['rest']}"


def _extract(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, files: Path, goal: str, python: str | None
) -> None:
    path = files / goal
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise CorruptError(f"Two wheels disagree about {goal}: it is a folder in one of them.")
    with archive.open(member) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target, 2**20)
    if goal.startswith("bin/"):
        _set_interpreter(path, python)
    path.chmod(0o755 if goal.startswith("bin/") or (member.external_attr >> 16) & 0o111 else 0o644)


def _set_interpreter(path: Path, python: str | None) -> None:
    """A wheel writes ``#!python`` and leaves it to the installer to say which."""
    content = path.read_bytes()
    if content.startswith(b"#!python"):
        _, _, rest = content.partition(b"\n")
        path.write_bytes(f"#!/usr/bin/env python{python or '3'}\n".encode() + rest)


def _entry_points(archive: zipfile.ZipFile) -> Iterator[EntryPoint]:
    listed = [
        name
        for name in archive.namelist()
        if re.fullmatch(r"[^/]+\.dist-info/entry_points\.txt", name)
    ]
    parser = configparser.RawConfigParser(delimiters=("=",), strict=False)
    parser.optionxform = str  # type: ignore[assignment]  # the documented way to keep case
    for name in listed:
        parser.read_string(archive.read(name).decode("utf-8", "replace"))
    for section in ("console_scripts", "gui_scripts"):
        for name, value in parser.items(section) if parser.has_section(section) else ():
            found = _ENTRY_POINT.fullmatch(value.strip())
            if (
                not found
                or os.sep in name
                or not re.fullmatch(r"[\w.+-]+", name)
                or name.startswith(".")
            ):
                raise CorruptError(f"The entry point {name!a} is not one a program can be made of.")
            yield EntryPoint(name, found["module"], found["object"])
