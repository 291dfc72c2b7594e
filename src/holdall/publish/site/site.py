"""All files of a site from its apps; only those of apps that changed are made anew."""

import os
from collections.abc import Collection, Iterator
from functools import cache
from hashlib import sha256

from holdall.publish.site import appstream
from holdall.publish.site.app import App, Row, Site
from holdall.publish.site.app_page import app_page
from holdall.publish.site.list_pages import list_pages
from holdall.publish.site.search_index import index_files

_HERE = os.path.dirname(__file__)
_ASSETS = ("style.css", "site.js", "mark.svg")


@cache
def look() -> str:
    """A digest of all code and assets that pages come from."""
    names = sorted(
        f"{folder}/{name}"
        for folder in (_HERE, f"{_HERE}/assets")
        for name in os.listdir(folder)
        if name.endswith((".py", ".css", ".js", ".svg"))
    )
    total = sha256()
    for name in names:
        total.update(_read(name))
    return total.hexdigest()


def key_of(site: Site, offer: str, *, others: Collection[str], own: tuple[str, ...]) -> str:
    """A digest of all that an app's page depends on; `offer` is that of its offer."""
    parts = (look(), *site, offer, *sorted(others), *own)
    return sha256("\0".join(parts).encode()).hexdigest()


def app_files(
    site: Site, app: App, *, others: Collection[str], own: tuple[str, ...]
) -> Iterator[tuple[str, bytes]]:
    """The files of one app, with names from the top."""
    yield f"apps/{app.id}/index.html", app_page(site, app, others=others, own=own)
    if app.extras.icon:
        yield f"apps/{app.id}/{app.icon_file}", app.extras.icon.data


def shared_files(
    site: Site, rows: Collection[Row], components: Collection[str]
) -> Iterator[tuple[str, bytes]]:
    """The files that many apps share; `components` in the order of ids.

    What pages need comes before the pages.
    """
    for name in _ASSETS:
        yield f"site/{name}", _read(f"{_HERE}/assets/{name}")
    yield from index_files(list(rows))
    catalogue = appstream.catalogue(site, components)
    yield "appstream/catalogue.xml", catalogue
    yield "appstream/catalogue.xml.gz", appstream.compressed(catalogue)
    yield from list_pages(site, list(rows))


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
