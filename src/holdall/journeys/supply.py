"""Where the contents of a new version come from, and how many bytes of what must be read."""

import os
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import NamedTuple

from holdall.delivery.bundle import BundleSource, Opened
from holdall.forms import laying, seeding
from holdall.forms.port import Parcel, Whole
from holdall.journeys import bundling
from holdall.journeys.arrival import Arrival
from holdall.journeys.forming import Decision
from holdall.journeys.host import Event, Host, Report
from holdall.journeys.imaging import ImageSource
from holdall.journeys.installed import known_tree
from holdall.journeys.seeds import places, seed_of
from holdall.journeys.shipment import Shipment
from holdall.model.tree import File, Tree
from holdall.store.catalog import Deployment
from holdall.store.contents import ContentSource
from holdall.store.several import Several
from holdall.system.files import remove_tree


class Meter:
    """Progress of one step over several kinds of work; never over its total.

    `received` counts what comes over the network meanwhile, which is work, too.
    """

    def __init__(
        self, text: str, total: int, report: Report, received: Callable[[], int] = int
    ) -> None:
        self._text, self._total, self._report = text, total, report
        self._received, self._before = received, received()
        self._done = 0
        self.add(0)

    def warn(self, text: str) -> None:
        """Something that must be seen."""
        self._report(Event(text, loud=True))

    def add(self, size: int) -> None:
        """So many bytes more are done."""
        self._done += size
        if self._total:
            done = self._done + self._received() - self._before
            self._report(Event(self._text, min(done, self._total), self._total))


class Contents(NamedTuple):
    """All that laying a version down takes; `section` is its tree as it is kept."""

    section: bytes
    layup: seeding.Layup
    source: ContentSource
    meter: Meter
    parcel: Parcel | None = None
    whole: Whole | None = None

    @property
    def tree(self) -> Tree:
        """The version's files."""
        return self.layup.tree


@contextmanager
def source_of(
    arrival: Arrival, opened: Opened, folder: str
) -> Iterator[BundleSource | ImageSource]:
    """The contents of a full bundle, for what is staged in `folder`.

    Those of a stream pass through a nameless file there; those of an image through one beside it.
    """
    beside = os.path.dirname(folder)
    with ExitStack() as stack:
        if arrival.seekable:
            source = arrival.source(opened, beside)
        else:
            spool = os.open(folder, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
            stack.callback(os.close, spool)
            source = arrival.passing(opened, spool, beside)
        if isinstance(source, ImageSource):
            stack.callback(source.close)
        yield source


def whole_of(arrival: Arrival, opened: Opened, source: BundleSource | ImageSource) -> Whole | None:
    """A full bundle as what a form may keep as it is; None for one with an image."""
    if isinstance(source, ImageSource):
        return None
    return bundling.whole(arrival.preamble, opened, source, arrival.file)


def read_size(opened: Opened, wanted: Collection[bytes]) -> int:
    """The bytes of a full bundle's frames that have wanted contents."""
    frames, contents = opened.index.frames, opened.tree.contents
    if len(wanted) == len(contents) or (opened.image and wanted):
        return opened.stored
    numbers = {number for number, digest in enumerate(contents) if digest in wanted}
    starts = [frame.start for frame in frames]
    needed: set[int] = set()
    for place in opened.index.places:
        if place.size and place.content in numbers:
            first = bisect_right(starts, place.start) - 1
            needed.update(range(first, bisect_right(starts, place.start + place.size - 1)))
    return sum(frames[number].stored for number in needed)


class Full(NamedTuple):
    """A full bundle that was given, opened."""

    arrival: Arrival
    opened: Opened
    source: ContentSource


class Shelf:
    """All that is at hand of a ref: what was made, what is installed, full bundles that were given.

    What is installed is looked into when it is asked for.
    """

    def __init__(self, host: Host, shipment: Shipment, decision: Decision) -> None:
        ref = shipment.ref
        self._host, self._shipment, self.decision = host, shipment, decision
        self.patient = shipment.patient
        active = host.catalog.active(ref)
        others = [item for item in reversed(host.catalog.deployments(ref)) if item != active]
        self.installed = (*((active,) if active else ()), *others)
        self._objects: list[seeding.Objects] = []
        self._trees: dict[str, Tree | None] = {}
        self._seeds: dict[str, seeding.Seed | None] = {}

    def add(self, digests: Collection[bytes], folder: str) -> None:
        """Put contents there that were made; `folder` has each under its digest."""
        self._objects.insert(0, seeding.Objects(frozenset(digests), folder))

    def clear(self) -> None:
        """Forget what was put there."""
        self._objects.clear()

    def tree(self, deployment: Deployment) -> Tree | None:
        """The tree of an installed version; None for one that was spoiled."""
        if deployment.digest not in self._trees:
            self._trees[deployment.digest] = known_tree(deployment)
        return self._trees[deployment.digest]

    def seed(self, deployment: Deployment) -> seeding.Seed | None:
        """An installed version as a seed; None for one that was spoiled."""
        if deployment.digest not in self._seeds:
            tree = self.tree(deployment)
            self._seeds[deployment.digest] = (
                seed_of(self._host, deployment, tree, self.decision, self._shipment.views)
                if tree
                else None
            )
        return self._seeds[deployment.digest]

    @property
    def shares(self) -> bool:
        """Whether what was looked into so far can be shared with what will be laid down."""
        return all(seed.shares for seed in self._seeds.values() if seed)

    @property
    def seeds(self) -> Iterator[seeding.Seed]:
        """The installed versions, the active one first; read one by one."""
        for deployment in self.installed:
            if seed := self.seed(deployment):
                yield seed

    @cached_property
    def fulls(self) -> tuple[Full, ...]:
        """The full bundles that were given as files."""
        found = []
        for arrival in self._shipment.fulls:
            opened = arrival.open()
            source = arrival.source(opened, self._host.layout.staging)
            found.append(Full(arrival, opened, source))
        return tuple(found)

    @property
    def source(self) -> ContentSource:
        """All full bundles as one."""
        return Several([full.source for full in self.fulls])

    def lay(self, tree: Tree) -> seeding.Layup:
        """How `tree` is made of all this, with no more installed versions than it takes."""
        layup = seeding.plan(tree, self._objects)
        seeds: list[seeding.Seed] = []
        for seed in self.seeds:
            if not layup.fresh:
                break
            seeds.append(seed)
            layup = seeding.plan(tree, (*self._objects, *seeds))
        return layup

    def locate(self, wanted: Collection[bytes]) -> dict[bytes, str]:
        """Files that should have wanted contents, by digest; nothing of theirs is read."""
        found: dict[bytes, str] = {}
        for made in self._objects:
            found |= {
                digest: f"{made.files}/{digest.hex()}"
                for digest in made.digests.intersection(wanted)
            }
        for seed in self.seeds:
            if not (left := set(wanted) - found.keys()):
                break
            found |= dict(places(seed, left))
        return found

    def read_size(self, wanted: Collection[bytes]) -> int:
        """The bytes that must be read of full bundles for those of the wanted that they have."""
        total, left = 0, set(wanted)
        for full in self.fulls:
            mine = full.source.available(left)
            left -= mine
            total += read_size(full.opened, mine)
        return total

    def extract(
        self, wanted: Collection[bytes], folder: str, report: Callable[[int], None]
    ) -> dict[bytes, str]:
        """Write those of the wanted contents that a full bundle has to the new folder `folder`."""
        fresh: dict[bytes, tuple[File, ...]] = {}
        for full in self.fulls:
            for digest in full.source.available(wanted) - fresh.keys():
                size = full.opened.tree.contents[digest]
                fresh[digest] = (File(digest.hex(), digest, size, executable=False),)
        if not fresh:
            return {}
        remove_tree(folder)
        laying.lay_down(seeding.Layup(Tree(()), (), fresh), self.source, folder, report=report)
        self.add(fresh, folder)
        return {digest: f"{folder}/{digest.hex()}" for digest in fresh}
