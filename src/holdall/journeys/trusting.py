"""Whether a release may enter a store: signature, publisher, lifetime, order."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from holdall.errors import UnknownKeyError, UntrustedError
from holdall.journeys.host import Event, Report
from holdall.store.layout import Layout
from holdall.store.trust_state import publisher_of, read_floor, read_keyring, write_keyring
from holdall.trust.envelope import Signed
from holdall.trust.freshness import check_lifetime, check_order
from holdall.trust.keyring import Keyring

Ask = Callable[[str, str], bool]


def refuse(_app: str, _fingerprint: str) -> bool:
    """The answer where nobody can be asked."""
    return False


class TrustChoice(NamedTuple):
    """What the user decided beforehand.

    `trust_key` is a fingerprint; `ask(app id, fingerprint)` decides on first use.
    """

    trust_key: str | None = None
    insecure_unsigned: bool = False
    allow_downgrade: bool = False
    ask: Ask = refuse
    now: datetime | None = None


NOTHING_DECIDED = TrustChoice()


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
        check_order(release, floor.order if floor else None)
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
        key = signed.signers[0]
        if choice.trust_key is None and not choice.ask(release.manifest.id, key.fingerprint):
            raise
        if choice.trust_key is not None and not _means(choice.trust_key, key.fingerprint):
            raise UntrustedError(
                f"{release.manifest.id} is signed by key {key.fingerprint}, not by the key "
                f"{choice.trust_key} you trust."
            ) from None
        return Accepted(key.fingerprint, keyring.with_grant(key, (release.manifest.id,)))


def _means(written: str, fingerprint: str) -> bool:
    return len(written) >= 16 and fingerprint.startswith(written.lower())
