"""Running an app right from its bundle's file, which is not installed: let in by the same rules.

Nothing of it is unpacked or kept. What stands before the frames is read once, and is checked and
used from memory; the frames are read where they are, by the descriptor that was opened first.
Launch files are made in a folder in memory that only the app's own processes see. It lies over the
store's `staging`, where nothing that an app is granted can reach.
"""

import os
from typing import TYPE_CHECKING, NamedTuple

from holdall.desktop.processes import mark
from holdall.desktop.start import must_be_mounted
from holdall.errors import CorruptError, UnsupportedError, UsageError
from holdall.journeys import bundling
from holdall.journeys.arrival import Arrival, arriving
from holdall.journeys.host import Host, Report
from holdall.journeys.launching import launch_files_of
from holdall.journeys.mounting import mount_of
from holdall.journeys.trusting import Accepted, TrustChoice, accept
from holdall.model.ref import Ref
from holdall.store import notices
from holdall.store.catalog import Deployment, writing
from holdall.store.guard import check_ours
from holdall.store.steady import steadily
from holdall.system.files import plain_errors, write_new
from holdall.system.means import Means
from holdall.system.mounting import Answered, Mount, perform
from holdall.system.namespace import leave_host
from holdall.system.scratch import cover

if TYPE_CHECKING:
    from holdall.system.answering import Complain, Served


class Entered(NamedTuple):
    """A folder that is like a deployment's, and seen by this process and those it starts."""

    ref: Ref
    version: str
    folder: str


class _Shelf(NamedTuple):
    """A bundle that was checked: what to write beside its files, and how they are shown."""

    beside: dict[str, bytes]
    mount: Answered


def enter_bundle(
    path: str, host: Host, *, choice: TrustChoice, report: Report, dry_run: bool
) -> Entered:
    """Let the bundle in a file in, and make it ready to be started by `desktop.start`.

    A key that is trusted for the first time is kept as when it is installed; nothing else is. With
    `dry_run`, not that either, and the app's files are not shown. Raises what `install` raises, and
    UsageError and UnsupportedError for what cannot be run so.
    """
    with arriving(path) as arrival:
        release = arrival.release
        _check_kind(arrival)
        accepted = accept(arrival.signed, host.layout, choice, report)
        _check_means(host)
        folder = f"{host.layout.staging}/{arrival.digest}"
        shelf = _shelved(arrival, host, folder)
        _prepare(host)
        if not dry_run:
            _keep(accepted, arrival, host, choice, report)
        runtime = release.manifest.runtime_ref
        active = host.catalog.active(runtime) if runtime else None

        def act() -> None:
            _enter(host, folder, shelf, None if dry_run else active, shown=not dry_run)

        if active is None or dry_run:
            act()
        else:
            steadily(active, act)
        return Entered(release.ref, release.manifest.version, folder)


def _check_kind(arrival: Arrival) -> None:
    manifest = arrival.release.manifest
    if arrival.is_increment:
        raise UsageError(
            f"{arrival.path} is an increment, which makes {manifest.id} {manifest.version} of an "
            "older version; `holdall update` installs it."
        )
    if manifest.kind == "runtime":
        raise UsageError(f"{manifest.ref} is a runtime; apps run on it, it does not run by itself.")
    if arrival.release.packing.image:
        raise UnsupportedError(
            f"{arrival.path} has an image, which is checked only as a whole; `holdall install` "
            "installs it, then it runs."
        )


def _check_means(host: Host) -> None:
    if reason := Means(host.layout.root).lacking("fuse"):
        raise UnsupportedError(
            f"No bundle can be run from its file here: {reason}; `holdall install --form tree` "
            "unpacks it."
        )


def _shelved(arrival: Arrival, host: Host, folder: str) -> _Shelf:
    """Check all that stands before the frames, and keep no more of it than is needed."""
    release, preamble = arrival.release, arrival.preamble
    opened = arrival.open()
    beside = launch_files_of(host, release, arrival.digest, opened.tree, folder=folder)
    beside |= {"release": arrival.signed.payload, "lease": b""}
    packing = bundling.packing_of(preamble, (frame.raw for frame in opened.index.frames))
    before = preamble.data
    name = os.fsencode(arrival.path).decode(errors="backslashreplace")

    def serve(fd: int, complain: "Complain") -> "Served":
        from holdall.forms.names import names_of
        from holdall.system.answering import Served

        shelved = bundling.read(fd, packing, before, b"")
        return Served(names_of(shelved, name, complain), shelved.contents, lambda: None)

    return _Shelf(beside, Answered(arrival.path, serve, held=arrival.seekable_fd()))


def _prepare(host: Host) -> None:
    """Have a folder to cover, in a store that nobody else can change."""
    if os.path.isdir(host.layout.staging):
        check_ours(host.layout)
        return
    with (
        plain_errors(f"The store {host.layout.root} cannot be made"),
        writing(host.layout, wait=host.wait),
    ):
        os.makedirs(host.layout.staging, mode=0o700, exist_ok=True)


def _keep(
    accepted: Accepted, arrival: Arrival, host: Host, choice: TrustChoice, report: Report
) -> None:
    """Keep a first use of a key, in the keyring as it is by now."""
    if accepted.keyring is None:
        return
    decided = choice._replace(trust_key=accepted.publisher)
    with (
        plain_errors("The key cannot be kept"),
        writing(host.layout, wait=host.wait),
    ):
        accept(arrival.signed, host.layout, decided, report).keep(host.layout)


def _enter(
    host: Host, folder: str, shelf: _Shelf, runtime: Deployment | None, *, shown: bool
) -> None:
    """Leave the host's mounts, and make there what the app needs."""
    name = mark(host.layout.root)
    # asked before leaving: a volume that all apps share is mounted for the host
    others = _mounts_of(host, runtime) if runtime else []
    leave_host()
    cover(host.layout.staging, name)
    os.mkdir(folder, 0o755)
    os.mkdir(f"{folder}/files", 0o755)
    notices.prepare(folder)
    for file, data in shelf.beside.items():
        write_new(f"{folder}/{file}", data)
    if not shown:
        return
    for mount, target in (*others, (shelf.mount, f"{folder}/files")):
        perform(mount, target)
    try:
        os.listdir(f"{folder}/files")  # waits for the process that answers
    except OSError as error:
        raise CorruptError(f"{shelf.mount.file} cannot be shown.") from error


def _mounts_of(host: Host, runtime: Deployment) -> list[tuple[Mount, str]]:
    means = Means(host.layout.root)
    means.user_namespaces = True  # there will be one, or none is needed
    found = mount_of(host, runtime, means) if must_be_mounted(runtime.path) else None
    return [(found, runtime.files)] if found else []
