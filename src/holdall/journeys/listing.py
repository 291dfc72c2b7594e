"""What a store has: listings that open no more than they show.

On a start path: imports as little as can be.
"""

import os
from typing import Any, NamedTuple

from holdall.errors import CorruptError
from holdall.journeys.host import Host
from holdall.model.ref import Ref, RefPattern
from holdall.store.catalog import Deployment, history
from holdall.store.layout import NOT_MOUNTED


class Listed(NamedTuple):
    """One installed app: its active version and how many others are installed.

    `size` is apparent, in bytes.
    """

    ref: str
    version: str
    kind: str
    form: str
    size: int
    versions: int
    name: str
    summary: str
    release: str


def listing(host: Host) -> list[Listed]:
    """Every installed app and runtime, sorted by ref."""
    found = []
    for ref in host.catalog.refs():
        active, facts = _active_facts(host, ref)
        if active is None:
            continue
        manifest = facts["manifest"]
        about = manifest.get("about", {})
        versions = len(host.catalog.deployments(ref))
        found.append(
            Listed(
                str(ref),
                manifest["version"],
                manifest["kind"],
                active.form,
                facts["size"],
                versions,
                about.get("name", ""),
                about.get("summary", ""),
                active.digest,
            )
        )
    return found


def _active_facts(host: Host, ref: Ref) -> tuple[Deployment | None, dict[str, Any]]:
    """The active deployment and its facts, even if another one becomes active meanwhile."""
    active = host.catalog.active(ref)
    while active is not None:
        facts = facts_or_nothing(active)
        again = host.catalog.active(ref)
        if again == active:
            return active, facts
        active = again
    return None, {}


def facts_or_nothing(deployment: Deployment) -> dict[str, Any]:
    """The facts of a deployment; question marks for one that was spoiled on the disk."""
    try:
        return deployment.facts()
    except CorruptError:
        return {"manifest": {"version": "?", "kind": "?"}, "size": 0}


def info(host: Host, pattern: RefPattern, version: str | None = None) -> dict[str, Any]:
    """Everything a store knows about one installed app."""
    deployment = host.catalog.current(pattern)
    if version:
        deployment = host.catalog.version(deployment.ref, version)
    facts = deployment.facts()
    return {
        "ref": str(deployment.ref),
        "release": deployment.digest,
        "form": deployment.form,
        "path": "" if lies_in_no_folder(deployment) else deployment.files,
        "installed": int(deployment.installed),
        "signed_by": signers(deployment),
        "versions": [item.version for item in host.catalog.deployments(deployment.ref)],
        "size": facts["size"],
        "entries": facts["entries"],
        "tree": facts["tree"],
        "created": facts.get("created", ""),
        "expires": facts.get("expires", ""),
        **facts["manifest"],
    }


def lies_in_no_folder(deployment: Deployment) -> bool:
    """Whether there is no folder with its files unless it is mounted for somebody."""
    return os.path.lexists(f"{deployment.files}/{NOT_MOUNTED}")


def signers(deployment: Deployment) -> list[str]:
    """The fingerprints in a deployment's envelope; they were checked on the way in.

    Raises CorruptError when it was spoiled on the disk since.
    """
    import json

    try:
        return [item["keyid"] for item in json.loads(deployment.read("envelope"))["signatures"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CorruptError(
            f"{deployment.path}/envelope was changed; `holdall repair` puts it back."
        ) from error


def events(host: Host, pattern: RefPattern) -> list[dict[str, Any]]:
    """What happened to an app, oldest first.

    Each with whether that version is still installed and active. When one was removed, `release` is
    what was active then.
    """
    ref = host.catalog.resolve(pattern)
    active = host.catalog.active(ref)
    installed = {item.digest: item for item in host.catalog.deployments(ref)}
    return [
        {
            "time": event["time"],
            "action": event["action"],
            "version": event.get("version", ""),
            "release": event.get("release"),
            "installed": there and event.get("release") in installed,
            "active": there and active is not None and event.get("release") == active.digest,
        }
        for event in history(host.layout, ref)
        for there in (event["action"] != "remove",)
    ]
