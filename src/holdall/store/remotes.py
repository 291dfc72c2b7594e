"""What a store knows of its remotes, and from which of them its apps came.

A remote has a folder below `state/remotes`: `remote.json`, which says where it is, the first root
that is trusted, and what was fetched since, of which all can be had again. Knows nothing of what
those files mean.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from holdall.errors import BusyError, CorruptError, NotFoundError, UsageError
from holdall.model.ref import Ref
from holdall.store.layout import Layout
from holdall.system.files import each_child, plain_errors, read_regular, write_atomic

FORMAT = 1
NONE = "No remote was added yet; `holdall remote add NAME URL --root FINGERPRINT` adds one."
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")
_PASSWORD = re.compile(r"(?<=://)([^/@:]*):[^/@]*@")
_LIMIT = 2**16
_PATIENCE = 30.0  # seconds another command is waited for that asks the same remote


class Remote(NamedTuple):
    """A repository this store trusts: address, SHA-256 of its first root, and its folder here."""

    name: str
    url: str
    root: str
    folder: str

    @property
    def shown_url(self) -> str:
        """The address without a password."""
        return _PASSWORD.sub(r"\1:…@", self.url)

    @property
    def first_root(self) -> str:
        """The file with the root that was trusted when it was added."""
        return f"{self.folder}/root.json"

    @property
    def metadata(self) -> str:
        """TUF metadata, as python-tuf keeps it."""
        return f"{self.folder}/metadata"

    @property
    def offers(self) -> str:
        """Offers that were asked for."""
        return f"{self.folder}/offers"

    @property
    def catalogue(self) -> str:
        """The catalogue's segments, and what they are together."""
        return f"{self.folder}/catalogue"


class Freshness(NamedTuple):
    """When a remote was last asked, in seconds since the epoch, and until when its answer holds.

    `catalogued` is when it was last asked for its catalogue, too.
    """

    refreshed: float = 0.0
    expires: float = 0.0
    catalogued: float = 0.0

    def has_catalogue(self, seconds: float, now: float) -> bool:
        """Whether that was less than so many seconds ago, and what was said still holds."""
        return now - seconds < self.catalogued <= now < self.expires


def checked_name(text: str) -> str:
    """`text` when it can name a remote, else UsageError."""
    if not _NAME.fullmatch(text):
        raise UsageError(
            f"{text!r} is not a name for a remote: use up to 64 letters, digits and any of . _ + -."
        )
    return text


def remotes(layout: Layout) -> list[Remote]:
    """All remotes, by name; raises CorruptError for one that cannot be read."""
    names = each_child(layout.remotes, lambda name: bool(_NAME.fullmatch(name)))
    return [_read(layout, name) for name in names]


def find(layout: Layout, name: str) -> Remote:
    """One of them; raises NotFoundError and CorruptError."""
    place_of(layout, name)
    return _read(layout, name)


def place_of(layout: Layout, name: str) -> Remote:
    """A remote of which only the folder is known; raises NotFoundError."""
    folder = f"{layout.remotes}/{checked_name(name)}"
    if not os.path.isdir(folder):
        raise NotFoundError(f"There is no remote {name}; `holdall remote list` shows those added.")
    return Remote(name, "", "", folder)


def write(remote: Remote) -> None:
    """Keep where a remote is."""
    table = {"format": FORMAT, "url": remote.url, "root": remote.root}
    data = json.dumps(table, indent=1, sort_keys=True).encode() + b"\n"
    mode = 0o644 if remote.shown_url == remote.url else 0o600
    write_atomic(f"{remote.folder}/remote.json", data, mode=mode, whole=True)


def _read(layout: Layout, name: str) -> Remote:
    folder = f"{layout.remotes}/{name}"
    try:
        table = json.loads(read_regular(f"{folder}/remote.json", limit=_LIMIT))
        if table["format"] != FORMAT:
            raise CorruptError(
                f"The remote {name} has format {table['format']}; this holdall reads {FORMAT}."
            )
        return Remote(name, str(table["url"]), str(table["root"]), folder)
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptError(
            f"{folder}/remote.json cannot be read; `holdall remote remove {name}` and add it again."
        ) from error


def freshness(remote: Remote) -> Freshness:
    """When it was last asked; never, where nothing is known."""
    try:
        table = json.loads(read_regular(f"{remote.folder}/freshness.json", limit=_LIMIT))
        return Freshness(*(float(table[name]) for name in Freshness._fields))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return Freshness()


def write_freshness(remote: Remote, value: Freshness) -> None:
    """Keep when it was asked."""
    data = json.dumps(value._asdict(), sort_keys=True).encode() + b"\n"
    write_atomic(f"{remote.folder}/freshness.json", data)


@contextmanager
def holding(remote: Remote, *, wait: float = 0.0) -> Iterator[None]:
    """Hold a remote's lock: one process at a time asks it and keeps the answers.

    Raises BusyError when another one does for longer than half a minute, or `wait` seconds.
    """
    from holdall.store.guard import check_folder
    from holdall.system.locks import open_lock, take_exclusive

    mask = os.umask(0o022)
    os.umask(mask | 0o022)
    try:
        with plain_errors(f"What the remote {remote.name} says cannot be kept"):
            check_folder(remote.folder)
            fd = open_lock(f"{remote.folder}/lock")
        try:
            if not take_exclusive(fd, wait=max(wait, _PATIENCE)):
                raise BusyError(
                    f"Another process is asking the remote {remote.name}; try again, or use "
                    "--wait SECONDS."
                )
            yield
        finally:
            os.close(fd)
    finally:
        os.umask(mask)


def read_origin(layout: Layout, ref: Ref) -> str:
    """The name of the remote that `ref` was last installed from; "" for none."""
    with suppress(OSError, ValueError):
        name = read_regular(layout.origin(ref), limit=_LIMIT).decode().strip()
        return name if _NAME.fullmatch(name) else ""
    return ""


def write_origin(layout: Layout, ref: Ref, name: str) -> None:
    """Keep it, whole also after a power loss: without it nothing newer is found."""
    write_atomic(layout.origin(ref), f"{name}\n".encode(), whole=True)
