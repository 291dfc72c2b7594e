"""Signing keys: ed25519, and RSA or ECDSA where a kernel must check a signature too.

A key's fingerprint is the key id that securesystemslib and TUF give it: SHA-256 over the canonical
JSON of its public part. Key and signature formats: TUF specification 1.0, section 4.2.
"""

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from holdall.errors import CorruptError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ED25519 = "ed25519"


class PublicKey(NamedTuple):
    """A key that signatures are checked with: ed25519 as hex, or another as PEM."""

    keytype: str
    scheme: str
    public: str

    @property
    def fingerprint(self) -> str:
        """64 hexadecimal digits that name the key."""
        keytype, scheme, public = (_canonical(text) for text in self)
        table = f'{{"keytype":{keytype},"keyval":{{"public":{public}}},"scheme":{scheme}}}'
        return sha256(table.encode("utf-8", "surrogatepass")).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """The form it is carried and exported in (that of TUF metadata)."""
        return {"keytype": self.keytype, "scheme": self.scheme, "keyval": {"public": self.public}}

    def export(self) -> str:
        """The text `parse_public` reads."""
        return json.dumps(self.as_dict(), sort_keys=True, indent=1) + "\n"

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether `signature` over `data` was made by this key.

        Raises CorruptError for a key that cannot be read.
        """
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        if self.keytype != ED25519:
            from holdall.trust.other_keys import verifies

            return verifies(self.public, self.scheme, signature, data)
        try:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.public)).verify(signature, data)
        except InvalidSignature:
            return False
        except ValueError as error:
            raise CorruptError("An ed25519 public key cannot be read.") from error
        return True


class SigningKey(NamedTuple):
    """A key that signs, as its PEM text and the parsed key; keep it private."""

    pem: bytes
    private: "Ed25519PrivateKey"

    @property
    def public(self) -> PublicKey:
        """Its public part."""
        return PublicKey(ED25519, ED25519, self.private.public_key().public_bytes_raw().hex())

    def sign(self, data: bytes) -> bytes:
        """The signature over `data`: always the same bytes."""
        return self.private.sign(data)


def generate() -> SigningKey:
    """A new ed25519 key, from the system's randomness."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    private = Ed25519PrivateKey.generate()
    return SigningKey(
        private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), private
    )


def parse_private(pem: bytes) -> SigningKey:
    """Read an unencrypted PEM private key; raises UsageError when it is none that can sign here."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError("The signing key is not an unencrypted PEM private key.") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise UsageError("The signing key is not an ed25519 key; `holdall key generate` makes one.")
    return SigningKey(pem, private)


def parse_public(text: str | bytes) -> PublicKey:
    """Read an exported public key; raises CorruptError when it is not one."""
    try:
        return public_from_dict(json.loads(text))
    except ValueError as error:
        raise CorruptError("This is not a public key that holdall exported.") from error


def public_from_dict(table: object) -> PublicKey:
    """The key in `table`; raises CorruptError when it has another shape.

    Its fingerprint is always computed anew.
    """
    match table:
        case {"keytype": str(keytype), "scheme": str(scheme), "keyval": {"public": str(public)}}:
            key = PublicKey(keytype, scheme, public)
            if keytype == ED25519 and (
                scheme != ED25519 or len(public) != 64 or public != public.lower()
            ):
                raise CorruptError("An ed25519 public key cannot be read.")
            return key
        case _:
            raise CorruptError("A public key does not have the fields keytype, scheme and keyval.")


def _canonical(text: str) -> str:
    """A string in canonical JSON (OLPC), which escapes nothing else: a PEM's newlines stay."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
