"""Making a repository's pages of what it hands out; what did not change is not made again."""

import os
import re
from collections.abc import Iterator
from hashlib import sha256
from typing import NamedTuple

from holdall.errors import NotFoundError, UsageError
from holdall.journeys.host import Event, Report, silent
from holdall.journeys.showcase import Shelf
from holdall.model import offer as offers
from holdall.model.offer import OfferedRelease, target_name
from holdall.model.ref import Ref
from holdall.publish.repository.layout import Layout, holding
from holdall.publish.repository.published import Published, app_of, digest_in
from holdall.publish.site import appstream, plain_text
from holdall.publish.site.app import App, Site, newest
from holdall.publish.site.folder import Folder, Record, State, load, save
from holdall.publish.site.site import app_files, key_of, shared_files
from holdall.store.remotes import checked_name
from holdall.system.files import each_child, plain_errors, read_regular

_PICTURE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}\.(?:png|jpe?g|webp|avif)")
_PICTURES = 12


class SiteOptions(NamedTuple):
    """How pages present the repository; what is empty is worked out.

    `address` is where the repository is served, `out` where the pages go instead of into it.
    """

    title: str = ""
    address: str = ""
    name: str = ""
    out: str = ""
    wait: float = 0.0


DEFAULT = SiteOptions()


class SiteMade(NamedTuple):
    """What was done: apps in all and those made anew, files written and removed."""

    path: str
    apps: int
    made: int
    written: int
    removed: int


def make_site(folder: str, options: SiteOptions = DEFAULT, report: Report = silent) -> SiteMade:
    """Write the pages and the AppStream catalogue of the repository `folder`.

    Raises NotFoundError where there is none, UsageError for options that make no sense, BusyError.
    """
    layout = Layout(os.path.abspath(folder))
    out = os.path.abspath(options.out) if options.out else layout.root
    with plain_errors(f"The pages of {folder} cannot be made"), holding(layout, wait=options.wait):
        return _Run(layout, _site(layout, options), out, report).all()


def _site(layout: Layout, options: SiteOptions) -> Site:
    address = plain_text.web_address(options.address)
    if options.address and (not address or {"?", "#"} & set(address)):
        raise UsageError(f"{options.address!r} is not the address of a folder on a web server.")
    if options.out and not address:
        raise UsageError("Say with --base-url where the repository is, as its pages are elsewhere.")
    if address and not address.endswith("/"):
        address += "/"
    host = plain_text.origin(address).partition("://")[2].partition(":")[0] if address else ""
    title = plain_text.line(options.title, 80) or host or "Apps"
    name = options.name or re.sub("[^a-z0-9]+", "-", title.lower()).strip("-")[:40] or "apps"
    checked_name(name)
    root = read_regular(layout.trusted_root, limit=2**20)
    pages = "" if options.out else address
    return Site(title, address, name, sha256(root).hexdigest(), pages)


class _Run:
    """One making of the pages."""

    def __init__(self, layout: Layout, site: Site, out: str, report: Report) -> None:
        self._layout = layout
        self._site = site
        self._report = report
        self._state_path = f"{out}/.holdall/site"
        self._state = load(self._state_path)
        self._folder = Folder(out, self._state.files)
        self._shelf = Shelf(f"{layout.own}/site-cache", report)
        self._made = 0

    def all(self) -> SiteMade:
        """Make everything."""
        self._folder.check()
        roles = dict(self._roles())
        offered = {app_id: digest for _, apps in roles.values() for app_id, digest in apps.items()}
        apps = dict(self._records(offered))
        components = [apps[app_id].component for app_id in sorted(apps)]
        rows = [record.row for record in apps.values()]
        shared = {
            name: self._folder.put(name, data)
            for name, data in shared_files(self._site, rows, components)
        }
        state = State(root=self._site.root, roles=roles, apps=apps, shared=shared)
        self._folder.drop(sorted(self._state.files.keys() - state.files.keys()))
        if state != self._state:
            save(self._state_path, state)
        self._shelf.keep({record.release for record in apps.values()})
        folder = self._folder
        return SiteMade(folder.root, len(apps), self._made, folder.written, folder.removed)

    def _roles(self) -> Iterator[tuple[str, tuple[int, dict[str, str]]]]:
        """The apps each role answers for, with the digests of their offers; by role's version."""
        published = Published(self._layout)
        publishers = published.publishers
        known = self._state.roles if self._state.root == self._site.root else {}
        for name in (*publishers, *published.bins.get_roles()):
            version = published.version(name)
            if version == 0:
                continue
            if name in known and known[name][0] == version and not publishers:
                yield name, known[name]
                continue
            targets = published.at(name, version).signed.targets
            listed = {
                app_id: digest_in(target)
                for path, target in targets.items()
                if (app_id := app_of(path)) and published.answering(path) == name
            }
            yield name, (version, listed)

    def _records(self, offered: dict[str, str]) -> Iterator[tuple[str, Record]]:
        self._report(Event(f"Looking at {len(offered)} apps"))
        for app_id, digest in sorted(offered.items()):
            record = self._state.apps.get(app_id)
            own = self._pictures(app_id)
            others = offered.keys() & record.needs if record else frozenset()
            key = key_of(self._site, digest, others=others, own=own)
            if record is None or record.key != key or not self._folder.has(record.files):
                record = self._record(app_id, digest, offered, own)
            if record is not None:
                yield app_id, record

    def _record(
        self, app_id: str, digest: str, offered: dict[str, str], own: tuple[str, ...]
    ) -> Record | None:
        """What is made anew for an app; None for one that offers nothing any more."""
        path = self._layout.target(target_name(app_id), digest)
        try:
            offer = offers.parse(read_regular(path, limit=offers.MAX_BYTES), app_id)
        except FileNotFoundError as error:
            raise NotFoundError(f"The repository lacks {path}.") from error
        if not offer.releases:
            return None
        shown = newest(offer)
        extras = self._shelf.extras(shown.release, self._layout.content(shown.bundle.sha256))
        app = App(offer, extras)
        needs = _needs(shown)
        others = offered.keys() & needs
        files = {
            name: self._folder.put(name, data)
            for name, data in app_files(self._site, app, others=others, own=own)
        }
        self._made += 1
        return Record(
            key=key_of(self._site, digest, others=others, own=own),
            release=shown.release,
            row=app.row,
            component=appstream.component(self._site, app),
            files=files,
            needs=needs,
        )

    def _pictures(self, app_id: str) -> tuple[str, ...]:
        """Pictures the publisher has put beside the pages, as paths from the top."""
        folder = f"media/{app_id}"
        names = each_child(
            f"{self._folder.root}/{folder}", lambda name: bool(_PICTURE.fullmatch(name))
        )
        return tuple(f"{folder}/{name}" for name in names[:_PICTURES])


def _needs(release: OfferedRelease) -> frozenset[str]:
    """The ids an app's page links to where they have pages."""
    return frozenset() if release.runtime == "host" else frozenset((Ref.parse(release.runtime).id,))
