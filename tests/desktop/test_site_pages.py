"""A repository's pages in a browser: searched, walked by keys, read on a phone and in the dark."""

import functools
import http.server
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Page,
    Request,
    ViewportSize,
    sync_playwright,
)

from repositories import Station
from storefront import CHESS, MINES, add_app, make
from surroundings import Require

pytestmark = [pytest.mark.integration, pytest.mark.slow]

NAMES = ("Abacus", "Budget", "Calendar", "Ébauche", "Drawing", "Envelope", "Fishbowl")
PAGES = ("index.html", "add.html", f"apps/{CHESS}/index.html", "browse/category-games.html")
PHONE: ViewportSize = {"width": 360, "height": 740}
LONG = "Supercalifragilisticexpialidocious" * 3

# What is read of a page: every piece of text with its colour and that of what is behind it.
_TEXTS = """() => {
  const found = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const own = walk.currentNode.parentElement;
    const text = walk.currentNode.textContent.trim();
    if (!text || !own.offsetParent || own.closest(".unseen, noscript, .skip")) continue;
    let behind = own;
    while (behind && /, 0\\)$|transparent/.test(getComputedStyle(behind).backgroundColor))
      behind = behind.parentElement;
    found.push([text.slice(0, 40), getComputedStyle(own).color,
                getComputedStyle(behind ?? document.documentElement).backgroundColor]);
  }
  return found;
}"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, without a log."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named so there
        """Say nothing."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the pages of a repository are served."""
    station = Station(tmp_path_factory.mktemp("site"))
    grants = {"x11": True, "network": True, "filesystem": ["home"], "session-bus": [f"org.{LONG}"]}
    add_app(station, permissions=grants)
    add_app(station, version="2.0", permissions=grants)
    add_app(station, MINES, name="Mines", summary="Do not step on them")
    for name in NAMES:
        add_app(station, f"org.example.{name.replace('É', 'E')}", name=name, summary=LONG)
    station.publish()
    make(station)
    handler = functools.partial(_Quiet, directory=str(station.path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser(require: Require) -> Iterator[Browser]:
    """Chromium without a window."""
    program = str(require("chromium"))
    # as root, Chromium starts without its own sandbox only
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


class Visit:
    """A page in a window of its own; whatever it complains of and asks others for is noted."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.address = address
        self.complaints: list[str] = []
        self.strangers: list[str] = []
        self.page: Page = context.new_page()
        self.page.on("console", lambda said: self.complaints.append(said.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._asked)

    def _asked(self, request: Request) -> None:
        if not request.url.startswith(self.address):
            self.strangers.append(request.url)

    def go(self, name: str = "") -> Page:
        """Open a page and let it settle."""
        self.page.goto(self.address + name)
        self.page.wait_for_load_state("networkidle")
        return self.page

    def search(self, words: str) -> list[str]:
        """Type into the search on the front page; the names that are found."""
        page = self.go()
        page.fill("#search", words)
        page.wait_for_function(
            "words => document.getElementById('found').textContent.includes(words)", arg=words
        )
        return page.locator("#results b").all_inner_texts()


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    """A window of ordinary size; nothing may go wrong in it."""
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    context.set_default_timeout(100_000)
    visit = Visit(context, address)
    yield visit
    context.close()
    assert not visit.complaints
    assert not visit.strangers


def focused(page: Page) -> str:
    """What has the keyboard: the name of the app whose card it is, or an id."""
    said: object = page.evaluate(
        "() => document.activeElement.matches('.card')"
        " ? document.activeElement.querySelector('b').textContent : document.activeElement.id"
    )
    return str(said)


def test_search_finds_by_name_keyword_and_without_accents(visit: Visit) -> None:
    assert visit.search("min") == ["Mines"]
    assert visit.search("ebau") == ["Ébauche"]
    assert visit.search("CHESS")[0] == "Chess"
    assert len(visit.search("castling")) == len(NAMES) + 2
    assert visit.search("do step") == ["Mines"]
    assert visit.search("nothing such") == []


def test_a_search_can_be_linked_to_and_cleared(visit: Visit) -> None:
    page = visit.go("index.html?q=mines")
    page.wait_for_selector("#results b")
    assert page.locator("#found").inner_text() == "1 app for “mines”"
    page.fill("#search", "")
    assert page.locator("#browse").is_visible()
    assert page.url == f"{visit.address}index.html"


def test_a_search_from_another_page_leads_to_the_front(visit: Visit) -> None:
    page = visit.go(f"apps/{CHESS}/index.html")
    page.keyboard.press("/")
    page.keyboard.type("mines")
    page.keyboard.press("Enter")
    page.wait_for_selector("#results b")
    assert page.url == f"{visit.address}index.html?q=mines"


def test_markup_in_a_search_stays_text(visit: Visit) -> None:
    page = visit.go("index.html?q=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
    page.wait_for_function("() => document.getElementById('found').textContent")
    assert page.locator("#found").inner_text().endswith("“<img src=x onerror=alert(1)>”")
    assert page.locator("main img[src=x]").count() == 0


def test_keys_lead_from_the_search_to_an_app(visit: Visit) -> None:
    page = visit.go()
    page.keyboard.press("/")
    assert focused(page) == "search"
    page.keyboard.type("example")
    page.wait_for_selector("#results b")
    names = page.locator("#results b").all_inner_texts()
    seen = []
    for key in ("ArrowDown", "ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
        seen.append(focused(page))
    assert seen[:2] == names[:2]
    assert seen[5] == "search"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/apps/**")
    assert page.locator("h1").inner_text() == names[0]


def test_the_first_tab_skips_to_the_content(visit: Visit) -> None:
    page = visit.go()
    page.keyboard.press("Tab")
    skip = page.locator(".skip")
    page.wait_for_function("() => document.querySelector('.skip').getBoundingClientRect().top >= 0")
    assert skip.inner_text() == "Skip to content"
    page.keyboard.press("Enter")
    assert focused(page) == "content"


def test_what_has_the_keyboard_shows_it(visit: Visit) -> None:
    page = visit.go()
    for _ in range(8):
        page.keyboard.press("Tab")
        style = page.evaluate(
            "() => { const s = getComputedStyle(document.activeElement);"
            " return [s.outlineStyle, parseFloat(s.outlineWidth)]; }"
        )
        assert style[0] == "solid"
        assert style[1] >= 2


def test_a_command_is_copied(browser: Browser, address: str) -> None:
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = Visit(context, address).go(f"apps/{CHESS}/index.html")
    page.locator(".install > .command .copy").click()
    page.wait_for_selector("text=Copied")
    assert page.evaluate("() => navigator.clipboard.readText()") == f"holdall install {CHESS}"
    context.close()


def test_the_command_to_add_the_repository_has_the_address_it_is_served_from(visit: Visit) -> None:
    page = visit.go("add.html")
    command = page.locator("pre").first.text_content() or ""
    assert re.fullmatch(
        f"holdall remote add test-apps {re.escape(visit.address)} --root [0-9a-f]{{64}}", command
    )


def test_screenshots_elsewhere_are_fetched_when_asked_for(browser: Browser, address: str) -> None:
    context = browser.new_context()
    context.route("https://pictures.invalid/**", lambda route: route.abort())
    visit = Visit(context, address)
    page = visit.go(f"apps/{CHESS}/index.html")
    before = list(visit.strangers)
    with page.expect_request("https://pictures.invalid/**"):
        page.get_by_role("button", name="Show the screenshot").click()
    assert before == []
    assert visit.strangers == [f"https://pictures.invalid/{CHESS}.png"]
    context.close()


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_a_phone_and_can_be_read(
    browser: Browser, address: str, name: str, scheme: str
) -> None:
    dark = scheme == "dark"
    context = browser.new_context(viewport=PHONE, color_scheme="dark" if dark else "light")
    visit = Visit(context, address)
    page = visit.go(name)
    for summary in page.locator("summary").all():
        summary.click()
    width = page.evaluate("() => document.documentElement.scrollWidth")
    texts = page.evaluate(_TEXTS)
    context.close()
    assert width <= PHONE["width"]
    assert len(texts) > 5
    assert not [found for found in texts if contrast(found[1], found[2]) < 4.5]
    assert not visit.complaints
    assert not visit.strangers


def test_it_is_dark_where_dark_is_wanted(browser: Browser, address: str) -> None:
    brightness = []
    for scheme in ("light", "dark"):
        dark = scheme == "dark"
        context = browser.new_context(color_scheme="dark" if dark else "light")
        page = Visit(context, address).go()
        colour = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        brightness.append(luminance(str(colour)))
        context.close()
    assert brightness[0] > 0.9
    assert brightness[1] < 0.02


def test_without_scripts_there_are_still_lists_and_pages(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = Visit(context, address).go()
    assert not page.locator("#search").is_visible()
    page.get_by_role("link", name="Games").click()
    page.get_by_role("link", name="Mines").click()
    assert page.locator("h1").inner_text() == "Mines"
    assert page.locator(".elsewhere a").first.is_visible()
    assert not page.locator(".copy").first.is_visible()
    context.close()


def test_styles_and_scripts_are_small() -> None:
    import holdall.publish.site as package

    assets = Path(package.__path__[0], "assets")
    assert sum((assets / name).stat().st_size for name in ("style.css", "site.js")) < 30_000


def luminance(colour: str) -> float:
    """The relative luminance of a computed colour (WCAG 2.2)."""
    channels = [float(number) / 255 for number in re.findall(r"[\d.]+", colour)[:3]]
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in channels
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two computed colours (WCAG 2.2)."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)
