"""Pages with many apps: the front page, by first letter, by category; and how to add it all."""

import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from holdall.publish.site import words
from holdall.publish.site.app import Row, Site
from holdall.publish.site.app_page import add_command
from holdall.publish.site.elements import Content, Markup, element
from holdall.publish.site.frame import Frame, cards, command

_FEW = 60  # so many apps stand on the front page as they are
_RECENT = 12
_A_PAGE = 120
_OTHER = "0"


class Shelf(NamedTuple):
    """Some apps with pages of their own: part of the pages' names, heading, apps in order."""

    name: str
    title: str
    rows: list[Row]

    def page(self, number: int) -> str:
        """The name of a page, counted from 0."""
        return (
            f"browse/{self.name}.html" if number == 0 else f"browse/{self.name}-{number + 1}.html"
        )


def list_pages(site: Site, rows: Sequence[Row]) -> Iterator[tuple[str, bytes]]:
    """The pages with names from the top; `rows` in any order."""
    ordered = sorted(rows, key=sorting)
    apps = [row for row in ordered if row.kind != "runtime"]
    letters, categories = _by_letter(apps), _by_category(apps)
    if runtimes := [row for row in ordered if row.kind == "runtime"]:
        categories.append(Shelf("runtimes", "Runtimes", runtimes))
    yield "index.html", _front(site, apps, letters, categories)
    yield "add.html", _adding(site)
    for shelf in (*letters, *categories):
        yield from _shelf_pages(site, shelf, letters)


def sorting(row: Row) -> tuple[str, str]:
    """The order of apps in lists: by name, without regard to case and accents."""
    return plain(row.name), row.id


def plain(text: str) -> str:
    """`text` in small letters without accents."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(part for part in parts if not unicodedata.combining(part))


def _initial(row: Row) -> str:
    first = plain(row.name)[:1]
    return first if "a" <= first <= "z" else _OTHER


def _by_letter(rows: list[Row]) -> list[Shelf]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(_initial(row), []).append(row)
    titles = {letter: "#" if letter == _OTHER else letter.upper() for letter in found}
    return [Shelf(letter, titles[letter], found[letter]) for letter in sorted(found)]


def _by_category(rows: list[Row]) -> list[Shelf]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        for category in row.categories:
            found.setdefault(category, []).append(row)
    return [
        Shelf(f"category-{name}", title, found[category])
        for category, (name, title) in words.CATEGORIES.items()
        if category in found
    ]


def _front(site: Site, rows: list[Row], letters: list[Shelf], categories: list[Shelf]) -> bytes:
    frame = Frame(site, site.title, summary=f"{len(rows)} apps for holdall", current="index.html")
    browse = element("div", *_browse(rows, letters, categories), id="browse")
    results = element(
        "section",
        element("h2", "Search results", id="found", aria_live="polite"),
        element("ul", class_="cards", id="results"),
        element("button", "Show more", type="button", id="more", class_="show", hidden=True),
        id="answers",
        hidden=True,
    )
    title = element("h1", site.title, class_="unseen", dir="auto")
    return frame.page(title, _no_script(), results, browse)


def _no_script() -> Markup:
    return element(
        "noscript",
        element("p", "Search needs JavaScript; the lists below work without.", class_="note"),
    )


def _browse(rows: list[Row], letters: list[Shelf], categories: list[Shelf]) -> Iterator[Content]:
    if not rows:
        yield element("p", "There are no apps here yet.", class_="note")
        return
    if len(rows) > _FEW:
        recent = sorted((row for row in rows if row.updated), key=sorting)
        recent.sort(key=lambda row: row.updated, reverse=True)
        if recent:
            yield element("h2", "Updated lately")
            yield cards(recent[:_RECENT], "")
    if categories:
        yield element("h2", "By category")
        yield _shelves(categories, "", "Categories")
    yield element("h2", f"All {len(rows):,} apps" if len(rows) > 1 else "One app")
    if len(rows) > _FEW:
        yield _shelves(letters, "", "First letters")
    else:
        yield cards(rows, "")


def _shelves(shelves: list[Shelf], up: str, label: str, current: str = "") -> Markup:
    links = (
        element(
            "a",
            shelf.title,
            element("small", str(len(shelf.rows))),
            href=f"{up}{shelf.page(0)}",
            aria_current="page" if shelf.name == current else None,
            aria_label=f"{shelf.title}, {len(shelf.rows)} apps",
        )
        for shelf in shelves
    )
    return element("nav", *links, class_="shelves", aria_label=label)


def _shelf_pages(site: Site, shelf: Shelf, letters: list[Shelf]) -> Iterator[tuple[str, bytes]]:
    starts = range(0, len(shelf.rows), _A_PAGE)
    for number, start in enumerate(starts):
        frame = Frame(site, f"Apps: {shelf.title}", up="../", current="")
        content = frame.page(
            element("h1", shelf.title),
            _shelves(letters, "../", "First letters", shelf.name),
            cards(shelf.rows[start : start + _A_PAGE], "../"),
            _pager(shelf, number, len(starts)),
        )
        yield shelf.page(number), content


def _pager(shelf: Shelf, number: int, count: int) -> Markup | None:
    if count == 1:
        return None
    links = (
        element(
            "a",
            str(page + 1),
            href=f"../{shelf.page(page)}",
            aria_current="page" if page == number else None,
            aria_label=f"Page {page + 1}",
        )
        for page in range(count)
    )
    return element("nav", *links, class_="shelves pager", aria_label="Pages")


def _adding(site: Site) -> bytes:
    frame = Frame(site, "Add this repository", current="add.html")
    check = element(
        "p",
        "The long number is the SHA-256 of the first root of this repository, which says whose keys"
        " count. A page can be forged, so compare it with what the publisher says elsewhere:",
    )
    return frame.page(
        element(
            "div",
            element("h1", "Add this repository"),
            element("p", "Tell holdall once where the repository is and how to know it:"),
            add_command(site),
            check,
            command(site.root),
            element("h2", "Then"),
            element("dl", *_steps(site), class_="steps"),
            element("h2", "Without a network"),
            element(
                "p",
                "The repository can be copied to a stick and used from there under the same rules:"
                " give the folder as file:///path/to/folder instead of the address.",
            ),
            class_="prose",
        )
    )


def _steps(site: Site) -> Iterator[Markup]:
    steps = (
        ("Look for an app", "holdall search WORDS"),
        ("See what it takes and may do", "holdall info ID"),
        ("Install it", "holdall install ID"),
        ("Bring everything up to date", "holdall update"),
        ("Forget the repository", f"holdall remote remove {site.name}"),
    )
    for text, typed in steps:
        copied = not typed.endswith(("WORDS", "ID"))
        yield element("div", element("dt", text), element("dd", command(typed, copied=copied)))
