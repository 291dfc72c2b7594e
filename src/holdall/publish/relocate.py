"""Compiled-in paths made right for an app that was built for ``/usr`` and lives at ``/app``.

``/usr``, ``/opt`` and ``/etc`` are as long as ``/app``: a path inside a program can be exchanged
byte for byte. Pure: bytes in, bytes out. What it reaches and what not: docs/how-to/import.md.
"""

import re
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property

_ELF = b"\x7fELF"
_PATH = re.compile(
    rb"(?:(?<![\w.\-/})])|(?<=file://))/(?:usr|opt|etc)(?:/[\w.+@~,#=-]+)*/?", re.ASCII
)
# Folders that many programs look through; the sandbox's search paths name the app's before the
# runtime's already, and a program that means all of them must go on seeing the runtime's.
_SEARCHED = frozenset(
    {
        "etc",
        "etc/xdg",
        "usr/bin",
        "usr/games",
        "usr/sbin",
        "usr/share/applications",
        "usr/share/fonts",
        "usr/share/icons",
        "usr/share/icons/hicolor",
        "usr/share/mime",
        "usr/share/sounds",
        "usr/share/themes",
        "usr/share/X11",
    }
)
# The folder everybody shares although each program means its own file in it.
_EACH_ITS_OWN = "usr/share/locale"
_ENDS = {b"\0": b"\0", b'"': b'"', b"'": b"'"}


@dataclass(frozen=True)
class Ground:
    """Which absolute paths, without the first slash, an app brings and which its runtime has."""

    own: AbstractSet[str]
    runtime: AbstractSet[str]

    def relocated(self, content: bytes) -> tuple[bytes, frozenset[str]]:
        """`content`, as long, with the app's own paths moved to ``/app``, and which those were."""
        program = content.startswith(_ELF)
        if not program and b"\0" in content:
            return content, frozenset()
        moved: set[str] = set()

        def exchange(found: re.Match[bytes]) -> bytes:
            path = found[0].decode("ascii").strip("/")
            before = content[max(found.start() - 1, 0) : found.start()]
            after = content[found.end() : found.end() + 1]
            whole = before in _ENDS and after == _ENDS[before]
            if not self._is_own(path, whole=whole, program=program):
                return found[0]
            moved.add(path)
            return b"/app" + found[0][4:]

        result = _PATH.sub(exchange, content)
        return result, frozenset(moved)

    def _is_own(self, path: str, *, whole: bool, program: bool) -> bool:
        """Whether `path` can only mean something of the app's.

        `whole` says the path stands alone between NULs or quotes: only then a folder that the
        runtime has too is taken for the app's.
        """
        parts = path.split("/")
        depth = self._depth(parts)
        if not depth:
            return False
        known = "/".join(parts[:depth])
        if known not in self.runtime:
            return True
        if depth == len(parts):
            return whole and known not in _SEARCHED and (program or known == _EACH_ITS_OWN)
        begun = f"{known}/{parts[depth]}"
        return depth == len(parts) - 1 and begun in self._beginnings and begun not in self.runtime

    def _depth(self, parts: list[str]) -> int:
        """How many leading parts name something the app brings."""
        depth = 0
        while depth < len(parts) and "/".join(parts[: depth + 1]) in self.own:
            depth += 1
        return depth

    @cached_property
    def _beginnings(self) -> frozenset[str]:
        """Own names cut short, as in ``/usr/share/pixmaps/editor-%d.png``, and no other's."""
        return _cut_short(self.own - self.runtime) - _cut_short(self.runtime)


def _cut_short(paths: AbstractSet[str]) -> frozenset[str]:
    """Every path with its last name cut to three letters or more."""
    return frozenset(path[:end] for path in paths for end in range(path.rfind("/") + 4, len(path)))
