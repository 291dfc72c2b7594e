"""An unpacked Debian app made to work at ``/app``: its own compiled-in paths are moved there.

The rim of `relocate`: reads the trees, rewrites the app's files.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from posixpath import join

from holdall.publish.relocate import Ground
from holdall.publish.source_folder import Noted, Report

_CONFIGURATION = re.compile(r"etc/([^/]+)")
# Folders nearly every package adds to, for an app whose runtime is not at hand.
_COMMON = re.compile(
    r"(?:usr|etc|opt)(?:/(?:bin|sbin|games|libexec|include|lib(?:/[^/]+-linux-gnu[^/]*)?|X11|xdg"
    r"|share(?:/(?:applications|fonts|mime|metainfo|appdata|pixmaps|doc|dbus-1|glib-2\.0|X11|themes|sounds"
    r"|(?:icons|locale|doc|mime|fonts|dbus-1|glib-2\.0|X11)(?:/.*)?))?))?"
)


def relocate_app(
    files: Path, origins: Mapping[str, str], runtime: Path | None, report: Report
) -> None:
    """Rewrite the app's files in place; `origins` says which package path each tree path had."""
    own = _with_parents(frozenset(origins.values()) - _unreachable(files, origins))
    ground = Ground(own, _shown_paths(runtime) if runtime else _common(files, origins))
    configuration: set[str] = set()
    count = 0
    for placed in sorted(origins):
        path = files / placed
        if path.is_symlink() or not path.is_file() or placed.startswith("share/doc/"):
            continue
        content, moved = ground.relocated(path.read_bytes())
        if moved:
            path.write_bytes(content)
            count += 1
            configuration |= {found[1] for each in moved if (found := _CONFIGURATION.match(each))}
    for name in sorted(configuration):
        # /etc/NAME became /app/NAME, one name long: a link leads on to where it is.
        (files / name).symlink_to(f"etc/{name}")
    if count:
        report(Noted(f"Paths compiled into {count} files now point to /app."))


def _unreachable(files: Path, origins: Mapping[str, str]) -> frozenset[str]:
    """Configuration whose name below /app is taken."""
    return frozenset(
        origin
        for origin in origins.values()
        if (found := _CONFIGURATION.match(origin)) and os.path.lexists(files / found[1])
    )


def _with_parents(paths: frozenset[str]) -> frozenset[str]:
    """Paths and the folders they are in."""
    found = set(paths)
    for path in paths:
        while (path := path.rpartition("/")[0]) and path not in found:
            found.add(path)
    return frozenset(found)


def _shown_paths(runtime: Path) -> frozenset[str]:
    """Every path of a runtime as programs see it, without the first slash."""
    paths = {"usr", "etc"}
    for folder, folders, names in os.walk(runtime):
        below = os.path.relpath(folder, runtime)
        for name in (*folders, *names):
            path = name if below == "." else join(below, name)
            paths.add(f"usr/{path}")
            if path.startswith("etc/"):
                paths.add(path)
    return frozenset(paths)


def _common(files: Path, origins: Mapping[str, str]) -> frozenset[str]:
    return frozenset(
        path
        for path in _with_parents(frozenset(origins.values()))
        if _COMMON.fullmatch(path) and not (files / path.partition("/")[2]).is_file()
    )
