"""Building an increment: one file that makes a new release out of older ones.

The new release is the one its full bundle gives, byte for byte: its envelope is taken from that
bundle, or made by packing the folder as for one. Same input, same bytes.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from typing import NamedTuple

from holdall.delivery import index as indexes
from holdall.delivery.bundle import NO_FRAMES, Opened
from holdall.delivery.layout import INCREMENT, Head
from holdall.errors import CorruptError, NoGainError, UsageError
from holdall.journeys.arrival import Arrival, arriving
from holdall.journeys.build import (
    DEFAULT,
    BuildOptions,
    Package,
    check_output,
    counting,
    package,
    put,
    read_folder,
)
from holdall.journeys.host import Report, silent
from holdall.model import statement as statements
from holdall.model.digest import digest_of
from holdall.model.ref import Ref
from holdall.model.release import Release
from holdall.model.statement import Statement
from holdall.model.tree import Tree
from holdall.system.crew import processors
from holdall.system.files import plain_errors
from holdall.trust.envelope import sign
from holdall.trust.keys import PublicKey, SigningKey

_WORTH = 0.9  # of the new contents as the full bundle has them: what costs as much is not shipped

Read = Callable[[bytes], bytes]


class Base(NamedTuple):
    """A release an increment starts from, and what one needs from there, in bytes.

    `stored` of the increment, `full` of the full bundle: sections, and what holds new contents.
    """

    release: str
    version: str
    stored: int
    full: int


class FileShare(NamedTuple):
    """A file the increment makes: its length, its part of the stored bytes, and by what means."""

    path: str
    size: int
    stored: int
    how: str


class BuiltIncrement(NamedTuple):
    """An increment that was written; `bundle` is its size in bytes."""

    path: str
    release: Release
    digest: str
    bundle: int
    bases: tuple[Base, ...]
    files: tuple[FileShare, ...]
    signers: tuple[str, ...]


class IncrementPlan(NamedTuple):
    """What would be compared: files to make, and their bytes, for each old version."""

    ref: Ref
    version: str
    bases: tuple[tuple[str, int, int], ...]


class _Edition(NamedTuple):
    """A release with its tree, how its full bundle is packed, and a way to its contents."""

    release: Release
    digest: str
    tree: Tree
    packed: Opened
    sections: int
    envelope: bytes
    signers: tuple[PublicKey, ...]
    extract: Callable[[set[bytes], str], dict[bytes, str]]


def build_increment(
    source: str,
    out: str,
    against: tuple[str, ...],
    *,
    keys: tuple[SigningKey, ...],
    options: BuildOptions = DEFAULT,
    report: Report = silent,
) -> BuiltIncrement:
    """Make `out`, an increment from the bundles `against` to `source`, a folder or a full bundle.

    `keys` sign what is said of it; with a bundle as source at least one must have signed that.
    Raises UsageError for what does not go together, NoGainError when an increment would be hardly
    smaller than the full bundle; then, or killed, it leaves no file at `out` but the one there was.
    """
    check_output(out, (source, *against))
    with plain_errors(f"{source} cannot be built"), ExitStack() as stack:
        work = stack.enter_context(
            tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(out)))
        )
        olds = [stack.enter_context(_from_bundle(path)) for path in against]
        if os.path.isdir(source):
            new = _from_folder(source, work, keys, options, report)
        else:
            new = stack.enter_context(_from_bundle(source))
        _check(new, olds, keys)
        return _Builder(new, olds, work, report).build(os.path.abspath(out), keys)


def plan_increment(
    source: str, against: tuple[str, ...], *, options: BuildOptions = DEFAULT
) -> IncrementPlan:
    """Say what `build_increment` would compare; writes nothing. Raises UsageError."""
    with plain_errors(f"{source} cannot be built"), ExitStack() as stack:
        olds = [stack.enter_context(_from_bundle(path)) for path in against]
        if os.path.isdir(source):
            manifest, scanned = read_folder(source, options, silent)
            tree = scanned.tree
        else:
            new = stack.enter_context(_from_bundle(source))
            manifest, tree = new.release.manifest, new.tree
        bases = []
        for old in olds:
            _check_ref(manifest.ref, old)
            fresh = [
                size for digest, size in tree.contents.items() if digest not in old.tree.contents
            ]
            bases.append((old.release.manifest.version, len(fresh), sum(fresh)))
        return IncrementPlan(manifest.ref, manifest.version, tuple(bases))


class _Builder:
    def __init__(self, new: _Edition, olds: list[_Edition], work: str, report: Report) -> None:
        self._new = new
        self._olds = olds
        self._work = work
        self._report = report

    def build(self, out: str, keys: tuple[SigningKey, ...]) -> BuiltIncrement:
        from holdall.delivery.differ.assemble import assemble, plan

        new, trees = self._new, tuple(old.tree for old in self._olds)
        work = plan(new.tree, trees)
        read = self._contents(work.made, work.needs)
        name = f"Comparing {new.release.manifest.id} {new.release.manifest.version}"
        told = counting(name, work.size, self._report)
        made = assemble(new.tree, trees, work, read, workers=processors(), report=told)
        statement = Statement(
            format=statements.FORMAT,
            release=new.digest,
            bases=tuple(old.digest for old in self._olds),
            tree=sha256(made.tree).hexdigest(),
            index=sha256(made.index).hexdigest(),
        )
        said = sign(statements.encode(statement), keys, kind=statements.PAYLOAD_TYPE)
        sections = (new.envelope, made.tree, made.index, said)
        head = Head(
            envelope=len(new.envelope),
            tree=len(made.tree),
            index=len(made.index),
            content=sum(map(len, made.units)),
            incompatible=INCREMENT,
        )
        bases, files = self._facts(made.tree, made.index)
        _check_worth(bases)
        put(out, head, sections, made.units)
        signers = tuple(key.public.fingerprint for key in keys)
        size = os.stat(out).st_size
        return BuiltIncrement(out, new.release, new.digest, size, bases, files, signers)

    def _contents(self, made: set[bytes], needs: set[bytes]) -> Read:
        """All contents that are compared, in files, and a way to read them."""
        paths = self._new.extract(made, self._work)
        for old in self._olds:
            missing = {digest for digest in needs if digest in old.tree.contents} - paths.keys()
            paths |= old.extract(missing, self._work)
        return lambda digest: _read(paths, digest)

    def _facts(self, tree: bytes, index: bytes) -> tuple[tuple[Base, ...], tuple[FileShare, ...]]:
        """What it costs from each base, and what its files cost from the first."""
        from holdall.delivery.increment import read_increment

        increment = read_increment(tree, index)
        sections = len(tree) + len(index)
        bases = tuple(
            Base(
                old.digest,
                old.release.manifest.version,
                increment.cost(number) + sections,
                self._new.sections + full_cost(self._new.packed, old.tree),
            )
            for number, old in enumerate(self._olds)
        )
        skeleton = increment.skeleton(0, self._olds[0].tree)
        shares = increment.describe(0, skeleton)
        files = tuple(
            FileShare(share.path, share.size, round(share.stored), " ".join(share.transforms))
            for share in shares
        )
        return bases, files


def full_cost(packed: Opened, old: Tree) -> int:
    """About how many bytes of a full bundle hold the contents that `old` lacks."""
    contents = packed.tree.contents
    if packed.image:
        size = sum(size for digest, size in contents.items() if digest not in old.contents)
        return round(packed.image.size * size / max(1, sum(contents.values())))
    digests = list(contents)
    wanted = 0.0
    for group in indexes.groups(packed.index):
        raw = sum(frame.raw for frame in group.frames)
        stored = sum(frame.stored for frame in group.frames)
        fresh = sum(
            place.size for place in group.places if digests[place.content] not in old.contents
        )
        wanted += stored * fresh / raw
    return round(wanted)


def _from_folder(
    folder: str, work: str, keys: tuple[SigningKey, ...], options: BuildOptions, report: Report
) -> _Edition:
    manifest, scanned = read_folder(folder, options, report)
    with tempfile.TemporaryFile(dir=work) as frames:
        made: Package = package(
            manifest, scanned, frames, work, keys=keys, options=options, report=report
        )
    paths = {file.digest: f"{scanned.folder}/{file.path}" for file in scanned.tree.files}
    return _Edition(
        release=made.release,
        digest=sha256(made.payload).hexdigest(),
        tree=scanned.tree,
        packed=_packed(made, scanned.tree),
        sections=len(made.tree) + len(made.index_section),
        envelope=made.envelope,
        signers=tuple(key.public for key in keys),
        extract=lambda wanted, _work: {digest: paths[digest] for digest in wanted},
    )


def _packed(made: Package, tree: Tree) -> Opened:
    image = made.release.packing.image
    if image:
        return Opened(tree, NO_FRAMES, image)
    return Opened(tree, indexes.parse(made.index, list(tree.contents.values())))


@contextmanager
def _from_bundle(path: str) -> Iterator[_Edition]:
    with arriving(path) as arrival:
        opened = arrival.open()

        def extract(wanted: set[bytes], work: str) -> dict[bytes, str]:
            return _extract(arrival, opened, wanted, work)

        yield _Edition(
            release=arrival.release,
            digest=arrival.digest,
            tree=opened.tree,
            packed=opened,
            sections=arrival.preamble.head.tree + arrival.preamble.head.index,
            envelope=arrival.preamble.envelope,
            signers=arrival.signed.signers,
            extract=extract,
        )


def _extract(arrival: Arrival, opened: Opened, wanted: set[bytes], work: str) -> dict[bytes, str]:
    """Write contents of a bundle to files named by their digests; raises CorruptError."""
    arrival.seekable_fd()
    source = arrival.source(opened, work)
    paths = {}
    for batch in source.batches(wanted):
        for digest, pieces in source.produce(batch.number, wanted):
            paths[digest] = f"{work}/{digest.hex()}"
            with open(paths[digest], "wb") as file:
                file.writelines(pieces)
    return paths


def _read(paths: Mapping[bytes, str], digest: bytes) -> bytes:
    with open(paths[digest], "rb") as file:
        data = file.read()
    if digest_of(data) != digest:
        raise CorruptError(f"{paths[digest]} does not have the digest it should; build again.")
    return data


def _check(new: _Edition, olds: list[_Edition], keys: tuple[SigningKey, ...]) -> None:
    for old in olds:
        _check_ref(new.release.ref, old)
    digests = [old.digest for old in olds]
    if new.digest in digests or len(set(digests)) != len(digests):
        raise UsageError("An increment starts from other releases than its own, each named once.")
    signers = {key.fingerprint for key in new.signers}
    if signers and not signers & {key.public.fingerprint for key in keys}:
        raise UsageError(
            "None of the keys signed the new release; sign its increment with one that did: --key."
        )


def _check_ref(ref: Ref, old: _Edition) -> None:
    if old.release.ref != ref:
        raise UsageError(f"An increment of {ref} cannot start from {old.release.ref}.")


def _check_worth(bases: tuple[Base, ...]) -> None:
    for base in bases:
        if base.stored >= _WORTH * base.full:
            raise NoGainError(
                f"From {base.version} an increment would take {base.stored} bytes where the full"
                f" bundle takes about {base.full} for the same; publish the full bundle alone."
            )
