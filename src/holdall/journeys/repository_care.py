"""``repo list|show|gc``: what is in a repository, and what it has no use for any more."""

import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import NamedTuple

from holdall.errors import NotFoundError, UsageError
from holdall.model.offer import Offer, OfferedIncrement, OfferedRelease, target_name
from holdall.model.ref import Ref, RefPattern
from holdall.publish.repository import offers as changes
from holdall.publish.repository.edition import RoleVersion
from holdall.publish.repository.layout import Layout, check_is_one, holding
from holdall.publish.repository.pending import Pending
from holdall.publish.repository.published import APPS, Published, is_bin
from holdall.publish.repository.rubbish import Rubbish, rubbish
from holdall.publish.repository.settings import read_settings
from holdall.system.files import plain_errors, read_regular, remove_tree

GRACE = 24.0
_LIMIT = 2**20


class Listed(NamedTuple):
    """A ref in a repository; `waiting` says what the next publication does: "", new, changed, gone.

    `download` is the length of the newest release's full bundle.
    """

    ref: str
    version: str
    size: int
    download: int
    releases: int
    increments: int
    waiting: str


class Shown(NamedTuple):
    """A repository: its roles, how many bins and apps, and the apps whose change waits.

    `bins_expire` is when the first of the bins does.
    """

    path: str
    fingerprint: str
    keys: tuple[str, ...]
    roles: tuple[RoleVersion, ...]
    bins: int
    bins_expire: str
    apps: int
    waiting: tuple[str, ...]


class Detail(NamedTuple):
    """A ref with all that is offered of it, as it will be."""

    ref: str
    role: str
    releases: tuple[OfferedRelease, ...]
    increments: tuple[OfferedIncrement, ...]


class Collected(NamedTuple):
    """What was removed, or would be; `apps` lose releases with the next publication."""

    files: tuple[Rubbish, ...]
    apps: tuple[str, ...]

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(item.size for item in self.files)


def list_apps(folder: str, patterns: Sequence[RefPattern] = ()) -> list[Listed]:
    """The refs in a repository, or those patterns name, as the next publication leaves them."""
    published, pending = _open(folder)
    rows = []
    for app_id in _ids(published, pending, patterns):
        was, will = published.offer(app_id), pending.offer(app_id)
        before, after = _refs(was), _refs(will or was)
        for ref in sorted(before | after):
            if patterns and not any(pattern.matches(ref) for pattern in patterns):
                continue
            offer = will or was if ref in after else was
            if offer is not None:
                rows.append(_row(offer, ref, _state(ref, was, will)))
    return rows


def details(folder: str, pattern: RefPattern) -> list[Detail]:
    """All that is offered of the refs a pattern names; raises NotFoundError for none."""
    published, pending = _open(folder)
    offer = pending.offer(pattern.id) or published.offer(pattern.id)
    found = [ref for ref in _refs(offer) if pattern.matches(ref)]
    if offer is None or not found:
        raise NotFoundError(f"{folder} has no {pattern}.")
    role = published.answering(target_name(pattern.id))
    return [
        Detail(str(ref), role, offer.releases_of(ref), offer.increments_of(ref))
        for ref in sorted(found)
    ]


def show(folder: str) -> Shown:
    """A repository as a whole."""
    published, pending = _open(folder)
    layout = published.layout
    bins = [metadata.signed for name, metadata in published.roles() if is_bin(name)]
    roles = [
        RoleVersion(name, body.version, body.expires.isoformat())
        for name, body in (
            ("root", published.root.signed),
            ("targets", published.targets.signed),
            *((name, metadata.signed) for name, metadata in published.roles() if not is_bin(name)),
            (APPS, published.apps.signed),
            ("snapshot", published.snapshot.signed),
            ("timestamp", published.timestamp.signed),
        )
    ]
    return Shown(
        path=layout.root,
        fingerprint=sha256(read_regular(layout.trusted_root, limit=_LIMIT)).hexdigest(),
        keys=read_settings(layout).keys,
        roles=tuple(roles),
        bins=published.bins.number_of_bins,
        bins_expire=min(body.expires for body in bins).isoformat(),
        apps=len(published.app_ids()),
        waiting=tuple(pending.app_ids()),
    )


def collect(
    folder: str,
    *,
    keep: int | None = None,
    grace: float = GRACE,
    dry_run: bool = False,
    wait: float = 0.0,
    now: datetime | None = None,
) -> Collected:
    """Remove what nothing has named for `grace` hours: content, offers, segments, old metadata.

    With `keep`, have the next publication drop all but so many releases of each ref. Every version
    of the root stays: clients walk through them.
    """
    if (keep is not None and keep < 1) or grace < 0:
        raise UsageError("Keep at least one release of each app, for no less than 0 hours.")
    layout = Layout(os.path.abspath(folder))
    with holding(layout, wait=wait), plain_errors(f"{folder} cannot be cleaned"):
        role = read_settings(layout).role
        published = Published(layout, role=role)
        dropped = _drop(published, keep, role, dry_run=dry_run) if keep else []
        found = rubbish(published, now or datetime.now(UTC), timedelta(hours=grace), role=role)
        if not dry_run:
            for item in found:
                with suppress(FileNotFoundError):
                    os.unlink(item.path)
                with suppress(OSError):
                    if "/content/" in item.path:
                        os.rmdir(os.path.dirname(item.path))
            remove_tree(layout.incoming)
            remove_tree(layout.making)
        return Collected(tuple(found), tuple(dropped))


def _drop(published: Published, keep: int, role: str, *, dry_run: bool) -> list[str]:
    """Have old releases leave the offers of apps that are ours to publish."""
    pending = Pending(published.layout)
    dropped = []
    for app_id in _ids(published, pending, ()):
        answering = published.answering(target_name(app_id))
        if answering != role if role else not is_bin(answering):
            continue
        offer = pending.offer(app_id) or published.offer(app_id)
        if offer is None:
            continue
        less = changes.with_newest(offer, keep)
        if less != offer:
            dropped.append(app_id)
            if not dry_run:
                pending.put_offer(less)
    return dropped


def _open(folder: str) -> tuple[Published, Pending]:
    layout = Layout(os.path.abspath(folder))
    check_is_one(layout)
    return Published(layout, role=read_settings(layout).role), Pending(layout)


def _ids(published: Published, pending: Pending, patterns: Sequence[RefPattern]) -> list[str]:
    if patterns:
        return sorted({pattern.id for pattern in patterns})
    return sorted({*published.app_ids(), *pending.app_ids()})


def _refs(offer: Offer | None) -> set[Ref]:
    return set(offer.refs) if offer else set()


def _row(offer: Offer, ref: Ref, waiting: str) -> Listed:
    releases = offer.releases_of(ref)
    newest = releases[0]
    return Listed(
        ref=str(ref),
        version=newest.version,
        size=newest.size,
        download=newest.bundle.size,
        releases=len(releases),
        increments=len(offer.increments_of(ref)),
        waiting=waiting,
    )


def _state(ref: Ref, was: Offer | None, will: Offer | None) -> str:
    if will is None:
        return ""
    if ref not in _refs(will):
        return "gone"
    if was is None or ref not in _refs(was):
        return "new"
    same = (was.releases_of(ref), was.increments_of(ref)) == (
        will.releases_of(ref),
        will.increments_of(ref),
    )
    return "" if same else "changed"
