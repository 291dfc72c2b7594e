"""What pages say of an app, and that nothing it says of itself becomes markup."""

import re
from html.parser import HTMLParser

import msgspec
import pytest

from holdall.model.manifest import About, Permissions
from holdall.model.offer import ContentFile, Offer, OfferedIncrement, OfferedRelease
from holdall.publish.site import metainfo
from holdall.publish.site.app import App, Extras, Row, Site
from holdall.publish.site.app_page import app_page
from holdall.publish.site.elements import Markup, element
from holdall.publish.site.list_pages import list_pages
from holdall.publish.site.permissions import grants
from holdall.publish.site.search_index import index_files
from holdall.publish.site.updates import updates

SITE = Site("Test Apps", "https://apps.example/", "test-apps", "ab" * 32)
APP = "org.example.Chess"
EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>&amp;\u202egpj"


class Seen(HTMLParser):
    """The elements of a page, with their attributes, and its text."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


def release(number: int, **fields: object) -> OfferedRelease:
    made = OfferedRelease(
        release=f"{number:064x}",
        arch="x86_64",
        branch="stable",
        version=f"1.{number}",
        kind="app",
        tree="sha256-4k:" + "0" * 64,
        size=30_000_000,
        entries=10,
        bundle=ContentFile(f"{number:064x}", 10_000_000, 1000),
        signers=("cd" * 32,),
        created=f"2026-0{number}-05T10:00:00+00:00",
    )
    return msgspec.structs.replace(made, **fields)


def offer(*releases: OfferedRelease, **fields: object) -> Offer:
    made = Offer(1, APP, About(name="Chess", summary="A game"), releases or (release(1),))
    return msgspec.structs.replace(made, **fields)


def seen(made: Offer, extras: Extras = Extras(), **fields: object) -> Seen:  # noqa: B008 - frozen
    options: dict[str, object] = {"others": (), **fields}
    return Seen(app_page(SITE, App(made, extras), **options))  # type: ignore[arg-type]  # passed on


def row(name: str, number: int = 0, **fields: object) -> Row:
    made = Row(f"org.example.A{number}", name, "A thing")
    return msgspec.structs.replace(made, **fields)


def test_a_page_says_what_an_app_is_and_how_to_get_it() -> None:
    page = seen(offer())
    for said in ("Chess", "A game", "holdall install org.example.Chess", "cd" * 32):
        assert said in page.text
    assert f"holdall remote add test-apps https://apps.example/ --root {'ab' * 32}" in page.text


def test_a_branch_that_is_not_stable_is_named_in_the_command() -> None:
    page = seen(offer(release(1, branch="beta")))
    assert "holdall install org.example.Chess//beta" in page.text


def test_versions_have_dates_and_sizes() -> None:
    page = seen(offer(release(2), release(1, size=999, created="")))
    for said in ("1.2", "5\u00a0February\u00a02026", "10.0\u00a0MB", "30.0\u00a0MB", "unknown"):
        assert said in page.text


def test_an_update_says_how_much_it_saves() -> None:
    new = release(2, ranges={release(1).release: 4_000_000})
    increment = OfferedIncrement(
        "x86_64", "stable", new.release, (release(1).release,), "ef" * 32, 100_000
    )
    (by_ranges,) = updates(offer(new, release(1)))
    (by_increment,) = updates(offer(new, release(1), increments=(increment,)))
    assert (by_ranges.size, by_ranges.is_increment) == (4_001_000, False)
    assert (by_increment.size, by_increment.is_increment) == (100_000, True)
    assert "99\u00a0%" in seen(offer(new, release(1), increments=(increment,))).text


def test_an_update_that_saves_nothing_is_not_shown() -> None:
    new = release(2, ranges={release(1).release: 10_000_000})
    assert updates(offer(new, release(1))) == ()


def test_a_runtime_is_a_link_where_it_is_offered_too() -> None:
    made = offer(release(1, runtime="org.example.Gtk/x86_64/23"))
    links = {link["href"] for link in seen(made, others=("org.example.Gtk",)).named("a")}
    assert "../org.example.Gtk/index.html" in links
    assert "../org.example.Gtk/index.html" not in {link["href"] for link in seen(made).named("a")}


def test_sensitive_permissions_come_first_and_are_marked() -> None:
    listed = grants(Permissions(network=True, x11=True, filesystem=("xdg-music:ro", "home")))
    assert [grant.sensitive for grant in listed] == [True, True, False, False]
    assert [grant.words for grant in listed[1:]] == [
        "Read and change all your files",
        "Use the network",
        "Read your music",
    ]


def test_no_permission_is_left_unsaid() -> None:
    everything = Permissions(
        network=True,
        ipc=True,
        x11=True,
        wayland=True,
        pulseaudio=True,
        dri=True,
        filesystem=("host", "~/.ssh", "/srv:ro", "xdg-config/app"),
        session_bus=("org.freedesktop.Flatpak", "org.example.*"),
        session_bus_own=("org.example.Chess.x",),
        system_bus=("org.freedesktop.UPower",),
    )
    assert len(grants(everything)) == 6 + 4 + 2 + 1 + 1


def evil() -> tuple[Offer, Extras]:
    """An app that has markup wherever there may be text."""
    about = About(
        name=EVIL, summary=EVIL, license=EVIL, homepage="javascript:alert(1)", developer=EVIL
    )
    first = release(
        1, version=EVIL, created=EVIL, runtime="org.example.Gtk/x86_64/23", signers=("cd" * 32,)
    )
    text = EVIL.replace("&amp;", "&amp;amp;").replace("<", "&lt;")
    body = (
        f"<name>{text}</name><summary>{text}</summary><developer><name>{text}</name></developer>"
        f"<description><p>{text}<em>{text}</em></p><ul><li>{text}</li></ul></description>"
        f"<keywords><keyword>{text}</keyword></keywords><project_license>{text}</project_license>"
        f"<categories><category>{text}</category></categories>"
        f"<screenshots><screenshot><caption>{text}</caption>"
        "<image>https://evil.example/a.png?'&quot;&gt;</image></screenshot><screenshot>"
        "<image>https://evil.example/b.png</image></screenshot></screenshots>"
        f'<releases><release version="{text.replace(chr(34), "&quot;")}" date="2026-01-01">'
        f"<description><p>{text}</p></description></release></releases>"
    )
    said = metainfo.read(f"<component>{body}</component>".encode(), "It")
    return offer(first, about=about), Extras(metainfo=said)


@pytest.mark.parametrize("told", [True, False], ids=["in metainfo", "in its manifest"])
def test_nothing_an_app_says_of_itself_becomes_markup(told: bool) -> None:  # noqa: FBT001 - a case
    made, extras = evil()
    page = seen(made, extras if told else Extras())
    assert all(
        script == {"src": "../../site/site.js", "defer": None} for script in page.named("script")
    )
    assert not page.named("style")
    assert not [
        tag
        for tag, attributes in page.elements
        if any(name.startswith("on") or name == "style" for name in attributes)
    ]
    assert not page.named("img")[1:]
    assert "<script>alert(1)</script>" in page.text
    assert "\u202e" not in page.text
    links = [link["href"] or "" for link in page.named("a")]
    assert not [link for link in links if re.match(r"\s*(javascript|data):", link, re.IGNORECASE)]


def test_a_pages_policy_lets_only_its_own_files_run() -> None:
    made, extras = evil()
    policies = [
        attributes["content"] or ""
        for attributes in seen(made, extras).named("meta")
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    expected = (
        "default-src 'none'; img-src 'self' https://evil.example; style-src 'self'; "
        "script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'"
    )
    assert policies == [expected]


def test_an_element_escapes_all_but_markup() -> None:
    made = element("p", "<&>", Markup("<b>x</b>"), title="\"'", hidden=True, lang=None)
    assert made.code == '<p title="&quot;&#39;" hidden>&lt;&amp;&gt;<b>x</b></p>'


def test_lists_are_cut_into_pages_by_letter_and_category() -> None:
    rows = [row(f"{chr(97 + n % 3)}pp {n:03}", n, categories=("Game",)) for n in range(450)]
    pages = dict(list_pages(SITE, [*rows, row("Éclair", 998), row("9 lives", 999)]))
    assert {name for name in pages if "category" not in name} == {
        *("index.html", "add.html", "browse/0.html", "browse/e.html"),
        *(f"browse/{letter}{end}.html" for letter in "abc" for end in ("", "-2")),
    }
    assert sum(name.startswith("browse/category-games") for name in pages) == 4
    links = {link["href"] for link in Seen(pages["index.html"]).named("a")}
    assert {"browse/a.html", "browse/e.html", "browse/0.html"} <= links
    assert "Éclair" in Seen(pages["browse/e.html"]).text


def test_a_short_list_stands_on_the_front_page() -> None:
    pages = dict(list_pages(SITE, [row("One", 1), row("Two", 2)]))
    links = {link["href"] for link in Seen(pages["index.html"]).named("a")}
    assert {"apps/org.example.A1/index.html", "apps/org.example.A2/index.html"} <= links


def test_runtimes_are_not_among_the_apps() -> None:
    pages = dict(list_pages(SITE, [row("One", 1), row("Two", 2, kind="runtime")]))
    assert "apps/org.example.A2/index.html" not in pages["index.html"].decode()
    assert "apps/org.example.A2/index.html" in pages["browse/runtimes.html"].decode()


def test_a_change_leaves_most_of_a_large_index_as_it_was() -> None:
    rows = [row(f"App {number}", number) for number in range(10_000)]
    before = dict(index_files(rows))
    after = dict(index_files([*rows[:-1], row("Changed", 9_999)]))
    assert len(before) == 17
    assert len(before.keys() & after.keys()) == 16
    assert max(map(len, before.values())) < 100_000


def test_the_same_apps_give_the_same_pages() -> None:
    rows = [row(f"App {number}", number) for number in range(100)]
    assert list(list_pages(SITE, rows)) == list(list_pages(SITE, rows[::-1]))
