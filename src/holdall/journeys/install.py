"""Installing and updating from bundles: plan, stage, one sync, one rename. An update is an install that has a seed."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

from holdall.delivery.bundle import BundleSource, Opened, Preamble, open_preamble, read_preamble
from holdall.errors import CorruptError, NotFoundError, UsageError
from holdall.forms import tree as form
from holdall.journeys.host import Event, Host, Report, silent
from holdall.journeys.recovery import change, finish, recover
from holdall.journeys.trusting import TrustChoice, accept
from holdall.model import tree as trees
from holdall.model.ref import Ref
from holdall.model.release import Release
from holdall.store.catalog import Deployment, Writer, writing
from holdall.store.layout import Layout
from holdall.store.trust_state import Floor
from holdall.system.files import plain_errors, remove_tree, write_all
from holdall.system.kernel import enable_verity, sync_filesystem
from holdall.trust.envelope import Signed, open_envelope

STREAM = "-"


class InstallPlan(NamedTuple):
    """What an install will do; sizes in bytes. `produced` are decoded from the bundle, `linked` shared with `before`."""

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


class _Arrival(NamedTuple):
    """A bundle that was opened: its file or stream, and what stands before its frames."""

    stream: BinaryIO
    seekable: bool
    preamble: Preamble
    signed: Signed
    digest: str

    @property
    def release(self) -> Release:
        return self.signed.release


def install(
    path: str,
    host: Host,
    *,
    choice: TrustChoice = TrustChoice(),
    dry_run: bool = False,
    only_update: bool = False,
    report: Report = silent,
) -> InstallPlan:
    """Install the bundle at `path` ("-" for standard input) and make it the active version of its ref.

    With `only_update`, raises NotFoundError unless the ref is installed. Raises UntrustedError, CorruptError,
    BusyError, NoSpaceError; whatever it raises, the store is as it was.
    """
    with _arriving(path) as arrival:
        if dry_run:
            accept_quietly(arrival.signed, host.layout, choice)
            return _plan(host, arrival, _opened(arrival), only_update=only_update)[0]
        with plain_errors(f"{path} cannot be installed"), writing(host.layout, wait=host.wait) as writer:
            recover(host, writer, report)
            publisher = accept(arrival.signed, host.layout, choice, report)
            opened = _opened(arrival)
            plan, layup = _plan(host, arrival, opened, only_update=only_update)
            floor = _floor(arrival.release, publisher)
            if not plan.already:
                staged = writer.stage()
                try:
                    _lay_down(arrival, opened, layup, staged, report, plan)
                    _write_beside(host.layout, arrival, opened, staged)
                    note = change("install" if plan.before is None else "update", active=plan.digest, floor=floor, version=plan.version)
                    writer.note(plan.ref, note)
                    _sync(staged)
                    writer.publish(staged, plan.ref, plan.digest)
                except BaseException:
                    writer.forget(plan.ref)
                    remove_tree(staged)
                    raise
            else:
                note = change("activate", active=plan.digest, floor=floor, version=plan.version)
                writer.note(plan.ref, note)
            finish(host, writer, plan.ref, note, report)
            return plan


def accept_quietly(signed: Signed, layout: Layout, choice: TrustChoice) -> None:
    """The trust rules for a dry run: nothing is asked and nothing is kept, so an unknown key is refused."""
    accept(signed, layout, choice._replace(trust_key=None), silent)


@contextmanager
def _arriving(path: str) -> Iterator[_Arrival]:
    try:
        stream: BinaryIO = open(0, "rb", closefd=False) if path == STREAM else open(path, "rb")  # noqa: SIM115
    except FileNotFoundError as error:
        raise NotFoundError(f"There is no bundle {path}.") from error
    except IsADirectoryError as error:
        raise UsageError(f"{path} is a folder; `holdall build {path} -o FILE` makes a bundle of it.") from error
    with plain_errors(f"{path} cannot be read"), stream:
        seekable = stream.seekable()
        preamble = read_preamble(stream)
        if seekable and os.fstat(stream.fileno()).st_size != preamble.head.size:
            raise CorruptError(f"The bundle {path} is cut short or has something after its end.")
        from hashlib import sha256

        signed = open_envelope(preamble.envelope)
        yield _Arrival(stream, seekable, preamble, signed, sha256(signed.payload).hexdigest())


def _opened(arrival: _Arrival) -> Opened:
    release = arrival.release
    opened = open_preamble(
        arrival.preamble,
        tree_sha256=release.packing.tree,
        index_sha256=release.packing.index,
        tree_digest=release.tree_digest.raw,
    )
    if opened.tree.size != release.size or len(opened.tree.entries) != release.entries:
        raise CorruptError("The bundle's tree does not have the size its release says.")
    return opened


def _plan(host: Host, arrival: _Arrival, opened: Opened, *, only_update: bool) -> tuple[InstallPlan, form.Layup]:
    ref = arrival.release.ref
    catalog = host.catalog
    active = catalog.active(ref)
    if only_update and active is None:
        raise NotFoundError(f"{ref} is not installed; `holdall install` installs it.")
    older = catalog.deployments(ref)
    seed = active or (older[-1] if older else None)
    already = any(item.digest == arrival.digest for item in older)
    layup = form.plan(opened.tree, _seed(seed) if seed and not already else None)
    plan = InstallPlan(
        ref=ref,
        version=arrival.release.manifest.version,
        digest=arrival.digest,
        before=active.facts()["manifest"]["version"] if active else None,
        files=len(opened.tree.files),
        size=opened.tree.size,
        bundle=arrival.preamble.head.size,
        produced=0 if already else layup.fresh_size,
        linked=0 if already else layup.linked_size,
        already=already,
    )
    return plan, layup


def _seed(deployment: Deployment) -> form.Seed:
    tree = trees.parse(deployment.read("tree"))
    return form.Seed(tree, deployment.files, os.stat(deployment.lease).st_mtime_ns)


def _lay_down(arrival: _Arrival, opened: Opened, layup: form.Layup, staged: str, report: Report, plan: InstallPlan) -> None:
    done = 0

    def told(size: int) -> None:
        nonlocal done
        done += size
        report(Event(f"Installing {plan.ref.id} {plan.version}", done, plan.produced))

    report(Event(f"Installing {plan.ref.id} {plan.version}", 0, plan.produced))
    first = arrival.preamble.head.first_frame
    if arrival.seekable:
        source = BundleSource(opened, arrival.stream.fileno(), first)
        form.lay_down(layup, source, f"{staged}/files", verity=_has_verity(staged), report=told)
        return
    spool = os.open(staged, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    try:
        source = BundleSource(opened, spool, first, stream=arrival.stream)
        form.lay_down(layup, source, f"{staged}/files", verity=_has_verity(staged), report=told)
    finally:
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


def _write_beside(layout: Layout, arrival: _Arrival, opened: Opened, staged: str) -> None:
    _write_new(f"{staged}/tree", opened.tree_bytes)
    _write_new(f"{staged}/envelope", arrival.preamble.envelope)
    _write_new(f"{staged}/release", arrival.signed.payload)
    _write_new(f"{staged}/lease", b"")


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
