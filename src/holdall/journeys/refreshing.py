"""Asking remotes: what each of them says now, checked, with those left out that cannot be asked."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from holdall.delivery.remote.transport import Transport, open_transport
from holdall.errors import CorruptError, HoldallError, NotFoundError
from holdall.journeys.host import Event, Host, Report
from holdall.store import remotes as records
from holdall.store.guard import check_ours
from holdall.store.remotes import Freshness, Remote
from holdall.system.files import plain_errors, read_regular

if TYPE_CHECKING:
    from holdall.delivery.remote.trusted import Trusted

_MAX_ROOT = 2**16


class Connection(NamedTuple):
    """A remote, and a way to its files."""

    remote: Remote
    transport: Transport


class Answers(NamedTuple):
    """What remotes say, by name; and why others, which were asked too, say nothing."""

    trusted: "dict[str, Trusted]"
    failures: dict[str, HoldallError]


@contextmanager
def connecting(host: Host, names: Sequence[str] = ()) -> Iterator[tuple[Connection, ...]]:
    """Ways to all remotes, or to those named; nothing is asked yet.

    Raises NotFoundError where there are none.
    """
    wanted = [records.find(host.layout, name) for name in dict.fromkeys(names)]
    found = wanted or records.remotes(host.layout)
    if not found:
        raise NotFoundError(records.NONE)
    with ExitStack() as stack:
        connections = [
            Connection(remote, stack.enter_context(closing(open_transport(remote.url))))
            for remote in found
        ]
        yield tuple(connections)


@contextmanager
def asking(
    host: Host, connections: Sequence[Connection], report: Report, *, quiet: bool = False
) -> Iterator[Answers]:
    """Ask remotes what is new, and hold their locks meanwhile.

    One that cannot be asked is left out, loudly unless `quiet`. Raises its error where no other
    one is left.
    """
    answers = Answers({}, {})
    with ExitStack() as stack:
        with plain_errors(f"The store {host.layout.root} cannot be used"):
            check_ours(host.layout)
        for connection in connections:
            name = connection.remote.name
            try:
                stack.enter_context(records.holding(connection.remote, wait=host.wait))
                answers.trusted[name] = refreshed(connection)
            except HoldallError as error:
                answers.failures[name] = error
        if not answers.trusted:
            raise next(iter(answers.failures.values()))
        for failure in () if quiet else answers.failures.values():
            report(Event(str(failure), loud=True))
        yield answers


def refreshed(connection: Connection) -> "Trusted":
    """A remote's new answer; for the holder of its lock."""
    from holdall.delivery.remote.trusted import Trusted

    remote = connection.remote
    with plain_errors(f"What the remote {remote.name} says cannot be kept"):
        trusted = Trusted(remote, connection.transport, _first_root(remote))
        trusted.refresh()
        known = records.freshness(remote)
        new = Freshness(time.time(), trusted.expires, known.catalogued)
        records.write_freshness(remote, new)
    return trusted


def bring_catalogue(connection: Connection, trusted: "Trusted", *, anew: bool = False) -> None:
    """Bring a remote's catalogue up to date, or make it anew; for the holder of its lock."""
    remote = connection.remote
    with plain_errors(f"The catalogue of {remote.name} cannot be kept"):
        trusted.catalogue(anew=anew)
        known = records.freshness(remote)
        records.write_freshness(remote, known._replace(catalogued=known.refreshed))


def _first_root(remote: Remote) -> bytes:
    from hashlib import sha256

    try:
        data = read_regular(remote.first_root, limit=_MAX_ROOT)
    except (OSError, ValueError):
        data = b""
    if sha256(data).hexdigest() != remote.root:
        raise CorruptError(
            f"{remote.first_root} was changed; remove the remote {remote.name} and add it again."
        )
    return data
