"""``repo key``: who signs a repository, and whose apps are whose.

The next publication puts it out, once enough keys have signed it.
"""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from holdall.errors import UsageError
from holdall.journeys.host import Host
from holdall.journeys.keys import read_public
from holdall.publish.repository.keys import Keys, make_key, read_keys, tuf_key
from holdall.publish.repository.layout import Layout, check_is_one, holding
from holdall.publish.repository.roles import Roles, Waiting
from holdall.publish.repository.settings import read_settings
from holdall.system.files import plain_errors


class KeyRow(NamedTuple):
    """A key of a role; `path` is where its private part is, "" for one that is not at hand."""

    role: str
    keyid: str
    threshold: int
    paths: tuple[str, ...]
    path: str


class Changed(NamedTuple):
    """What a change made: key files, roles that wait for publication, apps that were taken over."""

    files: tuple[str, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    apps: tuple[str, ...] = ()


class KeyPlaces(NamedTuple):
    """Folders of keys: besides those the repository knows, and where the root's are."""

    keys: tuple[str, ...] = ()
    root_keys: tuple[str, ...] = ()


HERE = KeyPlaces()


def listed(folder: str, places: KeyPlaces = HERE) -> tuple[list[KeyRow], list[Waiting]]:
    """Every role's keys as they will be, and what waits for signatures or for publication."""
    layout = Layout(os.path.abspath(folder))
    check_is_one(layout)
    keys = _keys(layout, places)
    roles = Roles(layout, read_settings(layout), keys, datetime.now(UTC))
    rows = []
    for row in roles.listed():
        for keyid in row.keyids:
            held = keys.held(keyid)
            path = held.path if held else ""
            rows.append(KeyRow(row.role, keyid, row.threshold, row.paths, path))
    return rows, roles.waiting()


class KeyChanges:
    """Changes to the keys of the repository `folder`; each waits for publication when it returns.

    Raises NotFoundError for roles and keys that are not there, UsageError for what has no sense.
    """

    def __init__(
        self, folder: str, host: Host, places: KeyPlaces = HERE, *, now: datetime | None = None
    ) -> None:
        self._layout = Layout(os.path.abspath(folder))
        self._host = host
        self._places = places
        self._now = now or datetime.now(UTC)

    def add(self, role: str, public: str | None = None) -> Changed:
        """Let one more key sign for a role: that in the file `public`, or a new one."""

        def change(roles: Roles) -> list[str]:
            roles.keys_of(role)
            if public:
                roles.add(role, tuf_key(read_public(public)))
                return []
            made = make_key(self._folder(role), role)
            roles.add(role, tuf_key(made.key.public))
            return [made.path]

        return self._do(change)

    def remove(self, role: str, keyid: str) -> Changed:
        """Let a key not sign for a role any more."""

        def change(roles: Roles) -> list[str]:
            roles.remove(role, keyid)
            return []

        return self._do(change)

    def rotate(self, role: str) -> Changed:
        """Put a new key in the place of each key of a role."""

        def change(roles: Roles) -> list[str]:
            files = []
            for keyid in roles.keys_of(role).keyids:
                made = make_key(self._folder(role), role)
                roles.replace(role, keyid, tuf_key(made.key.public))
                files.append(made.path)
            return files

        return self._do(change)

    def set_threshold(self, role: str, number: int) -> Changed:
        """Have a role need so many signatures."""

        def change(roles: Roles) -> list[str]:
            roles.set_threshold(role, number)
            return []

        return self._do(change)

    def sign(self) -> Changed:
        """Add the signatures of the keys at hand to what waits for some."""
        return self._do(lambda _roles: [])

    def delegate(self, name: str, patterns: tuple[str, ...], public: tuple[str, ...]) -> Changed:
        """Let a publisher, who has the private parts of the keys in `public`, answer for apps."""
        keys = tuple(tuf_key(read_public(path)) for path in public)

        def change(roles: Roles) -> list[str]:
            roles.delegate(name, patterns, keys)
            return []

        return self._do(change)

    def undelegate(self, name: str, *, keep: bool = False) -> Changed:
        """Let a publisher answer for nothing; with `keep`, the operator answers for its apps."""
        apps: list[str] = []

        def change(roles: Roles) -> list[str]:
            apps.extend(roles.undelegate(name, keep=keep))
            return []

        return self._do(change)._replace(apps=tuple(apps))

    def _do(self, change: Callable[[Roles], list[str]]) -> Changed:
        with (
            holding(self._layout, wait=self._host.wait),
            plain_errors(f"The keys of {self._layout.root} cannot be changed"),
        ):
            settings = read_settings(self._layout)
            keys = _keys(self._layout, self._places)
            roles = Roles(self._layout, settings, keys, self._now)
            files = change(roles)
            if files:
                roles.use(_keys(self._layout, self._places))
            return Changed(tuple(files), tuple(roles.keep()))

    def _folder(self, role: str) -> str:
        """Where a new key of a role goes."""
        named = self._places.root_keys if role == "root" else ()
        known = (*named, *self._places.keys, *read_settings(self._layout).keys)
        if not known:
            raise UsageError("Say where the new key goes: --keys FOLDER.")
        return os.path.abspath(known[0])


def _keys(layout: Layout, places: KeyPlaces) -> Keys:
    named = (*places.keys, *places.root_keys)
    read_keys(named, demanded=True)
    return read_keys([*read_settings(layout).keys, *named])
