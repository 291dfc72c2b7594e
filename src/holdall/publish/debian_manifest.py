"""The manifest of what was made from Debian packages: names, words, search paths, permissions.

Reads the unpacked tree; must not know how it was unpacked.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from holdall.model.manifest import About, Manifest, Permissions
from holdall.model.ref import checked_id
from holdall.publish.debian_plan import DebPlan
from holdall.publish.desktop_entries import Shown, declared_id, default_command, show_as
from holdall.publish.source_folder import permissions_with, printable

_GRAPHICAL = re.compile(
    r"\b(?:libx11-6|libxt6|libgtk-?[234]|libqt[456]|libwayland-client|libsdl|libfltk|libwx|python3-pyqt|gir1\.2-gtk)"
)
# A folder the app may bring, the variable by which programs find it, and what must stay in that.
_SEARCH_PATHS: tuple[tuple[str, str, str], ...] = (
    ("lib/{triplet}/*.so*", "LD_LIBRARY_PATH", "/app/lib"),
    ("lib/{triplet}/girepository-1.0", "GI_TYPELIB_PATH", "/usr/lib/{triplet}/girepository-1.0"),
    ("lib/{triplet}/gtk-3.0", "GTK_PATH", ""),
    ("lib/{triplet}/gstreamer-1.0", "GST_PLUGIN_SYSTEM_PATH", "/usr/lib/{triplet}/gstreamer-1.0"),
    ("lib/{triplet}/qt5/plugins", "QT_PLUGIN_PATH", "/usr/lib/{triplet}/qt5/plugins"),
    ("lib/{triplet}/qt6/plugins", "QT_PLUGIN_PATH", "/usr/lib/{triplet}/qt6/plugins"),
    ("lib/{triplet}/qt5/qml", "QML2_IMPORT_PATH", "/usr/lib/{triplet}/qt5/qml"),
    ("lib/{triplet}/qt6/qml", "QML_IMPORT_PATH", "/usr/lib/{triplet}/qt6/qml"),
    ("lib/python3/dist-packages", "PYTHONPATH", ""),
    ("share/perl5", "PERL5LIB", "/app/lib/{triplet}/perl5"),
    ("etc/X11/app-defaults", "XFILESEARCHPATH", ""),
)
# Xt substitutes %T type, %N class, %C customization, %S suffix.
_X_RESOURCES = ":".join(
    f"{root}/etc/X11/%T/%N{custom}%S" for custom in ("%C", "") for root in ("/app", "")
)


def app_manifest(plan: DebPlan, files: Path, paths: Sequence[str]) -> Manifest:
    """The manifest of the app in `files`; its entries among `paths` are renamed to fit its id."""
    request = plan.request
    app_id = request.id or declared_id(files, paths) or debian_id(plan.main.name)
    command = request.command or default_command(files, paths, plan.main.name)
    shown = show_as(files, paths, app_id, Path(command.split()[0]).name)
    toolkit = _GRAPHICAL.search(plan.main.control.get("Depends", ""))
    graphical = shown.graphical or bool(toolkit)
    granted = (
        Permissions(ipc=True, x11=True, wayland=True, dri=True) if graphical else Permissions()
    )
    return Manifest(
        id=app_id,
        version=plan.version,
        kind="app",
        arch=plan.arch,
        branch=request.branch,
        runtime=plan.runtime,
        command=command,
        environment=_environment(files, plan.arch),
        permissions=permissions_with(granted, request.permissions),
        exports=shown.exports,
        about=_about(plan, files, shown),
    )


def runtime_manifest(plan: DebPlan) -> Manifest:
    main = plan.main
    return Manifest(
        id=plan.request.id or debian_id(main.name),
        version=plan.version,
        kind="runtime",
        arch=plan.arch,
        branch=plan.request.branch,
        about=About(
            name=main.name,
            summary=printable(
                f"Runtime of {len(plan.packages)} Debian packages: {', '.join(plan.request.names)}"
            ),
            homepage=printable(main.control.get("Homepage", "")),
        ),
    )


def debian_id(name: str) -> str:
    """The id of an app that declares none: ``org.debian.`` and the package's name."""
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
        license=printable(_spdx(shown.license) or stated_license(stated)),
        homepage=printable(control.get("Homepage", "")),
        developer=printable(shown.developer),
    )


def _environment(files: Path, arch: str) -> dict[str, str]:
    """How programs find what the app brings in places they search by a variable.

    The sandbox sees to programs, data, configuration and the libraries of the usual folder itself.
    """
    found: dict[str, list[str]] = {}
    triplets = sorted(path.name for path in files.glob("lib/*-linux-gnu*") if path.is_dir())
    for triplet in triplets or ["none"]:
        for pattern, variable, rest in _SEARCH_PATHS:
            folder, _, sample = pattern.format(triplet=triplet).partition("/*")
            if any(files.joinpath(folder).glob(f"*{sample}")):
                others = [rest.format(triplet=triplet)] if rest else []
                found[variable] = [*found.get(variable, []), f"/app/{folder}", *others]
    if "XFILESEARCHPATH" in found:
        found["XFILESEARCHPATH"] = [_X_RESOURCES]
    if triplets == [f"{arch}-linux-gnu"]:
        found.pop("LD_LIBRARY_PATH", None)
    return {name: ":".join(dict.fromkeys(words)) for name, words in sorted(found.items())}


def stated_license(copyright_text: str) -> str:
    """The licence a machine-readable copyright file states for the software as a whole."""
    if not re.match(r"Format\S*:", copyright_text):
        return ""
    for paragraph in re.split(r"\n\s*\n", copyright_text):
        if re.search(r"^Files:\s*\*\s*$", paragraph, re.MULTILINE):
            found = re.search(r"^License:[ \t]*(\S.*)$", paragraph, re.MULTILINE)
            return _spdx(found[1].strip()) if found else ""
    return ""


def _spdx(debian: str) -> str:
    """Debian's short name of a GNU licence as SPDX writes it; others are the same or left alone."""
    found = re.fullmatch(r"([AL]?GPL)-(\d(?:\.\d)?)(\+?)", debian)
    if not found:
        return debian
    number = found[2] if "." in found[2] else f"{found[2]}.0"
    return f"{found[1]}-{number}-{'or-later' if found[3] else 'only'}"
