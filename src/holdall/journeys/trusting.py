"""Whether a release may enter a store: signature, publisher, lifetime, order."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from holdall.errors import CorruptError, UnknownKeyError, UntrustedError
from holdall.journeys.host import Event, Report
from holdall.store.catalog import Catalog
from holdall.store.layout import Layout
from holdall.store.trust_state import publisher_of, read_floor, read_keyring, write_keyring
from holdall.trust.envelope import Signed, SignedStatement
from holdall.trust.freshness import check_lifetime, check_order
from holdall.trust.keyring import Keyring

Ask = Callable[[str, str], bool]
Consent = Callable[[str, tuple[str, ...]], bool]


def refuse(_app: str, _fingerprint: str) -> bool:
    """The answer where nobody can be asked."""
    return False


def withhold(_version: str, _words: tuple[str, ...]) -> bool:
    """The same, to more permissions."""
    return False


class TrustChoice(NamedTuple):
    """What the user decided beforehand.

    `trust_key` is a fingerprint; `ask(app id, fingerprint)` decides on first use. `introduced` are
    fingerprints that a remote the user trusts has given for the app: taken without asking, on
    first use. `consent(id and version, words)` decides on more permissions, which `words` tell.
    """

    trust_key: str | None = None
    insecure_unsigned: bool = False
    allow_downgrade: bool = False
    ask: Ask = refuse
    now: datetime | None = None
    introduced: frozenset[str] = frozenset()
    yes_permissions: bool = False
    consent: Consent = withhold


NOTHING_DECIDED = TrustChoice()


class Accepted(NamedTuple):
    """The fingerprint that answers for a release, and the keyring to keep, if it is new.

    The fingerprint is "" for an unsigned one that is let in.
    """

    publisher: str
    keyring: Keyring | None = None

    def keep(self, layout: Layout) -> None:
        """Keep a first use of a key, once what it signed has arrived whole.

        For the holder of the store's lock.
        """
        if self.keyring is not None:
            write_keyring(layout, self.keyring)


def accept(signed: Signed, layout: Layout, choice: TrustChoice, report: Report) -> Accepted:
    """Let a release in; on first use of a key it will enter the keyring for this app alone.

    Changes nothing itself. Raises UntrustedError and its kinds.
    """
    release = signed.release
    check_lifetime(release, choice.now or datetime.now(UTC))
    if not choice.allow_downgrade:
        floor = read_floor(layout, release.ref)
        installed = bool(Catalog(layout).deployments(release.ref))
        check_order(release, floor.order if floor else None, installed=installed)
    if not signed.signers and choice.insecure_unsigned:
        report(
            Event(
                f"WARNING: {release.manifest.id} is not signed; nobody answers for what it does.",
                loud=True,
            )
        )
        return Accepted("")
    keyring = read_keyring(layout)
    try:
        return Accepted(
            keyring.judge(signed, publisher=publisher_of(layout, release.manifest.id)).fingerprint
        )
    except UnknownKeyError:
        introduced = [key for key in signed.signers if key.fingerprint in choice.introduced]
        key = (*introduced, *signed.signers)[0]
        if choice.trust_key is None and not (
            introduced or choice.ask(release.manifest.id, key.fingerprint)
        ):
            raise
        if choice.trust_key is not None and not _means(choice.trust_key, key.fingerprint):
            raise UntrustedError(
                f"{release.manifest.id} is signed by key {key.fingerprint}, not by the key "
                f"{choice.trust_key} you trust."
            ) from None
        if introduced and choice.trust_key is None:
            name = release.manifest.id
            report(Event(f"{name} is signed by key {key.fingerprint}, as the remote says it is."))
        return Accepted(key.fingerprint, keyring.with_grant(key, (release.manifest.id,)))


def vouched(signed: Signed, digest: str, said: SignedStatement) -> Signed:
    """A release as those answer for it who also answer for an increment that makes it.

    Signatures of others are left out: anybody can add one to somebody else's release. Raises
    CorruptError when the statement is of another release, and UntrustedError when nobody who signed
    the release signed the statement.
    """
    if said.statement.release != digest:
        raise CorruptError("The increment's statement is not about the release it carries.")
    both = tuple(key for key in signed.signers if key in said.signers)
    if (signed.signers or said.signers) and not both:
        raise UntrustedError(
            f"The increment to {signed.release.manifest.id} {signed.release.manifest.version} is "
            "not signed by a key that signed the release."
        )
    return signed._replace(signers=both)


def accept_beside(
    signed: Signed, target: Accepted, layout: Layout, choice: TrustChoice, *, on_the_way: bool
) -> None:
    """Let a release be used on the way to another one, which was let in; it may be older.

    One that is made `on_the_way` must be within its lifetime; one whose contents are only read may
    have expired. Raises UntrustedError and its kinds.
    """
    if on_the_way:
        check_lifetime(signed.release, choice.now or datetime.now(UTC))
    if signed.signers or not choice.insecure_unsigned:
        _check_keys(signed, target, layout)


def accept_statement(signed: Signed, target: Accepted, layout: Layout) -> None:
    """Let an increment in whose release, let in before, is `vouched`; raises UntrustedError."""
    if signed.signers:
        _check_keys(signed, target, layout)


def _check_keys(signed: Signed, target: Accepted, layout: Layout) -> None:
    """What was decided about the target's publisher holds for what else is signed by it."""
    keyring = target.keyring or read_keyring(layout)
    publisher = target.publisher or publisher_of(layout, signed.release.manifest.id)
    keyring.judge(signed, publisher=publisher)


def _means(written: str, fingerprint: str) -> bool:
    return len(written) >= 16 and fingerprint.startswith(written.lower())
