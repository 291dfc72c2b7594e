"""Moving an installed release from one form to another: no download, the same identity."""

from contextlib import suppress
from typing import NamedTuple

from holdall.errors import CorruptError
from holdall.forms import seeding
from holdall.forms.port import Base, Whole, Work
from holdall.forms.viewing import Views
from holdall.journeys import bundling
from holdall.journeys.forming import (
    Decision,
    Wanted,
    base_of,
    decide,
    file_size,
    form_of,
    is_as_decided,
    keep_record,
    source_of,
    warnings,
)
from holdall.journeys.host import Event, Host, Report, silent
from holdall.journeys.installed import known_tree, release_of
from holdall.journeys.launching import launch_files_of
from holdall.journeys.leaving import free_behind
from holdall.journeys.recovery import carry_out, change, recover
from holdall.journeys.seeds import seed_of
from holdall.journeys.supply import Contents, Meter
from holdall.journeys.verify import signed_tree
from holdall.model import release as releases
from holdall.model.ref import RefPattern
from holdall.store import notices
from holdall.store.catalog import Deployment, Writer, writing
from holdall.store.contents import ContentSource
from holdall.system.files import plain_errors, remove_tree, sync, write_new
from holdall.system.means import Means


class Converted(NamedTuple):
    """A version before and after; `size` of its files, in bytes, and of the one that has them all.

    With `already` it was in the form as wanted, and nothing is done.
    """

    ref: str
    version: str
    release: str
    before: str
    after: str
    size: int
    already: bool
    stored: int = 0


def convert(
    pattern: RefPattern,
    host: Host,
    wanted: Wanted,
    *,
    version: str | None = None,
    every: bool = False,
    dry_run: bool = False,
    report: Report = silent,
) -> list[Converted]:
    """Bring the active version, or `version`, or `every` one, to the wanted form.

    What runs keeps running from where it was. Raises NotFoundError, UnsupportedError, and
    CorruptError where a version is damaged; then it is as it was.
    """
    if dry_run:
        return [
            _told(item, decide(host, item.ref, wanted))
            for item in _chosen(host, pattern, version, every=every)
        ]
    with (
        plain_errors(f"{pattern} cannot be converted"),
        writing(host.layout, wait=host.wait) as writer,
    ):
        recover(host, writer, report)
        done = []
        for item in _chosen(host, pattern, version, every=every):
            decision = decide(host, item.ref, wanted)
            told = _told(item, decision)
            if not told.already:
                bring_to(host, writer, item, decision, report)
                told = told._replace(stored=file_size(decision.form, item.path))
            elif decision.reason and told.after != decision.instead_of:
                for text in warnings(host, item.ref, decision, item.record):
                    report(Event(text, loud=True))
            done.append(told)
    free_behind(host)
    return done


def _chosen(
    host: Host, pattern: RefPattern, version: str | None, *, every: bool
) -> list[Deployment]:
    current = host.catalog.current(pattern)
    if every:
        return host.catalog.deployments(current.ref)
    return [host.catalog.version(current.ref, version) if version else current]


def _told(item: Deployment, decision: Decision) -> Converted:
    release = release_of(item)
    size = release.size if release else 0
    already = is_as_decided(item, decision)
    after = item.form if already else decision.form.TRAITS.name
    return Converted(str(item.ref), item.version, item.digest, item.form, after, size, already)


def bring_to(
    host: Host,
    writer: Writer,
    item: Deployment,
    decision: Decision,
    report: Report,
    *,
    source: ContentSource | None = None,
    whole: Whole | None = None,
) -> None:
    """Lay a version down anew and put that in its place, by one rename.

    Contents come from the version itself, each checked; or from `source` alone, which mends it.
    Where the form keeps a bundle, that is `whole`, if it is at hand.
    """
    tree, version = signed_tree(host, item)
    action = "repair" if source else f"convert to {decision.form.TRAITS.name}"
    # what is mended takes nothing unread: versions share what is damaged
    base = base_of(host, item.ref, decision.form) if source is None else None
    with Views() as views:
        if source is None:
            source = source_of(host, item, tree, views)
            held = form_of(item).TRAITS
            # out of a mount everything is copied, and then with progress
            lies = held.folder or held.seed
            seed = seed_of(host, item, tree, decision, views) if lies else None
            seeds = (seed,) if seed else _others(host, item, decision, views)
        else:
            seeds = ()
        layup = seeding.plan(tree, seeds)
        meter = Meter(f"Converting {item.ref.id} {version}", layup.fresh_size, report)
        staged = writer.stage()
        try:
            contents = Contents(b"", layup, source, meter, whole=whole)
            _stage(host, item, staged, decision, contents, base=base)
        except BaseException:
            remove_tree(staged)
            raise
    writer.replace(staged, item)
    active = host.catalog.active(item.ref)
    note = change(
        action,
        active=active.digest if active else None,
        version=version,
        show=False,
        release=item.digest,
    )
    writer.note(item.ref, note)
    carry_out(host, writer, item.ref, note, report)


def _others(
    host: Host, item: Deployment, decision: Decision, views: Views
) -> tuple[seeding.Seed, ...]:
    """Other versions of the ref whose files may be those of the new form, too."""
    found = []
    for other in host.catalog.deployments(item.ref) if decision.form.TRAITS.shares else ():
        with suppress(CorruptError):
            tree = known_tree(other) if form_of(other).TRAITS.shares else None
            if tree and other != item and (seed := seed_of(host, other, tree, decision, views)):
                found.append(seed)
    return tuple(found)


def _stage(
    host: Host,
    item: Deployment,
    staged: str,
    decision: Decision,
    contents: Contents,
    *,
    base: Base | None,
) -> None:
    """Make the same deployment in another form, whole and on the disk."""
    release = releases.parse(item.read("release"))

    def write_beside() -> None:
        for name in ("tree", "envelope", "release"):
            write_new(f"{staged}/{name}", item.read(name))
        launch = launch_files_of(host, release, item.digest, contents.tree)
        for name, data in launch.items():
            write_new(f"{staged}/{name}", data)

    work = Work(
        store=host.layout.root,
        ref=item.ref,
        digest=item.digest,
        staged=staged,
        layup=contents.layup,
        source=contents.source,
        choice=decision.choice,
        means=Means(staged),
        meanwhile=write_beside,
        report=contents.meter.add,
        bundles=bundling,
        base=base,
        metadata_image=release.metadata_image,
        whole=contents.whole,
    )
    place = keep_record(decision, staged, decision.form.lay_down(work))
    for text in warnings(host, item.ref, decision, place.record):
        contents.meter.warn(text)
    write_new(f"{staged}/lease", b"")
    notices.prepare(staged)
    sync(staged)
