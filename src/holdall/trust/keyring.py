"""The keyring: which keys may sign which app ids.

A value; whoever holds one decides where it is kept.
"""

import fnmatch
import json
from typing import NamedTuple

from holdall.errors import (
    ChangedKeyError,
    CorruptError,
    NotFoundError,
    UnknownKeyError,
    UntrustedError,
    UsageError,
)
from holdall.model.ref import checked_id
from holdall.trust.envelope import Signed
from holdall.trust.keys import PublicKey, public_from_dict

FORMAT = 1
EVERYTHING = "*"


class Grant(NamedTuple):
    """One key and the app ids it may sign: exact ids, ``org.example.*``, or ``*``."""

    public: PublicKey
    patterns: tuple[str, ...]
    name: str = ""

    def covers(self, app_id: str) -> bool:
        """Whether the key may sign for `app_id`."""
        return any(fnmatch.fnmatchcase(app_id, pattern) for pattern in self.patterns)


class Keyring(NamedTuple):
    """Grants by fingerprint, and the fingerprints of keys that are trusted never again."""

    grants: tuple[Grant, ...] = ()
    revoked: frozenset[str] = frozenset()

    def find(self, fingerprint: str) -> Grant:
        """The grant whose fingerprint begins so.

        Raises NotFoundError or UsageError when not exactly one does.
        """
        found = [grant for grant in self.grants if grant.public.fingerprint.startswith(fingerprint)]
        if not found or not fingerprint:
            raise NotFoundError(
                f"This store knows no key {fingerprint!r}; `holdall key list` shows those it knows."
            )
        if len(found) > 1:
            raise UsageError(
                f"{fingerprint!r} begins the fingerprints of {len(found)} keys; write more of it."
            )
        return found[0]

    def with_grant(self, public: PublicKey, patterns: tuple[str, ...], name: str = "") -> "Keyring":
        """The keyring that also lets `public` sign for `patterns`.

        Raises UntrustedError for a revoked key.
        """
        if public.fingerprint in self.revoked:
            raise UntrustedError(f"The key {public.fingerprint[:16]}… was revoked in this store.")
        for pattern in patterns:
            _check_pattern(pattern)
        kept = [grant for grant in self.grants if grant.public.fingerprint != public.fingerprint]
        old = [grant for grant in self.grants if grant.public.fingerprint == public.fingerprint]
        before = old[0].patterns if old else ()
        named = name or (old[0].name if old else "")
        merged = Grant(public, tuple(dict.fromkeys((*before, *patterns))), named)
        return self._replace(grants=(*kept, merged))

    def without(self, fingerprint: str) -> "Keyring":
        """The keyring in which a key is revoked for good."""
        return Keyring(
            tuple(grant for grant in self.grants if grant.public.fingerprint != fingerprint),
            self.revoked | {fingerprint},
        )

    def judge(self, signed: Signed, *, publisher: str = "") -> PublicKey:
        """The key that answers for a signed release.

        `publisher` is the fingerprint that signed the version accepted before, if any. Raises
        UntrustedError for unsigned releases and revoked keys, ChangedKeyError when the app's
        publisher is known and did not sign, UnknownKeyError when nobody is known for this app yet.
        """
        app_id = signed.release.manifest.id
        if not signed.signers:
            raise UntrustedError(f"{app_id} {signed.release.manifest.version} is not signed.")
        for signer in signed.signers:
            if signer.fingerprint in self.revoked:
                raise UntrustedError(
                    f"{app_id} is signed by key {signer.fingerprint[:16]}…, which this store has "
                    "revoked."
                )
        known = {grant.public.fingerprint: grant for grant in self.grants if grant.covers(app_id)}
        for signer in signed.signers:
            if signer.fingerprint in known:
                return signer
        fingerprint = signed.signers[0].fingerprint
        pinned = publisher or any(app_id in grant.patterns for grant in known.values())
        # a publisher whose grant was lost with the keyring is asked about again
        if pinned and publisher not in {signer.fingerprint for signer in signed.signers}:
            raise ChangedKeyError(
                f"{app_id} is signed by key {fingerprint}, not by the publisher's key this store "
                "knows; if the publisher"
                f" announced the change, run `holdall key trust {fingerprint[:16]} --from FILE "
                f"--app {app_id}`."
            )
        raise UnknownKeyError(
            f"{app_id} is signed by key {fingerprint}, which this store does not trust; compare it "
            "with what the publisher"
            f" says and repeat with --trust-key {fingerprint}."
        )


def encode(keyring: Keyring) -> bytes:
    """The keyring as JSON, for a file."""
    grants = [
        {"public": grant.public.as_dict(), "patterns": list(grant.patterns), "name": grant.name}
        for grant in keyring.grants
    ]
    table = {"format": FORMAT, "grants": grants, "revoked": sorted(keyring.revoked)}
    return json.dumps(table, indent=1, sort_keys=True).encode() + b"\n"


def parse(data: bytes) -> Keyring:
    """Read a keyring's JSON.

    Raises CorruptError, since a keyring that cannot be read trusts nobody.
    """
    try:
        table = json.loads(data)
        if table["format"] != FORMAT:
            raise CorruptError(
                f"The keyring has format {table['format']}; this holdall reads format {FORMAT}."
            )
        grants = tuple(
            Grant(
                public_from_dict(grant["public"]),
                tuple(map(str, grant["patterns"])),
                str(grant["name"]),
            )
            for grant in table["grants"]
        )
        return Keyring(grants, frozenset(map(str, table["revoked"])))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptError(
            "The store's keyring cannot be read; restore it from a copy or remove it."
        ) from error


def _check_pattern(pattern: str) -> None:
    if pattern == EVERYTHING:
        return
    checked_id(pattern.removesuffix(".*") + ".any.app" if pattern.endswith(".*") else pattern)
