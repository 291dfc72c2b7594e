"""``repo init`` and ``repo publish``: making a repository, and putting out what waits in it."""

import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from holdall.errors import NotFoundError, UsageError
from holdall.journeys.host import Host
from holdall.journeys.keys import key_path, signing_key
from holdall.publish.repository import founding
from holdall.publish.repository.bins import MAX_BITS
from holdall.publish.repository.edition import Edition, put_files, put_out
from holdall.publish.repository.keys import Keys, keep, read_keys
from holdall.publish.repository.layout import Layout, holding
from holdall.publish.repository.pending import Pending
from holdall.publish.repository.publication import Publication
from holdall.publish.repository.published import Published
from holdall.publish.repository.publishers import sign_as
from holdall.publish.repository.settings import (
    Settings,
    parse_expiry,
    read_settings,
    write_settings,
)
from holdall.system.files import plain_errors, write_atomic
from holdall.trust import keys as trust_keys


class Founded(NamedTuple):
    """A new repository: its folder, what users are told of its root, and where its keys are."""

    path: str
    fingerprint: str
    keys: str


class PublishOptions(NamedTuple):
    """`keys` and `root_keys` are folders besides those the repository knows.

    `role` is a publisher's, whose part is signed, and nothing else; `expiry` is ROLE=DAYS.
    """

    keys: tuple[str, ...] = ()
    root_keys: tuple[str, ...] = ()
    role: str = ""
    expiry: tuple[str, ...] = ()
    dry_run: bool = False


AS_KNOWN = PublishOptions()


def init(
    folder: str,
    host: Host,
    *,
    keys: str | None = None,
    bits: int = 1,
    expiry: Sequence[str] = (),
    now: datetime | None = None,
) -> Founded:
    """Make the repository `folder`, and a key for each of its roles in a folder outside of it.

    Raises UsageError where there is one already. Killed, it can be called again.
    """
    layout = Layout(os.path.abspath(folder))
    if os.path.exists(layout.timestamp):
        raise UsageError(f"{folder} is a repository already.")
    if not 1 <= bits <= MAX_BITS:
        raise UsageError(f"There can be 2 to 2^{MAX_BITS} bins: give --bits 1 to {MAX_BITS}.")
    made = {role: trust_keys.generate() for role in founding.ROLES}
    settings = Settings(expiry=parse_expiry(expiry))
    founded = founding.found(layout, settings, made, bits, now or datetime.now(UTC))
    place = os.path.abspath(keys) if keys else _key_folder(host, founded.fingerprint)
    if f"{place}/".startswith(f"{layout.root}/"):
        raise UsageError(f"{place} is in the repository, which everybody can read; keys are not.")
    with plain_errors(f"The repository {folder} cannot be made"):
        for role, key in made.items():
            keep(place, role, key)
        write_settings(layout, msgspec.structs.replace(settings, keys=(place,)))
        put_files(layout, {**founded.files, layout.trusted_root: founded.root})
        write_atomic(layout.timestamp, founded.timestamp, durable=True)
    return Founded(layout.root, founded.fingerprint, place)


def publish(
    folder: str, host: Host, *, options: PublishOptions = AS_KNOWN, now: datetime | None = None
) -> Edition:
    """Sign and put out what waits in the repository `folder`, and renew what expires soon.

    Returns what that was. With a publisher's role, only that is signed. Killed anywhere, clients
    see the state before or the one after, and the next call does the rest. Raises UntrustedError
    when keys it takes are not at hand.
    """
    layout = Layout(os.path.abspath(folder))
    now = now or datetime.now(UTC)
    with holding(layout, wait=host.wait), plain_errors(f"{folder} cannot be published"):
        settings = _settings(layout, options)
        keys = _keys(host, settings, options)
        if options.role:
            return _publish_role(layout, settings, keys, options, now)
        if os.path.exists(layout.mirrored):
            raise UsageError(
                f"{folder} is a mirror, which `repo mirror` brings up to date; a publisher signs"
                " its part of one with --role NAME."
            )
        scan = _scan_is_due(layout, now)
        publication = Publication(Published(layout), settings, keys, now, scan=scan)
        edition = publication.compose()
        if options.dry_run:
            return edition
        put_out(layout, edition)
        _forget(layout, edition)
        if scan:
            _note_renewal(layout, settings)
        return edition


def _publish_role(
    layout: Layout, settings: Settings, keys: Keys, options: PublishOptions, now: datetime
) -> Edition:
    edition = sign_as(Published(layout, role=options.role), settings, keys, options.role, now)
    if not options.dry_run:
        put_out(layout, edition)
        _forget(layout, edition)
        write_settings(layout, msgspec.structs.replace(settings, role=options.role))
    return edition


def _settings(layout: Layout, options: PublishOptions) -> Settings:
    settings = read_settings(layout)
    if options.expiry:
        publishers = {*Published(layout).publishers, options.role} - {""}
        days = {**settings.expiry, **parse_expiry(options.expiry, publishers)}
        settings = msgspec.structs.replace(settings, expiry=days)
        if not options.dry_run:
            write_settings(layout, settings)
            with suppress(FileNotFoundError):
                os.unlink(layout.renewal)
    return settings


def _keys(host: Host, settings: Settings, options: PublishOptions) -> Keys:
    """The keys at hand; for a publisher's role the user's own, too, unless others are named."""
    named = (*options.keys, *options.root_keys)
    read_keys(named, demanded=True)
    keys = read_keys([*settings.keys, *named])
    if options.role and not options.keys:
        with suppress(NotFoundError):
            return keys.with_key(signing_key(host), key_path(host))
    return keys


def _forget(layout: Layout, edition: Edition) -> None:
    """Let nothing wait that was put out."""
    pending = Pending(layout)
    for app_id in edition.offers:
        pending.drop_offer(app_id)
    for name in edition.pending:
        pending.drop_role(name)


def _scan_is_due(layout: Layout, now: datetime) -> bool:
    """Whether a bin may have to be signed anew; where nothing is noted, it may."""
    try:
        with open(layout.renewal, encoding="utf-8") as file:
            return now >= datetime.fromisoformat(file.read().strip())
    except (FileNotFoundError, ValueError):
        return True


def _note_renewal(layout: Layout, settings: Settings) -> None:
    """Note when the first of the bins will be due."""
    published = Published(layout)
    names = published.bins.get_roles()
    first = min(
        published.at(name, published.version(name)).signed.expires - settings.lifetime(name) / 3
        for name in names
    )
    write_atomic(layout.renewal, f"{first.isoformat()}\n".encode(), whole=True)


def _key_folder(host: Host, fingerprint: str) -> str:
    return f"{os.path.dirname(key_path(host))}/repositories/{fingerprint[:16]}"
