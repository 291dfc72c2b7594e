"""An app's AppStream metainfo, reduced to what pages and the catalogue show.

Its markup becomes paragraphs and lists of plain, emphasized and code text; its addresses are http
or https; every text has a bound.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from holdall.errors import CorruptError
from holdall.publish.site.plain_text import line, shown, web_address
from holdall.publish.site.untrusted_xml import Node, parse

MAX_NAME = 120
MAX_SUMMARY = 250
_MAX_PROSE = 20_000  # characters of one description
_MAX_TRANSLATIONS = 120
_MAX_RELEASES = 12
_MAX_SCREENSHOTS = 12
_MAX_WORDS = 40
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:[_-][A-Za-z0-9]{1,8})*(?:@[A-Za-z0-9]{1,12})?")
_CATEGORY = re.compile(r"[A-Za-z0-9-]{1,60}")
_DATE = re.compile(r"(\d{4}-\d\d-\d\d)(?:T.*)?")
_LICENSE = re.compile(r"[A-Za-z0-9 .+:()-]{1,200}")
_SCHEME = re.compile(r"[a-z0-9][a-z0-9.-]{0,60}")
_AMOUNTS = frozenset(("none", "mild", "moderate", "intense"))
_LINKS = (
    *("homepage", "bugtracker", "help", "faq", "donation", "translate"),
    *("vcs-browser", "contribute", "contact"),
)


class _Value(msgspec.Struct, frozen=True, array_like=True):
    """How these are kept: as arrays."""


class Run(_Value, frozen=True):
    """A piece of text and how it is set."""

    text: str
    style: Literal["", "em", "code"] = ""


class Block(_Value, frozen=True):
    """A paragraph, which has one item, or a list."""

    kind: Literal["p", "ul", "ol"]
    items: tuple[tuple[Run, ...], ...]


Prose = tuple[Block, ...]


class Screenshot(_Value, frozen=True):
    """A picture elsewhere; sizes are 0 where they are not said."""

    address: str
    caption: str = ""
    width: int = 0
    height: int = 0


class News(_Value, frozen=True):
    """A release as its authors describe it; `date` is a day or empty."""

    version: str
    date: str = ""
    prose: Prose = ()


class Rating(_Value, frozen=True):
    """What an app has that is not for all ages, in a scheme's words."""

    scheme: str
    values: dict[str, str] = {}


class Metainfo(_Value, frozen=True):
    """What an app says of itself; texts by language, the untranslated under an empty one."""

    kind: str = ""
    names: dict[str, str] = {}
    summaries: dict[str, str] = {}
    descriptions: dict[str, Prose] = {}
    developer: str = ""
    developer_id: str = ""
    license: str = ""
    categories: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    links: dict[str, str] = {}
    screenshots: tuple[Screenshot, ...] = ()
    news: tuple[News, ...] = ()
    rating: Rating | None = None


def read(data: bytes, what: str) -> Metainfo:
    """Read a metainfo file; raises CorruptError when it is no XML that is safe to read, or none."""
    root = parse(data, what)
    if root.name not in {"component", "application"}:
        raise CorruptError(f"{what} has the root element {root.name[:40]!r}, not 'component'.")
    developer = next(root.named("developer"), None)
    return Metainfo(
        kind=line(root.attributes.get("type", ""), 40),
        names=_texts(root.named("name"), MAX_NAME),
        summaries=_texts(root.named("summary"), MAX_SUMMARY),
        descriptions=_proses(root.named("description")),
        developer=_developer(root, developer),
        developer_id=line(developer.attributes.get("id", ""), 120) if developer else "",
        license=_license(root),
        categories=_words(root, "categories", "category", _CATEGORY),
        keywords=_words(root, "keywords", "keyword", None),
        links=_links(root),
        screenshots=tuple(_screenshots(root)),
        news=tuple(_news(root)),
        rating=_rating(root),
    )


def _texts(nodes: Iterable[Node], limit: int) -> dict[str, str]:
    """One line for each language that has one."""
    found: dict[str, str] = {}
    for node in nodes:
        text = line(node.text, limit)
        if text and _is_language(node.language) and len(found) < _MAX_TRANSLATIONS:
            found.setdefault(node.language, text)
    return found


def _is_language(text: str) -> bool:
    return text == "" or bool(_LANGUAGE.fullmatch(text))


def _developer(root: Node, developer: Node | None) -> str:
    names = _texts(developer.named("name"), MAX_NAME) if developer else {}
    return names.get("") or _texts(root.named("developer_name"), MAX_NAME).get("", "")


def _license(root: Node) -> str:
    text = line(next((node.text for node in root.named("project_license")), ""), 200)
    return text if _LICENSE.fullmatch(text) else ""


def _words(root: Node, group: str, name: str, pattern: re.Pattern[str] | None) -> tuple[str, ...]:
    texts = (
        line(node.text, 60)
        for parent in root.named(group)
        if not parent.language
        for node in parent.named(name)
        if not node.language
    )
    kept = dict.fromkeys(
        text for text in texts if text and (not pattern or pattern.fullmatch(text))
    )
    return tuple(kept)[:_MAX_WORDS]


def _links(root: Node) -> dict[str, str]:
    found: dict[str, str] = {}
    for node in root.named("url"):
        kind, address = node.attributes.get("type", ""), web_address(node.text)
        if kind in _LINKS and address:
            found.setdefault(kind, address)
    return {kind: found[kind] for kind in _LINKS if kind in found}


def _screenshots(root: Node) -> Iterator[Screenshot]:
    nodes = [node for parent in root.named("screenshots") for node in parent.named("screenshot")]
    nodes.sort(key=lambda node: node.attributes.get("type") != "default")
    for node in nodes[:_MAX_SCREENSHOTS]:
        images = [image for image in node.named("image") if not image.language]
        source = [image for image in images if image.attributes.get("type") != "thumbnail"]
        for image in source[:1]:
            if address := web_address(image.text):
                caption = _texts(node.named("caption"), MAX_SUMMARY).get("", "")
                size = [_length(image.attributes.get(side, "")) for side in ("width", "height")]
                yield Screenshot(address, caption, *(size if all(size) else (0, 0)))


def _length(text: str) -> int:
    return int(text) if re.fullmatch("[0-9]{1,5}", text) else 0


def _news(root: Node) -> Iterator[News]:
    nodes = [node for parent in root.named("releases") for node in parent.named("release")]
    for node in nodes[:_MAX_RELEASES]:
        version = line(node.attributes.get("version", ""), 128)
        if version:
            date = _day(node.attributes.get("date", ""))
            prose = _proses(node.named("description")).get("", ())
            yield News(version, date or _moment(node.attributes.get("timestamp", "")), prose)


def _day(text: str) -> str:
    found = _DATE.fullmatch(text)
    return found[1] if found else ""


def _moment(text: str) -> str:
    from datetime import UTC, datetime

    if not re.fullmatch("[0-9]{1,11}", text) or int(text) > 253_402_300_799:
        return ""
    return datetime.fromtimestamp(int(text), UTC).date().isoformat()


def _rating(root: Node) -> Rating | None:
    node = next(root.named("content_rating"), None)
    scheme = node.attributes.get("type", "") if node else ""
    if node is None or not _SCHEME.fullmatch(scheme):
        return None
    listed = [
        (item.attributes.get("id", ""), item.text.strip())
        for item in node.named("content_attribute")
    ]
    return Rating(
        scheme,
        {name: value for name, value in listed if _SCHEME.fullmatch(name) and value in _AMOUNTS},
    )


def _proses(nodes: Iterable[Node]) -> dict[str, Prose]:
    """Descriptions by language, whether whole ones or single paragraphs say theirs."""
    blocks: dict[str, list[Block]] = {}
    for node in nodes:
        for child in node.elements:
            for language, block in _blocks(child, node.language):
                if _is_language(language) and (
                    language in blocks or len(blocks) < _MAX_TRANSLATIONS
                ):
                    blocks.setdefault(language, []).append(block)
    return {language: prose for language in blocks if (prose := _bounded(blocks[language]))}


def _blocks(node: Node, inherited: str) -> Iterator[tuple[str, Block]]:
    language = node.language or inherited
    if node.name == "p":
        if runs := _runs(node):
            yield language, Block("p", (runs,))
    elif node.name in {"ul", "ol"}:
        kind: Literal["ul", "ol"] = "ul" if node.name == "ul" else "ol"
        items: dict[str, list[tuple[Run, ...]]] = {}
        for item in node.named("li"):
            if runs := _runs(item):
                items.setdefault(item.language or language, []).append(runs)
        for tongue, listed in items.items():
            yield tongue, Block(kind, tuple(listed))


def _runs(node: Node) -> tuple[Run, ...]:
    """The text of an item; what is neither emphasis nor code is plain, whatever it says it is."""
    runs: list[Run] = []
    for item in node.content:
        if isinstance(item, str):
            runs.append(Run(shown(item)))
        elif item.name == "em":
            runs.append(Run(shown(item.text), "em"))
        elif item.name == "code":
            runs.append(Run(shown(item.text), "code"))
        else:
            runs.append(Run(shown(item.text)))
    while runs and not runs[0].text.strip():
        runs.pop(0)
    while runs and not runs[-1].text.strip():
        runs.pop()
    if not runs:
        return ()
    runs[0] = Run(runs[0].text.lstrip(), runs[0].style)
    runs[-1] = Run(runs[-1].text.rstrip(), runs[-1].style)
    return tuple(runs)


def _bounded(blocks: list[Block]) -> Prose:
    """The first blocks, of at most so many characters together."""
    left, kept = _MAX_PROSE, []
    for block in blocks:
        left -= sum(len(run.text) for item in block.items for run in item)
        if left < 0:
            break
        kept.append(block)
    return tuple(kept)
