"""``repo mirror``: a part of a remote repository in a folder, to install from without a network.

All goes through the same client as an installation: nothing is kept that TUF does not vouch for,
and what is kept is the source's, byte for byte.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, suppress
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from holdall.delivery.remote.transport import Transport, open_transport
from holdall.errors import CorruptError, NotFoundError, UntrustedError, UsageError
from holdall.journeys.host import Host, Report, silent
from holdall.journeys.refreshing import Connection, asking
from holdall.journeys.remotes import address_of
from holdall.journeys.searching import entries_of
from holdall.journeys.supply import Meter
from holdall.model.manifest import HOST
from holdall.model.offer import ContentFile, Offer, OfferedIncrement, OfferedRelease
from holdall.model.ref import Ref, RefPattern
from holdall.publish.repository.edition import Edition, put_out
from holdall.publish.repository.layout import Layout, holding
from holdall.publish.repository.settings import read_settings
from holdall.store import remotes as records
from holdall.store.remotes import Remote
from holdall.system.files import (
    plain_errors,
    read_regular,
    remove_tree,
    sync_folder,
    write_all,
    write_atomic,
)

if TYPE_CHECKING:
    from holdall.delivery.remote.trusted import Trusted

_MAX_ROOT = 2**16
_FOLDERS = ("metadata", "targets", "catalogue")
_TIMESTAMP = "metadata/timestamp.json"

Content = ContentFile | OfferedIncrement


class MirrorOptions(NamedTuple):
    """`root` is a file, or the SHA-256, of the first root that is trusted of an address.

    `all_versions` takes every release and increment, not only the newest and what leads to it.
    """

    root: str = ""
    all_versions: bool = False
    dry_run: bool = False


NEWEST = MirrorOptions()


class Mirrored(NamedTuple):
    """What a mirror has: refs, its content files' bytes, and how many of these were fetched now.

    `expires` is until when clients take it for the present state.
    """

    path: str
    root: str
    refs: tuple[str, ...]
    size: int
    fetched: int
    expires: str


def mirror(
    source: str,
    folder: str,
    host: Host,
    patterns: Sequence[RefPattern] = (),
    *,
    options: MirrorOptions = NEWEST,
    report: Report = silent,
) -> Mirrored:
    """Copy a repository, or the apps that patterns name and their runtimes, into `folder`.

    `source` is a remote of the store, an address or a folder. Called again it brings the copy up to
    date; killed, it goes on where it was. Raises as installing from a remote does, UsageError when
    `folder` is something else, NotFoundError for an app that is not there.
    """
    layout = Layout(os.path.abspath(folder))
    with plain_errors(f"{folder} cannot become a mirror"):
        _check_folder(layout)
        remote = _known(source, host)
        url = remote.url if remote else address_of(source)
        with closing(open_transport(url)) as transport, _locked(layout, host):
            if remote is not None:
                # what this store knows of it: nothing older is mirrored
                with asking(host, (Connection(remote, transport),), report):
                    pass
            root = _root(layout, remote, transport, options.root)
            work = _Work(layout, transport, root, report)
            try:
                return work.run(remote, patterns, options)
            finally:
                remove_tree(work.memory)


class _Recorder:
    """A transport that keeps every file that was read whole."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.address = transport.address
        self.received = 0
        self.files: dict[str, bytes] = {}

    def read(self, name: str, limit: int) -> bytes:
        data = self._transport.read(name, limit)
        self.received = self._transport.received
        self.files[name] = data
        return data

    def pieces(self, name: str, start: int, end: int) -> Iterator[bytes]:
        return self._transport.pieces(name, start, end)

    def close(self) -> None:
        self._transport.close()


class _Work:
    def __init__(self, layout: Layout, transport: Transport, root: bytes, report: Report) -> None:
        self._layout = layout
        self._transport = transport
        self._recorder = _Recorder(transport)
        self._root = root
        self._report = report
        self.memory = f"{layout.own}/memory"

    def run(
        self, remote: Remote | None, patterns: Sequence[RefPattern], options: MirrorOptions
    ) -> Mirrored:
        """Ask, choose, fetch, and only then have the folder say that it is all there."""
        from holdall.delivery.remote.trusted import Trusted

        remove_tree(self.memory)
        name = remote.name if remote else self._transport.address
        fingerprint = sha256(self._root).hexdigest()
        new = Remote(name, self._transport.address, fingerprint, self.memory)
        os.makedirs(new.metadata)
        trusted = Trusted(new, self._recorder, self._root)
        trusted.refresh()
        if remote is not None:
            _check_as_new(remote, new)
        trusted.catalogue()
        if not patterns:
            patterns = [RefPattern(entry.id, None, None) for entry in entries_of(new) or ()]
        chosen = _chosen(trusted, name, patterns, options)
        contents = list(
            dict.fromkeys(
                item for ref, offer in chosen.items() for item in _contents(offer, ref, options)
            )
        )
        missing = [item for item in contents if not self._has(item)]
        fetched = sum(item.size for item in missing)
        if not options.dry_run:
            fetched = self._fetch(missing)
            self._keep()
        return Mirrored(
            path=self._layout.root,
            root=fingerprint,
            refs=tuple(map(str, sorted(chosen))),
            size=sum(item.size for item in contents),
            fetched=fetched,
            expires=datetime.fromtimestamp(trusted.expires, UTC).isoformat(),
        )

    # ------------------------------------------------------------------ content

    def _has(self, item: Content) -> bool:
        try:
            return os.stat(self._layout.content(item.sha256)).st_size == item.size
        except FileNotFoundError:
            return False

    def _fetch(self, missing: list[Content]) -> int:
        """Bring content files; returns how many bytes came."""
        meter = Meter("Copying", sum(item.size for item in missing), self._report)
        fetched = 0
        for item in missing:
            fetched += self._fetch_one(item, meter)
        return fetched

    def _fetch_one(self, item: Content, meter: Meter) -> int:
        """Fetch one file, going on with what an earlier call had of it."""
        os.makedirs(self._layout.incoming, exist_ok=True)
        part = f"{self._layout.incoming}/{item.sha256}.part"
        fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            digest, had = sha256(), 0
            while had < item.size and (data := os.read(fd, 2**20)):
                digest.update(data)
                had += len(data)
                meter.add(len(data))
            for piece in (
                self._transport.pieces(item.name, had, item.size) if had < item.size else ()
            ):
                write_all(fd, piece)
                digest.update(piece)
                meter.add(len(piece))
            os.fsync(fd)
        finally:
            os.close(fd)
        if digest.hexdigest() != item.sha256 or os.stat(part).st_size != item.size:
            os.unlink(part)
            raise CorruptError(f"{item.name} is not what its name says; try again.")
        path = self._layout.content(item.sha256)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        os.chmod(part, 0o644)
        os.rename(part, path)
        sync_folder(os.path.dirname(path))
        return item.size - had

    # ------------------------------------------------------------------ what vouches for it

    def _keep(self) -> None:
        """Put out the metadata that were read, the timestamp last."""
        root = self._layout.root
        files = {}
        for name, data in self._recorder.files.items():
            if os.path.normpath(name) != name or name.split("/")[0] not in _FOLDERS:
                continue
            if name != _TIMESTAMP:
                files[f"{root}/{name}"] = data
        files[self._layout.role("root", _version(self._root))] = self._root
        files[self._layout.trusted_root] = self._root
        write_atomic(self._layout.mirrored, f"{self._transport.address}\n".encode())
        put_out(
            self._layout,
            Edition(
                files=files,
                timestamp=self._recorder.files[_TIMESTAMP],
                root=None,
                roles=(),
                apps=(),
                offers=(),
                pending=(),
                notes=(),
            ),
        )
        remove_tree(self._layout.incoming)


def _locked(layout: Layout, host: Host) -> AbstractContextManager[None]:
    return holding(layout, wait=host.wait, new=True)


def _check_folder(layout: Layout) -> None:
    """Raise UsageError for a repository that is the operator's own, or for anything else."""
    if os.path.exists(layout.settings) and read_settings(layout).keys:
        raise UsageError(f"{layout.root} is a repository of your own; mirror into another folder.")
    if not os.path.exists(layout.own) and os.path.isdir(layout.root) and os.listdir(layout.root):
        raise UsageError(f"{layout.root} is not empty, and no mirror; choose another folder.")


def _known(source: str, host: Host) -> Remote | None:
    """The remote of that name, if it is one."""
    if "/" in source or os.path.isdir(source):
        return None
    with suppress(UsageError):
        return records.find(host.layout, source)
    return None


def _root(layout: Layout, remote: Remote | None, transport: Transport, given: str) -> bytes:
    """The first root to trust: the remote's, the one given, or the one the mirror has."""
    from holdall.delivery.remote.trusted import fetch_root

    held = b""
    with suppress(FileNotFoundError):
        held = read_regular(layout.trusted_root, limit=_MAX_ROOT)
    if remote is not None:
        root = read_regular(remote.first_root, limit=_MAX_ROOT)
        if sha256(root).hexdigest() != remote.root:
            raise CorruptError(f"{remote.first_root} was changed; add the remote again.")
    elif given and os.path.isfile(given):
        root = read_regular(given, limit=_MAX_ROOT)
    elif given:
        root = fetch_root(transport, given.lower())
    elif held:
        root = held
    else:
        raise UsageError(
            "Say which root of the repository you trust: --trust-root FINGERPRINT or FILE."
        )
    if held and held != root:
        raise UsageError(f"{layout.root} mirrors another repository; choose another folder.")
    return root


def _check_as_new(known: Remote, new: Remote) -> None:
    """Raise UntrustedError where what was read is older than what the store knows."""
    for role in ("timestamp", "snapshot"):
        old, read = (
            _version(read_regular(f"{remote.metadata}/{role}.json", limit=2**24))
            for remote in (known, new)
        )
        if read < old:
            raise UntrustedError(
                f"{known.name} says something older than it said before; nothing of it is used."
            )


def _version(data: bytes) -> int:
    import json

    return int(json.loads(data)["signed"]["version"])


def _chosen(
    trusted: "Trusted", name: str, patterns: Sequence[RefPattern], options: MirrorOptions
) -> dict[Ref, Offer]:
    """The refs that patterns mean, and those of the runtimes they run on, with their offers."""
    chosen: dict[Ref, Offer] = {}
    offers: dict[str, Offer | None] = {}
    queue = [(pattern, True) for pattern in patterns]
    while queue:
        pattern, demanded = queue.pop()
        if pattern.id not in offers:
            offers[pattern.id] = trusted.offer(pattern.id)
        offer = offers[pattern.id]
        refs = [ref for ref in offer.refs if pattern.matches(ref)] if offer else []
        if demanded and not refs:
            raise NotFoundError(f"{name} has no {pattern}.")
        for ref in refs:
            if offer is None or ref in chosen:
                continue
            chosen[ref] = offer
            queue += [
                (RefPattern.parse(release.runtime), False)
                for release in _wanted(offer, ref, options)
                if release.runtime != HOST
            ]
    return chosen


def _wanted(offer: Offer, ref: Ref, options: MirrorOptions) -> tuple[OfferedRelease, ...]:
    releases = offer.releases_of(ref)
    return releases if options.all_versions else releases[:1]


def _contents(offer: Offer, ref: Ref, options: MirrorOptions) -> Iterator[Content]:
    wanted = _wanted(offer, ref, options)
    names = {release.release for release in wanted}
    yield from (release.bundle for release in wanted)
    yield from (item for item in offer.increments_of(ref) if item.release in names)
