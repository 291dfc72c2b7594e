"""Remotes of a store: added with the root that is trusted, listed, moved, removed."""

import os
import re
from contextlib import closing
from datetime import UTC, datetime
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import quote

from holdall.delivery.remote.transport import Transport, open_transport
from holdall.errors import CorruptError, UsageError
from holdall.journeys.host import Host, Report, silent
from holdall.journeys.recovery import recover_all_but_rubbish
from holdall.journeys.refreshing import Connection, bring_catalogue, refreshed
from holdall.journeys.searching import entries_of
from holdall.store import remotes as records
from holdall.store.catalog import writing
from holdall.store.remotes import Remote, checked_name
from holdall.system.files import plain_errors, read_regular, remove_tree, sync_folder

_MAX_ROOT = 2**16
_HEX = re.compile(r"[0-9A-Fa-f]{16,}")
_DIGITS = 64


class Listed(NamedTuple):
    """One remote; times as RFC 3339, "" for never."""

    name: str
    url: str
    root: str
    refreshed: str
    expires: str


class Shown(NamedTuple):
    """All about one remote; `apps` is None until its catalogue was fetched."""

    name: str
    url: str
    root: str
    root_version: int
    refreshed: str
    expires: str
    apps: int | None
    installed: tuple[str, ...]


def add_remote(name: str, url: str, host: Host, *, root: str, report: Report = silent) -> Shown:
    """Add a remote, whose first root is the file `root` or has this SHA-256.

    All that vouches for its files is fetched and checked before anything of it is kept. Raises
    UsageError, NotFoundError, NetworkError, UntrustedError and CorruptError.
    """
    checked_name(name)
    url = address_of(url)
    with closing(open_transport(url)) as transport, writing(host.layout, wait=host.wait) as writer:
        recover_all_but_rubbish(host, writer, report)
        final = f"{host.layout.remotes}/{name}"
        if os.path.isdir(final):
            raise UsageError(
                f"There is a remote {name} already; `holdall remote remove {name}` removes it."
            )
        data = _root(root, transport)
        remote = Remote(name, transport.address, sha256(data).hexdigest(), writer.stage())
        try:
            _fill(remote, transport, data)
            _put(remote, final)
        except BaseException:
            remove_tree(remote.folder)
            raise
    return show_remote(name, host)


def address_of(text: str) -> str:
    """An address as it is kept; a folder's path becomes one of file://. Raises UsageError."""
    if "://" not in text and not text.startswith("file:"):
        if not os.path.isdir(text):
            raise UsageError(f"{text} is neither an address nor a folder.")
        text = f"file://{quote(os.path.realpath(text))}"
    return text.rstrip("/")


def remotes(host: Host) -> list[Listed]:
    """All remotes, by name."""
    return [_listed(remote) for remote in records.remotes(host.layout)]


def show_remote(name: str, host: Host) -> Shown:
    """All that is known of a remote; asks nobody."""
    remote = records.find(host.layout, name)
    found = entries_of(remote)
    return Shown(
        *_listed(remote)[:3],
        root_version=_root_version(remote),
        refreshed=_listed(remote).refreshed,
        expires=_listed(remote).expires,
        apps=None if found is None else len(found),
        installed=_installed_from(name, host),
    )


def _installed_from(name: str, host: Host) -> tuple[str, ...]:
    refs = host.catalog.refs()
    return tuple(str(ref) for ref in refs if records.read_origin(host.layout, ref) == name)


def remove_remote(name: str, host: Host, *, report: Report = silent) -> tuple[str, ...]:
    """Remove a remote, also one that cannot be read any more.

    What was installed from it stays, as does what was decided about its apps; returns those refs.
    """
    with writing(host.layout, wait=host.wait) as writer:
        recover_all_but_rubbish(host, writer, report)
        remote = records.place_of(host.layout, name)
        with records.holding(remote, wait=host.wait):
            gone = writer.stage()
            os.rename(remote.folder, f"{gone}/remote")
        remove_tree(gone)
    return _installed_from(name, host)


def move_remote(name: str, url: str, host: Host, *, report: Report = silent) -> Shown:
    """Have a remote at another address; it must be the same repository, and as new as before."""
    url = address_of(url)
    with closing(open_transport(url)) as transport, writing(host.layout, wait=host.wait) as writer:
        recover_all_but_rubbish(host, writer, report)
        remote = records.find(host.layout, name)._replace(url=transport.address)
        with records.holding(remote, wait=host.wait):
            refreshed(Connection(remote, transport))
            records.write(remote)
    return show_remote(name, host)


def _root(root: str, transport: Transport) -> bytes:
    """The first root's bytes, from a file or, checked, from the remote."""
    from holdall.delivery.remote.trusted import fetch_root

    if os.path.isfile(root) or not _HEX.fullmatch(root):
        try:
            with plain_errors(f"The root {root} cannot be read"):
                return read_regular(os.path.realpath(root), limit=_MAX_ROOT)
        except ValueError as error:
            raise CorruptError(f"{root} is no root of a repository.") from error
    if len(root) != _DIGITS:
        raise UsageError(
            f"The fingerprint {root} has {len(root)} digits; give all {_DIGITS} of it."
        )
    return fetch_root(transport, root.lower())


def _fill(remote: Remote, transport: Transport, root: bytes) -> None:
    """Fetch and check all that is known of a new remote into its folder."""
    with plain_errors(f"The remote {remote.name} cannot be kept"):
        with open(remote.first_root, "wb") as file:
            file.write(root)
        records.write(remote)
        connection = Connection(remote, transport)
        bring_catalogue(connection, refreshed(connection))


def _put(remote: Remote, final: str) -> None:
    """Give a new remote its place, by one rename."""
    with plain_errors(f"The remote {remote.name} cannot be kept"):
        os.chmod(remote.folder, 0o755)
        os.makedirs(os.path.dirname(final), exist_ok=True)
        os.rename(remote.folder, final)
        sync_folder(os.path.dirname(final))


def _listed(remote: Remote) -> Listed:
    known = records.freshness(remote)
    times = (known.refreshed, known.expires)
    return Listed(remote.name, remote.shown_url, remote.root, *map(_written, times))


def _written(time: float) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%dT%H:%M:%SZ}" if time > 0 else ""


def _root_version(remote: Remote) -> int:
    """The newest root that was accepted."""
    versions = [
        int(name.partition(".")[0])
        for name in os.listdir(f"{remote.metadata}/root_history")
        if name.partition(".")[0].isdecimal()
    ]
    return max(versions, default=0)
