"""Real packages: fetched once into a folder of the cache, and unpacked as trees of files."""

import subprocess
import sys
import zipfile
from enum import Enum, auto
from pathlib import Path

from benchmarks.errors import BenchmarkError


class Kind(Enum):
    """Where a package comes from: what pip, or what apt is set up to ask."""

    WHEEL = auto()
    DEBIAN = auto()


def fetch(
    kind: Kind, requirement: str, version: str, folder: Path, *, alone: bool, day: str | None = None
) -> None:
    """Have a package in ``folder``, and what it depends on unless it is wanted ``alone``.

    Debian's may be several of one version, with spaces between.

    With a ``day``, only what had been published before it, in UTC.
    """
    complete = folder / "complete"
    if complete.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    match kind:
        case Kind.WHEEL:
            argv = [sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:"]
            extent = ["--no-deps"] if alone else []
            if day is not None:
                extent.append(f"--uploaded-prior-to={day}T00:00:00Z")
            _call([*argv, *extent, "--dest", ".", f"{requirement}=={version}"], folder)
        case Kind.DEBIAN:
            named = [f"{package}={version}" for package in requirement.split()]
            _call(["apt-get", "download", "--quiet", *named], folder)
    complete.touch()


def unpack(folder: Path, files: Path) -> None:
    """Unpack every package of a folder into one tree."""
    for wheel in sorted(folder.glob("*.whl")):
        _unzip(wheel, files)
    for package in sorted(folder.glob("*.deb")):
        _call(["dpkg-deb", "--extract", str(package), str(files)], folder)


def _call(argv: list[str], folder: Path) -> None:
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"{' '.join(argv)} failed: {done.stderr.strip()}")


def _unzip(wheel: Path, files: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            unpacked = Path(archive.extract(member, files))
            if not member.is_dir():
                unpacked.chmod(0o755 if member.external_attr >> 16 & 0o111 else 0o644)
