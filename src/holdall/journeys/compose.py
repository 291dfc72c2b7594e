"""Going a way: each release on it is made and checked, the last one is ready to be laid down.

What is made lies in the store's folder `partial` meanwhile. It stays there when the command is
interrupted, and goes when it fails: then the store is as it was.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

from holdall.delivery.zstandard import compress, sized
from holdall.errors import CorruptError, CutShortError, NetworkError, NotFoundError
from holdall.forms import seeding
from holdall.journeys.arrival import Arrival
from holdall.journeys.host import Host
from holdall.journeys.supply import Contents, Meter, Shelf
from holdall.journeys.way import Leg, Way
from holdall.model import tree as trees
from holdall.model.digest import Hasher
from holdall.model.release import Release
from holdall.model.tree import Tree
from holdall.store import partial
from holdall.system.kernel import sync_filesystem

if TYPE_CHECKING:
    from holdall.delivery.increment import Made, Skeleton, Stored

_LEVEL = 3
_NAMED = 5  # files that a message names
_PIECE = 2**20
_FLUSHED = 2**24


class _Stage(NamedTuple):
    """One release on the way: its tree, and that as bytes where it had to be made."""

    tree: Tree
    data: bytes


class _Told:
    """Hears what was made, and has it written to the disk meanwhile, a good piece at a time."""

    def __init__(self, meter: Meter, folder: str) -> None:
        self._meter = meter
        self._folder = folder
        self._waiting = 0
        self.warn = meter.warn

    def add(self, size: int) -> None:
        """So many bytes more were made."""
        self._meter.add(size)
        self._waiting += size
        if self._waiting >= _FLUSHED:
            self._waiting = 0
            fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                sync_filesystem(fd)
            finally:
                os.close(fd)


@contextmanager
def composed(
    host: Host, way: Way, shelf: Shelf, release: Release, meter: Meter
) -> Iterator[Contents]:
    """The contents of `release`, to which `way` leads, for as long as it takes to lay them down.

    For the holder of the lock. `meter` gets the bytes made, which are on their way to the disk by
    then. Raises CorruptError when an increment does not hold what its release promises,
    NotFoundError when contents are nowhere to be had.
    """
    folders: list[str] = []
    told = _Told(meter, host.layout.root)
    try:
        stage = _Stage(way.start, b"")
        for leg in way.legs:
            folder = partial.folder_of(host.layout, release.ref, leg.arrival.preamble.index)
            folders.append(folder)
            stage = _stage(leg, stage.tree, shelf, folder, told)
        yield _ready(stage, shelf, release, meter)
    except (KeyboardInterrupt, CutShortError, NetworkError):
        raise
    except BaseException:
        if not shelf.patient:
            _clear(folders)
        raise
    _clear(folders)


def _stage(leg: Leg, base: Tree, shelf: Shelf, folder: str, told: "_Told") -> _Stage:
    """One release on the way; where its increment fails, by its full bundle if that was given."""
    release = leg.arrival.release
    fulls = [it for it in shelf.fulls if it.arrival.release.tree_digest == release.tree_digest]
    try:
        leg = leg.onto(base)
        made = _made(leg, shelf, folder, told)
        if not made.failed:
            return _completed(release, leg.skeleton.complete(made.digests))
    except CorruptError as error:
        if not fulls:
            raise
        reason = "The increment is cut short." if isinstance(error, CutShortError) else error
        told.warn(f"{reason} The full bundle is used instead.")
    else:
        if not fulls:
            raise _unmakeable(release, leg.skeleton, made.failed)
    return _Stage(fulls[0].opened.tree, b"")


def _made(leg: Leg, shelf: Shelf, folder: str, told: "_Told") -> "Made":
    """What an increment makes, put on the shelf."""
    needed = leg.needed()
    found = shelf.locate(needed)
    found |= shelf.extract(needed - found.keys(), f"{folder}/bases", told.add)
    with _units(leg.arrival, folder) as stored:
        made = _make(leg, stored, found=found, folder=folder, report=told.add)
        if made.failed and shelf.fulls:
            spoiled = {digest for digest, path in found.items() if not _is_sound(path, digest)}
            if better := shelf.extract(spoiled, f"{folder}/others", told.add):
                found |= better
                again = stored._replace(stream=None)
                made = _make(leg, again, found=found, folder=folder, report=told.add)
    shelf.add(made.digests.values(), folder)
    return made


def _completed(release: Release, data: bytes) -> _Stage:
    if trees.tree_digest(data) != release.tree_digest:
        raise CorruptError(
            f"The increment does not make {release.manifest.id} {release.manifest.version} as it "
            "was signed."
        )
    # the rules for paths were checked when the skeleton was read
    return _Stage(trees.parse(data, parsed_before=True), data)


def _make(
    leg: Leg,
    stored: "Stored",
    *,
    found: Mapping[bytes, str],
    folder: str,
    report: Callable[[int], None],
) -> "Made":
    from holdall.delivery.increment import make

    try:
        return make(
            leg.increment,
            leg.base,
            leg.tree,
            leg.skeleton,
            find=found.get,
            stored=stored,
            folder=folder,
            report=report,
        )
    except (ValueError, LookupError, ArithmeticError) as error:
        # whatever a library stumbles over, it is the increment that was wrong
        raise CorruptError("A unit of the increment cannot be decoded.") from error


@contextmanager
def _units(arrival: Arrival, folder: str) -> Iterator["Stored"]:
    """Where an increment's units can be read; those of a stream pass through a nameless file."""
    from holdall.delivery.increment import Stored

    first = arrival.preamble.first
    if arrival.seekable:
        yield Stored(arrival.stream.fileno(), first)
        return
    spool = os.open(folder, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    try:
        yield Stored(spool, first, cast("BinaryIO", _Watched(arrival)))
    finally:
        os.close(spool)


class _Watched:
    """A stream of units that says so when it is cut short."""

    def __init__(self, arrival: Arrival) -> None:
        self._stream = arrival.stream
        self._left = arrival.preamble.head.content

    def read(self, size: int) -> bytes:
        """The next bytes; raises CutShortError where some should be and are not."""
        data = self._stream.read(size)
        self._left -= len(data)
        if not data and self._left > 0:
            raise CutShortError(
                "The increment is cut short; what was finished of it is kept, and the same command "
                "goes on from there."
            )
        return data


def _ready(stage: _Stage, shelf: Shelf, release: Release, meter: Meter) -> Contents:
    """All that laying the last release down takes; raises NotFoundError when something is amiss."""
    tree = stage.tree
    if tree.size != release.size or len(tree.entries) != release.entries:
        raise CorruptError("The increment's tree does not have the size its release says.")
    layup = shelf.lay(tree)
    if paths := seeding.uncovered(layup.fresh, shelf.source):
        raise NotFoundError(
            _plea(release, paths, "the installed files they are taken from are missing or changed")
        )
    data = stage.data or trees.encode(tree)
    return Contents(sized(data, compress(data, _LEVEL)), layup, shelf.source, meter)


def _unmakeable(
    release: Release, skeleton: "Skeleton", failed: Mapping[int, str]
) -> CorruptError | NotFoundError:
    (reason, _), *_ = Counter(failed.values()).most_common(1)
    kind = CorruptError if any("was changed" in text for text in failed.values()) else NotFoundError
    paths = sorted(path for content in failed for path in skeleton.paths(content))
    return kind(_plea(release, paths, reason))


def _plea(release: Release, paths: Sequence[str], reason: str) -> str:
    version = release.manifest.version
    count = f"{len(paths)} files" if len(paths) > 1 else "A file"
    named = ", ".join(ascii(path) for path in paths[:_NAMED])
    care = "see `holdall verify` and `holdall repair`, or " if "changed" in reason else ""
    return (
        f"{count} of {release.manifest.id} {version} cannot be made ({named}"
        f"{', …' if len(paths) > _NAMED else ''}): {reason}; {care}give the full bundle of "
        f"{version}, or of the version before, together with the increment."
    )


def _is_sound(path: str, digest: bytes) -> bool:
    """Whether a file has the content it should."""
    hasher = Hasher()
    try:
        with open(path, "rb", buffering=0) as file:
            while piece := file.read(_PIECE):
                hasher.update(piece)
    except OSError:
        return False
    return hasher.digest() == digest


def _clear(folders: Sequence[str]) -> None:
    for folder in folders:
        partial.drop(folder)
