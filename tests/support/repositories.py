"""Repositories in tests, and the referee: python-tuf's own client, over files."""

import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient import FetcherInterface, Updater

from bundles import KEY, make_bundle
from holdall.journeys.host import Host, root_host
from holdall.journeys.repository import PublishOptions, init, publish
from holdall.journeys.repository_intake import add
from holdall.model import catalogue as catalogues
from holdall.model import offer as offers
from holdall.model.catalogue import Entry
from holdall.model.offer import Offer
from holdall.publish.repository.edition import Edition
from holdall.publish.repository.layout import Layout
from holdall.publish.repository.publishers import contents_of
from holdall.publish.repository.segments import read_segment
from holdall.system.files import write_atomic
from holdall.trust.keys import SigningKey

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class FileFetcher(FetcherInterface):
    """The files below a folder; `fetched` are their names, in order."""

    def __init__(self) -> None:
        self.fetched: list[str] = []

    def _fetch(self, url: str) -> Iterator[bytes]:
        path = Path(unquote(urlsplit(url).path))
        self.fetched.append(path.name)
        if not path.exists():
            raise DownloadHTTPError(str(path), 404)
        return iter([path.read_bytes()])


class Client:
    """A client that first trusted a repository's root.json as it is now, and remembers."""

    def __init__(self, repository: Path, memory: Path) -> None:
        self._repository = repository
        self._memory = memory
        self._root = (repository / "root.json").read_bytes()
        memory.mkdir(parents=True)

    def refresh(self, now: datetime = NOW) -> "Client":
        """Go through the client's workflow with the state there is at `now`."""
        self.fetcher = FileFetcher()
        self._updater = Updater(
            metadata_dir=str(self._memory),
            metadata_base_url=f"file://{self._repository}/metadata/",
            target_base_url=f"file://{self._repository}/targets/",
            target_dir=str(self._memory),
            fetcher=self.fetcher,
            bootstrap=self._root,
        )
        self._updater._trusted_set.reference_time = now  # noqa: SLF001 - there is no other clock
        self._updater.refresh()
        return self

    def target(self, name: str) -> bytes | None:
        """A target's bytes, or None when nobody offers it."""
        info = self._updater.get_targetinfo(name)
        if info is None:
            return None
        with tempfile.TemporaryDirectory() as folder:
            return Path(self._updater.download_target(info, f"{folder}/target")).read_bytes()

    def offer(self, app_id: str) -> Offer | None:
        """An app's offer; each content file it names is there and has the length it says."""
        data = self.target(offers.target_name(app_id))
        if data is None:
            return None
        offer = offers.parse(data, app_id)
        for item in contents_of(offer):
            assert (self._repository / item.name).stat().st_size == item.size
        return offer

    def catalogue(self) -> dict[str, Entry]:
        """What there is to search, without what is gone."""
        data = self.target(catalogues.TARGET)
        assert data is not None
        layout = Layout(str(self._repository))
        segments = catalogues.parse(data).segments
        found = catalogues.merged(read_segment(layout, segment) for segment in segments)
        return {app_id: entry for app_id, entry in found.items() if not entry.gone}


class Station:
    """A publisher's workplace: a store with keys, a repository, bundles, and a client that looks.

    Everything happens at `now`, which tests move.
    """

    def __init__(self, folder: Path, *, bits: int = 1, now: datetime = NOW) -> None:
        self.folder = folder
        self.now = now
        self.host: Host = root_host(str(folder / "store"))
        self.path = folder / "repository"
        self.made = init(str(self.path), self.host, bits=bits, now=now)
        self.keys = Path(self.made.keys)
        self.client = Client(self.path, folder / "client")

    @property
    def layout(self) -> Layout:
        """The repository's paths."""
        return Layout(str(self.path))

    def own_key(self, key: SigningKey = KEY) -> None:
        """Make `key` the user's own signing key."""
        path = self.folder / "store/keys/signing.pem"
        write_atomic(str(path), key.pem, mode=0o600)

    def bundle(
        self,
        version: str = "1.0",
        *,
        app: str = "org.example.Editor",
        keys: tuple[SigningKey, ...] = (KEY,),
        files: dict[str, bytes] | None = None,
        **fields: object,
    ) -> Path:
        """A bundle of an app; the file bin/editor has the version in it."""
        path = self.folder / "bundles" / f"{app}-{version}.holdall"
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            files = files or {"bin/editor": f"#!/bin/sh\necho {version}\n".encode()}
            make_bundle(path, files, keys=keys, id=app, version=version, **fields)  # type: ignore[arg-type]  # passed on
        return path

    def add(self, *paths: Path) -> None:
        """`repo add`."""
        add(str(self.path), [str(path) for path in paths], now=self.now)

    def publish(self, **options: object) -> Edition:
        """`repo publish`."""
        chosen = PublishOptions()._replace(**options)  # type: ignore[arg-type]  # passed on
        return publish(str(self.path), self.host, options=chosen, now=self.now)

    def later(self, days: float) -> None:
        """Let time pass."""
        self.now += timedelta(days=days)

    def look(self) -> Client:
        """What the client that was there from the beginning sees now."""
        return self.client.refresh(self.now)

    def newcomer(self) -> Client:
        """A client that sees the repository for the first time."""
        return Client(self.path, Path(tempfile.mkdtemp(dir=self.folder)) / "new").refresh(self.now)

    def versions(self, app: str = "org.example.Editor") -> list[str]:
        """The versions of an app that both clients are offered, newest first."""
        found = [
            [release.version for release in offer.releases] if offer else []
            for offer in (self.look().offer(app), self.newcomer().offer(app))
        ]
        assert found[0] == found[1]
        return found[0]


def files_of(repository: Path) -> dict[str, bytes]:
    """What a server would give of a repository, by name."""
    return {
        str(path.relative_to(repository)): path.read_bytes()
        for path in repository.rglob("*")
        if path.is_file() and ".holdall" not in path.parts
    }


def ended_at(rename: int, act: Callable[[], object]) -> bool:
    """Do something in another process that ends at its so-manieth rename; whether it came there."""
    pid = os.fork()
    if pid == 0:
        left, real = rename, os.rename

        def counting(source: str, target: str) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os._exit(9)
            real(source, target)

        os.rename = counting  # type: ignore[assignment]  # a process of its own
        try:
            act()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
