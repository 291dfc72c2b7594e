"""What a publisher says of an increment: which release it makes, from which, out of which bytes.

Format: docs/reference/formats/increment.md. One exact encoding, as of a release.
"""

from typing import Annotated

import msgspec

from holdall.errors import CorruptError

FORMAT = 1
MAX_BYTES = 2**16
MAX_BASES = 64
PAYLOAD_TYPE = "application/vnd.holdall.increment+json"

_Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"bases": "from"}):
    """`release` and `bases` are digests of releases; `tree` and `index` SHA-256 of stored sections.

    All are written as 64 hexadecimal digits.
    """

    format: int
    release: _Sha256
    bases: Annotated[tuple[_Sha256, ...], msgspec.Meta(min_length=1, max_length=MAX_BASES)]
    tree: _Sha256
    index: _Sha256


def encode(statement: Statement) -> bytes:
    """The exact bytes that are signed: JSON with sorted keys."""
    return msgspec.json.encode(statement, order="sorted")


def parse(data: bytes) -> Statement:
    """Read a statement; raises CorruptError when it is not one in its exact encoding."""
    if len(data) > MAX_BYTES:
        raise CorruptError(f"The increment's statement is longer than {MAX_BYTES} bytes.")
    try:
        statement = msgspec.json.decode(data, type=Statement)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise CorruptError("The increment's statement cannot be read.") from error
    if statement.format != FORMAT or len(set(statement.bases)) != len(statement.bases):
        raise CorruptError("The increment's statement is of another format, or lists a base twice.")
    if encode(statement) != data:
        raise CorruptError("The increment's statement is not in its one exact encoding.")
    return statement
