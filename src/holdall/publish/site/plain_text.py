"""Text of others made fit to be shown: one line or a paragraph, bounded, without control codes."""

import re
from urllib.parse import urlsplit

MAX_URL = 2000
UNSHOWN = frozenset((
    *range(0x09),
    *(0x0B, 0x0C, *range(0x0E, 0x20), *range(0x7F, 0xA0)),
    *(0x061C, 0x200B, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2060, 0x2070)),
    *(0xFEFF, 0xFFF9, 0xFFFA, 0xFFFB, 0xFFFE, 0xFFFF, *range(0xD800, 0xE000)),
))  # fmt: skip
"""Characters that are never shown: controls, directions, and what is no character."""

_NOTHING: dict[int, str | None] = dict.fromkeys(UNSHOWN)
_SPACE = re.compile(r"\s+")
_URL = re.compile(r"[Hh][Tt][Tt][Pp][Ss]?://[!#-&(-;=?-\[\]_a-z~]+")  # ASCII, no quotes


def line(text: str, limit: int) -> str:
    """`text` in one line of at most `limit` characters; where it is cut there is an ellipsis."""
    words = _SPACE.sub(" ", text[: 8 * limit].translate(_NOTHING)).strip()
    return words if len(words) <= limit else f"{words[: limit - 1].rstrip()}…"


def shown(text: str) -> str:
    """`text` without what is not shown; runs of white space, also at its ends, become a space."""
    return _SPACE.sub(" ", text.translate(_NOTHING))


def web_address(text: str) -> str:
    """`text` when it is a plain http or https URL that names a host, else nothing."""
    address = text.strip()
    if len(address) > MAX_URL or not _URL.fullmatch(address):
        return ""
    try:
        parts = urlsplit(address)
        port_is_number = parts.port is None or parts.port >= 0
    except ValueError:
        return ""
    if not parts.hostname or parts.username is not None or not port_is_number:
        return ""
    return address


def origin(address: str) -> str:
    """Scheme and host of an address that `web_address` let through."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}".lower()
