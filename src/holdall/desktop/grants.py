"""Filesystem permissions as steps and arguments: what of the host is bound, and what never is.

A grant is bound at the path it names, from where that path really leads. No grant reaches holdall's
own folders, neither by name nor through a link: one that lies in them is dropped, and where one
contains them they are covered. Nothing is ever mounted below a folder that only this app can write,
so no link in there can lead a mount astray (CVE-2024-42472).
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from holdall.desktop.script import (
    Below,
    Choice,
    Choose,
    Cut,
    Filled,
    Group,
    Is,
    Item,
    Not,
    Resolve,
    Step,
    UserFolder,
    Variable,
    Word,
)
from holdall.errors import UsageError

HOST_FOLDERS = ("/home", "/root", "/var/home", "/media", "/mnt", "/opt", "/srv", "/run/media")
# The sandbox's own: granting one would replace what the runtime and the kernel put there.
_RESERVED = ("/app", "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc")
_KERNEL = ("/proc", "/sys", "/dev", "/run/holdall")
_HOME = Variable("home")
# xdg-NAME to the key in user-dirs.dirs and the folder's usual name
_USER_FOLDERS = {
    "xdg-desktop": ("XDG_DESKTOP_DIR", "Desktop"),
    "xdg-documents": ("XDG_DOCUMENTS_DIR", "Documents"),
    "xdg-download": ("XDG_DOWNLOAD_DIR", "Downloads"),
    "xdg-music": ("XDG_MUSIC_DIR", "Music"),
    "xdg-pictures": ("XDG_PICTURES_DIR", "Pictures"),
    "xdg-public": ("XDG_PUBLICSHARE_DIR", "Public"),
    "xdg-templates": ("XDG_TEMPLATES_DIR", "Templates"),
    "xdg-videos": ("XDG_VIDEOS_DIR", "Videos"),
}
_BASE_FOLDERS = {
    "xdg-config": ("XDG_CONFIG_HOME", "/.config"),
    "xdg-cache": ("XDG_CACHE_HOME", "/.cache"),
    "xdg-data": ("XDG_DATA_HOME", "/.local/share"),
    "xdg-state": ("XDG_STATE_HOME", "/.local/state"),
}


class Grants(NamedTuple):
    """What the filesystem permissions come to; `places` are variables, empty where not granted."""

    steps: tuple[Step, ...]
    items: tuple[Item, ...]
    places: tuple[Variable, ...]


def grants(entries: Iterable[str], protected: tuple[Variable, ...]) -> Grants:
    """Steps and arguments for `entries`, which keep out of the folders `protected` hold.

    Takes the variables `home` and `run` for granted. Raises UsageError for an entry that names a
    folder of the sandbox itself, or no folder there is.
    """
    steps: list[Step] = []
    items: list[Item] = []
    places: list[Variable] = []
    for number, entry in enumerate(_spread(entries)):
        path, _, mode = entry.partition(":")
        place, source = Variable(f"place{number}"), Variable(f"source{number}")
        covers = [Variable(f"cover{number}_{index}") for index in range(len(protected))]
        steps += _location(place, path)
        steps += [Resolve(source, place), _unless_protected(source, protected)]
        steps.append(Choose(place, (Choice((Filled(source),), (place,)),)))
        items.append(
            Group(place, (("--ro-bind" if mode == "ro" else "--bind",), (source,), (place,)))
        )
        for cover, folder in zip(covers, protected, strict=True):
            steps += _cover(cover, folder, source, place)
            items.append(Group(cover, (("--perms",), ("0500",), ("--tmpfs",), (cover,))))
        places.append(place)
    return Grants(tuple(steps), tuple(items), tuple(places))


def _spread(entries: Iterable[str]) -> Iterator[str]:
    """The entries, the widest first, ``host`` as the folders it stands for."""
    listed = list(entries)
    for entry in listed:
        if entry.partition(":")[0] == "host":
            mode = entry[len("host") :]
            yield from (folder + mode for folder in HOST_FOLDERS)
            yield "~" + mode
    yield from ("~" + entry[len("home") :] for entry in listed if entry.partition(":")[0] == "home")
    yield from (entry for entry in listed if entry.partition(":")[0] not in {"host", "home"})


def _location(place: Variable, path: str) -> Iterator[Step]:
    """Steps that set `place` to the path on the host."""
    head, slash, rest = path.partition("/")
    below = slash + rest
    if path.startswith("/"):
        yield Choose(place, (Choice((), (_checked(path),)),))
    elif head == "~":
        yield Choose(place, (Choice((Filled(_HOME),), (_HOME, below)),))
    elif head == "xdg-run":
        yield Choose(place, (Choice((Filled(Variable("run")),), (Variable("run"), below)),))
    elif head in _BASE_FOLDERS:
        variable, usual = _BASE_FOLDERS[head]
        yield Choose(place, base_folder(variable, usual, below))
    elif head in _USER_FOLDERS:
        key, usual = _USER_FOLDERS[head]
        config = Variable("config")
        yield Choose(config, base_folder("XDG_CONFIG_HOME", "/.config"))
        yield UserFolder(place, key, (config,), (_HOME, f"/{usual}"))
        yield Choose(place, (Choice((Filled(place), Filled(_HOME)), (place, below)),))
    else:
        known = ", ".join((*_USER_FOLDERS, *_BASE_FOLDERS, "xdg-run"))
        raise UsageError(f"{path!r} is no folder that can be granted; there are: {known}.")


def base_folder(variable: str, usual: str, below: str = "") -> tuple[Choice, ...]:
    """The choices for an XDG base directory: the variable when absolute, else `usual`."""
    named = Variable(variable)
    return (
        Choice((Below((named,), ()),), (named, below)),
        Choice((Filled(_HOME),), (_HOME, usual + below)),
    )


def _checked(path: str) -> str:
    plain = "/" + "/".join(part for part in path.split("/") if part)
    if plain == "/" or any(
        plain == one or plain.startswith(f"{one}/") for one in _RESERVED + _KERNEL
    ):
        raise UsageError(
            f"The folder {path!r} belongs to the sandbox itself and cannot be granted."
        )
    return plain


def _unless_protected(source: Variable, protected: tuple[Variable, ...]) -> Step:
    outside = tuple(Not(Below((source,), (folder,))) for folder in protected)
    return Choose(source, (Choice((Filled(source), *outside), (source,)),))


def _cover(cover: Variable, folder: Variable, source: Variable, place: Variable) -> Iterator[Step]:
    """Steps that set `cover` to where `folder` shows inside `place`, when it does."""
    yield Cut(cover, folder, (source, "/"))
    seen: Word = (place, "/", cover)
    there = (Filled(source), Filled(cover), Is("d", (folder,)))
    yield Choose(cover, (Choice(there, seen),))
