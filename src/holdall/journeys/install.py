"""Installing and updating from bundles: plan, stage, one sync, one rename.

An update is an install that has a seed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import Any, NamedTuple

from holdall.delivery.bundle import BundleSource, Opened
from holdall.errors import CorruptError, NotFoundError
from holdall.forms import tree as form
from holdall.journeys.arrival import Arrival, arriving
from holdall.journeys.exporting import reader
from holdall.journeys.host import Event, Host, Report, silent
from holdall.journeys.installed import installed_tree
from holdall.journeys.launching import launch_files_of, refusing
from holdall.journeys.recovery import carry_out, change, recover
from holdall.journeys.trusting import NOTHING_DECIDED, TrustChoice, accept
from holdall.model import release as releases
from holdall.model.ref import Ref
from holdall.model.release import Release
from holdall.store.catalog import Deployment, Writer, writing
from holdall.store.reserve import keep
from holdall.store.rubbish import sweep
from holdall.store.trust_state import Floor
from holdall.system.files import plain_errors, remove_tree, write_all
from holdall.system.kernel import enable_verity, sync_filesystem


class InstallPlan(NamedTuple):
    """What an install will do; sizes in bytes.

    `produced` are decoded from the bundle, `linked` shared with `before`.
    """

    ref: Ref
    version: str
    digest: str
    before: str | None
    files: int
    size: int
    bundle: int
    produced: int
    linked: int
    already: bool


def install(
    path: str,
    host: Host,
    *,
    choice: TrustChoice = NOTHING_DECIDED,
    dry_run: bool = False,
    only_update: bool = False,
    report: Report = silent,
) -> InstallPlan:
    """Install the bundle at `path` and make it the active version of its ref.

    "-" is standard input.

    With `only_update`, raises NotFoundError unless the ref is installed. Raises UntrustedError,
    CorruptError, BusyError, NoSpaceError; whatever it raises, the store is as it was.
    """
    with arriving(path) as arrival:
        if dry_run:
            accept(arrival.signed, host.layout, choice, report)
            return _plan(host, arrival, arrival.open(), only_update=only_update)[0]
        with (
            plain_errors(f"{path} cannot be installed"),
            writing(host.layout, wait=host.wait) as writer,
        ):
            recover(host, writer, report)
            accepted = accept(arrival.signed, host.layout, choice, report)
            opened = arrival.open()
            plan, layup = _plan(host, arrival, opened, only_update=only_update)
            floor = _floor(arrival.release, accepted.publisher)
            action = "activate" if plan.already else "update" if plan.before else "install"
            note = change(action, active=plan.digest, floor=floor, version=plan.version)
            if plan.already:
                accepted.keep(host.layout)
                writer.note(plan.ref, note)
            else:
                with _staging(writer, plan.ref) as staged:
                    _lay_down(host, arrival, opened, layup, staged, report=report)
                    _check_exports(arrival, opened, staged)
                    _write_new(f"{staged}/lease", b"")
                    writer.note(plan.ref, note)
                    _sync(staged)
                    writer.publish(staged, plan.ref, plan.digest)
                accepted.keep(host.layout)
            _make_active(host, writer, plan, note, report)
            keep(host.layout)
            _warn_of_runtime(host, arrival.release, report)
            return plan


def _make_active(
    host: Host, writer: Writer, plan: InstallPlan, note: dict[str, Any], report: Report
) -> None:
    """Carry out the note; where that cannot be done, what was installed for it goes."""
    try:
        carry_out(host, writer, plan.ref, note, report)
    except OSError:
        if not plan.already:
            with suppress(OSError):
                path = host.layout.deployment(plan.ref, plan.digest)
                writer.discard(Deployment(plan.ref, plan.digest, path))
                sweep(host.layout)
        raise


@contextmanager
def _staging(writer: Writer, ref: Ref) -> Iterator[str]:
    """A folder to make a deployment in.

    When that fails, nothing of it is left and nothing is noted.
    """
    staged = writer.stage()
    try:
        yield staged
    except BaseException:
        writer.forget(ref)
        remove_tree(staged)
        raise


def _warn_of_runtime(host: Host, release: Release, report: Report) -> None:
    runtime = release.manifest.runtime_ref
    if runtime is not None and host.catalog.active(runtime) is None:
        report(
            Event(
                f"{release.manifest.id} runs on {runtime}, which is not installed; install that "
                "too.",
                loud=True,
            )
        )


def _plan(
    host: Host, arrival: Arrival, opened: Opened, *, only_update: bool
) -> tuple[InstallPlan, form.Layup]:
    ref = arrival.release.ref
    catalog = host.catalog
    active = catalog.active(ref)
    if only_update and active is None:
        raise NotFoundError(f"{ref} is not installed; `holdall install` installs it.")
    older = catalog.deployments(ref)
    seed = active or (older[-1] if older else None)
    already = any(item.digest == arrival.digest for item in older)
    layup = form.plan(opened.tree, None if already else _seed(seed))
    plan = InstallPlan(
        ref=ref,
        version=arrival.release.manifest.version,
        digest=arrival.digest,
        before=active.version if active else None,
        files=len(opened.tree.files),
        size=opened.tree.size,
        bundle=arrival.preamble.head.size,
        produced=0 if already else layup.fresh_size,
        linked=0 if already else layup.linked_size,
        already=already,
    )
    return plan, layup


def _seed(deployment: Deployment | None) -> form.Seed | None:
    """An installed version as a seed.

    None when what stands beside its files is not what was installed.
    """
    if deployment is None:
        return None
    release = deployment.read("release")
    if sha256(release).hexdigest() != deployment.digest:
        return None
    try:
        tree = installed_tree(deployment, releases.parse(release), parsed_before=True)
    except CorruptError:
        return None
    return form.Seed(tree, deployment.files, os.stat(deployment.lease).st_mtime_ns)


def _lay_down(
    host: Host,
    arrival: Arrival,
    opened: Opened,
    layup: form.Layup,
    staged: str,
    *,
    report: Report,
) -> None:
    step = f"Installing {arrival.release.manifest.id} {arrival.release.manifest.version}"
    done, total = 0, layup.fresh_size

    def told(size: int) -> None:
        nonlocal done
        done += size
        report(Event(step, done, total))

    spool = None
    if not arrival.seekable:
        spool = os.open(staged, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    try:
        if total:
            report(Event(step, 0, total))
        form.lay_down(
            layup,
            BundleSource(
                opened,
                arrival.stream.fileno() if spool is None else spool,
                arrival.preamble.head.first_frame,
                stream=None if spool is None else arrival.stream,
            ),
            f"{staged}/files",
            verity=_has_verity(staged),
            meanwhile=lambda: _write_beside(host, arrival, opened, staged),
            report=told,
        )
    finally:
        if spool is not None:
            os.close(spool)


def _has_verity(folder: str) -> bool:
    """Whether the file system has fs-verity; found by trying."""
    path = f"{folder}/probe"
    _write_new(path, b"holdall")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return enable_verity(fd)
        finally:
            os.close(fd)
    finally:
        os.unlink(path)


def _check_exports(arrival: Arrival, opened: Opened, staged: str) -> None:
    """Refuse a release whose exports would not render, before it has its place."""
    manifest = arrival.release.manifest
    if manifest.exports.paths or manifest.exports.commands:
        from holdall.desktop import exports

        digests = {file.path: file.digest for file in opened.tree.files}
        with refusing():
            exports.check(manifest, reader(f"{staged}/files", digests))


def _write_beside(host: Host, arrival: Arrival, opened: Opened, staged: str) -> None:
    """What stands beside a deployment's files; done while workers make those."""
    launch = launch_files_of(host, arrival.release, arrival.digest, opened.tree)
    for name, data in launch.items():
        _write_new(f"{staged}/{name}", data)
    _write_new(f"{staged}/tree", arrival.preamble.tree)
    _write_new(f"{staged}/envelope", arrival.preamble.envelope)
    _write_new(f"{staged}/release", arrival.signed.payload)


def _write_new(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        os.fchmod(fd, 0o644)
        write_all(fd, data)
    finally:
        os.close(fd)


def _sync(folder: str) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_filesystem(fd)
    finally:
        os.close(fd)


def _floor(release: Release, publisher: str) -> dict[str, object]:
    return Floor(release.manifest.serial, release.manifest.version, publisher)._asdict()
