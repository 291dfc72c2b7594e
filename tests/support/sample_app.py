"""A real app of middling size in three versions, as bundles: Python's own library, edited a little.

Must not import holdall: bundles are made by the program as a user meets it.
"""

import json
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from surroundings import HoldallCli

APP = "org.example.Sample"
VERSIONS = ("1.0", "2.0", "3.0")
_LIMIT = 2_400_000  # bytes of the first version
_MANIFEST = """\
id = "{app}"
version = "{version}"
kind = "app"
command = ["{command}"]

[exports]
commands = ["sample"]

[about]
name = "Sample"
summary = "Many small files"
"""
_ENTRY = """\
[Desktop Entry]
Type=Application
Name=Sample {version}
Exec=sample %U
Icon={app}
Categories=Utility;
"""
_PROGRAM = """\
#!/bin/sh
# {version}: reads its own files until it is told to end
while [ ! -e "$HOME/end" ]; do
    cat /app/lib/*.py >/dev/null || exit 9
    head -n 1 /app/version >"$HOME/said"
    sleep 0.05
done
"""


@dataclass(frozen=True, slots=True)
class Bundles:
    """The bundles by version, the source folders they were made of, and who signed them."""

    folder: Path
    fingerprint: str

    def bundle(self, version: str) -> Path:
        return self.folder / f"sample-{version}.holdall"

    def files(self, version: str) -> Path:
        return self.folder / version / "files"

    @property
    def trust(self) -> tuple[str, str]:
        """The option that lets a store take these on first use."""
        return ("--trust-key", self.fingerprint)


def make_bundles(folder: Path, holdall: HoldallCli) -> Bundles:
    """Make and sign all versions below `folder`."""
    key = holdall.json("key", "generate")
    fingerprint = key["fingerprint"] if isinstance(key, dict) else ""
    made = Bundles(folder, fingerprint)
    for version in VERSIONS:
        write_source(folder / version, version)
        holdall("build", folder / version, "-o", made.bundle(version), "--level", "3")
    return made


def write_source(folder: Path, version: str) -> None:
    """Write the source folder of one version."""
    files = folder / "files"
    for path, data in contents(version).items():
        (files / path).parent.mkdir(parents=True, exist_ok=True)
        (files / path).write_bytes(data)
        (files / path).chmod(0o755 if path.startswith("bin/") else 0o644)
    (files / "current").symlink_to("lib")
    (files / "empty").mkdir()
    (folder / "holdall.toml").write_text(
        _MANIFEST.format(app=APP, version=version, command="sample")
    )


def contents(version: str) -> dict[str, bytes]:
    """The files of a version by path: one in twelve differs, some come and some go."""
    number = VERSIONS.index(version)
    found: dict[str, bytes] = {
        "bin/sample": _PROGRAM.format(version=version).encode(),
        "version": f"{version}\n".encode(),
        "large": b"".join(b"%d\n" % at for at in range(60_000 + number)),
        f"share/applications/{APP}.desktop": _ENTRY.format(app=APP, version=version).encode(),
        f"share/icons/hicolor/scalable/apps/{APP}.svg": f"<svg><!-- {version} --></svg>".encode(),
    }
    for at, (path, data) in enumerate(_library()):
        if at % 40 == 30 + number:
            continue
        changed = number if at % 12 == 5 else 0
        found[f"lib/{path}"] = data + b"# changed\n" * changed
    return found


def _library() -> Iterator[tuple[str, bytes]]:
    """Modules of Python's library with their paths, until they are enough."""
    top = Path(sysconfig.get_path("stdlib"))
    left = _LIMIT
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(set(folders) - {"site-packages", "dist-packages", "__pycache__"})
        for name in sorted(names):
            path = Path(folder, name)
            if path.suffix != ".py" or not 0 < (size := path.stat().st_size) < 12_000:
                continue
            left -= size
            if left < 0:
                return
            yield str(path.relative_to(top)), path.read_bytes()


def tree_on_disk(folder: Path) -> dict[str, bytes | str]:
    """What stands below a folder: bytes of files, targets of links, "" for folders."""
    found: dict[str, bytes | str] = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = str(path.readlink())
        else:
            found[name] = path.read_bytes() if path.is_file() else ""
    return found


def installed_versions(store: Path) -> dict[str, str]:
    """Every deployment a store has on its disk: release digest to version."""
    found = {}
    for release in store.glob("deployments/*/*/*/*/release"):
        found[release.parent.name] = json.loads(release.read_bytes())["manifest"]["version"]
    return found
