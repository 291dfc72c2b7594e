"""What an app shows on the host, named by its id: desktop files, icons, AppStream, file types.

Only text is changed, and only in the app's own tree. Must not know where the app came from.
"""

import re
import shlex
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from holdall.errors import UsageError
from holdall.model.manifest import Exports
from holdall.model.ref import checked_id

_ICON_TYPES = (".svg", ".png", ".xpm")
_METAINFO_ID = re.compile(r"<id(?:\s[^>]*)?>\s*([^<\s]+)\s*</id>")
# Translations hold direction marks; nothing with such characters is shown on a host.
_UNSHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_LAUNCHABLE = re.compile(r"(<launchable\s+type=[\"']desktop-id[\"']\s*>)\s*[^<]*\s*(</launchable>)")
_XPM_SIZE = re.compile(rb'"\s*(\d+)\s+(\d+)\s+\d+\s+\d+')


@dataclass(frozen=True, slots=True)
class Shown:
    """The app's entries on the host, and what they say of the app."""

    exports: Exports
    name: str = ""
    summary: str = ""
    license: str = ""
    developer: str = ""
    graphical: bool = False


def declared_id(files: Path, paths: Iterable[str]) -> str | None:
    """The id an AppStream file among `paths` declares, when it is one that holdall accepts."""
    for path in _metainfo_paths(paths):
        found = _METAINFO_ID.search(_text(files / path))
        candidate = found[1].removesuffix(".desktop") if found else ""
        try:
            return checked_id(candidate)
        except UsageError:
            continue
    return None


def default_command(files: Path, paths: Sequence[str], name: str) -> str:
    """How the app starts when nobody says: its desktop file's, its namesake or only program."""
    programs = sorted(
        path.rpartition("/")[2] for path in paths if re.fullmatch(r"s?bin/[^/]+|games/[^/]+", path)
    )
    for path in _desktop_paths(files, paths):
        program = _program(_entry(_text(files / path)))
        if program in programs:
            return program
    if name in programs or len(programs) == 1:
        return name if name in programs else programs[0]
    listed = ", ".join(programs[:12]) or "none"
    raise UsageError(
        f"Which program starts {name} is unclear: say --command, with one of {listed}."
    )


def show_as(files: Path, paths: Sequence[str], app_id: str, command: str) -> Shown:
    """Give the entries among `paths` names that begin with `app_id`, in place."""
    entries = {path: _entry(_text(files / path)) for path in _desktop_paths(files, paths)}
    main = next((path for path in entries if _program(entries[path]) == command), None)
    main = main or next(iter(entries), None)
    entry = entries[main] if main else {}
    wanted = [each["Icon"] for each in entries.values() if each.get("Icon")]
    icons = _icons(files, paths, app_id, wanted, entry.get("Icon"))
    names = {path: _prefixed(app_id, Path(path).stem, main=path == main) for path in entries}
    desktop = [_rename_desktop(files, path, name, icons.names) for path, name in names.items()]
    metainfo, words = _rename_metainfo(files, paths, app_id, names[main] if main else None)
    service = re.compile(rf"share/dbus-1/services/{re.escape(app_id)}(?:\.[^/]+)?\.service")
    exports = Exports(
        desktop=tuple(sorted(desktop)) or None,
        icons=tuple(sorted(set(icons.exported))) or None,
        mime=tuple(_rename_mime(files, path, app_id) for path in sorted(_mime_paths(paths)))
        or None,
        metainfo=metainfo or None,
        dbus_services=tuple(path for path in sorted(paths) if service.fullmatch(path)) or None,
        commands=(command,) if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,63}", command) else (),
    )
    return Shown(
        exports,
        name=words.get("name") or entry.get("Name", ""),
        summary=words.get("summary") or entry.get("Comment", ""),
        license=words.get("project_license", ""),
        developer=words.get("developer_name", ""),
        graphical=bool(main) and entry.get("Terminal", "false") != "true",
    )


@dataclass(frozen=True, slots=True)
class _Icons:
    """Which exported name each icon name got, and every exported icon file."""

    names: Mapping[str, str]
    exported: tuple[str, ...]


def _icons(
    files: Path, paths: Sequence[str], app_id: str, wanted: Sequence[str], main: str | None
) -> _Icons:
    """Copy icons to prefixed names: the app may still look for its own by the old ones."""
    available = [
        path
        for path in paths
        if Path(path).suffix in _ICON_TYPES and re.match("share/(icons|pixmaps)/", path)
    ]
    names: dict[str, str] = {}
    exported = [
        path for path in available if path.startswith("share/icons/") and _is_prefixed(path, app_id)
    ]
    for word in sorted({each for each in wanted if each}):
        stem = Path(word).stem if Path(word).suffix in _ICON_TYPES else Path(word).name
        found = [path for path in available if Path(path).stem == stem]
        themed = [path for path in found if path.startswith("share/icons/")] or found
        if not themed:
            continue
        name = _prefixed(app_id, stem, main=word == main)
        for path in themed:
            goal = f"{_icon_folder(files / path, path)}/{name}{Path(path).suffix}"
            if goal != path:
                content = (files / path).read_bytes()
                (files / goal).parent.mkdir(parents=True, exist_ok=True)
                (files / goal).write_bytes(content)
            exported.append(goal)
        names[word] = name
    return _Icons(names, tuple(exported))


def _icon_folder(icon: Path, path: str) -> str:
    """Where a theme keeps an icon of this size."""
    if path.startswith("share/icons/"):
        return path.rpartition("/")[0]
    head = icon.read_bytes()[:4096]
    if head.startswith(b"\x89PNG") and len(head) >= 24:
        width, height = struct.unpack_from(">II", head, 16)
    elif found := _XPM_SIZE.search(head):
        width, height = int(found[1]), int(found[2])
    else:
        return "share/icons/hicolor/scalable/apps"
    return f"share/icons/hicolor/{width}x{height}/apps"


def _rename_desktop(files: Path, path: str, name: str, icons: Mapping[str, str]) -> str:
    goal = f"share/applications/{name}.desktop"
    text = renamed_entry(_text(files / path), Path(path).stem, name, icons)
    (files / path).unlink()
    (files / goal).write_text(text, encoding="utf-8")
    return goal


def renamed_entry(text: str, old: str, new: str, icons: Mapping[str, str]) -> str:
    """A desktop file for another name: its icons, and what ties its windows to it."""
    tied = old == new or re.search(r"^StartupWMClass\s*=", text, re.MULTILINE)
    lines = []
    for line in _UNSHOWN.sub("", text).split("\n"):
        key, value = (part.strip() for part in line.partition("=")[::2])
        # On the host TryExec would look for a program that is only inside the app.
        if key == "TryExec" or (key == "DBusActivatable" and old != new):
            continue
        lines.append(f"Icon={icons[value]}" if key == "Icon" and value in icons else line)
        if line.strip() == "[Desktop Entry]" and not tied:
            lines.append(f"StartupWMClass={old}")
    return "\n".join(lines).rstrip() + "\n"


def _rename_metainfo(
    files: Path, paths: Iterable[str], app_id: str, desktop: str | None
) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """The app's one AppStream file under its id, and its words; others describe other software."""
    for path in _metainfo_paths(paths):
        text = _text(files / path)
        if not _METAINFO_ID.search(text):
            continue
        words = {
            name: re.sub(r"\s+", " ", found[1]).strip()
            for name in ("name", "summary", "project_license", "developer_name")
            if (found := re.search(rf"<{name}>([^<]*)</{name}>", text))
        }
        text = _METAINFO_ID.sub(f"<id>{app_id}</id>", text, count=1)
        if desktop:
            text = _LAUNCHABLE.sub(rf"\g<1>{desktop}.desktop\g<2>", text)
        goal = f"share/metainfo/{app_id}.metainfo.xml"
        (files / path).unlink()
        (files / goal).parent.mkdir(parents=True, exist_ok=True)
        (files / goal).write_text(text, encoding="utf-8")
        return (goal,), words
    return (), {}


def _rename_mime(files: Path, path: str, app_id: str) -> str:
    if _is_prefixed(path, app_id):
        return path
    goal = f"share/mime/packages/{app_id}.{Path(path).stem}.xml"
    (files / path).rename(files / goal)
    return goal


def _prefixed(app_id: str, name: str, *, main: bool) -> str:
    if _is_prefixed(name, app_id):
        return name
    return app_id if main else f"{app_id}.{name}"


def _is_prefixed(path: str, app_id: str) -> bool:
    return bool(re.match(re.escape(app_id) + r"(?![A-Za-z0-9_])", path.rpartition("/")[2]))


def _desktop_paths(files: Path, paths: Iterable[str]) -> list[str]:
    """The desktop files, those a menu shows first."""
    found = [path for path in paths if re.fullmatch(r"share/applications/[^/]+\.desktop", path)]
    regular = [
        path for path in found if (files / path).is_file() and not (files / path).is_symlink()
    ]
    return sorted(
        regular, key=lambda path: (_entry(_text(files / path)).get("NoDisplay") == "true", path)
    )


def _metainfo_paths(paths: Iterable[str]) -> list[str]:
    return sorted(
        path for path in paths if re.fullmatch(r"share/(?:metainfo|appdata)/[^/]+\.xml", path)
    )


def _mime_paths(paths: Iterable[str]) -> list[str]:
    return [path for path in paths if re.fullmatch(r"share/mime/packages/[^/]+\.xml", path)]


def _program(entry: Mapping[str, str]) -> str:
    """The name of the program that a desktop file starts."""
    words = _words(entry.get("Exec", ""))
    return words[0].rpartition("/")[2] if words else ""


def _entry(text: str) -> Mapping[str, str]:
    """The plain fields of a desktop file's main section."""
    section = text.partition("[Desktop Entry]")[2].partition("\n[")[0]
    pairs = (
        line.partition("=")
        for line in section.splitlines()
        if "=" in line and not line.startswith("#")
    )
    return {key.strip(): value.strip() for key, _, value in pairs}


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:
        return []


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
