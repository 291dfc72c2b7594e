"""What runs, and which of it runs on in a version that is no longer the active one."""

from collections.abc import Collection
from typing import Final, NamedTuple

from holdall.desktop.processes import running
from holdall.journeys.host import Host
from holdall.model.ref import Ref
from holdall.store.catalog import Deployment

NOT_INSTALLED: Final = "not installed"


class RunningApp(NamedTuple):
    """One running sandbox; see `holdall.desktop.processes.Running` for the first fields.

    `version` is the one that runs, `active` the one that would run if it were started now (None:
    it was removed, or never installed). `note` says in words what is not current or not installed,
    and is empty when all is.
    """

    pid: int
    sandbox: int
    ref: str
    digest: str
    deployment: str
    runtime: str
    command: tuple[str, ...]
    runtime_digest: str
    installed: bool
    version: str
    active: str | None
    note: str


def running_apps(host: Host) -> list[RunningApp]:
    """The sandboxes that run from the store, in order of their process ids."""
    found = []
    for item in running(host.layout.root):
        ref = Ref.parse(item.ref)
        active = host.catalog.active(ref)
        notes = [
            _note("", item.digest, active) if item.installed else NOT_INSTALLED,
            _note("its runtime: ", item.runtime_digest, _active(host, item.runtime)),
        ]
        version = Deployment(ref, item.digest, item.deployment).version
        found.append(
            RunningApp(
                *item, version, active and active.version, "; ".join(one for one in notes if one)
            )
        )
    return found


def left_behind(host: Host, refs: Collection[str]) -> list[str]:
    """A sentence for each sandbox that is not what `refs`, apps or runtimes, are by now."""
    if not refs:
        return []
    return [
        f"{app.ref} {app.version} still runs as process {app.pid}: {app.note}."
        for app in running_apps(host)
        if app.note not in {"", NOT_INSTALLED} and (app.ref in refs or app.runtime in refs)
    ]


def _active(host: Host, ref: str) -> Deployment | None:
    return host.catalog.active(Ref.parse(ref)) if ref else None


def _note(what: str, digest: str, active: Deployment | None) -> str:
    if not digest or (active is not None and active.digest == digest):
        return ""
    if active is None:
        return f"{what}removed"
    return f"{what}{active.version} is active now; restart it"
