"""What an import of Debian packages will do: the request, the plan, and how one becomes the other.

Reads package lists and the package list of a runtime; writes nothing.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from holdall.errors import NotFoundError, UsageError
from holdall.model.manifest import HOST
from holdall.model.ref import Ref, checked_id
from holdall.publish.debian_apt import Apt, Installed, Package, private_apt
from holdall.publish.debian_unpack import checked_mount

PACKAGES_FILE = "share/holdall/deb-packages.json"
# What Debian's packages take for granted and a sandbox can use.
BASE = (
    "base-files",
    "bash",
    "coreutils",
    "dash",
    "diffutils",
    "findutils",
    "grep",
    "gzip",
    "hostname",
    "libc-bin",
    "ncurses-base",
    "sed",
    "tar",
)
# What only administers a machine or a session; asked for by name it is taken.
LEFT_OUT = (
    "adduser",
    "dbus",
    "dbus-system-bus-common",
    "dbus-user-session",
    "debconf",
    "dictionaries-common",
    "dmsetup",
    "dpkg",
    "emacsen-common",
    "init-system-helpers",
    "initscripts",
    "install-info",
    "libpam-modules",
    "libpam-modules-bin",
    "libpam-runtime",
    "libpam-systemd",
    "login",
    "lsb-base",
    "man-db",
    "menu",
    "mount",
    "passwd",
    "policykit-1",
    "polkitd",
    "procps",
    "systemd",
    "systemd-sysv",
    "sysvinit-utils",
    "ucf",
    "udev",
    "util-linux",
    "xdg-user-dirs",
)
# What every desktop has, for an app that runs on the host's own /usr.
ON_EVERY_HOST = (
    "fontconfig",
    "fontconfig-config",
    "libasound2",
    "libc-bin",
    "libc6",
    "libcrypt1",
    "libdbus-1-3",
    "libdrm2",
    "libegl1",
    "libexpat1",
    "libfontconfig1",
    "libfreetype6",
    "libgbm1",
    "libgcc-s1",
    "libgl1",
    "libstdc++6",
    "libuuid1",
    "libwayland-client0",
    "libx11-6",
    "libx11-xcb1",
    "libxcb1",
    "libxext6",
    "zlib1g",
)
_ARCHES = {
    "all": "noarch",
    "amd64": "x86_64",
    "arm64": "aarch64",
    "armhf": "armv7l",
    "i386": "i686",
    "mips64el": "mips64",
    "ppc64el": "ppc64le",
}


@dataclass(frozen=True, slots=True)
class DebRequest:
    """What to make from which packages; what is None is derived."""

    names: tuple[str, ...]
    kind: Literal["app", "runtime"] = "app"
    id: str | None = None
    branch: str = "stable"
    runtime: str | None = None
    runtime_folder: Path | None = None
    command: str | None = None
    recommends: bool = False
    keep_documentation: bool = False
    base: bool = True
    without: tuple[str, ...] = ()
    permissions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DebPlan:
    """Everything an import will do, before anything is fetched."""

    request: DebRequest
    runtime: str
    packages: tuple[Package, ...]
    version: str
    arch: str
    steps: tuple[str, ...]

    @property
    def download_bytes(self) -> int:
        """The sizes of all packages; those in the cache already need no download."""
        return sum(package.size for package in self.packages)

    @property
    def main(self) -> Package:
        """The package named first."""
        name = self.request.names[0].partition(":")[0]
        return next(package for package in self.packages if package.name == name)


def plan_deb(request: DebRequest) -> DebPlan:
    """Resolve the packages' closure, less what the runtime has; writes nothing."""
    checked_mount(request.kind)
    if not request.names:
        raise UsageError("Name at least one Debian package.")
    if request.id is not None:
        checked_id(request.id)
    runtime, present = _runtime(request)
    names = (*request.names, *(BASE if request.kind == "runtime" and request.base else ()))
    with private_apt(present) as apt:
        pretended = _left_out(apt, request)
    with private_apt((*present, *pretended)) as apt:
        packages = apt.closure(names, recommends=request.recommends)
    main = next(
        (each for each in packages if each.name == request.names[0].partition(":")[0]), None
    )
    if main is None:
        raise UsageError(
            f"apt would fetch nothing called {request.names[0]}: the runtime {runtime} has it, "
            "or it is a name that other packages answer to."
        )
    native = next((each.arch for each in packages if each.arch != "all"), "all")
    return DebPlan(
        request=request,
        runtime=runtime,
        packages=packages,
        version=main.version,
        arch=_ARCHES.get(native, native),
        steps=_steps(request, len(packages)),
    )


def installed_packages(folder: Path) -> tuple[Installed, ...]:
    """The Debian packages a runtime was made of, from its source folder or its installed files."""
    for base in (folder / "files", folder):
        path = base / PACKAGES_FILE
        if path.is_file():
            return msgspec.json.decode(path.read_bytes(), type=tuple[Installed, ...])
    raise NotFoundError(f"{folder} is no runtime made by import deb: it has no {PACKAGES_FILE}.")


def _runtime(request: DebRequest) -> tuple[str, tuple[Installed, ...]]:
    """The runtime's ref as the manifest names it, and the packages it has."""
    if request.runtime not in {None, HOST}:
        Ref.parse(request.runtime or "")
    folder = request.runtime_folder
    if folder is None:
        if request.kind == "app" and request.runtime not in {None, HOST}:
            raise UsageError(
                f"Say where {request.runtime} is, --runtime-dir DIR, to leave out what it has."
            )
        return HOST, ()
    if request.kind == "runtime":
        raise UsageError("A runtime runs on no other runtime: leave --runtime-dir out.")
    present = installed_packages(folder)
    return request.runtime or _authored_ref(folder), present


def _authored_ref(folder: Path) -> str:
    path = folder / "holdall.toml"
    if not path.is_file():
        raise UsageError(
            f"{folder} does not say which runtime it is: name it, --runtime ID/ARCH/BRANCH."
        )
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return str(Ref(table["id"], table["arch"], table.get("branch", "stable")))


def _left_out(apt: Apt, request: DebRequest) -> list[Installed]:
    """The packages to pretend are there, so that nothing pulls them in."""
    wanted = {name.partition(":")[0] for name in request.names}
    on_host = ON_EVERY_HOST if request.kind == "app" and request.runtime_folder is None else ()
    names = sorted({*request.without, *LEFT_OUT, *on_host} - wanted)
    return [as_installed(fields) for fields in apt.show(names)]


def as_installed(control: Mapping[str, str]) -> Installed:
    """The package whose control data this is, as one that is there."""
    return Installed(
        name=control["Package"],
        version=control["Version"],
        arch=control["Architecture"],
        provides=" ".join(control.get("Provides", "").split()),
        multi_arch=control.get("Multi-Arch", ""),
    )


def _steps(request: DebRequest, count: int) -> tuple[str, ...]:
    runtime = ("make caches and registers with the tree's own tools",)
    app = (
        "move compiled-in paths to /app",
        "compile settings schemas",
        "name the exported files by the app's id",
    )
    return (
        f"fetch {count} packages",
        f"unpack them to {checked_mount(request.kind)}",
        *(runtime if request.kind == "runtime" else app),
        "write holdall.toml",
    )
