"""Signing keys and whom a store trusts.

A user's signing key lies in the user's configuration, or under ``keys/`` of a store given by its
root. Nothing but `generate`, a first use and `trust` adds to a keyring.
"""

import os
from typing import NamedTuple

from holdall.errors import NotFoundError, UsageError
from holdall.journeys.host import Host
from holdall.store.catalog import writing
from holdall.store.trust_state import read_keyring, write_keyring
from holdall.system.files import plain_errors, write_atomic
from holdall.trust import keys
from holdall.trust.keyring import EVERYTHING
from holdall.trust.keys import PublicKey, SigningKey


class KnownKey(NamedTuple):
    """A key a store knows: what it may sign, whether it is revoked or the user's own."""

    fingerprint: str
    name: str
    patterns: tuple[str, ...]
    revoked: bool
    own: bool


def key_path(host: Host) -> str:
    """Where the signing key of this user (or of this store, when given by its root) lies."""
    if host.data is not None:
        return f"{host.layout.root}/keys/signing.pem"
    base = os.environ.get("XDG_CONFIG_HOME", "")
    config = base if base.startswith("/") else os.path.expanduser("~/.config")
    return f"{config}/holdall/keys/signing.pem"


def generate(host: Host) -> tuple[PublicKey, bool]:
    """Make the user's signing key, once, and trust it in the store for everything.

    Returns it and whether it is new.
    """
    path = key_path(host)
    with plain_errors("The signing key cannot be made"), writing(host.layout, wait=host.wait):
        new = not os.path.exists(path)
        if new:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            write_atomic(path, keys.generate().pem, mode=0o600, durable=True)
        key = signing_key(host)
        ring = read_keyring(host.layout)
        write_keyring(host.layout, ring.with_grant(key.public, (EVERYTHING,), name="own key"))
        return key.public, new


def signing_key(host: Host, path: str | None = None) -> SigningKey:
    """The key to sign with: that in the file `path`, else the user's own; raises NotFoundError."""
    try:
        with open(path or key_path(host), "rb") as file:
            return keys.parse_private(file.read())
    except FileNotFoundError as error:
        if path:
            raise NotFoundError(f"There is no key {path}.") from error
        raise NotFoundError(
            "There is no signing key yet; `holdall key generate` makes one."
        ) from error


def known(host: Host) -> list[KnownKey]:
    """Every key of the store's keyring, revoked ones last."""
    own = _own_fingerprint(host)
    ring = read_keyring(host.layout)
    listed = [
        KnownKey(
            grant.public.fingerprint,
            grant.name,
            grant.patterns,
            revoked=False,
            own=grant.public.fingerprint == own,
        )
        for grant in ring.grants
    ]
    return listed + [
        KnownKey(fingerprint, "", (), revoked=True, own=fingerprint == own)
        for fingerprint in sorted(ring.revoked)
    ]


def public_key(host: Host, fingerprint: str | None = None) -> PublicKey:
    """A key of the keyring by the beginning of its fingerprint, or the user's own."""
    if fingerprint is None:
        return signing_key(host).public
    return read_keyring(host.layout).find(fingerprint).public


def trust(host: Host, public: PublicKey, patterns: tuple[str, ...], *, name: str = "") -> KnownKey:
    """Let a key sign for apps whose ids fit `patterns`, from now on."""
    if not patterns:
        raise UsageError(
            "Say for which apps the key is trusted: --app ID, --app 'org.example.*', or --app '*'."
        )
    with plain_errors("The keyring cannot be changed"), writing(host.layout, wait=host.wait):
        ring = read_keyring(host.layout).with_grant(public, patterns, name)
        write_keyring(host.layout, ring)
    grant = ring.find(public.fingerprint)
    return KnownKey(
        public.fingerprint,
        grant.name,
        grant.patterns,
        revoked=False,
        own=public.fingerprint == _own_fingerprint(host),
    )


def revoke(host: Host, fingerprint: str) -> str:
    """Trust a key never again; returns its whole fingerprint. What it signed stays installed."""
    with plain_errors("The keyring cannot be changed"), writing(host.layout, wait=host.wait):
        ring = read_keyring(host.layout)
        whole = (
            fingerprint.lower()
            if _is_whole(fingerprint)
            else ring.find(fingerprint).public.fingerprint
        )
        write_keyring(host.layout, ring.without(whole))
        return whole


def read_public(path: str) -> PublicKey:
    """The public key in a file; raises NotFoundError or CorruptError."""
    try:
        with open(path, "rb") as file:
            return keys.parse_public(file.read(2**16))
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no key file {path}.") from error


def _own_fingerprint(host: Host) -> str:
    try:
        return signing_key(host).public.fingerprint
    except (NotFoundError, UsageError):
        return ""


def _is_whole(fingerprint: str) -> bool:
    return len(fingerprint) == 64 and all(
        digit in "0123456789abcdefABCDEF" for digit in fingerprint
    )
