"""The page of an app."""

from collections.abc import Collection, Iterator

from holdall.model.offer import OfferedRelease
from holdall.model.ref import Ref
from holdall.publish.site import words
from holdall.publish.site.app import App, Site
from holdall.publish.site.elements import Content, Markup, element, joined
from holdall.publish.site.frame import ADDRESS, Frame, command, picture
from holdall.publish.site.metainfo import News, Prose, Run, Screenshot
from holdall.publish.site.permissions import Grant, grants
from holdall.publish.site.plain_text import origin
from holdall.publish.site.updates import Update, updates

_UP = "../../"
_SHOWN = 8
_NUMBERS = frozenset(("Download", "Installed", "Saved"))
_LINKS = {
    "homepage": "Website",
    "bugtracker": "Report a problem",
    "help": "Help",
    "faq": "Questions and answers",
    "donation": "Donate",
    "translate": "Translate",
    "vcs-browser": "Source code",
    "contribute": "Contribute",
    "contact": "Contact",
}


def app_page(site: Site, app: App, *, others: Collection[str], own: tuple[str, ...] = ()) -> bytes:
    """The page's bytes.

    `others` are the ids that have pages; `own` are pictures beside the repository to be shown
    instead of the app's screenshots elsewhere, as paths from the top.
    """
    elsewhere = () if own else app.metainfo.screenshots
    frame = Frame(
        site,
        app.name,
        up=_UP,
        summary=app.summary,
        pictures=tuple(dict.fromkeys(origin(item.address) for item in elsewhere)),
    )
    return frame.page(
        _hero(app),
        element(
            "div",
            _install(site, app),
            element("div", *_story(app, elsewhere, own, others), class_="story"),
            element("div", *_side(app), class_="side"),
            class_="columns",
        ),
    )


def _hero(app: App) -> Markup:
    return element(
        "div",
        picture(app.row, _UP, 96),
        element(
            "div",
            element("h1", app.name, dir="auto"),
            element("p", app.summary, class_="lead", dir="auto") if app.summary else None,
            element("p", "by ", element("bdi", app.developer), class_="by")
            if app.developer
            else None,
        ),
        class_="hero",
    )


def _story(
    app: App, elsewhere: tuple[Screenshot, ...], own: tuple[str, ...], others: Collection[str]
) -> Iterator[Content]:
    if own:
        yield _own_pictures(app, own)
    elif elsewhere:
        yield _pictures_elsewhere(elsewhere)
    if description := app.metainfo.descriptions.get("", ()):
        yield _section("About", *_prose(description))
    news = [item for item in app.metainfo.news if item.prose][:3]
    if news:
        yield _section("What is new", *map(_news, news))
    yield _section("Versions", *_versions(app))
    if made := updates(app.offer):
        yield _section("Updates", *_updates(made))
    yield _section("Details", element("dl", *_details(app, others), class_="facts"))


def _section(title: str, *content: Content, class_: str | None = None) -> Markup:
    return element("section", element("h2", title), *content, class_=class_)


def _own_pictures(app: App, own: tuple[str, ...]) -> Markup:
    pictures = [
        element(
            "a",
            element(
                "img",
                src=f"{_UP}{path}",
                alt=f"Screenshot {number} of {app.name}",
                loading="lazy",
                decoding="async",
            ),
            href=f"{_UP}{path}",
        )
        for number, path in enumerate(own, 1)
    ]
    strip = element("div", *pictures, class_="shots", tabindex="0", role="group")
    return element("section", element("h2", "Screenshots", class_="unseen"), strip)


def _pictures_elsewhere(shots: tuple[Screenshot, ...]) -> Markup:
    """Links to screenshots; only whoever asks for them has them fetched."""
    hosts = dict.fromkeys(origin(shot.address).partition("://")[2] for shot in shots)
    count = len(shots)
    links = [
        element(
            "a",
            element("span", shot.caption or f"Screenshot {number}", dir="auto"),
            href=shot.address,
            rel="noopener noreferrer nofollow",
            data_shot=True,
            data_width=str(shot.width) if shot.width else None,
            data_height=str(shot.height) if shot.height else None,
        )
        for number, shot in enumerate(shots, 1)
    ]
    text = f"Show {count} screenshots" if count > 1 else "Show the screenshot"
    button = element("button", text, type="button", class_="show", data_shots=True)
    where = f"From {', '.join(list(hosts)[:3])}; nothing is fetched from there before."
    return element(
        "section",
        element("h2", "Screenshots"),
        element("p", button, element("span", where, class_="quiet"), class_="ask"),
        element("div", *links, class_="shots elsewhere", role="group"),
    )


def _prose(prose: Prose) -> Iterator[Markup]:
    for block in prose:
        if block.kind == "p":
            yield element("p", *map(_run, block.items[0]), dir="auto")
        else:
            items = (element("li", *map(_run, item), dir="auto") for item in block.items)
            yield element(block.kind, *items)


def _run(run: Run) -> Content:
    return element(run.style, run.text) if run.style else run.text


def _news(news: News) -> Markup:
    return element(
        "article",
        element(
            "h3",
            element("bdi", news.version),
            element("span", " ", _time(news.date), class_="quiet") if news.date else None,
        ),
        *_prose(news.prose),
    )


def _time(day: str) -> Markup:
    return element("time", words.day(day), datetime=day)


def _versions(app: App) -> Iterator[Content]:
    releases = app.offer.releases
    lines = len({(release.arch, release.branch) for release in releases}) > 1
    yield _release_table(releases[:_SHOWN], lines=lines)
    if older := releases[_SHOWN:]:
        yield element(
            "details",
            element("summary", f"{len(older)} older"),
            _release_table(older, lines=lines),
        )


def _release_table(releases: tuple[OfferedRelease, ...], *, lines: bool) -> Markup:
    head = _head("Version", "Date", "Download", "Installed")
    rows = [
        element(
            "tr",
            element(
                "th",
                element("bdi", release.version),
                element("small", f"{release.branch}, {release.arch}") if lines else None,
                scope="row",
            ),
            _cell(
                _time(day) if (day := words.day_of(release.created)) else "unknown", number=False
            ),
            _cell(words.size(release.bundle.size)),
            _cell(words.size(release.size)),
        )
        for release in releases
    ]
    return element("table", head, element("tbody", *rows))


def _head(*titles: str) -> Markup:
    cells = (
        element("th", title, scope="col", class_="n" if title in _NUMBERS else None)
        for title in titles
    )
    return element("thead", element("tr", *cells))


def _cell(content: Content, *, number: bool = True) -> Markup:
    return element("td", content, class_="n" if number else None)


def _updates(made: tuple[Update, ...]) -> Iterator[Content]:
    yield element(
        "p",
        "An update fetches the least there is: an increment, or only the parts that changed.",
        class_="quiet",
    )
    count = min(_SHOWN, sum(item.to_newest for item in made)) or _SHOWN
    yield _update_table(made[:count])
    if more := made[count:]:
        yield element("details", element("summary", f"{len(more)} more"), _update_table(more))


def _update_table(made: tuple[Update, ...]) -> Markup:
    rows = [
        element(
            "tr",
            element(
                "th",
                element("bdi", item.old),
                element("span", " → ", aria_label="to"),
                element("bdi", item.new),
                element("small", ", ".join(filter(None, (item.line, item.way)))),
                scope="row",
            ),
            _cell(words.size(item.size)),
            _cell(_saved(item)),
        )
        for item in made
    ]
    head = _head("From → to", "Download", "Saved")
    return element("table", head, element("tbody", *rows))


def _saved(item: Update) -> Markup:
    share = words.saved(item.size, item.full)
    return element("span", f"{share}\u00a0%", class_=f"saved q{min(9, share // 10)}")


def _side(app: App) -> Iterator[Markup]:
    yield _section("Permissions", *_permissions(app), class_="box")
    links = [
        element("li", element("a", text, href=address, rel="noopener noreferrer nofollow"))
        for kind, text in _LINKS.items()
        if (address := app.homepage if kind == "homepage" else app.metainfo.links.get(kind))
    ]
    if links:
        yield _section("Links", element("ul", *links, class_="plain"), class_="box")


def _install(site: Site, app: App) -> Markup:
    install = f"holdall install {app.id}"
    if app.newest.branch != "stable":
        install += f"//{app.newest.branch}"
    size = f"{words.size(app.newest.bundle.size)} to fetch, {words.size(app.newest.size)} installed"
    return _section(
        "Install",
        command(install),
        element("p", size, class_="quiet"),
        element(
            "details",
            element("summary", "First time here?"),
            element("p", "Add this repository once:"),
            add_command(site),
            element("p", element("a", "What this does", href=f"{_UP}add.html"), class_="quiet"),
        ),
        class_="box install",
    )


def add_command(site: Site) -> Markup:
    """How to add the repository, from where it is served if the publisher has not said where."""
    return command(f"holdall remote add {site.name} {site.address or ADDRESS} --root {site.root}")


def _permissions(app: App) -> Iterator[Content]:
    if app.newest.kind == "runtime":
        yield element("p", "A runtime has none: apps that run on it have their own.")
        return
    listed = grants(app.newest.permissions)
    if not listed:
        yield element("p", "None: it sees nothing outside its sandbox.")
        return
    sensitive = [grant for grant in listed if grant.sensitive]
    others = [grant for grant in listed if not grant.sensitive]
    if sensitive:
        yield element("h3", "Sensitive", class_="mark")
        yield element("ul", *map(_grant, sensitive), class_="grants sensitive")
    if sensitive and others:
        yield element("h3", "Also", class_="also")
    if others:
        yield element("ul", *map(_grant, others), class_="grants")


def _grant(grant: Grant) -> Markup:
    detail = element("small", grant.detail) if grant.detail else None
    return element("li", element("span", grant.words), detail)


def _details(app: App, others: Collection[str]) -> Iterator[Markup]:
    newest = app.newest
    facts: list[tuple[str, Content]] = [
        ("Version", newest.version),
        ("Kind", "Runtime, for other apps" if newest.kind == "runtime" else None),
        ("Runs on", _runtime(newest, others) if newest.kind == "app" else None),
        ("License", app.license or None),
        ("Id", element("code", app.id)),
        ("Made for", ", ".join(dict.fromkeys(item.arch for item in app.offer.releases))),
        ("Signed by", _signers(newest)),
    ]
    for name, value in facts:
        if value is not None:
            wide = "wide" if name == "Signed by" else None
            yield element("div", element("dt", name), element("dd", value), class_=wide)


def _runtime(release: OfferedRelease, others: Collection[str]) -> Content:
    if release.runtime == "host":
        return "the libraries of your system"
    ref = Ref.parse(release.runtime)
    text = f"{ref.id} {ref.branch}"
    if ref.id not in others:
        return text
    return element("a", text, href=f"../{ref.id}/index.html")


def _signers(release: OfferedRelease) -> Content:
    if not release.signers:
        return None
    return joined(element("code", signer, class_="key") for signer in release.signers)
