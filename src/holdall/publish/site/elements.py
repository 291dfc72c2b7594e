"""HTML and XML as text: whatever is not `Markup` already is escaped, without exception."""

from collections.abc import Iterable
from typing import NamedTuple

from holdall.publish.site.plain_text import UNSHOWN

_VOID = frozenset(("br", "hr", "img", "input", "link", "meta"))
_SPECIAL = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}
_ESCAPES: dict[int, str | None] = {
    **dict.fromkeys(UNSHOWN),
    **{ord(character): entity for character, entity in _SPECIAL.items()},
}


class Markup(NamedTuple):
    """Text that is markup."""

    code: str


Content = str | Markup | None
NOTHING = Markup("")


def escaped(text: str) -> str:
    """Text as it stands in markup, also between quotes; what is not shown is taken out."""
    return text.translate(_ESCAPES)


def element(name: str, /, *content: Content, **attributes: str | bool | None) -> Markup:
    """An HTML element; attributes as keywords, with ``_`` for ``-`` and ``class_`` for class.

    An attribute that is False or None is left out, one that is True has no value.
    """
    start = f"<{name}{''.join(_attribute(*pair) for pair in attributes.items())}>"
    if name in _VOID:
        return Markup(start)
    return Markup(f"{start}{joined(content).code}</{name}>")


def joined(content: Iterable[Content]) -> Markup:
    """Several pieces one after the other."""
    return Markup(
        "".join(
            item.code if isinstance(item, Markup) else escaped(item)
            for item in content
            if item is not None
        )
    )


def _attribute(name: str, value: str | bool | None) -> str:  # noqa: FBT001 - it is a value
    if value is None or value is False:
        return ""
    key = name.rstrip("_").replace("_", "-")
    return f" {key}" if value is True else f' {key}="{escaped(value)}"'
