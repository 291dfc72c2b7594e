"""Which texts quote digests of contents an increment makes, and in which order to make them."""

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import NamedTuple

from holdall.delivery.delta.tokens import BASE64, HEX, QUOTED, read_quoted, token_of

_PROBE = 4096
_MOST = 16 * 2**20


class Quoting(NamedTuple):
    """A text with tokens for digests of other new contents, which are named by raw digest.

    `level` is 1 above the highest of those it quotes.
    """

    text: bytes
    quoted: tuple[bytes, ...]
    level: int


def quoting(
    wanted: Iterable[bytes], sizes: Mapping[bytes, int], read: Callable[[bytes], bytes]
) -> dict[bytes, Quoting]:
    """The texts among the wanted contents that quote others of them."""
    texts = {}
    for digest in wanted:
        if 43 <= sizes[digest] <= _MOST and (text := _text(read(digest))) is not None:
            texts[digest] = text
    if not texts:
        return {}
    known = {sha256(read(digest)).digest(): digest for digest in wanted}
    found = {digest: _tokenised(text, known) for digest, text in texts.items()}
    chosen = {digest: pair for digest, pair in found.items() if pair[1]}
    levels: dict[bytes, int] = {}
    for digest in chosen:
        _level(digest, chosen, levels)
    return {
        digest: Quoting(text, quoted, levels[digest]) for digest, (text, quoted) in chosen.items()
    }


def blanks(old: bytes, new: bytes) -> tuple[int, ...]:
    """Which quoted digests of an old text are gone from the new one."""
    kept = {match.group() for match in QUOTED.finditer(new)}
    found = enumerate(match.group() for match in QUOTED.finditer(old))
    return tuple(number for number, quoted in found if quoted not in kept)


def _text(data: bytes) -> bytes | None:
    if b"\0" in data[:_PROBE] or HEX in data or BASE64 in data:
        return None
    return data if QUOTED.search(data) else None


def _tokenised(text: bytes, known: Mapping[bytes, bytes]) -> tuple[bytes, tuple[bytes, ...]]:
    pieces, quoted, end = [], [], 0
    for match in QUOTED.finditer(text):
        digest = read_quoted(match.group())
        if digest is not None and digest in known:
            pieces += [text[end : match.start()], token_of(match.group())]
            quoted.append(known[digest])
            end = match.end()
    pieces.append(text[end:])
    return b"".join(pieces), tuple(quoted)


def _level(
    digest: bytes, chosen: Mapping[bytes, tuple[bytes, tuple[bytes, ...]]], levels: dict[bytes, int]
) -> int:
    """A content's level. Quoting cannot go round in circles: a digest comes after its content."""
    if digest not in chosen:
        return 0
    if digest not in levels:
        levels[digest] = 1 + max(_level(other, chosen, levels) for other in set(chosen[digest][1]))
    return levels[digest]
