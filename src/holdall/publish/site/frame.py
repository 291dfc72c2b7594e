"""What every page has around its content: head, policy, header with the search, footer."""

from typing import NamedTuple

from holdall.publish.site.app import Row, Site
from holdall.publish.site.elements import NOTHING, Content, Markup, element

GENERATOR = "holdall repo site"
ADDRESS = "ADDRESS"
_SHADES = 6


class Frame(NamedTuple):
    """A page but for its content; `up` leads from its folder to the top, such as ``../``."""

    site: Site
    title: str
    up: str = ""
    summary: str = ""
    current: str = ""  # which of the header's links it is
    pictures: tuple[str, ...] = ()  # other servers whose pictures may be asked for

    def page(self, *content: Content) -> bytes:
        """The page's bytes."""
        head = element(
            "head",
            element("meta", charset="utf-8"),
            element("meta", http_equiv="Content-Security-Policy", content=self._policy()),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="referrer", content="no-referrer"),
            element("meta", name="color-scheme", content="light dark"),
            element("meta", name="generator", content=GENERATOR),
            element("meta", name="description", content=self.summary) if self.summary else None,
            element("title", self._title()),
            element("link", rel="icon", href=f"{self.up}site/mark.svg", type="image/svg+xml"),
            element("link", rel="stylesheet", href=f"{self.up}site/style.css"),
            element("script", src=f"{self.up}site/site.js", defer=True),
        )
        body = element(
            "body",
            element("a", "Skip to content", class_="skip", href="#content"),
            self._header(),
            element("main", *content, id="content", tabindex="-1"),
            self._footer(),
            data_up=self.up,
        )
        document = element("html", head, body, lang="en")
        return f"<!doctype html>\n{document.code}\n".encode()

    def _title(self) -> str:
        return self.title if self.title == self.site.title else f"{self.title} · {self.site.title}"

    def _policy(self) -> str:
        pictures = " ".join(("'self'", *self.pictures))
        return (
            f"default-src 'none'; img-src {pictures}; style-src 'self'; script-src 'self'; "
            "connect-src 'self'; form-action 'self'; base-uri 'none'"
        )

    def _header(self) -> Markup:
        up = self.up
        search = element(
            "form",
            element("label", "Search apps", for_="search", class_="unseen"),
            element(
                "input",
                id="search",
                name="q",
                type="search",
                placeholder="Search apps",
                autocomplete="off",
                autocapitalize="off",
                spellcheck="false",
                maxlength="100",
                aria_keyshortcuts="/",
            ),
            element("kbd", "/", aria_hidden="true"),
            action=f"{up}index.html",
            role="search",
            class_="search",
        )
        links = element(
            "nav",
            self._link("Apps", "index.html"),
            self._link("Add this repository", "add.html"),
            aria_label="Site",
        )
        home = element(
            "a",
            element("img", src=f"{up}site/mark.svg", alt="", width="28", height="28"),
            element("span", self.site.title, dir="auto"),
            href=f"{up}index.html",
            class_="brand",
        )
        return element("header", home, search, links, class_="top")

    def _link(self, text: str, page: str) -> Markup:
        current = "page" if page == self.current else None
        return element("a", text, href=f"{self.up}{page}", aria_current=current)

    def _footer(self) -> Markup:
        return element(
            "footer",
            element(
                "p",
                "Every app here is signed by its publisher, and checked again on your machine. ",
                element("a", "How to check this repository", href=f"{self.up}add.html"),
                ".",
            ),
        )


def picture(row: Row, up: str, size: int) -> Markup:
    """An app's icon, or the first letter of its name where it has none."""
    side = str(size)
    if row.icon:
        return element(
            "img",
            src=f"{up}apps/{row.id}/{row.icon}",
            alt="",
            width=side,
            height=side,
            class_="icon",
            loading="lazy",
            decoding="async",
        )
    shade = sum(row.id.encode()) % _SHADES
    return element("span", row.name[:1].upper(), class_=f"icon letter s{shade}", aria_hidden="true")


def card(row: Row, up: str) -> Markup:
    """An app in a list."""
    text = element(
        "span",
        element("b", row.name, dir="auto"),
        element("span", row.summary, dir="auto") if row.summary else NOTHING,
    )
    link = element(
        "a", picture(row, up, 48), text, href=f"{up}apps/{row.id}/index.html", class_="card"
    )
    return element("li", link)


def cards(rows: "list[Row]", up: str) -> Markup:
    """A list of apps."""
    return element("ul", *(card(row, up) for row in rows), class_="cards")


def command(line: str, *, copied: bool = True) -> Markup:
    """Something to type in a terminal, with a button to copy it; no word is broken needlessly.

    The script puts the address of the site in place of the word `ADDRESS`.
    """
    words: list[Content] = []
    for word in line.split(" "):
        words += (" ", element("span", word, data_address=word == ADDRESS))
    code = element("pre", element("code", *words[1:]), tabindex="0")
    button = element("button", "Copy", type="button", class_="copy") if copied else None
    return element("div", code, button, class_="command")
