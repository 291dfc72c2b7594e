"""Icons of apps: which of them to show, and whether one is safe to hand out.

An icon is shown by an image element, where nothing in it runs; but its file can be opened by its
address, too, so a drawing that could do more than draw is not handed out.
"""

import re
from collections.abc import Iterable
from typing import Literal

import msgspec

from holdall.errors import CorruptError
from holdall.publish.site.untrusted_xml import Node, parse

MAX_BYTES = 2**20
_LARGEST = 256
_SIZED = re.compile(r"share/icons/[^/]+/(\d{1,4})x\1(?:@(\d))?/apps/")
_SVG = "http://www.w3.org/2000/svg"
_FOREIGN = frozenset(("http://www.w3.org/1999/xhtml", "http://www.w3.org/1998/Math/MathML"))
_LINKS = frozenset(("href", "http://www.w3.org/1999/xlink href"))
_XML_BASE = "http://www.w3.org/XML/1998/namespace base"
_ACTIVE = frozenset((
    *("script", "foreignobject", "iframe", "object", "embed", "handler", "listener", "audio"),
    *("video", "set", "animate", "animatemotion", "animatetransform", "a", "link", "base", "meta"),
))  # fmt: skip
_REFERENCE = re.compile(r"#|data:image/(?:png|jpeg|gif|webp);base64,", re.IGNORECASE)
_OUTSIDE = re.compile(
    r"@import|url\(\s*[\"']?(?!\s*[\"']?#)|\\|expression\(|javascript:", re.IGNORECASE
)


class Icon(msgspec.Struct, frozen=True, array_like=True):
    """An icon's file; `side` is its size in pixels, 0 for a drawing."""

    kind: Literal["png", "svg"]
    data: bytes
    side: int = 0


def candidates(paths: Iterable[str], app_id: str) -> list[str]:
    """Exported icons in the order in which to try them: of at most 256 pixels, largest first.

    Drawings come before those smaller than 150, symbolic ones are left out; the app's own name
    comes before longer ones.
    """
    ranked = []
    for path in paths:
        stem, _, kind = path.rpartition("/")[2].rpartition(".")
        found = _SIZED.match(path)
        side = int(found[1]) * int(found[2] or 1) if found else 0
        if "/symbolic/" in path or stem.endswith("-symbolic") or kind not in {"png", "svg"}:
            continue
        if kind == "svg":
            side = 150
        elif side > _LARGEST:
            continue
        ranked.append((stem != app_id, -side, path))
    return [path for _, _, path in sorted(ranked)]


def icon(path: str, data: bytes) -> Icon:
    """The icon in a file; raises CorruptError when it is none that can be handed out."""
    if len(data) > MAX_BYTES:
        raise CorruptError(f"The icon {path} is larger than {MAX_BYTES} bytes.")
    if path.endswith(".svg"):
        _check_drawing(parse(data, f"The icon {path}"), path)
        return Icon("svg", data)
    if not data.startswith(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR") or len(data) < 33:
        raise CorruptError(f"The icon {path} is not a PNG image.")
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if not 0 < width <= 1024 or not 0 < height <= 1024:
        raise CorruptError(f"The icon {path} is {width} by {height} pixels large.")
    return Icon("png", data, max(width, height))


def _check_drawing(root: Node, path: str) -> None:
    if root.name != "svg" or root.namespace != _SVG:
        raise CorruptError(f"The icon {path} is not an SVG drawing.")
    for node in root.all():
        if node.namespace in _FOREIGN or (
            node.namespace in {_SVG, ""} and node.name.lower() in _ACTIVE
        ):
            raise CorruptError(f"The icon {path} has the element {node.name[:40]!r}.")
        if node.name.lower() == "style" and _OUTSIDE.search(node.text):
            raise CorruptError(f"The icon {path} has a style that reaches outside of it.")
        for name, value in node.attributes.items():
            if _does_more(name.lower(), value):
                raise CorruptError(f"The icon {path} has the attribute {name[-40:]!r}.")


def _does_more(name: str, value: str) -> bool:
    """Whether an attribute runs something or fetches something; those of editors do nothing."""
    if name in _LINKS:
        return not _REFERENCE.match(value.strip())
    if " " in name:
        return name == _XML_BASE.lower()
    if name.startswith("on") or name in {"src", "action", "formaction", "ping"}:
        return True
    return bool(_OUTSIDE.search(value))
