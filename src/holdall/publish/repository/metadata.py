"""TUF metadata as files: read, signed, checked."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from securesystemslib.exceptions import Error as SigningError
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Key, Metadata, Root, T, Targets
from tuf.api.serialization import DeserializationError

from holdall.errors import CorruptError, NotFoundError, UntrustedError, UsageError
from holdall.publish.repository.keys import Keys
from holdall.system.files import read_regular

_LIMIT = 64 * 2**20
# docs/reference/formats/repository.md, "Metadata"
LIMITS = {"root": 2**16, "timestamp": 2**14, "snapshot": 2_000_000, "targets": 1_000_000}


def read(path: str, kind: type[T]) -> Metadata[T]:
    """The metadata in a file, which must be of one kind; signatures are not looked at."""
    try:
        data = read_regular(path, limit=_LIMIT)
    except FileNotFoundError as error:
        raise NotFoundError(f"The repository lacks {path}.") from error
    except ValueError as error:
        raise CorruptError(f"The repository's {path} is no regular file.") from error
    return parse(data, kind, path)


def parse(data: bytes, kind: type[T], name: str) -> Metadata[T]:
    """Read metadata of one kind; raises CorruptError."""
    try:
        metadata: Metadata[Any] = Metadata.from_bytes(data)
    except (DeserializationError, RecursionError) as error:
        raise CorruptError(f"{name} is not TUF metadata.") from error
    if not isinstance(metadata.signed, kind):
        raise CorruptError(f"{name} is metadata of another role.")
    return metadata


def sign(metadata: Metadata[T], keys: Keys, keyids: Iterable[str]) -> Metadata[T]:
    """Add the signatures of those of `keyids` that are at hand; returns the same."""
    for signer in keys.signers(keyids):
        metadata.sign(signer, append=True)
    return metadata


def encode(metadata: Metadata[T]) -> bytes:
    """The bytes of its file; raises UsageError where clients would not read so many."""
    data = metadata.to_bytes()
    limit = LIMITS.get(metadata.signed.type, 0)
    if len(data) > limit:
        raise UsageError(
            f"The {metadata.signed.type} metadata would have {len(data)} bytes, and clients read no"
            f" more than {limit}: spread what it lists over several roles."
        )
    return data


def is_signed(delegator: Root | Targets, role: str, metadata: Metadata[T]) -> bool:
    """Whether as many keys as the delegator asks for have signed it."""
    with suppress(RepositoryError, SigningError, ValueError):
        delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
        return True
    return False


def check_signed(delegator: Root | Targets, role: str, metadata: Metadata[T], keys: str) -> None:
    """Raise UntrustedError unless it is; `keys` says where keys were looked for."""
    if is_signed(delegator, role, metadata):
        return
    have, need = signatures(delegator, role, metadata)
    raise UntrustedError(
        f"The role {role} needs {need} signatures and has {have}: its keys are not all in {keys}; "
        "say where others are with --keys DIR."
    )


def signatures(delegator: Root | Targets, role: str, metadata: Metadata[T]) -> tuple[int, int]:
    """How many of a delegator's keys have signed it, and how many must."""
    result = delegator.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
    return len(result.signed), result.threshold


def keys_of(delegator: Root | Targets, role: str) -> dict[str, Key]:
    """A role's keys, by key id."""
    return {keyid: delegator.get_key(keyid) for keyid in delegator.get_delegated_role(role).keyids}
