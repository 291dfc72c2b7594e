"""Publishers' own roles: what they sign themselves, and what it takes to be taken in.

A publisher works on a copy of the repository with its own key alone; the repository's operator
puts its files beside the others and publishes.
"""

import re
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from hashlib import file_digest, sha256

from tuf.api.metadata import Metadata, TargetFile, Targets

from holdall.errors import HoldallError, UntrustedError, UsageError
from holdall.model import offer as offers
from holdall.model.offer import ContentFile, Offer, OfferedIncrement
from holdall.publish.repository.edition import Edition, RoleVersion
from holdall.publish.repository.keys import Keys
from holdall.publish.repository.layout import Layout
from holdall.publish.repository.metadata import encode, is_signed, keys_of, sign, signatures
from holdall.publish.repository.pending import Pending
from holdall.publish.repository.published import (
    APPS,
    PREFIX,
    Published,
    answering,
    app_of,
    is_bin,
    publishers_of,
    read_target,
)
from holdall.publish.repository.settings import Settings

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_TAKEN = {"root", "targets", "snapshot", "timestamp", APPS, "bins", PREFIX}


def checked_role(name: str) -> str:
    """`name` when a publisher's role may be called so, else UsageError."""
    if not _NAME.fullmatch(name) or name in _TAKEN or is_bin(name):
        raise UsageError(
            f"{name!r} is no name for a publisher's role: use up to 64 lower-case letters, digits"
            f" and -, none of {', '.join(sorted(_TAKEN))}, and no beginning with {PREFIX}-."
        )
    return name


# ------------------------------------------------------------------ the operator's side


def refusal(published: Published, targets: Targets, name: str, metadata: Metadata[Targets]) -> str:
    """Why what a publisher has signed is not taken in, as the end of a sentence; "" if it is.

    Reads every content file that was not there before.
    """
    if not is_signed(targets, name, metadata):
        have, need = signatures(targets, name, metadata)
        return f"it has {have} of {need} signatures."
    if metadata.signed.delegations is not None:
        return "it delegates to others."
    known = published.version(name)
    old = published.at(name, known).signed.targets if known else {}
    try:
        for target, line in metadata.signed.targets.items():
            if answering(targets, published.bins, target) != name:
                return f"{target} is not its own."
            if line != old.get(target):
                _check_offer(published.layout, target, line, old.get(target))
    except HoldallError as error:
        return str(error)
    return ""


def unready(published: Published, targets: Targets) -> str:
    """Why changed delegations cannot be put out yet, as a sentence; "" when they can.

    Clients ask a publisher's role alone for its apps, so it must be there and have them.
    """
    for name, role in publishers_of(targets).items():
        if published.publishers.get(name) == role and published.version(name):
            continue
        metadata = published.role(name)
        if metadata is None:
            return (
                f"The delegation to {name} waits for what it signs: the publisher runs"
                f" `repo publish --role {name}` on a copy and hands that over."
            )
        if why := refusal(published, targets, name, metadata):
            return f"The delegation to {name} waits: {why}"
        moved = {
            target
            for former, target in stray(published, targets)
            if is_bin(former) and answering(targets, published.bins, target) == name
        }
        if missing := sorted(moved - metadata.signed.targets.keys()):
            return (
                f"The delegation to {name} waits: what it signed lacks {app_of(missing[0])}, which"
                " the repository has."
            )
    return ""


def stray(published: Published, targets: Targets) -> Iterator[tuple[str, str]]:
    """What published roles offer but would not answer for under other delegations: role, target."""
    for role, metadata in published.roles():
        for target in metadata.signed.targets:
            if answering(targets, published.bins, target) != role:
                yield role, target


def _check_offer(layout: Layout, target: str, line: TargetFile, old: TargetFile | None) -> None:
    """Raise CorruptError or NotFoundError unless an offer and all that it names are there."""
    app_id = app_of(target)
    offer = offers.parse(read_target(layout, target, line), app_id)
    before = offers.parse(read_target(layout, target, old), app_id) if old else None
    known = {item.sha256 for item in contents_of(before)} if before else set()
    for item in contents_of(offer):
        if item.sha256 not in known:
            check_content(layout, item)


def contents_of(offer: Offer) -> Iterator[ContentFile | OfferedIncrement]:
    """The content files an offer names."""
    yield from (release.bundle for release in offer.releases)
    yield from offer.increments


def check_content(layout: Layout, item: ContentFile | OfferedIncrement) -> None:
    """Raise UntrustedError unless a content file is there and what its name says."""
    try:
        with open(layout.content(item.sha256), "rb") as file:
            whole = file.seek(0, 2) == item.size
            file.seek(0)
            if not whole or file_digest(file, "sha256").hexdigest() != item.sha256:
                raise UntrustedError(f"{item.name} is not what its name says.")
    except FileNotFoundError as error:
        raise UntrustedError(f"{item.name} is not there.") from error


# ------------------------------------------------------------------ the publisher's side


def sign_as(
    published: Published, settings: Settings, keys: Keys, name: str, now: datetime
) -> Edition:
    """Sign what waits as a publisher's role, for the repository's operator to take in.

    Raises UntrustedError when no key at hand is the role's.
    """
    delegated = checked_role(name) in published.publishers
    keyids = list(keys_of(published.targets.signed, name) if delegated else keys.ids)
    if not keys.ids.intersection(keyids):
        raise UntrustedError(f"None of the keys at hand is one of {name}; use --keys DIR.")
    signing = _Signing(published, settings, name, delegated=delegated)
    signing.take_offers()
    held = published.role(name)
    if signing.lines or held is None or settings.is_due(name, held.signed.expires, now):
        body = deepcopy(held.signed) if held else Targets()
        body.version = published.newest(name) + 1
        body.expires = settings.expires(name, now).astimezone(UTC)
        merged: dict[str, TargetFile | None] = {**body.targets, **signing.lines}
        body.targets = {key: line for key, line in merged.items() if line is not None}
        metadata = Metadata(body)
    elif held.signed.version > published.version(name) and keys.ids - held.signatures.keys():
        metadata = held
    else:
        return signing.edition(None, ())
    sign(metadata, keys, keyids)
    notes = []
    if delegated and not is_signed(published.targets.signed, name, metadata):
        have, need = signatures(published.targets.signed, name, metadata)
        notes.append(
            f"It has {have} of {need} signatures: the others run `repo publish --role {name}` on"
            " the same copy."
        )
    return signing.edition(metadata, tuple(notes))


class _Signing:
    def __init__(
        self, published: Published, settings: Settings, name: str, *, delegated: bool
    ) -> None:
        self._published = published
        self._settings = settings
        self._name = name
        self._delegated = delegated
        self._files: dict[str, bytes] = {}
        self._offers: list[str] = []
        self._notes: list[str] = []
        self.lines: dict[str, TargetFile | None] = {}

    def take_offers(self) -> None:
        """Take the changes that wait for apps this role answers for."""
        pending = Pending(self._published.layout)
        for app_id in pending.app_ids():
            offer = pending.offer(app_id)
            target = offers.target_name(app_id)
            if offer is None:
                continue
            if self._delegated and self._published.answering(target) != self._name:
                self._notes.append(f"{app_id} waits: it does not belong to {self._name}.")
                continue
            self._offers.append(app_id)
            self._change(target, offer)

    def _change(self, target: str, offer: Offer) -> None:
        line = None
        if offer.releases:
            data = offers.encode(offer)
            digest = sha256(data).hexdigest()
            self._files[self._published.layout.target(target, digest)] = data
            line = TargetFile(len(data), {"sha256": digest}, target)
        held = self._published.role(self._name)
        if line != (held.signed.targets.get(target) if held else None):
            self.lines[target] = line

    def edition(self, metadata: Metadata[Targets] | None, notes: tuple[str, ...]) -> Edition:
        """What is put out of it."""
        roles = []
        if metadata is not None:
            body = metadata.signed
            self._files[self._published.layout.role(self._name, body.version)] = encode(metadata)
            roles.append(RoleVersion(self._name, body.version, body.expires.isoformat()))
        return Edition(
            files=self._files,
            timestamp=None,
            root=None,
            roles=tuple(roles),
            apps=tuple(map(app_of, self.lines)),
            offers=tuple(self._offers),
            pending=(),
            notes=(*self._notes, *notes),
        )
