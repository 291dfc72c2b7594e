"""Which old file a new one is made from, where a tool takes files and not trees.

The same for every such tool, and the one that holdall's own increments began with: the same path;
else the same path but for numbers and hexadecimal names; else the same base name but for those, in
the folder that is nearest.
"""

import re
from bisect import bisect
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile


def novel(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> list[str]:
    """Return the first path of every content of ``new`` that ``old`` has not; both are digests."""
    had = set(old.values())
    first: dict[bytes, str] = {}
    for path in sorted(new):
        if new[path] not in had:
            first.setdefault(new[path], path)
    return sorted(first.values())


def partners(old: Iterable[str], new: Iterable[str]) -> dict[str, str | None]:
    """Return the old path each new one is best made from, if there is any."""
    known = sorted(old)
    same = set(known)
    alike: dict[str, str] = {}
    named: dict[str, list[str]] = {}
    for path in known:
        alike.setdefault(_likeness(path), path)
        named.setdefault(_likeness(_name(path)), []).append(path)
    found: dict[str, str | None] = {}
    for path in new:
        partner = path if path in same else alike.get(_likeness(path))
        found[path] = partner or _nearest(path, named.get(_likeness(_name(path)), []))
    return found


def _likeness(path: str) -> str:
    return re.sub(r"\d+(?:\.\d+)*", "#", re.sub(r"[0-9a-f]{8,}", "@", path))


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _nearest(path: str, candidates: Sequence[str]) -> str | None:
    """The one that begins like the path for longest; among sorted ones it is a neighbour."""
    place = bisect(candidates, path)

    def shared(candidate: str) -> int:
        letters = zip(candidate, path, strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], letters))

    return max(candidates[max(place - 1, 0) : place + 1], key=shared, default=None)
