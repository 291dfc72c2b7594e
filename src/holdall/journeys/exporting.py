"""Showing apps on the host, as the active deployments of an app say."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from holdall.errors import CorruptError, HoldallError, NoSpaceError, UnsupportedError
from holdall.journeys.host import Event, Host, Places, Report, silent
from holdall.model.ref import Ref
from holdall.store.catalog import Deployment, prune_folders
from holdall.system.files import write_atomic

if TYPE_CHECKING:
    from holdall.desktop.exports import ExportedFile
    from holdall.forms.port import Place
    from holdall.model.tree import Tree
    from holdall.store.contents import ContentSource

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


@contextmanager
def reading_files(host: Host, place: "Place", tree: "Tree") -> Iterator[Read]:
    """Reads the regular files of a deployment with this tree, checked against their digests.

    What it gives raises CorruptError for anything else.
    """
    from holdall.forms.table import form_named
    from holdall.forms.viewing import Views
    from holdall.journeys.forming import means_of
    from holdall.model.digest import digest_of

    digests = {file.path: file.digest for file in tree.files}
    form, means = form_named(place.record["form"]), means_of(host)

    def read(path: str) -> bytes:
        if path not in digests:
            raise CorruptError(f"{path} is to be exported but is no regular file of the app.")
        data = fetch(path)
        if digest_of(data) != digests[path]:
            raise CorruptError(
                f"The installed file {path} was changed; `holdall verify` shows what else was."
            )
        return data

    with Views() as views:
        if form.TRAITS.contents:
            source = views.source(place, form, tree, means)
            fetch = partial(_out_of, source, digests)
        else:
            fetch = partial(_read, views.folder(place, form, means))
        yield read


def _out_of(source: "ContentSource", digests: dict[str, bytes], path: str) -> bytes:
    """What a path has; b"" where the source has it not."""
    digest = digests[path]
    found = (
        b"".join(pieces)
        for batch in source.batches({digest})
        for _, pieces in source.produce(batch.number, {digest})
    )
    return next(found, b"")


def _read(folder: str, path: str) -> bytes:
    from holdall.system.kernel import open_beneath

    root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with open(open_beneath(root, path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            return file.read()
    finally:
        os.close(root)


def _wanted(host: Host, deployment: Deployment | None) -> "tuple[ExportedFile, ...]":
    if deployment is None or deployment.facts()["manifest"]["kind"] != "app":
        return ()
    from holdall.desktop.exports import rendered
    from holdall.journeys.forming import place_of
    from holdall.journeys.installed import installed_tree
    from holdall.model import release as releases

    release = releases.parse(deployment.read("release"))
    manifest = release.manifest
    if not manifest.exports.paths and not manifest.exports.commands:
        return ()
    tree = installed_tree(deployment, release)
    with reading_files(host, place_of(host, deployment), tree) as read:
        return rendered(manifest, read, host.layout.stub(deployment.ref))


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
