"""Private keys of roles: PEM files in folders outside of the repository, found by key id.

A file's name is for people: the role it was made for, and a number.
"""

import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from securesystemslib.signer import CryptoSigner, SSlibKey

from holdall.errors import NotFoundError, UsageError
from holdall.system.files import each_child, plain_errors, read_regular, write_atomic
from holdall.trust import keys
from holdall.trust.keys import PublicKey, SigningKey

_LIMIT = 2**16


class HeldKey(NamedTuple):
    """A private key that is at hand, and its file ("" for one that was given otherwise)."""

    key: SigningKey
    path: str


class Keys:
    """The private keys at hand, by key id."""

    def __init__(self, held: Iterable[HeldKey] = ()) -> None:
        self._held: Mapping[str, HeldKey] = {item.key.public.fingerprint: item for item in held}

    @property
    def ids(self) -> frozenset[str]:
        """Their key ids."""
        return frozenset(self._held)

    def held(self, keyid: str) -> HeldKey | None:
        """One of them."""
        return self._held.get(keyid)

    def signers(self, keyids: Iterable[str]) -> list[CryptoSigner]:
        """What signs with those of `keyids` that are at hand, in that order."""
        wanted = dict.fromkeys(keyids)
        found = (self._held[keyid].key for keyid in wanted if keyid in self._held)
        return [CryptoSigner(key.private, tuf_key(key.public)) for key in found]

    def with_key(self, key: SigningKey, path: str = "") -> "Keys":
        """These and one more."""
        return Keys((*self._held.values(), HeldKey(key, path)))


def tuf_key(public: PublicKey) -> SSlibKey:
    """A key in TUF's form."""
    return SSlibKey(public.fingerprint, public.keytype, public.scheme, {"public": public.public})


def read_keys(folders: Iterable[str], *, demanded: bool = False) -> Keys:
    """The keys in some folders.

    A folder that is not there has none, as it may be kept offline; `demanded`, it is an error.
    """
    found = []
    for folder in folders:
        if demanded and not os.path.isdir(folder):
            raise NotFoundError(f"There is no folder of keys {folder}.")
        for name in each_child(folder, keep=lambda name: name.endswith(".pem")):
            path = f"{folder}/{name}"
            with plain_errors(f"The key {path} cannot be read"):
                try:
                    found.append(
                        HeldKey(keys.parse_private(read_regular(path, limit=_LIMIT)), path)
                    )
                except (UsageError, ValueError) as error:
                    raise UsageError(
                        f"{path} is not an unencrypted ed25519 key in PEM form; move it away."
                    ) from error
    return Keys(found)


def make_key(folder: str, role: str) -> HeldKey:
    """A new key for a role, kept in `folder`."""
    return keep(folder, role, keys.generate())


def keep(folder: str, role: str, key: SigningKey) -> HeldKey:
    """Put a key into the first free file for its role, which only its owner can read."""
    with plain_errors(f"A key cannot be kept in {folder}"):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        number = 1
        while os.path.exists(f"{folder}/{role}-{number}.pem"):
            number += 1
        path = f"{folder}/{role}-{number}.pem"
        write_atomic(path, key.pem, mode=0o600, durable=True)
    return HeldKey(key, path)
