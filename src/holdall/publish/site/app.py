"""One app as the pages know it: its offer, and what its newest bundle has to show."""

from functools import cached_property
from typing import NamedTuple

import msgspec

from holdall.model.offer import Offer, OfferedRelease
from holdall.publish.site import plain_text, words
from holdall.publish.site.icons import Icon
from holdall.publish.site.metainfo import MAX_NAME, MAX_SUMMARY, Metainfo

EMPTY = Metainfo()


class Extras(msgspec.Struct, frozen=True, array_like=True):
    """What a release's bundle has to show, beyond its manifest."""

    metainfo: Metainfo | None = None
    icon: Icon | None = None
    desktop: str = ""  # the desktop file's name
    categories: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    command: str = ""  # the name of the program


class Site(NamedTuple):
    """What all pages share.

    `address` is the repository's, with a slash at the end, or empty; `name` is what users call it;
    `root` is the SHA-256 of its first root. `pages` is where the pages are, or empty.
    """

    title: str
    address: str
    name: str
    root: str
    pages: str = ""


class Row(msgspec.Struct, frozen=True, array_like=True):
    """An app in a list; `icon` is the name of its file, `updated` a day or empty."""

    id: str
    name: str
    summary: str
    icon: str = ""
    keywords: str = ""
    categories: tuple[str, ...] = ()
    updated: str = ""
    developer: str = ""
    kind: str = "app"


class App:
    """An app with at least one release."""

    def __init__(self, offer: Offer, extras: Extras) -> None:
        self.offer = offer
        self.extras = extras
        self.metainfo = extras.metainfo or EMPTY
        self.newest = newest(offer)

    @property
    def id(self) -> str:
        """Its id."""
        return self.offer.id

    @cached_property
    def name(self) -> str:
        """What it is called."""
        stated = self.metainfo.names.get("") or plain_text.line(self.offer.about.name, MAX_NAME)
        return stated or self.id.rpartition(".")[2]

    @cached_property
    def summary(self) -> str:
        """What it is, in a line."""
        stated = self.metainfo.summaries.get("")
        return stated or plain_text.line(self.offer.about.summary, MAX_SUMMARY)

    @cached_property
    def developer(self) -> str:
        """Who makes it."""
        return self.metainfo.developer or plain_text.line(self.offer.about.developer, MAX_NAME)

    @cached_property
    def license(self) -> str:
        """Under which terms."""
        return self.metainfo.license or plain_text.line(self.offer.about.license, 200)

    @cached_property
    def homepage(self) -> str:
        """Its own page, or nothing."""
        homepage = plain_text.web_address(self.offer.about.homepage)
        return self.metainfo.links.get("homepage", "") or homepage

    @property
    def categories(self) -> tuple[str, ...]:
        """Its categories in menus and catalogues."""
        return tuple(dict.fromkeys((*self.metainfo.categories, *self.extras.categories)))

    @property
    def keywords(self) -> tuple[str, ...]:
        """Words it is also found by."""
        return tuple(dict.fromkeys((*self.metainfo.keywords, *self.extras.keywords)))

    @property
    def icon_file(self) -> str:
        """The name of its icon beside its page; nothing where it has none."""
        return f"icon.{self.extras.icon.kind}" if self.extras.icon else ""

    @property
    def row(self) -> Row:
        """How it stands in lists."""
        days = (words.day_of(release.created) for release in self.offer.releases)
        return Row(
            id=self.id,
            name=self.name,
            summary=self.summary,
            icon=self.icon_file,
            keywords=plain_text.line(" ".join(self.keywords), 300),
            categories=words.main_categories(self.categories),
            updated=max(days, default=""),
            developer=self.developer,
            kind=self.newest.kind,
        )


def newest(offer: Offer) -> OfferedRelease:
    """The release an app is described by: the newest stable one, else the newest."""
    stable = (release for release in offer.releases if release.branch == "stable")
    return next(stable, offer.releases[0])
