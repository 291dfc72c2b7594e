"""Apps and runtimes made from Debian packages: one plan, one act, no root, no maintainer script.

A runtime is the merged ``/usr`` of a closure of packages. An app is what its closure has beyond a runtime,
moved to ``/app``. Must not know what becomes of the source folder.
"""

import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec

from holdall.errors import NotFoundError, UsageError
from holdall.model.manifest import HOST, About, Manifest, Permissions
from holdall.model.ref import Ref, checked_id
from holdall.publish.debian_apt import Apt, Installed, Package, private_apt
from holdall.publish.debian_finish import Tree, finish
from holdall.publish.debian_relocate import relocate_app
from holdall.publish.debian_unpack import (
    Alternative,
    Layout,
    checked_mount,
    link_alternatives,
    prune_empty_documentation,
    settle_links,
    unpack,
)
from holdall.publish.desktop_entries import Shown, declared_id, default_command, show_as
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

PACKAGES_FILE = "share/holdall/deb-packages.json"
# What Debian's packages take for granted and a sandbox can use.
BASE = (
    *("base-files", "bash", "coreutils", "dash", "diffutils", "findutils", "grep", "gzip"),
    *("hostname", "libc-bin", "ncurses-base", "sed", "tar"),
)
# What only administers a machine or a session; asked for by name they are taken.
LEFT_OUT = (
    *("adduser", "dbus", "dbus-system-bus-common", "dbus-user-session", "debconf", "dmsetup", "dpkg"),
    *("init-system-helpers", "initscripts", "install-info", "libpam-modules", "libpam-modules-bin"),
    *("libpam-runtime", "libpam-systemd", "login", "lsb-base", "man-db", "mount", "passwd", "perl-base"),
    *("policykit-1", "polkitd", "procps", "systemd", "systemd-sysv", "sysvinit-utils", "ucf", "udev"),
    *("util-linux", "xdg-user-dirs"),
)
# What every desktop has, for an app that runs on the host's own /usr.
ON_EVERY_HOST = (
    *("libc6", "libgcc-s1", "libstdc++6", "libcrypt1", "zlib1g", "libgl1", "libegl1", "libgbm1", "libdrm2"),
    *("libx11-6", "libxcb1", "libx11-xcb1", "libxext6", "libwayland-client0", "libasound2", "libfontconfig1"),
    *("libfreetype6", "libexpat1", "libuuid1", "libdbus-1-3", "fontconfig", "fontconfig-config", "libc-bin"),
)
_DEBIAN_ARCHES = {
    **{"amd64": "x86_64", "arm64": "aarch64", "i386": "i686", "armhf": "armv7l"},
    **{"ppc64el": "ppc64le", "mips64el": "mips64", "all": "noarch"},
}
_GRAPHICAL = re.compile(r"\b(?:libx11-6|libxt6|libgtk-?[234]|libqt[456]|libwayland-client|libsdl|libfltk|libwx|python3-pyqt|gir1\.2-gtk)")
# A folder the app may bring → the variable by which programs find it, and what else must stay in it.
_SEARCH_PATHS: tuple[tuple[str, str, str], ...] = (
    ("lib/{triplet}", "LD_LIBRARY_PATH", "/app/lib"),
    ("lib/{triplet}/girepository-1.0", "GI_TYPELIB_PATH", "/usr/lib/{triplet}/girepository-1.0"),
    ("lib/{triplet}/gtk-3.0", "GTK_PATH", ""),
    ("lib/{triplet}/gstreamer-1.0", "GST_PLUGIN_SYSTEM_PATH", "/usr/lib/{triplet}/gstreamer-1.0"),
    ("lib/{triplet}/qt5/plugins", "QT_PLUGIN_PATH", "/usr/lib/{triplet}/qt5/plugins"),
    ("lib/{triplet}/qt6/plugins", "QT_PLUGIN_PATH", "/usr/lib/{triplet}/qt6/plugins"),
    ("lib/{triplet}/qt5/qml", "QML2_IMPORT_PATH", "/usr/lib/{triplet}/qt5/qml"),
    ("lib/{triplet}/qt6/qml", "QML_IMPORT_PATH", "/usr/lib/{triplet}/qt6/qml"),
    ("lib/python3/dist-packages", "PYTHONPATH", ""),
    ("share/perl5", "PERL5LIB", "/app/lib/{triplet}/perl5"),
    ("etc/xdg", "XDG_CONFIG_DIRS", "/etc/xdg"),
    ("etc/X11/app-defaults", "XFILESEARCHPATH", ""),
)
# Xt substitutes %T type, %N class, %C customization, %S suffix.
_X_RESOURCES = ":".join(
    f"{root}/etc/X11/%T/%N{custom}%S" for custom in ("%C", "") for root in ("/app", "")
)


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
    """Resolve the packages' closure, less what the runtime has; reads package lists, writes nothing."""
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
    main = next((each for each in packages if each.name == request.names[0].partition(":")[0]), None)
    if main is None:
        raise UsageError(f"The package {request.names[0]} is in the runtime {runtime} already.")
    native = next((each.arch for each in packages if each.arch != "all"), "all")
    return DebPlan(
        request=request,
        runtime=runtime,
        packages=packages,
        version=main.version,
        arch=_DEBIAN_ARCHES.get(native, native),
        steps=_steps(request, len(packages)),
    )


def import_deb(plan: DebPlan, target: Path, *, cache: Path, report: Report = ignore) -> Path:
    """Make the source folder `target` as planned; packages are kept in `cache` for the next import."""
    check_target(target)
    cache.mkdir(parents=True, exist_ok=True)
    _fetch(plan, cache, report)
    with new_source_folder(target) as draft:
        files = draft / "files"
        layout = Layout(checked_mount(plan.request.kind), plan.request.keep_documentation)
        brought = _lay_out(plan, files, layout, cache, report)
        origins = {placed: origin for each in brought.values() for placed, origin in each.items()}
        settle_links(files, layout, origins)
        prune_empty_documentation(files)
        if plan.request.kind == "runtime":
            finish(Tree(files), report)
            manifest = _runtime_manifest(plan)
        else:
            manifest = _make_app(plan, files, origins, brought, report)
        _write_packages(files, plan)
        write_manifest(draft, manifest)
    return target


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
            raise UsageError(f"Say where {request.runtime} is, --runtime-dir DIR, so that what it has is left out.")
        return HOST, ()
    if request.kind == "runtime":
        raise UsageError("A runtime runs on no other runtime: leave --runtime-dir out.")
    return request.runtime or _authored_ref(folder), installed_packages(folder)


def _authored_ref(folder: Path) -> str:
    path = folder / "holdall.toml"
    if not path.is_file():
        raise UsageError(f"{folder} does not say which runtime it is: name it, --runtime ID/ARCH/BRANCH.")
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return str(Ref(table["id"], table["arch"], table.get("branch", "stable")))


def _left_out(apt: Apt, request: DebRequest) -> list[Installed]:
    """The packages to pretend are there, so that nothing pulls them in."""
    wanted = {name.partition(":")[0] for name in request.names}
    on_host = ON_EVERY_HOST if request.kind == "app" and request.runtime_folder is None else ()
    names = sorted({*request.without, *LEFT_OUT, *on_host} - wanted)
    return [_as_installed(fields) for fields in apt.show(names)]


def _as_installed(control: Mapping[str, str]) -> Installed:
    return Installed(
        name=control["Package"],
        version=control["Version"],
        arch=control["Architecture"],
        provides=" ".join(control.get("Provides", "").split()),
        multi_arch=control.get("Multi-Arch", ""),
    )


def _steps(request: DebRequest, count: int) -> tuple[str, ...]:
    runtime = ("make caches and registers with the tree's own tools",)
    app = ("move compiled-in paths to /app", "compile settings schemas", "name the exported files by the app's id")
    return (
        f"fetch {count} packages",
        f"unpack them to {checked_mount(request.kind)}",
        *(runtime if request.kind == "runtime" else app),
        "write holdall.toml",
    )


def _fetch(plan: DebPlan, cache: Path, report: Report) -> None:
    done = 0

    def fetched(package: Package) -> None:
        nonlocal done
        done += package.size
        report(Advanced("fetch", package.name, done, plan.download_bytes))

    with private_apt(()) as apt:
        apt.download(plan.packages, cache, fetched)


def _lay_out(
    plan: DebPlan, files: Path, layout: Layout, cache: Path, report: Report
) -> dict[str, Mapping[str, str]]:
    """Unpack every package; package name → its tree paths and where they come from."""
    brought: dict[str, Mapping[str, str]] = {}
    registered: list[Alternative] = []
    for count, package in enumerate(plan.packages, 1):
        unpacked = unpack(cache / package.file_name, files, layout)
        brought[package.name] = {**brought.get(package.name, {}), **unpacked.origins}
        registered += unpacked.alternatives
        report(Advanced("unpack", package.name, count, len(plan.packages)))
    brought[""] = link_alternatives(files, layout, registered)
    return brought


def _make_app(
    plan: DebPlan, files: Path, origins: Mapping[str, str], brought: Mapping[str, Mapping[str, str]], report: Report
) -> Manifest:
    """Everything an app needs beyond its unpacked files; its manifest."""
    request = plan.request
    base = _files_of(request.runtime_folder) if request.runtime_folder else None
    relocate_app(files, origins, base, report)
    if base:
        finish(Tree(files, base), report)
    elif any(files.glob("share/glib-2.0/schemas/*.xml")):
        report(Noted("The app's settings schemas are not compiled: that takes a runtime folder."))
    named = {name.partition(":")[0] for name in request.names}
    paths = sorted(path for name in named for path in brought.get(name, {}) if os.path.lexists(files / path))
    app_id = request.id or declared_id(files, paths) or debian_id(plan.main.name)
    command = request.command or default_command(files, paths, plan.main.name)
    program = Path(command.split()[0]).name
    shown = show_as(files, paths, app_id, program)
    graphical = shown.graphical or bool(_GRAPHICAL.search(plan.main.control.get("Depends", "")))
    granted = Permissions(ipc=True, x11=True, wayland=True, dri=True) if graphical else Permissions()
    return Manifest(
        id=app_id,
        version=plan.version,
        kind="app",
        arch=plan.arch,
        branch=request.branch,
        runtime=plan.runtime,
        command=command,
        environment=_environment(files),
        permissions=permissions_with(granted, request.permissions),
        exports=shown.exports,
        about=_about(plan, files, shown),
    )


def _runtime_manifest(plan: DebPlan) -> Manifest:
    main = plan.main
    return Manifest(
        id=plan.request.id or debian_id(main.name),
        version=plan.version,
        kind="runtime",
        arch=plan.arch,
        branch=plan.request.branch,
        about=About(
            name=main.name,
            summary=printable(f"Runtime of {len(plan.packages)} Debian packages: {', '.join(plan.request.names)}"),
            homepage=printable(main.control.get("Homepage", "")),
        ),
    )


def debian_id(name: str) -> str:
    """The id of an app that declares none: ``org.debian.`` and the package's name in letters an id may have."""
    word = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    return checked_id(f"org.debian.{word if word[0].isalpha() else '_' + word}")


def _about(plan: DebPlan, files: Path, shown: Shown) -> About:
    control = plan.main.control
    summary = control.get("Description", control.get("Description-en", "")).partition("\n")[0]
    copyright_file = files / f"share/doc/{plan.main.name}/copyright"
    stated = copyright_file.read_text("utf-8", "replace") if copyright_file.is_file() else ""
    return About(
        name=printable(shown.name or plan.main.name),
        summary=printable(shown.summary or summary),
        license=printable(shown.license or stated_license(stated)),
        homepage=printable(control.get("Homepage", "")),
        developer=printable(shown.developer),
    )


def stated_license(copyright_text: str) -> str:
    """The licence a machine-readable copyright file states for the software as a whole."""
    paragraphs = re.split(r"\n\s*\n", copyright_text)
    if not re.match(r"Format\S*:", copyright_text):
        return ""
    for paragraph in paragraphs:
        if re.search(r"^Files:\s*\*\s*$", paragraph, re.MULTILINE):
            found = re.search(r"^License:[ \t]*(\S.*)$", paragraph, re.MULTILINE)
            return found[1].strip() if found else ""
    return ""


def _environment(files: Path) -> dict[str, str]:
    """How programs find what the app brings in places they search by a variable."""
    found: dict[str, list[str]] = {}
    for triplet in sorted(path.name for path in files.glob("lib/*-linux-gnu*") if path.is_dir()) or [""]:
        for pattern, variable, rest in _SEARCH_PATHS:
            folder = pattern.format(triplet=triplet)
            if "//" in f"{folder}/" or not (files / folder).is_dir():
                continue
            words = [f"/app/{folder}", *filter(None, [rest.format(triplet=triplet)])]
            found[variable] = [*found.get(variable, []), *words]
    if "XFILESEARCHPATH" in found:
        found["XFILESEARCHPATH"] = [_X_RESOURCES]
    return {name: ":".join(dict.fromkeys(words)) for name, words in sorted(found.items())}


def _write_packages(files: Path, plan: DebPlan) -> None:
    path = files / PACKAGES_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    listed: Iterable[Installed] = (_as_installed(package.control) for package in plan.packages)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(list(listed)), indent=1) + b"\n")


def _files_of(folder: Path) -> Path:
    return folder / "files" if (folder / "files" / PACKAGES_FILE).is_file() else folder
