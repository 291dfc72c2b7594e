"""The cheapest way from what is at hand to a release: over which increments, from where.

Knows nothing of files: values in, a value out. A place is the digest of a tree.
"""

import heapq
from collections.abc import Mapping, Sequence
from typing import NamedTuple

Place = bytes


class Edge(NamedTuple):
    """An increment's way from one of its bases.

    `increment` counts the increments that are given, `base` the bases of that one; `cost` in bytes
    that must be read.
    """

    start: Place
    end: Place
    cost: int
    increment: int
    base: int


class Route(NamedTuple):
    """Where to begin, the steps from there, and the bytes that are read on the whole way."""

    start: Place
    steps: tuple[Edge, ...]
    cost: int


def cheapest(starts: Mapping[Place, int], edges: Sequence[Edge], goal: Place) -> Route | None:
    """The way to `goal` that reads least; of equal ones the shortest, then the first given.

    `starts` are the places one is at, each with the bytes that must be read there.
    """
    leaving: dict[Place, list[Edge]] = {}
    for edge in edges:
        leaving.setdefault(edge.start, []).append(edge)
    order = {place: at for at, place in enumerate(starts)}
    queue: list[tuple[int, int, int, int]] = []
    routes: list[tuple[Place, Route]] = []

    def offer(at: Place, route: Route) -> None:
        heapq.heappush(queue, (route.cost, len(route.steps), order[route.start], len(routes)))
        routes.append((at, route))

    for place, cost in starts.items():
        offer(place, Route(place, (), cost))
    done: set[Place] = set()
    while queue:
        at, route = routes[heapq.heappop(queue)[3]]
        if at == goal:
            return route
        if at in done:
            continue
        done.add(at)
        for edge in leaving.get(at, ()):
            offer(edge.end, Route(route.start, (*route.steps, edge), route.cost + edge.cost))
    return None
