"""DSSE envelopes over a release, or over what is said of an increment.

Reference: https://github.com/secure-systems-lab/dsse, protocol and envelope, version 1.

Besides the standard fields an envelope carries the signers' public keys, unsigned, so that a person
can be asked about a key that is not known yet. Reference: docs/reference/formats/release.md.
"""

import base64
import json
from typing import Any, NamedTuple

from holdall.errors import CorruptError
from holdall.model import release as releases
from holdall.model import statement as statements
from holdall.model.release import PAYLOAD_TYPE, Release
from holdall.model.statement import Statement
from holdall.trust.keys import PublicKey, SigningKey, public_from_dict

MAX_BYTES = 4 * 2**20
MAX_SIGNATURES = 16
_FIELDS = {"payload", "payloadType", "signatures", "keys"}


class Signed(NamedTuple):
    """A release, its exact bytes, and the keys whose signatures over them are right.

    Says nothing of trust.
    """

    release: Release
    payload: bytes
    signers: tuple[PublicKey, ...]


class SignedStatement(NamedTuple):
    """What is said of an increment, and the keys whose signatures over it are right."""

    statement: Statement
    signers: tuple[PublicKey, ...]


def sign(payload: bytes, keys: tuple[SigningKey, ...], *, kind: str = PAYLOAD_TYPE) -> bytes:
    """The envelope's bytes over a payload of one kind; with no key, an unsigned one."""
    signed = pre_authentication(kind, payload)
    table = {
        "payload": _encode(payload),
        "payloadType": kind,
        "signatures": [
            {"keyid": key.public.fingerprint, "sig": _encode(key.sign(signed))} for key in keys
        ],
        "keys": [key.public.as_dict() for key in keys],
    }
    return json.dumps(table, sort_keys=True, separators=(",", ":")).encode()


def open_envelope(data: bytes) -> Signed:
    """Check every signature in an envelope and read its release.

    Raises CorruptError at the first thing wrong.
    """
    payload, signers = _opened(data, PAYLOAD_TYPE, "release")
    return Signed(releases.parse(payload), payload, signers)


def open_statement(data: bytes) -> SignedStatement:
    """The same for an increment's statement."""
    payload, signers = _opened(data, statements.PAYLOAD_TYPE, "increment's statement")
    return SignedStatement(statements.parse(payload), signers)


def _opened(data: bytes, kind: str, what: str) -> tuple[bytes, tuple[PublicKey, ...]]:
    if len(data) > MAX_BYTES:
        raise CorruptError(
            f"The envelope is {len(data)} bytes long; more than {MAX_BYTES} is refused."
        )
    try:
        table = json.loads(data, object_pairs_hook=_no_duplicates)
        if not isinstance(table, dict) or set(table) != _FIELDS:
            raise CorruptError(
                "The envelope has other fields than payload, payloadType, signatures and keys."
            )
        payload = _decode(table["payload"])
        signatures = [(str(item["keyid"]), _decode(item["sig"])) for item in table["signatures"]]
        keys = [public_from_dict(key) for key in table["keys"]]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptError("The envelope is not a DSSE envelope that holdall can read.") from error
    if table["payloadType"] != kind:
        raise CorruptError(f"The envelope holds {table['payloadType']!a}, not a holdall {what}.")
    return payload, _signers(pre_authentication(kind, payload), signatures, keys)


def pre_authentication(payload_type: str, payload: bytes) -> bytes:
    """What is signed (DSSE protocol, PAE): the type and the bytes, each with its length."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def _signers(
    signed: bytes, signatures: list[tuple[str, bytes]], keys: list[PublicKey]
) -> tuple[PublicKey, ...]:
    by_fingerprint = {key.fingerprint: key for key in keys}
    named = [fingerprint for fingerprint, _ in signatures]
    if (
        len(named) > MAX_SIGNATURES
        or sorted(named) != sorted(by_fingerprint)
        or len(keys) != len(named)
    ):
        raise CorruptError("The envelope's signatures and keys do not belong together.")
    for fingerprint, signature in signatures:
        if not by_fingerprint[fingerprint].verifies(signature, signed):
            raise CorruptError(f"The signature by key {fingerprint[:16]}… is wrong.")
    return tuple(by_fingerprint[fingerprint] for fingerprint in named)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode(text: str) -> bytes:
    """Base64 in its one spelling: Python's decoder passes over bits that mean nothing."""
    data = base64.b64decode(text, validate=True)
    if _encode(data) != text:
        raise ValueError("a value is not in plain Base64")
    return data


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name occurs twice")
    return table
