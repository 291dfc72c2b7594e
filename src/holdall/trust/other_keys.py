"""Signatures by RSA and ECDSA keys, through securesystemslib.

Apart, since few releases need it and it starts slowly.
"""

from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError
from securesystemslib.signer import Signature, SSlibKey

from holdall.errors import CorruptError


def verifies(public: str, scheme: str, signature: bytes, data: bytes) -> bool:
    """Whether `signature` over `data` was made by the key in PEM.

    Raises CorruptError for a key that cannot be read.
    """
    keytype = "rsa" if scheme.startswith("rsa") else "ecdsa"
    try:
        key = SSlibKey("0" * 64, keytype, scheme, {"public": public})
        key.verify_signature(Signature(key.keyid, signature.hex()), data)
    except UnverifiedSignatureError:
        return False
    except (VerificationError, ValueError) as error:
        raise CorruptError("A public key or its signature cannot be read.") from error
    return True
