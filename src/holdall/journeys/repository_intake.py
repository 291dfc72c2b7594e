"""``repo add``: bundles and increments into a repository, checked whole before they are named.

Nothing is handed out by this: the next publication takes what it leaves.
"""

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import BinaryIO, NamedTuple

from holdall.delivery.bundle import Opened
from holdall.errors import CorruptError, UntrustedError, UsageError
from holdall.journeys.arrival import arriving
from holdall.journeys.host import Report, silent
from holdall.journeys.repository_checks import Examined, check, examine
from holdall.journeys.supply import Meter, read_size
from holdall.model import offer as offers
from holdall.model.offer import ContentFile, Offer, OfferedIncrement, OfferedRelease
from holdall.model.ref import Ref
from holdall.publish.repository import offers as changes
from holdall.publish.repository.layout import Layout, holding
from holdall.publish.repository.pending import Pending
from holdall.publish.repository.published import Published
from holdall.publish.repository.settings import read_settings
from holdall.system.files import copy_file, plain_errors, remove_tree, sync_folder
from holdall.system.kernel import sync_filesystem
from holdall.trust.freshness import check_lifetime


class Added(NamedTuple):
    """A file that was added, or would be: what it is and whose; `new` is False when it was there.

    `bases` are versions; only an increment has them. `sha256` is "" where nothing was checked.
    """

    path: str
    ref: str
    version: str
    release: str
    bases: tuple[str, ...]
    size: int
    sha256: str
    signers: tuple[str, ...]
    new: bool


class IntakeOptions(NamedTuple):
    """`link` takes hard links instead of copies, `move` the files themselves."""

    allow_new_signer: bool = False
    link: bool = False
    move: bool = False
    dry_run: bool = False
    wait: float = 0.0


ORDINARY = IntakeOptions()


def add(
    folder: str,
    paths: Sequence[str],
    *,
    options: IntakeOptions = ORDINARY,
    report: Report = silent,
    now: datetime | None = None,
) -> list[Added]:
    """Add bundles and increments to the repository `folder`: all of them, or none.

    Raises UntrustedError for one that nobody signed, that another publisher's key signed than the
    app's, or that has expired; CorruptError for one that is damaged; UsageError for one that does
    not fit what is there.
    """
    layout = Layout(os.path.abspath(folder))
    with holding(layout, wait=options.wait), plain_errors(f"{folder} cannot take in a bundle"):
        return Intake(layout, options, report).take(paths, now or datetime.now(UTC))


class _Item(NamedTuple):
    """A file to add, read once: what it is; it is opened again to be checked."""

    path: str
    ref: Ref
    digest: str
    is_increment: bool
    work: int


class Intake:
    """One addition to a repository whose lock is held."""

    def __init__(self, layout: Layout, options: IntakeOptions, report: Report) -> None:
        self._layout = layout
        self._options = options
        self._report = report
        self._published = Published(layout, role=read_settings(layout).role)
        self._pending = Pending(layout)
        self._offers: dict[str, Offer] = {}
        self._changed: set[str] = set()
        self._staged: dict[str, str] = {}
        self._count = 0

    def take(self, paths: Sequence[str], now: datetime) -> list[Added]:
        """Check the files, put them where they belong, and change the offers that wait."""
        remove_tree(self._layout.incoming)
        try:
            return self._take_all(paths, now)
        finally:
            remove_tree(self._layout.incoming)

    def _take_all(self, paths: Sequence[str], now: datetime) -> list[Added]:
        items = sorted(
            (self._read(path, now) for path in paths), key=lambda item: item.is_increment
        )
        fresh = [item for item in items if not self._is_there(item)]
        meter = Meter("Checking", sum(item.work for item in fresh), self._report)
        added = {item.path: self._take(item, meter) for item in fresh}
        for app_id in sorted(self._changed):
            self._add_ranges(app_id)
        if not self._options.dry_run:
            self._commit()
        return [added.get(item.path) or self._known(item) for item in items]

    # ------------------------------------------------------------------ what a file is

    def _read(self, path: str, now: datetime) -> _Item:
        with ExitStack() as stack:
            examined = examine(stack, path)
            release = examined.arrival.release
            check_lifetime(release, now)
            return _Item(
                path, release.ref, examined.arrival.digest, examined.opened is None, examined.work
            )

    def _is_there(self, item: _Item) -> bool:
        """Whether the very file was added before: the name says it, what is in it was checked."""
        offer = self._offer(item.ref.id)
        with arriving(item.path) as arrival:
            size = arrival.preamble.size
        held = [known.bundle for known in offer.releases if known.release == item.digest]
        made = [known for known in offer.increments if known.release == item.digest]
        return any(
            known.size == size and _same(item.path, self._layout.content(known.sha256))
            for known in (made if item.is_increment else held)
        )

    def _known(self, item: _Item) -> Added:
        with ExitStack() as stack:
            return self._said(item, examine(stack, item.path), "", new=False)

    def _said(self, item: _Item, examined: Examined, sha256: str, *, new: bool) -> Added:
        release = examined.arrival.release
        offer = self._offer(item.ref.id)
        versions = {known.release: known.version for known in offer.releases}
        bases = examined.statement.bases if examined.statement else ()
        return Added(
            path=item.path,
            ref=str(item.ref),
            version=release.manifest.version,
            release=item.digest,
            bases=tuple(versions.get(base, base) for base in bases),
            size=examined.size,
            sha256=sha256,
            signers=tuple(key.fingerprint for key in examined.arrival.signed.signers),
            new=new,
        )

    # ------------------------------------------------------------------ one file

    def _take(self, item: _Item, meter: Meter) -> Added:
        with ExitStack() as stack:
            examined = examine(stack, self._stage(item.path))
            if examined.arrival.digest != item.digest:
                raise CorruptError(f"{item.path} changed while it was read.")
            self._judge(item, examined)
            sha256 = check(examined, meter.add, self._layout.incoming)
            self._staged[sha256] = examined.arrival.path
            self._put(item, examined, sha256)
            return self._said(item, examined, sha256, new=True)

    def _stage(self, path: str) -> str:
        """Where the file is checked: in the repository, so that nobody changes it afterwards."""
        if self._options.dry_run:
            return path
        os.makedirs(self._layout.incoming, exist_ok=True)
        self._count += 1
        staged = f"{self._layout.incoming}/{self._count}"
        if self._options.move:
            os.rename(path, staged)
        elif not (self._options.link and _linked(path, staged)):
            copy_file(path, staged)
        return staged

    def _judge(self, item: _Item, examined: Examined) -> None:
        """Raise UntrustedError or UsageError for what does not belong to what is there."""
        offer = self._offer(item.ref.id)
        release = examined.arrival.release
        self._check_signers(offer, examined)
        name = f"{item.ref} {release.manifest.version}"
        releases = {known.release: known for known in offer.releases_of(item.ref)}
        if examined.statement is not None:
            for digest in (item.digest, *examined.statement.bases):
                if digest not in releases:
                    what = "makes" if digest == item.digest else "starts from"
                    raise UsageError(
                        f"{item.path} {what} a release of {item.ref} that the repository does not"
                        f" have ({digest[:16]}…); add its full bundle, too."
                    )
            return
        for known in releases.values():
            if known.release != item.digest and known.order == release.order:
                raise UsageError(
                    f"The repository has another release of {name} already; give this one another"
                    " version, or a higher serial."
                )

    def _check_signers(self, offer: Offer, examined: Examined) -> None:
        if self._options.allow_new_signer or not offer.releases:
            return
        newest = offer.releases[0]
        release = examined.arrival.release
        known = {
            signer
            for item in (offer.releases if release.order < newest.order else (newest,))
            for signer in item.signers
        }
        signers = [key.fingerprint for key in examined.arrival.signed.signers]
        if not known.intersection(signers):
            raise UntrustedError(
                f"{examined.arrival.path} is signed by key {signers[0]}, which signed nothing of"
                f" {offer.id} here so far; if its publisher changed keys, use --allow-new-signer."
            )

    def _put(self, item: _Item, examined: Examined, sha256: str) -> None:
        """Have the offer of its app name the file."""
        offer = self._offer(item.ref.id)
        if examined.statement is None:
            manifest = examined.arrival.release.manifest
            release = _offered(examined, sha256)
            offer = changes.with_release(offer, release, manifest.about)
        else:
            increment = OfferedIncrement(
                arch=item.ref.arch,
                branch=item.ref.branch,
                release=item.digest,
                bases=examined.statement.bases,
                sha256=sha256,
                size=examined.size,
            )
            offer = changes.with_increment(offer, increment)
        self._offers[offer.id] = offer
        self._changed.add(offer.id)

    # ------------------------------------------------------------------ all of them

    def _offer(self, app_id: str) -> Offer:
        if app_id not in self._offers:
            self._offers[app_id] = (
                self._pending.offer(app_id)
                or self._published.offer(app_id)
                or changes.empty(app_id)
            )
        return self._offers[app_id]

    def _add_ranges(self, app_id: str) -> None:
        """Say what each release costs for those who have an earlier one."""
        opened: dict[str, Opened] = {}
        offer = self._offers[app_id]
        for ref in offer.refs:
            for release, earlier in changes.to_range(offer, ref):
                new, old = (self._opened(item, opened) for item in (release, earlier))
                wanted = new.tree.contents.keys() - old.tree.contents.keys()
                size = read_size(new, wanted) if wanted else 0
                offer = changes.with_ranges(offer, release.release, earlier.release, size)
        if len(offers.encode(offer)) > offers.MAX_BYTES:
            raise UsageError(
                f"The offer of {app_id} grows over its limit; drop old releases of it with"
                " `repo gc --keep N`."
            )
        self._offers[app_id] = offer

    def _opened(self, release: OfferedRelease, opened: dict[str, Opened]) -> Opened:
        sha256 = release.bundle.sha256
        if sha256 not in opened:
            with arriving(self._staged.get(sha256) or self._layout.content(sha256)) as arrival:
                opened[sha256] = arrival.open()
        return opened[sha256]

    def _commit(self) -> None:
        """Give the files their names, then have the offers wait for publication."""
        _sync(self._layout.root)
        folders = set()
        for sha256, staged in self._staged.items():
            path = self._layout.content(sha256)
            folders.add(os.path.dirname(path))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.rename(staged, path)
        for folder in sorted(folders):
            sync_folder(folder)
        for app_id in sorted(self._changed):
            self._pending.put_offer(self._offers[app_id])


def _offered(examined: Examined, sha256: str) -> OfferedRelease:
    release, preamble = examined.arrival.release, examined.arrival.preamble
    manifest = release.manifest
    return OfferedRelease(
        release=examined.arrival.digest,
        arch=manifest.arch,
        branch=manifest.branch,
        version=manifest.version,
        kind=manifest.kind,
        tree=release.tree,
        size=release.size,
        entries=release.entries,
        bundle=ContentFile(sha256, preamble.size, preamble.first),
        signers=tuple(key.fingerprint for key in examined.arrival.signed.signers),
        runtime=manifest.runtime,
        serial=manifest.serial,
        created=release.created,
        permissions=manifest.permissions,
    )


def _linked(path: str, staged: str) -> bool:
    try:
        os.link(path, staged)
    except OSError:
        return False
    return True


def _same(path: str, held: str) -> bool:
    """Whether two files have the same bytes."""
    try:
        with open(path, "rb") as one, open(held, "rb") as other:
            return all(mine == others for mine, others in _side_by_side(one, other))
    except FileNotFoundError:
        return False


def _side_by_side(one: BinaryIO, other: BinaryIO) -> Iterable[tuple[bytes, bytes]]:
    while mine := one.read(2**20):
        yield mine, other.read(2**20)
    yield b"", other.read(1)


def _sync(root: str) -> None:
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_filesystem(fd)
    finally:
        os.close(fd)
