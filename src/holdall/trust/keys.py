"""Signing keys. A key's fingerprint is its securesystemslib key id: SHA-256 over the canonical JSON of its public part."""

import json
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from securesystemslib.signer import CryptoSigner, SSlibKey

from holdall.errors import CorruptError, UsageError


class PublicKey(NamedTuple):
    """A key that signatures are checked with."""

    key: SSlibKey

    @property
    def fingerprint(self) -> str:
        """64 hexadecimal digits that name the key."""
        return str(self.key.keyid)

    def as_dict(self) -> dict[str, object]:
        """The form it is carried and exported in (that of TUF metadata)."""
        return dict(self.key.to_dict())

    def export(self) -> str:
        """The text `parse_public` reads."""
        return json.dumps(self.as_dict(), sort_keys=True, indent=1) + "\n"


class SigningKey(NamedTuple):
    """A key that signs; keep it private."""

    signer: CryptoSigner
    pem: bytes

    @property
    def public(self) -> PublicKey:
        """Its public part."""
        return PublicKey(self.signer.public_key)  # type: ignore[arg-type]


def generate() -> SigningKey:
    """A new ed25519 key, from the system's randomness."""
    return _signing(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def parse_private(pem: bytes) -> SigningKey:
    """Read an unencrypted PEM private key; raises UsageError when it is none that can sign here."""
    try:
        return _signing(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError("The signing key is not an unencrypted PEM private key (ed25519, RSA or ECDSA).") from error


def parse_public(text: str | bytes) -> PublicKey:
    """Read an exported public key; raises CorruptError when it is not one."""
    try:
        table = json.loads(text)
    except ValueError as error:
        raise CorruptError("This is not a public key that holdall exported.") from error
    return public_from_dict(table)


def public_from_dict(table: object) -> PublicKey:
    """The key in `table`, with its fingerprint computed from its own bytes; raises CorruptError."""
    try:
        if not isinstance(table, dict):
            raise TypeError
        text = table["keyval"]["public"]
        if table["keytype"] == "ed25519":
            return PublicKey(SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))))
        return PublicKey(SSlibKey.from_crypto(load_pem_public_key(text.encode()), scheme=table["scheme"]))  # type: ignore[arg-type]
    except (KeyError, ValueError, TypeError, AttributeError, UnsupportedAlgorithm) as error:
        raise CorruptError("A public key cannot be read; only ed25519, RSA and ECDSA keys are.") from error


def _signing(pem: bytes) -> SigningKey:
    private = load_pem_private_key(pem, password=None)
    return SigningKey(CryptoSigner(private), pem)  # type: ignore[arg-type]
