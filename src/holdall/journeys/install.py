"""Installing and updating from bundles: plan, stage, one sync, one rename.

An update is an install that has a seed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from typing import Any, NamedTuple

from holdall.errors import CorruptError, NotFoundError
from holdall.forms.port import Place, Work
from holdall.journeys import bundling
from holdall.journeys.arrival import Arrival
from holdall.journeys.consent import check_consent
from holdall.journeys.exporting import reading_files
from holdall.journeys.forming import (
    ANY_FORM,
    Decision,
    Wanted,
    base_of,
    decide,
    file_size,
    is_as_decided,
    keep_record,
    warnings,
)
from holdall.journeys.host import Event, Host, Report, silent
from holdall.journeys.installed import installed_tree
from holdall.journeys.launching import launch_files_of, refusing
from holdall.journeys.planning import Already, Direct, InstallPlan, Made, another, planned
from holdall.journeys.recovery import carry_out, change, recover
from holdall.journeys.shipment import Shipment, given_together
from holdall.journeys.supply import Contents, whole_of
from holdall.journeys.trusting import NOTHING_DECIDED, Accepted, TrustChoice, accept
from holdall.model.ref import Ref
from holdall.model.release import Release
from holdall.model.tree import Tree
from holdall.store import notices
from holdall.store.catalog import Deployment, Writer, writing
from holdall.store.reserve import keep
from holdall.store.rubbish import sweep
from holdall.store.trust_state import Floor
from holdall.system.files import plain_errors, remove_tree, sync, write_new
from holdall.system.means import Means
from holdall.trust.envelope import open_envelope


def install(
    path: str | Sequence[str],
    host: Host,
    *,
    choice: TrustChoice = NOTHING_DECIDED,
    wanted: Wanted = ANY_FORM,
    dry_run: bool = False,
    only_update: bool = False,
    report: Report = silent,
) -> InstallPlan:
    """Install from the bundle at `path` and make it the active version of its ref.

    "-" is standard input. Several paths are full bundles and increments of one ref, in any order:
    the newest release among them is installed, and made of the others and of what is installed.
    Where its full bundle is among them, that is used in place of what is damaged.

    With `only_update`, raises NotFoundError unless the ref is installed. Raises UntrustedError,
    CorruptError, BusyError, NoSpaceError; whatever it raises, the store is as it was.
    """
    paths = (path,) if isinstance(path, str) else tuple(path)
    with given_together(paths, report) as shipment:
        arrivals = shipment.arrivals
        if dry_run:
            shipment.admit(host, choice, report)
            decision = decide(host, shipment.ref, wanted)
            plan = planned(host, shipment, decision, report, only_update=only_update).plan
            return _with_form(host, plan, decision, wanted)
        with (
            plain_errors(f"{' and '.join(paths)} cannot be installed"),
            writing(host.layout, wait=host.wait) as writer,
        ):
            recover(host, writer, report)
            wish = Wish(choice, only_update=only_update, wanted=wanted)
            return _fetched(deploy(shipment, host, writer, wish, report), arrivals)


def _fetched(plan: InstallPlan, arrivals: Sequence[Arrival]) -> InstallPlan:
    """The same, with what came over networks."""
    remotes = [arrival.remote for arrival in arrivals if arrival.remote]
    if not remotes:
        return plan
    return plan._replace(
        download=sum(arrival.preamble.size for arrival in arrivals if arrival.remote),
        downloaded=sum(remote.received() for remote in remotes),
    )


class Wish(NamedTuple):
    """How something is to be installed.

    By whose decision, from which remote ("" for none), in which form.
    """

    choice: TrustChoice = NOTHING_DECIDED
    only_update: bool = False
    origin: str = ""
    wanted: Wanted = ANY_FORM


def deploy(
    shipment: Shipment, host: Host, writer: Writer, wish: Wish, report: Report
) -> InstallPlan:
    """Install the target of a shipment; for a writer who has recovered what others left.

    Raises as `install`.
    """
    accepted = shipment.admit(host, wish.choice, report)
    decision = decide(host, shipment.ref, wish.wanted)
    delivery = planned(host, shipment, decision, report, only_update=wish.only_update)
    release, plan = shipment.target.release, delivery.plan
    _check_consent(host, release, plan.digest, wish)
    note = _note(release, plan, accepted, wish)
    if isinstance(delivery, Already):
        accepted.keep(host.layout)
        writer.note(plan.ref, note)
        shipment.forget(host.layout)
    else:
        plan = _put_by_any_way(shipment, host, writer, delivery, note=note, report=report)
        accepted.keep(host.layout)
    _make_active(host, writer, plan, note, report)
    plan = _with_form(host, plan, decision, wish.wanted)
    _bring_to_form(host, writer, plan, decision, report, arrival=shipment.target)
    keep(host.layout)
    _warn_of_runtime(host, release, report)
    return plan


def _with_form(host: Host, plan: InstallPlan, decision: Decision, wanted: Wanted) -> InstallPlan:
    """The plan for a version that is installed already, with the form it is to be brought to."""
    path = host.layout.deployment(plan.ref, plan.digest)
    deployment = Deployment(plan.ref, plan.digest, path)
    if not plan.already or not wanted.form or is_as_decided(deployment, decision):
        return plan
    return plan._replace(form=decision.form.TRAITS.name, converted=deployment.form)


def _bring_to_form(
    host: Host,
    writer: Writer,
    plan: InstallPlan,
    decision: Decision,
    report: Report,
    *,
    arrival: Arrival | None = None,
) -> None:
    """Have what was installed already as it is wanted; from its bundle where that is given."""
    if plan.converted:
        from holdall.journeys.convert import bring_to

        whole = None
        keeps = decision.form.TRAITS.whole
        if keeps and arrival and arrival.file is not None and not arrival.is_increment:
            opened = arrival.open()
            whole = whole_of(arrival, opened, arrival.source(opened, host.layout.staging))
        path = host.layout.deployment(plan.ref, plan.digest)
        item = Deployment(plan.ref, plan.digest, path)
        bring_to(host, writer, item, decision, report, whole=whole)


def reactivate(
    deployment: Deployment, host: Host, writer: Writer, wish: Wish, report: Report
) -> InstallPlan:
    """Make an installed version the active one, by the same rules; for a writer, as `deploy`."""
    signed = open_envelope(deployment.read("envelope"))
    release = signed.release
    if sha256(signed.payload).hexdigest() != deployment.digest:
        raise CorruptError(f"{deployment.path}/envelope was changed; `holdall repair` mends it.")
    accepted = accept(signed, host.layout, wish.choice, report)
    _check_consent(host, release, deployment.digest, wish)
    active = host.catalog.active(release.ref)
    plan = InstallPlan(
        ref=release.ref,
        version=release.manifest.version,
        digest=deployment.digest,
        before=active.version if active else None,
        files=len(installed_tree(deployment, release, parsed_before=True).files),
        size=release.size,
        bundle=0,
        read=0,
        produced=0,
        linked=0,
        already=True,
        form=deployment.form,
    )
    note = _note(release, plan, accepted, wish)
    accepted.keep(host.layout)
    writer.note(plan.ref, note)
    _make_active(host, writer, plan, note, report)
    decision = decide(host, release.ref, wish.wanted)
    plan = _with_form(host, plan, decision, wish.wanted)
    _bring_to_form(host, writer, plan, decision, report)
    return plan


def _check_consent(host: Host, release: Release, digest: str, wish: Wish) -> None:
    """An update may not take more than the active version was allowed, unasked."""
    active = host.catalog.active(release.ref)
    if wish.only_update and active and active.digest != digest:
        manifest = release.manifest
        check_consent(active, release.ref, manifest.version, manifest.permissions, wish.choice)


def _note(release: Release, plan: InstallPlan, accepted: Accepted, wish: Wish) -> dict[str, Any]:
    action = "activate" if plan.already else "update" if plan.before else "install"
    floor = Floor(release.manifest.serial, release.manifest.version, accepted.publisher)
    return change(
        action,
        active=plan.digest,
        floor=floor._asdict(),
        version=plan.version,
        origin=wish.origin,
    )


def _put_by_any_way(
    shipment: Shipment,
    host: Host,
    writer: Writer,
    delivery: Direct | Made,
    *,
    note: dict[str, Any],
    report: Report,
) -> InstallPlan:
    """Give a new deployment its place as planned; where what is installed fails, by other ways."""
    spent: set[bytes] = set()
    while True:
        try:
            stored = _put(host, writer, delivery, note, report)
        except (CorruptError, NotFoundError) as error:
            delivery = another(host, shipment, delivery, spent=spent, error=error, report=report)
        else:
            if spent:
                shipment.forget(host.layout)
            return delivery.plan._replace(stored=stored)


def _put(
    host: Host, writer: Writer, delivery: Direct | Made, note: dict[str, Any], report: Report
) -> int:
    """Give a new deployment its place, with a note of what is still to be done.

    Returns the size of the one file that has all of it, if one has.
    """
    arrival, plan = delivery.arrival, delivery.plan
    with (
        _staging(writer, plan.ref) as staged,
        delivery.contents(host, staged, report) as contents,
    ):
        place = _lay_down(host, delivery, contents, staged)
        _check_exports(host, arrival, contents.tree, place)
        write_new(f"{staged}/lease", b"")
        notices.prepare(staged)
        writer.note(plan.ref, note)
        sync(staged)
        stored = file_size(delivery.decision.form, staged)
        writer.publish(staged, plan.ref, plan.digest)
    return stored


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


def _lay_down(host: Host, delivery: Direct | Made, contents: Contents, staged: str) -> Place:
    arrival, decision = delivery.arrival, delivery.decision
    release = arrival.release
    work = Work(
        store=host.layout.root,
        ref=release.ref,
        digest=arrival.digest,
        staged=staged,
        layup=contents.layup,
        source=contents.source,
        choice=decision.choice,
        means=Means(staged),
        meanwhile=lambda: _write_beside(host, arrival, contents, staged),
        report=contents.meter.add,
        bundles=bundling,
        base=base_of(host, release.ref, decision.form),
        metadata_image=release.metadata_image,
        parcel=contents.parcel,
        whole=contents.whole,
    )
    place = keep_record(decision, staged, decision.form.lay_down(work))
    for text in warnings(host, release.ref, decision, place.record):
        contents.meter.warn(text)
    return place


def _check_exports(host: Host, arrival: Arrival, tree: Tree, place: Place) -> None:
    """Refuse a release whose exports would not render, before it has its place."""
    manifest = arrival.release.manifest
    if manifest.exports.paths or manifest.exports.commands:
        from holdall.desktop import exports

        with refusing(), reading_files(host, place, tree) as read:
            exports.check(manifest, read)


def _write_beside(host: Host, arrival: Arrival, contents: Contents, staged: str) -> None:
    """What stands beside a deployment's files; done while workers make those."""
    launch = launch_files_of(host, arrival.release, arrival.digest, contents.tree)
    for name, data in launch.items():
        write_new(f"{staged}/{name}", data)
    write_new(f"{staged}/tree", contents.section)
    write_new(f"{staged}/envelope", arrival.preamble.envelope)
    write_new(f"{staged}/release", arrival.signed.payload)
