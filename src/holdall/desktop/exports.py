"""What an app shows on the host, worked out: found at build, checked at build, rendered at install.

Pure: verified bytes in, the files that should stand on the host out. `presence` puts them there.
Reference: docs/reference/sandbox.md, section Exports.
"""

import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple
from xml.parsers import expat

from holdall.desktop import entries
from holdall.desktop.script import quoted
from holdall.errors import UsageError
from holdall.model.manifest import Exports, Manifest
from holdall.model.tree import File, Tree

MAX_ICON = 4 * 2**20
MAX_XML = 2**20

Read = Callable[[str], bytes]
"""The verified bytes of a regular file of the app, by path in the tree; raises for any other."""

_DESKTOP = re.compile(r"share/applications/(?P<name>[^/]+)\.desktop")
_ICON = re.compile(
    r"share/icons/[A-Za-z0-9_-]+/(?:[0-9]+x[0-9]+(?:@[0-9])?|scalable|symbolic)/[a-z]+"
    r"/(?P<name>[^/]+)\.(?:png|svg|xpm)"
)
_MIME = re.compile(r"share/mime/packages/(?P<name>[^/]+)\.xml")
_METAINFO = re.compile(r"share/(?:metainfo|appdata)/(?P<name>[^/]+)\.(?:metainfo|appdata)\.xml")
_SERVICE = re.compile(r"share/dbus-1/services/(?P<name>[^/]+)\.service")
_BUS_NAME = re.compile(r"[A-Za-z_-][A-Za-z0-9_-]*(\.[A-Za-z_-][A-Za-z0-9_-]*)+")

# A desktop entry's keys that are taken over; localized ones by their plain name.
_KEPT = frozenset((
    *("Type", "Version", "Name", "GenericName", "Comment", "Icon", "Keywords", "Categories"),
    *("MimeType", "NoDisplay", "Hidden", "OnlyShowIn", "NotShowIn", "Terminal", "StartupNotify"),
    *("StartupWMClass", "DBusActivatable", "Actions", "Exec", "PrefersNonDefaultGPU"),
    *("SingleMainWindow", "X-GNOME-UsesNotifications", "X-GNOME-FullName", "X-Purism-FormFactor"),
))  # fmt: skip
_HOST_PROGRAMS = re.compile(r"/(?:app|usr|usr/local)?/?(?:bin|sbin|games)/([^/]+)")
_EXTERNAL_ENTITY = re.compile(rb"<!ENTITY[^>]*\s(?:SYSTEM|PUBLIC)\s", re.IGNORECASE)


class ExportedFile(NamedTuple):
    """A file that should stand on the host: a path below the data home or the commands' folder."""

    root: Literal["data", "bin"]
    path: str
    data: bytes
    mode: int = 0o644


def discover(manifest: Manifest, tree: Tree) -> Exports:
    """The manifest's exports; a list that is None is filled with what bears the id."""
    paths = [entry.path for entry in tree.entries if isinstance(entry, File)]
    exports = manifest.exports

    def filled(given: tuple[str, ...] | None, pattern: re.Pattern[str]) -> tuple[str, ...]:
        return tuple(_named(manifest.id, pattern, paths)) if given is None else given

    return Exports(
        desktop=filled(exports.desktop, _DESKTOP),
        icons=filled(exports.icons, _ICON),
        mime=filled(exports.mime, _MIME),
        metainfo=filled(exports.metainfo, _METAINFO),
        dbus_services=filled(exports.dbus_services, _SERVICE),
        commands=exports.commands,
    )


def check(manifest: Manifest, read: Read) -> None:
    """Raise UsageError unless everything the manifest exports can be shown; for build."""
    rendered(manifest, read, "/stub")


def rendered(manifest: Manifest, read: Read, stub: str) -> tuple[ExportedFile, ...]:
    """The files the app shows on the host; `stub` is the absolute path of its ref's launch stub.

    Raises UsageError naming the file that breaks a rule.
    """
    exports = manifest.exports
    files = [
        *(_desktop(manifest, path, read, stub) for path in exports.desktop or ()),
        *(_icon(manifest, path, read) for path in exports.icons or ()),
        *(_xml(manifest, path, read, _MIME, "mime-info") for path in exports.mime or ()),
        *(_xml(manifest, path, read, _METAINFO, "component") for path in exports.metainfo or ()),
        *(_service(manifest, path, read, stub) for path in exports.dbus_services or ()),
        *(_command(manifest, name, stub) for name in exports.commands),
    ]
    return tuple({(file.root, file.path): file for file in files}.values())


def _named(app_id: str, pattern: re.Pattern[str], paths: Iterable[str]) -> Iterator[str]:
    for path in paths:
        found = pattern.fullmatch(path)
        if found and _belongs(found["name"], app_id):
            yield path


def _belongs(name: str, app_id: str) -> bool:
    """Whether a file's name is the app's to give: its id, or its id and something after it."""
    return name.startswith(app_id) and not re.match(r"[A-Za-z0-9_]", name[len(app_id) :])


def _checked_name(manifest: Manifest, path: str, pattern: re.Pattern[str]) -> str:
    found = pattern.fullmatch(path)
    if not found or not _belongs(found["name"], manifest.id):
        raise UsageError(
            f"{path} cannot be exported: its name must begin with {manifest.id}"
            " and it must stand where desktops look for its kind."
        )
    return found["name"]


def _host_path(path: str) -> str:
    return path.removeprefix("share/").replace("appdata/", "metainfo/", 1)


def _desktop(manifest: Manifest, path: str, read: Read, stub: str) -> ExportedFile:
    name = _checked_name(manifest, path, _DESKTOP)
    parsed = entries.parse(read(path), path)
    if next(iter(parsed.groups), "") != "Desktop Entry":
        raise UsageError(f"{path} does not begin with the group [Desktop Entry].")
    main = parsed.groups["Desktop Entry"]
    if main.get("Type") != "Application" or not main.get("Name"):
        raise UsageError(f"{path} needs Type=Application and a Name.")
    listed = [one for one in main.get("Actions", "").split(";") if one]
    if "Exec" not in main:
        raise UsageError(f"{path} has no Exec.")
    groups = {"Desktop Entry": _entry(manifest, main, path, stub)}
    if main.get("DBusActivatable") and not _has_service(manifest, name):
        groups["Desktop Entry"].pop("DBusActivatable", None)
    groups["Desktop Entry"]["X-Holdall"] = str(manifest.ref)
    for action in listed:
        keys = parsed.groups.get(f"Desktop Action {action}")
        if keys is None or not keys.get("Name"):
            raise UsageError(f"{path} lists the action {action!r} but does not describe it.")
        groups[f"Desktop Action {action}"] = _entry(manifest, keys, path, stub)
    return ExportedFile("data", _host_path(path), entries.KeyFile(groups).encode())


def _entry(manifest: Manifest, keys: dict[str, str], path: str, stub: str) -> dict[str, str]:
    """One group with what is taken over, its Exec and Icon made to work on the host."""
    kept = {key: value for key, value in keys.items() if key.partition("[")[0] in _KEPT}
    if "Exec" in kept:
        kept["Exec"] = _exec(manifest, entries.parse_exec(kept["Exec"], path), path, stub)
    for key in [key for key in kept if key.partition("[")[0] == "Icon"]:
        icon = _icon_name(manifest, kept[key])
        if icon is None:
            del kept[key]
        else:
            kept[key] = icon
    return kept


def _exec(manifest: Manifest, words: list[str], path: str, stub: str) -> str:
    program, *rest = words
    arguments = [kept for word in rest if (kept := _without_codes(word, path)) is not None]
    start = [entries.literal(stub)]
    if command := _other_command(manifest, program, path):
        start = ["env", f"HOLDALL_COMMAND={entries.literal(command)}", *start]
    return entries.exec_value([*start, *arguments])


def _without_codes(word: str, path: str) -> str | None:
    """A word of Exec without codes that mean nothing in a sandbox; None when nothing is left."""
    codes = re.findall("%(.?)", word)
    if any(code not in entries.FIELD_CODES | set("dDnNvm") for code in codes):
        raise UsageError(f"{path} has the unknown field code in {word!r}.")
    if {"F", "U", "i"} & set(codes) and len(word) != 2:
        raise UsageError(f"{path} has {word!r} in an Exec; %F, %U and %i stand alone.")
    left = re.sub("%([dDnNvmk])", "", word)
    return left or (None if codes else "")


def _other_command(manifest: Manifest, program: str, path: str) -> str:
    """The command for HOLDALL_COMMAND, empty when `program` is what the app starts by itself."""
    found = _HOST_PROGRAMS.fullmatch(program)
    name = found[1] if found else program
    if "/" not in name:
        return "" if name == manifest.argv[0].rpartition("/")[2] else name
    if not name.startswith("/") or {"..", "."} & set(name.split("/")):
        raise UsageError(f"{path} starts {program!r}, neither a name nor a plain absolute path.")
    return name


def _icon_name(manifest: Manifest, icon: str) -> str | None:
    """An icon's name that will be found on the host: one that is exported, or a theme's own."""
    exported = {path.rpartition("/")[2].rpartition(".")[0] for path in manifest.exports.icons or ()}
    stem = re.sub(r"\.(?:png|svg|xpm)$", "", icon.rpartition("/")[2])
    if stem in exported:
        return stem
    if manifest.id in exported:
        return manifest.id
    return icon if "/" not in icon and not _belongs(icon, manifest.id) else None


def _has_service(manifest: Manifest, name: str) -> bool:
    return any(
        path.rpartition("/")[2] == f"{name}.service"
        for path in manifest.exports.dbus_services or ()
    )


def _service(manifest: Manifest, path: str, read: Read, stub: str) -> ExportedFile:
    """A D-Bus service file; its name comes from the app's id, never from what the file says."""
    file_name = _checked_name(manifest, path, _SERVICE)
    keys = entries.parse(read(path), path).groups.get("D-BUS Service", {})
    name = keys.get("Name", "")
    if not _BUS_NAME.fullmatch(name) or name != file_name:
        raise UsageError(f"{path} has the Name {name!r}; it must be the file's own name.")
    if name != manifest.id and not name.startswith(f"{manifest.id}."):
        raise UsageError(f"{path} has the Name {name!r}, which is not below {manifest.id}.")
    try:
        words = shlex.split(entries.unescaped(keys.get("Exec", ""), path))
    except ValueError as error:
        raise UsageError(f"{path} has an Exec whose quotes do not match.") from error
    if not words or words[0].startswith("-") or any("@@" in word for word in words):
        raise UsageError(f"{path} has no Exec, or one with a word that is refused.")
    command = _other_command(manifest, words[0], path)
    start = ["/usr/bin/env", f"HOLDALL_COMMAND={command}", stub] if command else [stub]
    line = " ".join(quoted(word) for word in (*start, *words[1:]))
    group = {"Name": name, "Exec": entries.escaped(line)}
    data = entries.KeyFile({"D-BUS Service": group}).encode()
    return ExportedFile("data", _host_path(path), data)


def _icon(manifest: Manifest, path: str, read: Read) -> ExportedFile:
    _checked_name(manifest, path, _ICON)
    data = read(path)
    if len(data) > MAX_ICON:
        raise UsageError(f"The icon {path} is larger than {MAX_ICON} bytes.")
    kind = path.rpartition(".")[2]
    whole = {
        "png": data.startswith(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"),
        "svg": b"<svg" in data[: 2**16] and not _EXTERNAL_ENTITY.search(data) and b"\0" not in data,
        "xpm": data.lstrip().startswith(b"/* XPM */"),
    }
    if not whole[kind]:
        raise UsageError(f"The icon {path} is not a {kind.upper()} image.")
    return ExportedFile("data", _host_path(path), data)


def _xml(
    manifest: Manifest, path: str, read: Read, pattern: re.Pattern[str], root: str
) -> ExportedFile:
    _checked_name(manifest, path, pattern)
    data = read(path)
    if len(data) > MAX_XML:
        raise UsageError(f"{path} is larger than {MAX_XML} bytes.")
    found = _root_element(data, path)
    if found != root:
        raise UsageError(f"{path} has the root element {found!r}, not {root!r}.")
    return ExportedFile("data", _host_path(path), data)


def _root_element(data: bytes, path: str) -> str:
    """The name of the root element of XML that is well formed and declares no entity."""
    names: list[str] = []
    parser = expat.ParserCreate()

    def begin(name: str, _attributes: dict[str, str]) -> None:
        names[:] = names or [name]

    def entity(*_declared: object) -> None:
        raise UsageError(f"{path} declares an entity; such XML is refused.")

    parser.StartElementHandler = begin
    parser.EntityDeclHandler = entity
    try:
        parser.Parse(data, True)  # noqa: FBT003 - expat takes it by place
    except expat.ExpatError as error:
        raise UsageError(f"{path} is not well-formed XML: {error}.") from error
    return names[0]


def _command(manifest: Manifest, name: str, stub: str) -> ExportedFile:
    """A short command: sh that becomes the launch stub."""
    chosen = "" if name == manifest.argv[0].rpartition("/")[2] else f"HOLDALL_COMMAND={name} "
    line = f'{"export " + chosen + "; " if chosen else ""}exec {quoted(stub)} "$@"\n'
    text = f"#!/bin/sh\n# Starts {manifest.ref}. Made by holdall.\n{line}"
    return ExportedFile("bin", name, text.encode("utf-8", "surrogateescape"), 0o755)
