"""Going back to an installed version, and taking versions away.

On the path of ``remove``: imports as little as can be.
"""

import os
from typing import Any, NamedTuple

from holdall.errors import CorruptError, NotFoundError, UsageError
from holdall.journeys.host import Host, Report, silent
from holdall.journeys.leaving import free_behind
from holdall.journeys.recovery import carry_out, change, recover_all_but_rubbish
from holdall.model.ref import Ref, RefPattern
from holdall.store.catalog import Catalog, Deployment, history, writing


class Switch(NamedTuple):
    """A ref before and after a change.

    The version that was active and the one that is (None: none), and those taken away.
    """

    ref: Ref
    before: str | None
    after: str | None
    removed: tuple[str, ...] = ()


def rollback(
    pattern: RefPattern,
    host: Host,
    *,
    to: str | None = None,
    dry_run: bool = False,
    report: Report = silent,
) -> Switch:
    """Make the version that was active before the active one again, or the version `to`.

    Raises NotFoundError when there is none. The floor stays: older bundles are still refused.
    """
    if dry_run:
        return _rollback_plan(host.catalog, pattern, to)[0]
    with writing(host.layout, wait=host.wait) as writer:
        recover_all_but_rubbish(host, writer, report)
        switch, deployment = _rollback_plan(host.catalog, pattern, to)
        note = change("rollback", active=deployment.digest, version=version_of(deployment))
        writer.note(switch.ref, note)
        carry_out(host, writer, switch.ref, note, report)
        return switch


def remove(
    pattern: RefPattern,
    host: Host,
    *,
    version: str | None = None,
    force: bool = False,
    dry_run: bool = False,
    report: Report = silent,
) -> Switch:
    """Take an app away, or one `version` of it.

    What runs keeps running, and its space returns when it ends.

    Returns at once: the files are freed by a process left behind. Where the active version goes and
    others stay, the one active before becomes active. Raises NotFoundError, and UsageError for a
    runtime that installed apps need.
    """
    if dry_run:
        return _remove_plan(host.catalog, pattern, version)[0]
    with writing(host.layout, wait=host.wait) as writer:
        recover_all_but_rubbish(host, writer, report)
        switch, gone, heir = _remove_plan(host.catalog, pattern, version)
        if heir is None and not force:
            _check_unneeded(host.catalog, switch.ref, gone[0])
        active = host.catalog.active(switch.ref)
        note = change(
            "remove",
            active=heir.digest if heir else None,
            discard=tuple(item.digest for item in gone),
            version=version or "",
            show=heir is None or active is None or heir.digest != active.digest,
        )
        writer.note(switch.ref, note)
        carry_out(host, writer, switch.ref, note, report)
        if heir is None and os.path.isdir(host.layout.partial):
            from holdall.store.partial import discard

            discard(host.layout, switch.ref)
    free_behind(host)
    return switch


def version_of(deployment: Deployment) -> str:
    """The version a deployment is of."""
    return deployment.version


def _rollback_plan(
    catalog: Catalog, pattern: RefPattern, to: str | None
) -> tuple[Switch, Deployment]:
    current = catalog.current(pattern)
    target = catalog.version(current.ref, to) if to else _before(catalog, current)
    return Switch(current.ref, version_of(current), version_of(target)), target


def _before(catalog: Catalog, current: Deployment) -> Deployment:
    """The version that was active before `current` became so, or the newest other one."""
    others = {
        item.digest: item
        for item in catalog.deployments(current.ref)
        if item.digest != current.digest
    }
    if not others:
        raise NotFoundError(f"{current.ref} has no other version installed to go back to.")
    order = [event.get("release") for event in history(catalog.layout, current.ref)]
    at = max(
        (place for place, digest in enumerate(order) if digest == current.digest),
        default=len(order),
    )
    for digest in reversed(order[:at]):
        if digest in others:
            return others[digest]
    return list(others.values())[-1]


def _remove_plan(
    catalog: Catalog, pattern: RefPattern, version: str | None
) -> tuple[Switch, tuple[Deployment, ...], Deployment | None]:
    ref = catalog.resolve(pattern)
    active = catalog.active(ref)
    installed = catalog.deployments(ref)
    gone = (catalog.version(ref, version),) if version else tuple(installed)
    stays = [item for item in installed if item not in gone]
    heir = active if active in stays else None
    if heir is None and stays and active is not None:
        heir = _before(catalog, active)
    switch = Switch(
        ref,
        version_of(active) if active else None,
        version_of(heir) if heir else None,
        tuple(version_of(item) for item in gone),
    )
    return switch, gone, heir


def _check_unneeded(catalog: Catalog, ref: Ref, deployment: Deployment) -> None:
    if _manifest(deployment).get("kind") != "runtime":
        return
    for other in catalog.refs():
        user = catalog.active(other)
        if user and _manifest(user).get("runtime") == str(ref):
            raise UsageError(f"{other.id} runs on {ref}; remove that first, or use --force.")


def _manifest(deployment: Deployment) -> dict[str, Any]:
    """The manifest of a deployment; empty for one that was spoiled on the disk."""
    try:
        return dict(deployment.facts()["manifest"])
    except CorruptError:
        return {}


def remove_data(app_id: str, host: Host) -> None:
    """Remove what an app has stored for this user."""
    from holdall.store.layout import default_root
    from holdall.system.files import remove_tree

    remove_tree(f"{host.data or f'{default_root()}/data'}/{app_id}")
