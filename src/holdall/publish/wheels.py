"""Apps made from Python wheels: a project, what it depends on, its programs, on the host's Python.

pip resolves and downloads, by its own configuration; the wheels are checked and unpacked here. Must
not know what becomes of the source folder.
"""

import hashlib
import re
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from holdall.errors import CorruptError, NotFoundError, ProgramError, UnsupportedError, UsageError
from holdall.model.manifest import About, Manifest, Permissions
from holdall.model.ref import checked_id
from holdall.publish.desktop_entries import show_as
from holdall.publish.source_folder import (
    Advanced,
    Noted,
    Report,
    check_target,
    ignore,
    new_source_folder,
    permissions_with,
    printable,
    write_manifest,
)
from holdall.publish.wheel_files import EntryPoint, WheelFiles, unpack_wheel, write_entry_point
from holdall.system.process import run

LIBRARY = "lib/python"
_REQUIREMENT = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._, -]+\])?"
    r"\s*((==|>=|<=|~=|!=|<|>)[A-Za-z0-9.*+!,<>=~ -]+)?"
)
_GRAPHICAL = re.compile(
    r"(pyqt[456]|pyside[26]|wxpython|kivy|pygobject|pygame|dearpygui|flet)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class WheelRequest:
    """What to make from which projects, the first of which is the app; what is None is derived."""

    requirements: tuple[str, ...]
    id: str | None = None
    branch: str = "stable"
    command: str | None = None
    dependencies: bool = True
    python: str | None = None
    permissions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, order=True)
class Wheel:
    """One wheel pip chose, and what its project says of itself."""

    name: str
    version: str
    file_name: str
    sha256: str
    summary: str = ""
    license: str = ""
    homepage: str = ""
    author: str = ""

    @property
    def pure(self) -> bool:
        """Whether it runs on every architecture."""
        return self._tags[2] == "any"

    @property
    def python(self) -> str | None:
        """The one Python minor version it runs on, or None for any."""
        interpreter, abi, _ = self._tags
        found = re.fullmatch(r"cp3(\d+)", interpreter)
        return f"3.{found[1]}" if found and abi not in {"abi3", "none"} else None

    @property
    def arch(self) -> str:
        """The architecture it was built for, in the kernel's words."""
        found = re.search(r"(?:x86_64|aarch64|i686|armv7l|ppc64le|s390x|riscv64)$", self._tags[2])
        return "noarch" if self.pure or not found else found[0]

    @property
    def _tags(self) -> tuple[str, str, str]:
        interpreter, abi, platform = self.file_name.removesuffix(".whl").split("-")[-3:]
        return interpreter, abi, platform


@dataclass(frozen=True, slots=True)
class WheelPlan:
    """Everything an import will do, before the wheels are fetched; the index gives no sizes."""

    request: WheelRequest
    id: str
    wheels: tuple[Wheel, ...]
    main: Wheel
    arch: str
    python: str | None
    steps: tuple[str, ...]


def plan_wheel(request: WheelRequest) -> WheelPlan:
    """Let pip resolve the requirements; nothing is kept."""
    if not request.requirements:
        raise UsageError("Name at least one project of the Python package index.")
    for requirement in request.requirements:
        if not _REQUIREMENT.fullmatch(requirement):
            raise UsageError(
                f"{requirement!r} is not the name of a project, such as NAME or NAME==1.2."
            )
    if request.python and not re.fullmatch(r"3\.\d+", request.python):
        raise UsageError(f"{request.python!r} is not a Python version of the form 3.11.")
    wheels = _resolved(request)
    name = _normal(re.split(r"[^A-Za-z0-9._-]", request.requirements[0])[0])
    main = next(wheel for wheel in wheels if _normal(wheel.name) == name)
    arches = sorted({wheel.arch for wheel in wheels} - {"noarch"})
    pythons = sorted({wheel.python for wheel in wheels if wheel.python})
    steps = (
        f"fetch {len(wheels)} wheels",
        f"unpack them to files/{LIBRARY}",
        "write programs for the entry points",
        "write holdall.toml",
    )
    return WheelPlan(
        request=request,
        id=checked_id(request.id or pypi_id(main.name)),
        wheels=wheels,
        main=main,
        arch=arches[0] if arches else "noarch",
        python=request.python if pythons and request.python else next(iter(pythons), None),
        steps=steps,
    )


def import_wheel(plan: WheelPlan, target: Path, *, cache: Path, report: Report = ignore) -> Path:
    """Make the source folder `target` as planned; wheels stay in `cache` for the next import."""
    check_target(target)
    cache.mkdir(parents=True, exist_ok=True)
    _fetch(plan, cache, report)
    with new_source_folder(target) as draft:
        files = draft / "files"
        brought: dict[str, WheelFiles] = {}
        for count, wheel in enumerate(plan.wheels, 1):
            path = cache / wheel.sha256 / wheel.file_name
            brought[wheel.name] = unpack_wheel(path, files, LIBRARY, plan.python)
            report(Advanced("unpack", wheel.name, count, len(plan.wheels)))
        for each in brought.values():
            for point in each.entry_points:
                write_entry_point(files, LIBRARY, point, plan.python)
        if plan.python:
            report(Noted(f"The app takes Python {plan.python}, which a wheel of it is built for."))
        write_manifest(draft, _manifest(plan, files, brought[plan.main.name]))
    return target


def pypi_id(name: str) -> str:
    """The id of a project of the index: ``org.pypi.`` and its normalised name."""
    word = _normal(name)
    return f"org.pypi.{word if word[0].isalpha() else '_' + word}"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


class _Archive(msgspec.Struct, frozen=True):
    hashes: dict[str, str] = {}


class _Download(msgspec.Struct, frozen=True):
    url: str
    archive_info: _Archive = _Archive()


class _Metadata(msgspec.Struct, frozen=True):
    name: str
    version: str
    summary: str = ""
    license: str = ""
    license_expression: str = ""
    home_page: str = ""
    project_url: tuple[str, ...] = ()
    author: str = ""


class _Resolved(msgspec.Struct, frozen=True):
    metadata: _Metadata
    download_info: _Download


class _Answer(msgspec.Struct, frozen=True):
    install: tuple[_Resolved, ...]


def _resolved(request: WheelRequest) -> tuple[Wheel, ...]:
    with tempfile.TemporaryDirectory(prefix="holdall-wheels-") as folder:
        python = ("--python-version", request.python, "--target", folder) if request.python else ()
        try:
            answer = _pip(
                *("install", "--dry-run", "--ignore-installed", "--report", "-", *python),
                *(() if request.dependencies else ("--no-deps",)),
                "--",
                *request.requirements,
            )
        except ProgramError as error:
            raise NotFoundError(
                f"pip finds no wheels for {' '.join(request.requirements)}: {error}"
            ) from error
    resolved = msgspec.json.decode(answer, type=_Answer).install
    return tuple(sorted((_wheel(each) for each in resolved), key=lambda wheel: _normal(wheel.name)))


def _wheel(resolved: _Resolved) -> Wheel:
    metadata, download = resolved.metadata, resolved.download_info
    file_name = unquote(urlsplit(download.url).path.rpartition("/")[2])
    sha256 = download.archive_info.hashes.get("sha256", "")
    if not re.fullmatch(r"[A-Za-z0-9._+!-]+\.whl", file_name) or not re.fullmatch(
        r"[0-9a-f]{64}", sha256
    ):
        raise UnsupportedError(
            f"The package index offers {metadata.name} without a wheel's name and its sha256."
        )
    pages = dict(page.split(", ", 1) for page in metadata.project_url if ", " in page)
    pages = {title.lower(): address for title, address in pages.items()}
    license_text = metadata.license_expression or metadata.license.partition("\n")[0]
    return Wheel(
        name=metadata.name,
        version=metadata.version,
        file_name=file_name,
        sha256=sha256,
        summary=printable(metadata.summary),
        license=printable(license_text if len(license_text) < 80 else ""),
        homepage=printable(pages.get("homepage", metadata.home_page)),
        author=printable(metadata.author),
    )


def _fetch(plan: WheelPlan, cache: Path, report: Report) -> None:
    for count, wheel in enumerate(plan.wheels, 1):
        path = cache / wheel.sha256 / wheel.file_name
        if not _matches(path, wheel.sha256):
            _download(wheel, plan.request, cache)
        report(Advanced("fetch", wheel.name, count, len(plan.wheels)))


def _download(wheel: Wheel, request: WheelRequest, cache: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".download-", dir=cache) as folder:
        wanted = Path(folder, "requirements.txt")
        wanted.write_text(f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
        python = ("--python-version", request.python) if request.python else ()
        _pip(
            "download",
            "--no-deps",
            "--require-hashes",
            *python,
            "--dest",
            folder,
            "-r",
            str(wanted),
        )
        arrived = Path(folder, wheel.file_name)
        if not _matches(arrived, wheel.sha256):
            raise CorruptError(
                f"The wheel {wheel.file_name} does not match the digest its index gave."
            )
        goal = cache / wheel.sha256 / wheel.file_name
        goal.parent.mkdir(exist_ok=True)
        arrived.replace(goal)


def _pip(command: str, *arguments: str) -> bytes:
    # Whoever turns warnings into errors means their own program's, not pip's.
    pip = (sys.executable, "-W", "ignore", "-m", "pip", "--quiet", "--no-input")
    argv = (*pip, command, "--only-binary", ":all:", *arguments)
    try:
        return run(argv)
    except ProgramError as error:
        if "No module named pip" in str(error):
            raise UnsupportedError(
                "The program pip is missing: install the package python3-pip."
            ) from error
        raise


def _matches(path: Path, sha256: str) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == sha256
    except FileNotFoundError:
        return False


def _manifest(plan: WheelPlan, files: Path, brought: WheelFiles) -> Manifest:
    request, main = plan.request, plan.main
    command = request.command or _command(plan, files, brought.entry_points)
    program = Path(command.split()[0]).name
    shown = show_as(files, brought.paths, plan.id, program)
    graphical = shown.graphical or any(_GRAPHICAL.match(wheel.name) for wheel in plan.wheels)
    granted = (
        Permissions(ipc=True, x11=True, wayland=True, dri=True) if graphical else Permissions()
    )
    names = {program} if request.command else {point.name for point in brought.entry_points}
    commands = sorted(
        name for name in names if _is_command(name) and (files / "bin" / name).exists()
    )
    return Manifest(
        id=plan.id,
        version=_version(main.version),
        kind="app",
        arch=plan.arch,
        branch=request.branch,
        command=command,
        environment=_environment(command),
        permissions=permissions_with(granted, request.permissions),
        exports=msgspec.structs.replace(shown.exports, commands=tuple(commands)),
        about=About(
            name=printable(shown.name or main.name),
            summary=main.summary,
            license=main.license,
            homepage=main.homepage,
            developer=main.author,
        ),
    )


def _command(plan: WheelPlan, files: Path, entry_points: Iterable[EntryPoint]) -> str:
    """The program named like the project, else its first, else its module."""
    names = [point.name for point in entry_points]
    same = [name for name in names if _normal(name) == _normal(plan.main.name)]
    if same or names:
        return next(iter(same or names))
    module = plan.main.name.replace("-", "_")
    if not (files / LIBRARY / module / "__main__.py").is_file():
        known = ", ".join(sorted(path.name for path in files.glob("bin/*"))[:12])
        raise UsageError(
            f"{plan.main.name} has no program of its own: say --command"
            + (f", with one of {known}." if known else ", such as 'python3 -m MODULE'.")
        )
    return f"python{plan.python or '3'} -m {module}"


def _environment(command: str) -> dict[str, str]:
    return {"PYTHONPATH": f"/app/{LIBRARY}"} if re.match(r"python3?[\d.]*\s", command) else {}


def _version(version: str) -> str:
    """A Python version in a holdall version's characters, where a colon ends the epoch."""
    return version.replace("!", ":")


def _is_command(name: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,63}", name))
