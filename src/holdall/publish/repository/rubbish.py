"""What a repository has that nobody needs any more.

Clients may still read a state that was replaced, so what it names counts as needed until a grace
period after its end; so does every file that is younger, as it may be about to be named.
"""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NamedTuple

from tuf.api.metadata import Metadata, Snapshot, TargetFile, Targets

from holdall.errors import CorruptError, NotFoundError
from holdall.model import catalogue as catalogues
from holdall.model import offer as offers
from holdall.publish.repository.layout import Layout
from holdall.publish.repository.metadata import read
from holdall.publish.repository.pending import Pending
from holdall.publish.repository.published import (
    APPS,
    Published,
    app_of,
    bins_of,
    digest_in,
    publishers_of,
    read_target,
)
from holdall.publish.repository.publishers import contents_of

_OURS = re.compile(
    r"metadata/(\d+\.[a-z0-9-]+\.json)|targets/(apps/)?[0-9a-f]{64}\.[^/]+\.json"
    r"|content/[0-9a-f]{2}/[0-9a-f]{64}\.holdall|catalogue/[0-9a-f]{64}\.json\.zst"
    r"|([a-z]+/)+\.[0-9a-f]{16}\.tmp"
)
_ROOT = re.compile(r"metadata/\d+\.root\.json")
_FOLDERS = ("metadata", "targets", "content", "catalogue")


class Rubbish(NamedTuple):
    """A file nobody needs, and its length."""

    path: str
    size: int


def rubbish(published: Published, now: datetime, grace: timedelta, *, role: str) -> list[Rubbish]:
    """The files nobody has needed for `grace`; `role` is the publisher whose copy it is, or "".

    Reads all that is published.
    """
    layout = published.layout
    needed = _Needed(published).collect(now - grace, role)
    found = []
    for path, status in _files(layout):
        name = os.path.relpath(path, layout.root)
        if path in needed or not _OURS.fullmatch(name) or _ROOT.fullmatch(name):
            continue
        if _time(status) < (now - grace).timestamp():
            found.append(Rubbish(path, status.st_size))
    return found


class _Needed:
    """The paths that states of a repository name."""

    def __init__(self, published: Published) -> None:
        self._published = published
        self._layout = published.layout
        self._paths: set[str] = set()

    def collect(self, end: datetime, role: str) -> set[str]:
        """What the present state names, what waits, and states that ended after `end`."""
        version = self._published.timestamp.signed.snapshot_meta.version
        self._add_state(version)
        while version > 1:
            with suppress(FileNotFoundError):
                if _time(os.stat(self._layout.role("snapshot", version))) < end.timestamp():
                    break
            version -= 1
            with suppress(NotFoundError, CorruptError):
                self._add_state(version)
        for name in {*self._published.publishers, *([role] if role else [])}:
            for later in range(self._published.version(name), self._published.newest(name) + 1):
                with suppress(NotFoundError, CorruptError):
                    self._add_role(name, later)
        pending = Pending(self._layout)
        for app_id in pending.app_ids():
            if offer := pending.offer(app_id):
                self._paths |= {self._layout.content(item.sha256) for item in contents_of(offer)}
        return self._paths

    def _add_state(self, version: int) -> None:
        """All that a snapshot leads to; raises NotFoundError where it is gone already."""
        path = self._layout.role("snapshot", version)
        snapshot: Metadata[Snapshot] = read(path, Snapshot)
        self._paths.add(path)

        def at(name: str) -> int:
            meta = snapshot.signed.meta.get(f"{name}.json")
            return meta.version if meta else 0

        targets = self._add_role("targets", at("targets"))
        apps = self._add_role(APPS, at(APPS))
        for name in (*publishers_of(targets), *bins_of(apps).get_roles()):
            if at(name):
                with suppress(NotFoundError):
                    self._add_role(name, at(name))

    def _add_role(self, name: str, version: int) -> Targets:
        path = self._layout.role(name, version)
        body = self._published.at(name, version).signed
        if path not in self._paths:
            self._paths.add(path)
            for target, line in body.targets.items():
                self._add_target(target, line)
        return body

    def _add_target(self, target: str, line: TargetFile) -> None:
        path = self._layout.target(target, digest_in(line))
        if path in self._paths:
            return
        self._paths.add(path)
        with suppress(NotFoundError):
            data = read_target(self._layout, target, line)
            if app_id := app_of(target):
                offer = offers.parse(data, app_id)
                self._paths |= {self._layout.content(item.sha256) for item in contents_of(offer)}
            elif target == catalogues.TARGET:
                segments = catalogues.parse(data).segments
                self._paths |= {self._layout.segment(segment) for segment in segments}


def _files(layout: Layout) -> Iterator[tuple[str, os.stat_result]]:
    for top in _FOLDERS:
        for folder, _, names in os.walk(f"{layout.root}/{top}"):
            for name in names:
                with suppress(FileNotFoundError):
                    yield f"{folder}/{name}", os.lstat(f"{folder}/{name}")


def _time(status: os.stat_result) -> float:
    """When a file came: copies keep older times of what they copy."""
    return max(status.st_mtime, status.st_ctime)
