"""The catalogue for software centres: AppStream's catalogue XML, one component an app.

https://www.freedesktop.org/software/appstream/docs/chap-CatalogData.html. AppStream has no name for
bundles of this kind, so a component names its ref in ``custom``.
"""

import gzip
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime

from holdall.publish.site import words
from holdall.publish.site.app import App, Site
from holdall.publish.site.elements import escaped
from holdall.publish.site.metainfo import Block, Prose, Run

VERSION = "1.0"
_KINDS = {
    "desktop": "desktop-application",
    **{
        kind: kind
        for kind in ("desktop-application", "console-application", "web-application", "runtime")
    },
}
_RELEASES = 5
_TRANSLATED = 60_000  # characters of translated descriptions of one app
_LINK_KINDS = frozenset((
    *("homepage", "bugtracker", "help", "faq", "donation", "translate", "contact"),
    *("vcs-browser", "contribute"),
))  # fmt: skip


def component(site: Site, app: App) -> str:
    """The component of one app; addresses of icons need the site's own."""
    return "\n".join((f'<component type="{_kind(app)}">', *_lines(site, app), "</component>"))


def catalogue(site: Site, components: Iterable[str]) -> bytes:
    """The catalogue of components in the order given."""
    head = f'<components version="{VERSION}" origin="{escaped(site.name)}">'
    lines = ('<?xml version="1.0" encoding="UTF-8"?>', head, *components, "</components>", "")
    return "\n".join(lines).encode()


def compressed(data: bytes) -> bytes:
    """`data` with gzip; the same bytes for the same data."""
    return gzip.compress(data, compresslevel=6, mtime=0)


def _kind(app: App) -> str:
    if app.newest.kind == "runtime":
        return "runtime"
    if not app.extras.desktop:
        return "console-application"
    return _KINDS.get(app.metainfo.kind, "desktop-application")


def _lines(site: Site, app: App) -> Iterator[str]:
    yield _tag("id", app.id)
    yield from _texts("name", app.name, app.metainfo.names)
    yield from _texts("summary", app.summary or app.name, app.metainfo.summaries)
    yield from _descriptions(app)
    if app.developer:
        name = _tag("name", app.developer)
        attribute = _attributes(id=app.metainfo.developer_id)
        yield f"<developer{attribute}>{name}</developer>"
        yield _tag("developer_name", app.developer)  # what those before 1.0 read
    if app.license:
        yield _tag("project_license", app.license)
    yield from _icon(site, app)
    yield from _group("categories", "category", app.categories)
    yield from _group("keywords", "keyword", app.keywords)
    yield from _links(app)
    if app.extras.desktop and app.newest.kind == "app":
        yield _tag("launchable", app.extras.desktop, type="desktop-id")
    if _kind(app) == "console-application" and app.extras.command:
        yield f"<provides>{_tag('binary', app.extras.command)}</provides>"
    yield from _screenshots(app)
    yield from _rating(app)
    yield from _releases(app)
    yield from _custom(site, app)


def _tag(name: str, text: str, **attributes: str) -> str:
    return f"<{name}{_attributes(**attributes)}>{escaped(text)}</{name}>"


def _attributes(**attributes: str) -> str:
    return "".join(f' {name}="{escaped(text)}"' for name, text in attributes.items() if text)


def _texts(name: str, text: str, translated: dict[str, str]) -> Iterator[str]:
    yield _tag(name, text)
    for language, other in translated.items():
        if language and other != text:
            yield f'<{name} xml:lang="{escaped(language)}">{escaped(other)}</{name}>'


def _descriptions(app: App) -> Iterator[str]:
    left = _TRANSLATED
    described = app.metainfo.descriptions
    if "" not in described:
        yield f"<description>{_tag('p', app.summary or app.name)}</description>"
    for language, prose in described.items():
        text = _prose(prose)
        attribute = f' xml:lang="{escaped(language)}"' if language else ""
        if language:
            left -= len(text)
        if left >= 0:
            yield f"<description{attribute}>{text}</description>"


def _prose(prose: Prose) -> str:
    return "".join(_block(block) for block in prose)


def _block(block: Block) -> str:
    texts = ["".join(_run(run) for run in item) for item in block.items]
    if block.kind == "p":
        return f"<p>{texts[0]}</p>"
    return f"<{block.kind}>{''.join(f'<li>{text}</li>' for text in texts)}</{block.kind}>"


def _run(run: Run) -> str:
    return _tag(run.style, run.text) if run.style else escaped(run.text)


def _icon(site: Site, app: App) -> Iterator[str]:
    icon = app.extras.icon
    if icon is None:
        return
    side = str(icon.side) if icon.side else ""
    if site.pages:
        address = f"{site.pages}apps/{app.id}/{app.icon_file}"
        yield _tag("icon", address, type="remote", width=side, height=side)
    else:
        yield _tag("icon", f"{app.id}.{icon.kind}", type="cached", width=side, height=side)


def _group(name: str, each: str, texts: tuple[str, ...]) -> Iterator[str]:
    if texts:
        yield f"<{name}>{''.join(_tag(each, text) for text in texts)}</{name}>"


def _links(app: App) -> Iterator[str]:
    links = {"homepage": app.homepage, **app.metainfo.links}
    for kind, address in links.items():
        if address and kind in _LINK_KINDS:
            yield _tag("url", address, type=kind)


def _screenshots(app: App) -> Iterator[str]:
    if not app.metainfo.screenshots:
        return
    yield "<screenshots>"
    for number, shot in enumerate(app.metainfo.screenshots):
        kind = ' type="default"' if number == 0 else ""
        caption = _tag("caption", shot.caption) if shot.caption else ""
        sizes = {
            name: str(size)
            for name, size in (("width", shot.width), ("height", shot.height))
            if size
        }
        image = _tag("image", shot.address, type="source", **sizes)
        yield f"<screenshot{kind}>{caption}{image}</screenshot>"
    yield "</screenshots>"


def _rating(app: App) -> Iterator[str]:
    if rating := app.metainfo.rating:
        values = (_tag("content_attribute", text, id=name) for name, text in rating.values.items())
        yield f"<content_rating{_attributes(type=rating.scheme)}>{''.join(values)}</content_rating>"


def _releases(app: App) -> Iterator[str]:
    """As the authors tell them, else as they are offered."""
    told = [(news.version, news.date, _prose(news.prose)) for news in app.metainfo.news]
    offered = {item.version: words.day_of(item.created) for item in app.offer.releases}
    listed = told or [(version, day, "") for version, day in offered.items()]
    listed = [item for item in listed if item[1]][:_RELEASES]
    if not listed:
        return
    yield "<releases>"
    for version, day, text in listed:
        time = datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC)
        start = f"release{_attributes(version=version, timestamp=str(int(time.timestamp())))}"
        yield f"<{start}><description>{text}</description></release>" if text else f"<{start}/>"
    yield "</releases>"


def _custom(site: Site, app: App) -> Iterator[str]:
    newest = app.newest
    values = {
        "holdall::ref": f"{app.id}/{newest.arch}/{newest.branch}",
        "holdall::version": newest.version,
        "holdall::repository": site.address,
        "holdall::root": site.root,
    }
    pairs = (_tag("value", text, key=key) for key, text in values.items() if text)
    yield f"<custom>{''.join(pairs)}</custom>"
