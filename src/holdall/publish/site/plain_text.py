"""Text of others made fit to be shown: one line or a paragraph, bounded, without control codes."""

import re
from urllib.parse import urlsplit

MAX_URL = 2000
_UNSHOWN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff]"
)
_SPACE = re.compile(r"\s+")
_URL = re.compile(r"[Hh][Tt][Tt][Pp][Ss]?://[!#-&(-;=?-\[\]_a-z~]+")  # ASCII, no quotes


def line(text: str, limit: int) -> str:
    """`text` in one line of at most `limit` characters; where it is cut there is an ellipsis."""
    words = _SPACE.sub(" ", _UNSHOWN.sub("", text[: 8 * limit])).strip()
    return words if len(words) <= limit else f"{words[: limit - 1].rstrip()}…"


def shown(text: str) -> str:
    """`text` without what is not shown; runs of white space, also at its ends, become a space."""
    return _SPACE.sub(" ", _UNSHOWN.sub("", text))


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
