"""What an app may do, in plain words, and which of it deserves a second look."""

from collections.abc import Iterator
from typing import NamedTuple

from holdall.model.manifest import Permissions

_FOLDERS = {
    "xdg-desktop": "your desktop folder",
    "xdg-documents": "your documents",
    "xdg-download": "your downloads",
    "xdg-music": "your music",
    "xdg-pictures": "your pictures",
    "xdg-public": "your public folder",
    "xdg-templates": "your templates",
    "xdg-videos": "your videos",
    "xdg-config": "the settings of all your apps",
    "xdg-cache": "what your apps keep for a while",
    "xdg-data": "the data of all your apps",
    "xdg-state": "the state of all your apps",
    "xdg-run": "sockets of your session",
}
_WIDE = frozenset(("home", "host", "~", "/", "/home", "/root", "/var", "/run"))
_EVERYTHING = {
    "host": "all files that you can",
    "home": "all your files",
    "~": "all your files",
}
_SENSITIVE_FOLDERS = frozenset(("xdg-config", "xdg-data", "xdg-state", "xdg-run", "xdg-cache"))
_POWERFUL = (
    *("org.freedesktop.systemd1", "org.freedesktop.Flatpak", "org.freedesktop.secrets"),
    *("org.freedesktop.impl", "org.gnome.Shell", "org.gnome.SessionManager", "org.kde"),
    *("org.freedesktop.DBus", "org.freedesktop.login1", "org.gnome.Terminal"),
)


class Grant(NamedTuple):
    """One thing an app may do; `detail` is what it is called, or why it matters."""

    words: str
    detail: str = ""
    sensitive: bool = False


def grants(permissions: Permissions) -> tuple[Grant, ...]:
    """What the permissions come to, the sensitive ones first."""
    found = [*_flags(permissions), *map(_folder, permissions.filesystem), *_buses(permissions)]
    return tuple(sorted(found, key=lambda grant: not grant.sensitive))


def _flags(permissions: Permissions) -> Iterator[Grant]:
    if permissions.wayland:
        yield Grant("Show windows")
    if permissions.x11:
        yield Grant(
            "Show windows through X11",
            "Apps on X11 can see other windows and what is typed into them.",
            sensitive=True,
        )
    if permissions.network:
        yield Grant("Use the network")
    if permissions.pulseaudio:
        yield Grant("Play sound and use the microphone", sensitive=True)
    if permissions.dri:
        yield Grant("Use the graphics card")
    if permissions.ipc:
        yield Grant("Share memory with programs outside its sandbox", sensitive=True)


def _folder(entry: str) -> Grant:
    path, _, mode = entry.partition(":")
    head, slash, rest = path.partition("/")
    does = "Read" if mode == "ro" else "Read and change"
    if path in _WIDE:
        everything = _EVERYTHING.get(path, f"everything in {path}")
        return Grant(f"{does} {everything}", sensitive=True)
    if head in _FOLDERS:
        what = f"{_FOLDERS[head]}, the part {rest}" if slash and rest else _FOLDERS[head]
        return Grant(f"{does} {what}", sensitive=head in _SENSITIVE_FOLDERS)
    hidden = path.startswith(("~/.", "/"))
    return Grant(f"{does} {path}", sensitive=hidden and mode != "ro")


def _buses(permissions: Permissions) -> Iterator[Grant]:
    for name in permissions.session_bus:
        powerful = any(name == known or name.startswith(f"{known}.") for known in _POWERFUL)
        yield Grant("Talk to a service of your session", name, sensitive=powerful)
    for name in permissions.session_bus_own:
        yield Grant("Offer a service to your session", name)
    for name in permissions.system_bus:
        yield Grant("Talk to a service of the system", name, sensitive=True)
