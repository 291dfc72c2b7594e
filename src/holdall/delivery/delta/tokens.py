"""Digests that files quote of one another, as tokens of one byte.

Format: docs/reference/formats/increment.md, "digest tokens".
"""

import base64
import re
from collections.abc import Iterable, Iterator, Sequence

from holdall.errors import CorruptError

HEX, BASE64 = b"\x02", b"\x03"
QUOTED = re.compile(
    rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])|(?<![A-Za-z0-9_-])[A-Za-z0-9_-]{43}(?![A-Za-z0-9_=-])"
)
_TOKEN = re.compile(b"[\x02\x03]")
_WORD = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_IS_WORD = bytes(byte in _WORD for byte in range(256))
_SHORTEST = b"\1" * 43


def quoted_in(text: bytes) -> Iterator[re.Match[bytes]]:
    """The quoted digests of a text, in order.

    A digest lies within a run of the characters of words, and the pattern, which is slow, is asked
    only where such a run is long enough.
    """
    words = text.translate(_IS_WORD)
    begin = words.find(_SHORTEST)
    while begin >= 0:
        end = words.find(b"\0", begin)
        if end < 0:
            end = len(text)
        # with the character after the run, which the pattern looks at
        yield from QUOTED.finditer(text, begin, end + 1)
        begin = words.find(_SHORTEST, end)


def blank(text: bytes, numbers: Iterable[int]) -> bytes:
    """`text` with the quoted digests of these numbers replaced by tokens."""
    chosen = set(numbers)
    pieces, end = [], 0
    for number, found in enumerate(quoted_in(text) if chosen else ()):
        if number in chosen:
            pieces += [text[end : found.start()], token_of(found.group())]
            end = found.end()
    pieces.append(text[end:])
    return b"".join(pieces)


def fill(text: bytes | memoryview, digests: Sequence[bytes]) -> bytes:
    """`text` with its tokens replaced by plain SHA-256 digests, in order; raises CorruptError."""
    left = iter(digests)

    def written(token: re.Match[bytes]) -> bytes:
        digest = next(left, None)
        if digest is None:
            raise CorruptError("A part of the increment quotes more digests than it names.")
        return written_as(token.group(), digest)

    filled = _TOKEN.sub(written, text)
    if next(left, None) is not None:
        raise CorruptError("A part of the increment names more digests than it quotes.")
    return filled


def token_of(quoted: bytes) -> bytes:
    """The token for a digest as it is written."""
    return HEX if len(quoted) == 64 else BASE64


def written_as(token: bytes, digest: bytes) -> bytes:
    """A digest as its token says it is written."""
    if token == HEX:
        return digest.hex().encode()
    return base64.urlsafe_b64encode(digest).rstrip(b"=")


def read_quoted(quoted: bytes) -> bytes | None:
    """The 32 bytes of a quoted digest; None where it has another spelling."""
    if len(quoted) == 64:
        return bytes.fromhex(quoted.decode())
    digest = base64.urlsafe_b64decode(quoted + b"=")
    return digest if written_as(BASE64, digest) == quoted else None
