"""A publisher, a server of what was published, a user with a store: all there is to a remote."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import servers
from bundles import APP, Seen
from holdall.journeys.repository_keys import KeyChanges
from hostility import Refusal, Victim, call, differences, read_refusal
from increments import make_increment
from repositories import Station, files_of
from servers import Server


class Shop:
    """A repository named `name`, served as it was last published."""

    def __init__(self, station: Station, server: Server, name: str) -> None:
        self.station = station
        self.server = server
        self.name = name

    @property
    def fingerprint(self) -> str:
        """That of the first root."""
        return self.station.made.fingerprint

    def publish(self, *bundles: Path) -> None:
        """Add bundles, publish, and serve all of it."""
        if bundles:
            self.station.add(*bundles)
        self.station.publish()
        self.serve()

    def serve(self) -> None:
        """Serve the repository as it is now."""
        self.server.files = files_of(self.station.path)

    def bundle(self, version: str = "1.0", *, app: str = APP, **fields: object) -> Path:
        """A bundle of an app; see `Station.bundle`."""
        return self.station.bundle(version, app=app, **fields)  # type: ignore[arg-type]  # passed on

    def increment(self, old: str, new: str) -> Path:
        """The increment from one bundle that was made to another."""
        out = self.station.folder / f"{old}-{new}.inc"
        return make_increment(out, [self.bundle(old)], self.bundle(new))

    def rotate(self, role: str) -> None:
        """Change the key of a role."""
        KeyChanges(str(self.station.path), self.station.host, now=self.station.now).rotate(role)

    def asked(self) -> list[str]:
        """What was asked for since the last time."""
        names = [asked.name for asked in self.server.asked]
        self.server.asked.clear()
        self.server.sent = 0
        return names

    def content(self) -> list[str]:
        """The same, content files only."""
        return [name for name in self.asked() if name.startswith("content/")]


@contextmanager
def opened(folder: Path, name: str = "shop") -> Iterator[Shop]:
    """A shop with nothing in it, of today."""
    station = Station(folder / name, now=datetime.now(UTC))
    with servers.serving({}) as server:
        shop = Shop(station, server, name)
        shop.serve()
        yield shop


def join(user: Victim, shop: Shop) -> None:
    """Add a shop to a user's remotes."""
    user.accepts("remote", "add", shop.name, shop.server.address, "--root", shop.fingerprint)
    shop.asked()


def done(user: Victim, *argv: str | Path) -> list[dict[str, object]]:
    """What a command that must be done printed."""
    rows: list[dict[str, object]] = json.loads(user.accepts(*argv))
    return rows


def stays(user: Victim, *argv: str | Path, code: int) -> Refusal:
    """How a command failed, which must have changed nothing but what is known of remotes."""
    before = kept(user)
    refusal = fails(user, *argv, code=code)
    assert differences(before, kept(user)) == []
    return refusal


def kept(user: Victim) -> dict[str, Seen]:
    """The store and the home without what was fetched."""
    passing = (f"{user.root}/partial", f"{user.root}/state/remotes")
    return {path: seen for path, seen in user.seen().items() if not path.startswith(passing)}


def fails(user: Victim, *argv: str | Path, code: int) -> Refusal:
    """How a command failed; what it may change meanwhile is not looked at."""
    status, _, complaints = call("--json", "--root", user.root, *argv)
    assert status == code, complaints
    return read_refusal(complaints)


def versions(user: Victim) -> dict[str, object]:
    """What is installed and active, by id."""
    return {str(row["ref"]).partition("/")[0]: row["version"] for row in done(user, "list")}
