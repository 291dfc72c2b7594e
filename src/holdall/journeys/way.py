"""Choosing the way to a release over increments, from what is installed or given."""

from collections.abc import Collection, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from holdall.errors import CorruptError, NotFoundError
from holdall.journeys.arrival import Arrival
from holdall.journeys.host import Host
from holdall.journeys.installed import release_of
from holdall.journeys.route import Edge, Place, Route, cheapest
from holdall.journeys.shipment import Shipment
from holdall.journeys.supply import Shelf, read_size
from holdall.model import tree as trees
from holdall.model.tree import File, Tree
from holdall.store.catalog import history

if TYPE_CHECKING:
    from holdall.delivery.increment import Increment, Skeleton

_CLOSE = 1.05  # a way that reads so much more is as good, if it begins at the active version


class Leg(NamedTuple):
    """One increment's part of the way, from its base number `base`, of version `before`.

    `tree` is the base's and `skeleton` that of the release it makes. On later legs the digests of
    what is made on earlier ones are made up.
    """

    before: str
    tree: Tree
    arrival: Arrival
    increment: "Increment"
    base: int
    skeleton: "Skeleton"

    @property
    def read(self) -> int:
        """The bytes of the units it takes."""
        return self.increment.cost(self.base)

    @property
    def produced(self) -> int:
        """The bytes of the contents it makes."""
        return sum(self.skeleton.sizes[content] for content in self.skeleton.new)

    def onto(self, tree: Tree) -> "Leg":
        """The same with what its base really is."""
        if tree is self.tree:
            return self
        return self._replace(tree=tree, skeleton=self.increment.skeleton(self.base, tree))

    def needed(self) -> set[bytes]:
        """The digests of the contents it builds on; raises CorruptError."""
        contents, origins = list(self.tree.contents), self.skeleton.origins
        units = self.increment.units(self.base)
        numbers = {number for chosen in units.values() for number in chosen}
        quoted = {number for unit in units for number in self.increment.index.units[unit].fills}
        if max(numbers, default=0) >= len(contents) or max(quoted, default=0) >= len(origins):
            raise CorruptError("The increment builds on contents that its base does not have.")
        found = {contents[number] for number in numbers}
        return found | {digest for number in quoted if (digest := origins[number])}

    def unknown(self) -> dict[int, bytes]:
        """A made-up digest for each content it makes."""
        name = self.arrival.digest
        return {
            content: sha256(f"{name} {content}".encode()).digest() for content in self.skeleton.new
        }

    def forecast(self) -> Tree:
        """The tree of the release it makes, as far as it is known before."""
        unknown = self.unknown()
        digests = [
            unknown[number] if digest is None else digest
            for number, digest in enumerate(self.skeleton.origins)
        ]
        return Tree(
            tuple(
                entry._replace(digest=digests[int.from_bytes(entry.digest, "big")])
                if isinstance(entry, File)
                else entry
                for entry in self.skeleton.entries
            )
        )


class Estimate(NamedTuple):
    """What a way leads to, and bytes: read, made for good, linked, and made on the way only."""

    files: int
    read: int
    produced: int
    linked: int
    work: int


class Way(NamedTuple):
    """A tree to begin with, of a version at a place, then increment after increment."""

    start: Tree
    legs: tuple[Leg, ...]
    version: str
    place: Place

    def estimate(self, shelf: Shelf) -> Estimate:
        """What going it and laying its end down will take; exact unless files were spoiled."""
        if len(self.legs) == 1 and not shelf.fulls:
            return self._estimate_of_one()
        for leg in self.legs:
            shelf.add(leg.unknown().values(), "")
        absent: set[bytes] = set()
        for leg in self.legs:
            needed = leg.needed()
            absent |= needed - shelf.locate(needed).keys()
        tree = self.legs[-1].forecast() if self.legs else self.start
        layup = shelf.lay(tree)
        shelf.clear()
        extracted = shelf.source.available(absent)
        sizes = {digest: size for leg in self.legs for digest, size in leg.tree.contents.items()}
        return Estimate(
            len(tree.files),
            read=sum(leg.read for leg in self.legs)
            + shelf.read_size(extracted)
            + shelf.read_size(layup.fresh.keys()),
            produced=sum(leg.produced for leg in self.legs) + layup.fresh_size,
            linked=layup.linked_size,
            work=sum(sizes[digest] for digest in extracted),
        )

    def _estimate_of_one(self) -> Estimate:
        """The same for a single increment over an installed version, quickly."""
        (leg,) = self.legs
        sizes, origins = leg.skeleton.sizes, leg.skeleton.origins
        files = [entry for entry in leg.skeleton.entries if isinstance(entry, File)]
        kept = {
            (number, file.executable)
            for file in files
            if origins[number := int.from_bytes(file.digest, "big")] is not None
        }
        linked = sum(sizes[number] for number, _ in kept)
        return Estimate(len(files), leg.read, leg.produced, linked, 0)


class _Start(NamedTuple):
    version: str
    tree: Tree
    cost: int
    given: bool


def find_way(
    host: Host, shipment: Shipment, shelf: Shelf, spent: Collection[Place] = ()
) -> Way | None:
    """The way that reads least; None where that is the target's own full bundle.

    No way from a place that is `spent`; from the active version, where others save next to nothing.
    For increments that were let in: opens them. Raises CorruptError, and NotFoundError when no way
    leads there.
    """
    from holdall.delivery.increment import open_increment

    increments = tuple(
        open_increment(arrival.preamble, said.statement)
        for arrival, said in zip(shipment.increments, shipment.statements, strict=True)
    )
    goal = shipment.target.release.tree_digest.raw
    edges = _edges(shipment, increments)
    starts = _starts(shelf, {goal, *(edge.start for edge in edges)} - set(spent))
    costs = {place: start.cost for place, start in starts.items()}
    if not (shipment.target.is_increment or shipment.target.seekable):
        costs.setdefault(goal, shipment.target.preamble.head.content)
    route = _chosen(starts, costs, edges, goal)
    if route is None and spent and not shipment.target.is_increment:
        return None
    if route is None:
        raise NotFoundError(_lost(host, shipment, shelf))
    start = starts.get(route.start)
    if start is None or (start.given and not route.steps and not shipment.target.is_increment):
        return None
    legs: list[Leg] = []
    version, tree = start.version, start.tree
    for step in route.steps:
        arrival, increment = shipment.increments[step.increment], increments[step.increment]
        if legs:
            tree = legs[-1].forecast()
            skeleton = _pretending(arrival, increment, tree).skeleton(step.base, tree)
        else:
            skeleton = increment.skeleton(step.base, tree)
        legs.append(Leg(version, tree, arrival, increment, step.base, skeleton))
        version = arrival.release.manifest.version
    return Way(start.tree, tuple(legs), start.version, route.start)


def _chosen(
    starts: "Mapping[Place, _Start]", costs: Mapping[Place, int], edges: Sequence[Edge], goal: Place
) -> Route | None:
    """The cheapest way; one from the first version that is installed where that is about as good.

    The active version comes first, and it is the one whose files are used, and seen to be whole.
    """
    route = cheapest(costs, edges, goal)
    start = starts.get(route.start) if route else None
    if route is None or start is None or start.given:
        return route
    first = next(place for place, it in starts.items() if not it.given)
    other = cheapest({first: costs[first]}, edges, goal)
    return other if other and other.cost <= _CLOSE * route.cost else route


def _pretending(arrival: Arrival, increment: "Increment", tree: Tree) -> "Increment":
    """An increment that takes a tree with made-up digests for any of its bases."""
    from holdall.delivery.delta.increment import Increment, TreeSection

    section = msgspec.msgpack.decode(arrival.preamble.tree, type=TreeSection)
    digest = trees.tree_digest(trees.encode(tree)).raw
    bases = [msgspec.structs.replace(base, digest=digest) for base in section.bases]
    return Increment(msgspec.structs.replace(section, bases=bases), increment.index, increment.maps)


def _edges(shipment: Shipment, increments: "Sequence[Increment]") -> list[Edge]:
    return [
        Edge(place, arrival.release.tree_digest.raw, increment.cost(base), number, base)
        for number, (arrival, increment) in enumerate(
            zip(shipment.increments, increments, strict=True)
        )
        for base, place in enumerate(increment.bases)
    ]


def _starts(shelf: Shelf, useful: Collection[Place]) -> dict[Place, _Start]:
    """Where one can begin: an installed version, or a full bundle with what must be read of it."""
    starts: dict[Place, _Start] = {}
    for deployment in shelf.installed:
        release = release_of(deployment)
        place = release.tree_digest.raw if release else b""
        if release is None or place not in useful or place in starts:
            continue
        if (known := shelf.tree(deployment)) and shelf.seed(deployment):
            starts[place] = _Start(release.manifest.version, known, 0, given=False)
    for full in shelf.fulls:
        release = full.arrival.release
        place = release.tree_digest.raw
        if place in useful and place not in starts:
            tree = full.opened.tree
            wanted = tree.contents.keys() - {
                digest for seed in shelf.seeds for digest in seed.tree.contents
            }
            cost = read_size(full.opened, wanted)
            starts[place] = _Start(release.manifest.version, tree, cost, given=True)
    return starts


def _lost(host: Host, shipment: Shipment, shelf: Shelf) -> str:
    """Why there is no way, and what would help."""
    target = shipment.target.release
    names = _names(host, shipment)
    reached, missing = _gap(shipment, shelf)
    what = f"{target.manifest.id} {target.manifest.version}"
    if not missing:
        return (
            f"{what} is made from a version that is installed and cannot be read here; see "
            f"`holdall verify`, or give the full bundle of {target.manifest.version} too."
        )
    named = " or ".join(dict.fromkeys(names.get(it, f"release {it[:16]}…") for it in missing))
    gap = ""
    if reached:
        gap = f"there is no increment from {names.get(reached[-1], reached[-1][:16])} to {named}; "
    have = ", ".join(item.version for item in shelf.installed) or "no version"
    return (
        f"{what} is made from {named} here, and {have} of it is installed; {gap}give the "
        f"full bundle of {named} too, or that of the new version."
    )


def _gap(shipment: Shipment, shelf: Shelf) -> tuple[list[str], list[str]]:
    """The releases that are at hand or lead on from there, and those the target lacks to begin."""
    said = [it.statement for it in shipment.statements]
    reached = [item.digest for item in reversed(shelf.installed)]
    reached += [full.arrival.digest for full in shelf.fulls]
    wanted = [shipment.target.digest]
    for _ in said:
        for it in said:
            if it.release not in reached and not set(it.bases).isdisjoint(reached):
                reached.append(it.release)
            if it.release in wanted:
                wanted += [base for base in it.bases if base not in wanted]
    made = {it.release for it in said}
    return reached, [it for it in wanted if it not in made and it not in reached]


def _names(host: Host, shipment: Shipment) -> dict[str, str]:
    """Versions by release digest, as far as this store has heard of them."""
    names = {item.digest: item.release.manifest.version for item in shipment.arrivals}
    for event in history(host.layout, shipment.target.release.ref):
        if event.get("release") and event.get("version"):
            names.setdefault(event["release"], event["version"])
    return names
