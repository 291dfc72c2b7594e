"""Showing apps on the host, as the active deployments of an app say."""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from holdall.errors import CorruptError, HoldallError, NoSpaceError, UnsupportedError
from holdall.journeys.host import Event, Host, Places, Report, silent
from holdall.model.ref import Ref
from holdall.store.catalog import Deployment, prune_folders
from holdall.system.files import write_atomic

if TYPE_CHECKING:
    from holdall.desktop.exports import ExportedFile

Read = Callable[[str], bytes]


def reconcile(host: Host, ref: Ref, report: Report) -> None:
    """Make the launch file of `ref`, and what the host shows of its app, follow what is active.

    May be repeated.

    Where more than one ref of an app is installed, the one changed last is shown. What cannot be
    shown is reported, loudly, and changes nothing else: the app itself is installed by then. Only
    a full disk is raised, as NoSpaceError or OSError: the next command tries again.
    """
    active = host.catalog.active(ref)
    _keep_stub(host, ref, active)
    record = host.layout.export_record(ref.id)
    shown = active or _another(host, ref)
    if host.places is None or (shown is None and not os.path.exists(record)):
        return
    from holdall.desktop.presence import ExportTarget, apply

    target = ExportTarget(host.places.data, host.places.commands)
    try:
        applied = apply(target, record, _wanted(host, shown))
    except NoSpaceError:
        raise
    except (HoldallError, OSError) as error:
        report(Event(f"{ref.id} could not be shown on the host: {error}", loud=True))
        return
    for warning in applied.warnings:
        report(Event(warning, loud=True))


def export(host: Host, ref: Ref, report: Report = silent) -> tuple[str, ...]:
    """Show `ref` on the host; returns the paths of what it has there.

    Raises UnsupportedError where a store exports nothing.
    """
    places = _places(host)
    active = host.catalog.active(ref)
    reconcile(host, ref, report)
    return tuple(
        f"{places.data if file.root == 'data' else places.commands}/{file.path}"
        for file in _wanted(host, active)
    )


def unexport(host: Host, ref: Ref, report: Report = silent) -> None:
    """Take away everything the app of `ref` has on the host; it stays installed."""
    from holdall.desktop.presence import ExportTarget, apply

    places = _places(host)
    for warning in apply(
        ExportTarget(places.data, places.commands), host.layout.export_record(ref.id), ()
    ).warnings:
        report(Event(warning, loud=True))


def reader(deployment_files: str, digests: dict[str, bytes]) -> Read:
    """Reads an app's regular files, checked against their digests.

    Raises CorruptError for anything else.
    """
    from holdall.model.digest import digest_of
    from holdall.system.kernel import open_beneath

    def read(path: str) -> bytes:
        if path not in digests:
            raise CorruptError(f"{path} is to be exported but is no regular file of the app.")
        root = os.open(deployment_files, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with open(open_beneath(root, path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
                data = file.read()
        finally:
            os.close(root)
        if digest_of(data) != digests[path]:
            raise CorruptError(
                f"The installed file {path} was changed; `holdall verify` shows what else was."
            )
        return data

    return read


def _wanted(host: Host, deployment: Deployment | None) -> "tuple[ExportedFile, ...]":
    if deployment is None or deployment.facts()["manifest"]["kind"] != "app":
        return ()
    from holdall.desktop.exports import rendered
    from holdall.journeys.forming import place_of, reading
    from holdall.journeys.installed import installed_tree
    from holdall.model import release as releases

    release = releases.parse(deployment.read("release"))
    manifest = release.manifest
    if not manifest.exports.paths and not manifest.exports.commands:
        return ()
    digests = {file.path: file.digest for file in installed_tree(deployment, release).files}
    with reading(host, place_of(host, deployment)) as folder:
        return rendered(manifest, reader(folder, digests), host.layout.stub(deployment.ref))


def _keep_stub(host: Host, ref: Ref, active: Deployment | None) -> None:
    stub = host.layout.stub(ref)
    if active is None or not os.path.exists(f"{active.path}/launch"):
        with suppress(FileNotFoundError):
            os.unlink(stub)
        prune_folders(os.path.dirname(stub), f"{host.layout.root}/run")
    elif not os.path.exists(stub):
        from holdall.desktop.launcher import compile_stub

        write_atomic(stub, compile_stub(ref, host.layout.root), mode=0o755)


def _another(host: Host, ref: Ref) -> Deployment | None:
    others = [other for other in host.catalog.refs(ref.id) if other != ref]
    return host.catalog.active(others[0]) if others else None


def _places(host: Host) -> Places:
    if host.places is None:
        raise UnsupportedError(
            "A store given by --root shows nothing on the host; add --export-to DIR."
        )
    return host.places
