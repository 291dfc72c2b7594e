"""DSSE envelopes over a release (https://github.com/secure-systems-lab/dsse, protocol and envelope.md).

Besides the standard fields an envelope carries the signers' public keys, unsigned, so that a person can be asked
about a key that is not known yet. Reference: docs/reference/formats/release.md.
"""

import base64
import json
from typing import NamedTuple

from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import FormatError, VerificationError

from holdall.errors import CorruptError
from holdall.model import release as releases
from holdall.model.release import PAYLOAD_TYPE, Release
from holdall.trust.keys import PublicKey, SigningKey, public_from_dict

MAX_BYTES = 4 * 2**20
MAX_SIGNATURES = 16


class Signed(NamedTuple):
    """A release, its exact bytes, and the keys whose signatures over them are right. Says nothing of trust."""

    release: Release
    payload: bytes
    signers: tuple[PublicKey, ...]


def sign(payload: bytes, keys: tuple[SigningKey, ...]) -> bytes:
    """The envelope's bytes over a release's bytes; with no key, an unsigned one."""
    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    for key in keys:
        envelope.sign(key.signer)
    table = envelope.to_dict()
    table["keys"] = [key.public.as_dict() for key in keys]
    return json.dumps(table, sort_keys=True, separators=(",", ":")).encode()


def open_envelope(data: bytes) -> Signed:
    """Check every signature in an envelope and read its release; raises CorruptError at the first thing wrong."""
    if len(data) > MAX_BYTES:
        raise CorruptError(f"The envelope is {len(data)} bytes long; more than {MAX_BYTES} is refused.")
    try:
        table = json.loads(data, object_pairs_hook=_no_duplicates)
        if set(table) != {"payload", "payloadType", "signatures", "keys"}:
            raise CorruptError("The envelope has other fields than payload, payloadType, signatures and keys.")
        if len(table["signatures"]) > MAX_SIGNATURES or len(table["keys"]) > MAX_SIGNATURES:
            raise CorruptError(f"The envelope has more than {MAX_SIGNATURES} signatures.")
        base64.b64decode(table["payload"], validate=True)
        keys = [public_from_dict(key) for key in table["keys"]]
        envelope = Envelope.from_dict(table)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, FormatError) as error:
        raise CorruptError("The envelope is not a DSSE envelope that holdall can read.") from error
    if envelope.payload_type != PAYLOAD_TYPE:
        raise CorruptError(f"The envelope holds {ascii(envelope.payload_type)}, not a holdall release.")
    signers = _signers(envelope, keys)
    return Signed(releases.parse(envelope.payload), envelope.payload, signers)


def _signers(envelope: Envelope, keys: list[PublicKey]) -> tuple[PublicKey, ...]:
    by_fingerprint = {key.fingerprint: key for key in keys}
    if set(by_fingerprint) != set(envelope.signatures):
        raise CorruptError("The envelope's signatures and keys do not belong together.")
    for key in keys:
        try:
            envelope.verify([key.key], 1)
        except (VerificationError, ValueError) as error:
            raise CorruptError(f"The signature by key {key.fingerprint[:16]}… is wrong.") from error
    return tuple(by_fingerprint.values())


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a name occurs twice")
    return table
