"""Searching the catalogues of all remotes.

What was fetched within the hour is searched as it is, and then nothing costly is imported.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from holdall.errors import DeniedError, NetworkError, NotFoundError, UsageError
from holdall.journeys.host import Event, Host, Report, silent
from holdall.model.catalogue import Entry
from holdall.store import remotes as records
from holdall.store.remotes import Remote

FRESH = 3600.0


class Found(NamedTuple):
    """An app that a search found.

    `version`, `size` (installed) and `download` are of the ref; `installed` is the version this
    store has of it, or "".
    """

    id: str
    ref: str
    version: str
    name: str
    summary: str
    developer: str
    kind: str
    remote: str
    size: int
    download: int
    installed: str


def search(
    words: Sequence[str],
    host: Host,
    *,
    remote: str = "",
    refresh: bool = False,
    report: Report = silent,
) -> list[Found]:
    """The apps in whose id, name, summary or developer every word is; the best first.

    Catalogues older than an hour are brought up to date; where that cannot be done, loudly, the
    old ones are searched. Raises NotFoundError where there is no remote, and what keeps a remote
    without any catalogue from giving one.
    """
    wanted = tuple(word.casefold() for word in words)
    if not any(wanted):
        raise UsageError("Say what to search for.")
    known = [records.find(host.layout, remote)] if remote else records.remotes(host.layout)
    if not known:
        raise NotFoundError(records.NONE)
    installed = _installed(host)
    found: list[tuple[int, Found]] = []
    for one, entries in _current(known, host, report, refresh=refresh):
        found += [
            (rank, item)
            for entry in entries
            if (rank := _rank(entry, wanted)) is not None
            for item in _described(entry, one, installed)
        ]
    found.sort(key=lambda pair: (pair[0], pair[1].id.casefold(), pair[1].ref, pair[1].remote))
    return [item for _, item in found]


def entries_of(remote: Remote) -> list[Entry] | None:
    """All apps in a remote's catalogue, sorted by id; None where it was not fetched yet."""
    try:
        with open(f"{remote.catalogue}/entries", "rb") as file:
            return msgspec.msgpack.decode(file.read(), type=list[Entry])
    except (OSError, msgspec.MsgspecError):
        return None


def _current(
    known: list[Remote], host: Host, report: Report, *, refresh: bool
) -> Iterator[tuple[Remote, list[Entry]]]:
    """What each remote has, as new as can be had."""
    now = time.time()
    for remote in known:
        entries = entries_of(remote)
        before = records.freshness(remote)
        if entries is not None and not refresh and before.has_catalogue(FRESH, now):
            yield remote, entries
            continue
        try:
            _bring(remote, host, report, anew=entries is None)
        except (NetworkError, DeniedError) as error:
            if entries is None:
                raise
            when = _ago(before.catalogued, now)
            report(Event(f"{error} What {remote.name} had {when} is searched.", loud=True))
            yield remote, entries
        else:
            yield remote, entries_of(remote) or []


def _bring(remote: Remote, host: Host, report: Report, *, anew: bool) -> None:
    """Bring a catalogue up to date."""
    from holdall.journeys.refreshing import asking, bring_catalogue, connecting

    with (
        connecting(host, [remote.name]) as connections,
        asking(host, connections, report) as answers,
    ):
        bring_catalogue(connections[0], answers.trusted[remote.name], anew=anew)


def _ago(then: float, now: float) -> str:
    days = int((now - then) // 86400)
    if then <= 0 or days < 0:
        return "before"
    return f"{days} days ago" if days > 1 else "a day ago" if days else "earlier today"


def _rank(entry: Entry, words: Iterable[str]) -> int | None:
    """How well an app fits, 0 best; None where a word is nowhere."""
    name, app_id = entry.name.casefold(), entry.id.casefold()
    rest = f"{entry.summary}\n{entry.developer}".casefold()
    rank = 0
    for word in words:
        if word in {name, app_id, app_id.rpartition(".")[2]}:
            continue
        if name.startswith(word) or f".{word}" in app_id:
            rank += 1
        elif word in name or word in app_id:
            rank += 2
        elif word in rest:
            rank += 10
        else:
            return None
    return rank


def _installed(host: Host) -> dict[str, str]:
    """Versions by ref."""
    found = {}
    for ref in host.catalog.refs():
        if active := host.catalog.active(ref):
            found[str(ref)] = active.version
    return found


def _described(entry: Entry, remote: Remote, installed: Mapping[str, str]) -> Iterable[Found]:
    """An app's newest version for each ref."""
    for line, version in sorted(entry.refs.items()):
        ref = f"{entry.id}/{line}"
        yield Found(
            entry.id,
            ref,
            version.version,
            entry.name,
            entry.summary,
            entry.developer,
            entry.kind,
            remote.name,
            version.size,
            version.download,
            installed.get(ref, ""),
        )
