"""The door to apt: which packages a name needs, their control data and their checked bytes.

Works as an ordinary user, with the package lists this machine has and an installed set of its own
making: the system's dpkg state is neither read nor touched. Must not know what becomes of the
packages.
"""

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from holdall.errors import CorruptError, NotFoundError, ProgramError, UsageError
from holdall.system.process import find_program, run

# With a minus at its end apt would take it for one to remove.
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]*[a-z0-9+.](:[a-z0-9]+)?")
_PLANNED = re.compile(r"'[^']+' (?P<file>\S+) (?P<size>\d+) SHA256:(?P<sha256>[0-9a-f]{64})")
_BATCH = 16
# Without the pin apt takes an entry that states no dependencies for another build, and fetches it.
_STAY = "Package: *\nPin: release a=now\nPin-Priority: 1001\n"


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """One version of one Debian package, as its repository's signed index describes it."""

    name: str
    arch: str
    version: str
    size: int
    sha256: str
    control: Mapping[str, str]

    @property
    def exact(self) -> str:
        """The one version meant, as apt's command line names it."""
        return f"{self.name}:{self.arch}={self.version}"

    @property
    def file_name(self) -> str:
        """What the package is called in a cache."""
        return f"{self.sha256}.deb"


@dataclass(frozen=True, slots=True)
class Installed:
    """A package apt is told is there already."""

    name: str
    version: str
    arch: str
    provides: str = ""
    multi_arch: str = ""

    @property
    def stanza(self) -> str:
        """The entry in dpkg's status file that says so."""
        optional = {"Provides": self.provides, "Multi-Arch": self.multi_arch}
        fields = {
            "Package": self.name,
            "Status": "install ok installed",
            "Architecture": self.arch,
            "Version": self.version,
            **{name: value for name, value in optional.items() if value},
            "Maintainer": "nobody <nobody@localhost>",
            "Description": "there already",
        }
        return "".join(f"{name}: {value}\n" for name, value in fields.items())


@dataclass(frozen=True, slots=True)
class Apt:
    """apt with a private state folder; made by `private_apt`."""

    state: Path

    def closure(self, names: Sequence[str], *, recommends: bool) -> tuple[Package, ...]:
        """`names` and what they depend on, less what is installed; first alternatives win."""
        for name in names:
            if not _NAME.fullmatch(name):
                raise UsageError(f"{name!r} is not the name of a Debian package.")
        wanted = f"APT::Install-Recommends={int(recommends)}"
        arguments = (
            "-o",
            "Acquire::ForceHash=SHA256",
            "-o",
            wanted,
            "install",
            "-y",
            "--print-uris",
        )
        try:
            answer = self._run("apt-get", *arguments, "--", *names).decode()
        except ProgramError as error:
            raise NotFoundError(
                f"apt finds no way to install {' '.join(names)}: {error} "
                "Where the package lists may be old, run apt-get update first."
            ) from error
        found = {_parts(line["file"]): line for line in _PLANNED.finditer(answer)}
        control = {
            _identity(each): each
            for each in self.show([":".join(key[::2]) + "=" + key[1] for key in found])
        }
        packages = (
            Package(
                name, arch, version, int(line["size"]), line["sha256"], control[name, version, arch]
            )
            for (name, version, arch), line in found.items()
        )
        return tuple(sorted(packages, key=lambda each: (each.name, each.arch)))

    def show(self, names: Sequence[str]) -> tuple[Mapping[str, str], ...]:
        """The control data of the candidate version of each name that is known."""
        if not names:
            return ()
        try:
            answer = self._run("apt-cache", "show", "--no-all-versions", "--", *names)
        except ProgramError:
            return ()
        paragraphs = answer.decode("utf-8", "replace").split("\n\n")
        return tuple(control_fields(each) for each in paragraphs if each.strip())

    def download(
        self, packages: Iterable[Package], cache: Path, fetched: Callable[[Package], None]
    ) -> None:
        """Put every package that is not there into `cache`, checked against the signed index."""
        missing = []
        for package in packages:
            if _matches(cache / package.file_name, package):
                fetched(package)
            else:
                missing.append(package)
        for start in range(0, len(missing), _BATCH):
            batch = missing[start : start + _BATCH]
            with tempfile.TemporaryDirectory(prefix=".download-", dir=cache) as folder:
                self._run(
                    "apt-get", "-q", "download", "--", *(each.exact for each in batch), cwd=folder
                )
                arrived = {_parts(path.name): path for path in Path(folder).iterdir()}
                for package in batch:
                    path = arrived.get((package.name, package.version, package.arch))
                    if path is None or not _matches(path, package):
                        raise CorruptError(f"The package {package.exact} does not match its index.")
                    path.rename(cache / package.file_name)
                    fetched(package)

    def _run(self, program: str, *arguments: str, cwd: str | None = None) -> bytes:
        options = {
            "Dir::State::status": self.state / "status",
            "Dir::State::extended_states": self.state / "extended_states",
            "Dir::Etc::preferences": self.state / "preferences",
            "Dir::Cache": self.state / "cache",
            "Debug::NoLocking": "1",
            # For a minute: the archive may be out of reach for a moment.
            "Acquire::Retries": "6",
            "APT::Get::Show-Upgraded": "0",
            # Root's downloads go to a folder of root's, where apt's own user has no access.
            "APT::Sandbox::User": "root",
        }
        settings = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        argv = [find_program(program, package="apt"), *settings, *arguments]
        return run(argv, cwd=cwd, env={**os.environ, "LC_ALL": "C.UTF-8"})


@contextmanager
def private_apt(installed: Iterable[Installed]) -> Iterator[Apt]:
    """apt as if exactly `installed` were installed, for as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix="holdall-apt-") as folder:
        state = Path(folder)
        state.joinpath("cache/archives/partial").mkdir(parents=True)
        status = "\n".join(each.stanza for each in installed)
        state.joinpath("status").write_text(status, encoding="utf-8")
        state.joinpath("preferences").write_text(_STAY)
        yield Apt(state)


def control_fields(paragraph: str) -> Mapping[str, str]:
    """The fields of one paragraph of control data; a continued field keeps its line ends."""
    fields: dict[str, str] = {}
    name = ""
    for line in paragraph.splitlines():
        if line[:1] in {" ", "\t"} and name:
            fields[name] += "\n" + line.strip()
        elif ":" in line:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
    return fields


def _identity(fields: Mapping[str, str]) -> tuple[str, str, str]:
    return fields["Package"], fields["Version"], fields["Architecture"]


def _parts(file_name: str) -> tuple[str, str, str]:
    """Name, version and architecture, which apt quotes and joins into a package's file name."""
    name, version, arch = (unquote(part) for part in file_name.removesuffix(".deb").split("_"))
    return name, version, arch


def _matches(path: Path, package: Package) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == package.sha256
    except FileNotFoundError:
        return False
