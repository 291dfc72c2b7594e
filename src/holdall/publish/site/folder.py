"""The folder pages are written to: what is there already, what has to change, what has to go.

Only files that an earlier run wrote are removed or, at the top, written over.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256

import msgspec

from holdall.errors import UsageError
from holdall.publish.site.app import Row
from holdall.publish.site.frame import GENERATOR
from holdall.system.files import read_regular, write_atomic

FORMAT = 1
_PLACES = ("apps/", "browse/", "site/", "appstream/")
_TOP = ("index.html", "add.html")
_LIMIT = 2**30


class Record(msgspec.Struct, frozen=True, array_like=True):
    """What was made for an app: from what (`key`), and which files, with their SHA-256.

    `needs` are the ids its page links to where they are offered.
    """

    key: str
    release: str
    row: Row
    component: str
    files: dict[str, str]
    needs: frozenset[str] = frozenset()


class State(msgspec.Struct, frozen=True, array_like=True):
    """All that was made; `roles` are the apps of each role's version, with digests of offers."""

    format: int = FORMAT
    root: str = ""
    roles: dict[str, tuple[int, dict[str, str]]] = {}
    apps: dict[str, Record] = {}
    shared: dict[str, str] = {}

    @property
    def files(self) -> dict[str, str]:
        """Every file with its SHA-256, by name from the top."""
        found = dict(self.shared)
        for record in self.apps.values():
            found |= record.files
        return found


def load(path: str) -> State:
    """The state in a file; an empty one where there is none that can be read."""
    try:
        state = msgspec.msgpack.decode(read_regular(path, limit=_LIMIT), type=State)
    except (OSError, ValueError, msgspec.MsgspecError):
        return State()
    return state if state.format == FORMAT else State()


def save(path: str, state: State) -> None:
    """Keep the state in a file; one that is there already stays as it is."""
    data = msgspec.msgpack.encode(state, order="sorted")
    with suppress(OSError, ValueError):
        if read_regular(path, limit=_LIMIT) == data:
            return
    write_atomic(path, data)


class Folder:
    """Writes files below `root`, given the ones that an earlier run wrote."""

    def __init__(self, root: str, known: dict[str, str]) -> None:
        self.root = root
        self.written = 0
        self.removed = 0
        self._known = known

    def check(self) -> None:
        """Raise UsageError where somebody else's page would be written over."""
        for name in _TOP:
            if name in self._known or not os.path.lexists(f"{self.root}/{name}"):
                continue
            try:
                ours = f'content="{GENERATOR}"'.encode() in read_regular(
                    f"{self.root}/{name}", limit=2**24
                )
            except (OSError, ValueError):
                ours = False
            if not ours:
                raise UsageError(
                    f"{self.root}/{name} was not made by `holdall repo site`; move it away, or "
                    "write the pages elsewhere with --out DIR."
                )

    def has(self, files: Iterable[str]) -> bool:
        """Whether all of these are there."""
        return all(map(os.path.isfile, (f"{self.root}/{name}" for name in files)))

    def put(self, name: str, data: bytes) -> str:
        """Have a file with these bytes; one that has them is not touched. Returns their SHA-256."""
        digest = sha256(data).hexdigest()
        path = f"{self.root}/{name}"
        if self._known.get(name) == digest and _size(path) == len(data):
            return digest
        with suppress(OSError, ValueError):
            if read_regular(path, limit=len(data)) == data:
                return digest
        write_atomic(path, data)
        self.written += 1
        return digest

    def drop(self, names: Iterable[str]) -> None:
        """Remove files that an earlier run wrote, and folders that this leaves empty."""
        for name in names:
            if not _is_ours(name):
                continue
            with suppress(OSError):
                os.unlink(f"{self.root}/{name}")
                self.removed += 1
            with suppress(OSError):
                os.rmdir(os.path.dirname(f"{self.root}/{name}"))


def _size(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return -1


def _is_ours(name: str) -> bool:
    parts = name.split("/")
    placed = name.startswith(_PLACES) or name in _TOP
    return placed and not {"", ".", ".."} & set(parts)
