"""``repositories_stock.py offers|bundles|frames|shares …``: what a repository is stocked with.

A program of its own, since it uses holdall's code: offers without content files wait to be
published as if they had been added; bundles are real, and small.
"""

import json
import random
import sys
from hashlib import sha256
from pathlib import Path

from holdall.delivery.bundle import open_preamble, read_preamble
from holdall.delivery.index import Index
from holdall.journeys.build import BuildOptions, build
from holdall.journeys.host import root_host
from holdall.journeys.keys import signing_key
from holdall.model import offer as offers
from holdall.model.manifest import About
from holdall.model.offer import ContentFile, Offer, OfferedIncrement, OfferedRelease
from holdall.publish.repository.layout import Layout
from holdall.trust.envelope import open_envelope

_WORDS = "edit paint sound video graph mail chat term code maze note text disk cube math star"
_VERSIONS = 5


def main(argv: list[str]) -> None:
    """Do what the first argument says."""
    match argv:
        case ["offers", repository, count]:
            _put_offers(Path(repository), int(count))
        case ["bundles", store, folder, count, versions, size]:
            _make_bundles(Path(store), Path(folder), int(count), int(versions), int(size))
        case ["frames", bundle]:
            print(json.dumps({"all": _open(Path(bundle))[1].stored}))
        case ["shares", old, new]:
            print(json.dumps(_shares(Path(old), Path(new))))
        case _:
            sys.exit(__doc__)


def _put_offers(repository: Path, count: int) -> None:
    """Have the offers of so many apps with five versions each wait for publication."""
    folder = Path(Layout(str(repository)).pending, "apps")
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(1)
    for number in range(count):
        offer = _offer(number, chance)
        (folder / f"{offer.id}.json").write_bytes(offers.encode(offer))


def _offer(number: int, chance: random.Random) -> Offer:
    words = _WORDS.split()
    name = words[number % len(words)].title()
    newest = _VERSIONS
    increments = tuple(
        OfferedIncrement(
            arch="x86_64",
            branch="stable",
            release=_digest(number, newest),
            bases=(_digest(number, base),),
            sha256=_digest(number, base, "increment"),
            size=100_000,
        )
        for base in range(newest - 1, 0, -1)
    )
    return Offer(
        format=offers.FORMAT,
        id=f"org.example{number % 97}.{name}{number}",
        about=About(
            name=f"{name} {number}",
            summary=" ".join(chance.choices(words, k=8)),
            developer=f"Developer {number % 300}",
        ),
        releases=tuple(_release(number, version) for version in range(newest, 0, -1)),
        increments=increments,
    )


def _release(number: int, version: int) -> OfferedRelease:
    return OfferedRelease(
        release=_digest(number, version),
        arch="x86_64",
        branch="stable",
        version=f"{version}.0",
        kind="app",
        tree=f"sha256-4k:{_digest(number, version, 'tree')}",
        size=50_000_000,
        entries=900,
        bundle=ContentFile(_digest(number, version, "bundle"), 20_000_000, 40_000),
        signers=(_digest("key", number % 300),),
        created="2026-01-01T00:00:00+00:00",
        ranges={_digest(number, base): 3_000_000 for base in range(1, version)},
    )


def _digest(*words: object) -> str:
    return sha256(repr(words).encode()).hexdigest()


def _make_bundles(store: Path, folder: Path, count: int, versions: int, size: int) -> None:
    """Make ``<app>-<version>.holdall`` of so many apps; most of an app's bytes never change."""
    keys = (signing_key(root_host(str(store))),)
    for app in range(count):
        same = random.Random(app).randbytes(size)
        for version in range(1, versions + 1):
            source = folder / f"{app}-{version}"
            files = source / "files/bin"
            files.mkdir(parents=True)
            (source / "holdall.toml").write_text(
                f'id = "org.example.Real{app}"\nbranch = "stable"\nversion = "{version}.0"\n'
                'kind = "app"\nruntime = "host"\ncommand = "start"\n'
                f'[about]\nname = "Real {app}"\nsummary = "An app that there is"\n'
            )
            (files / "same").write_bytes(same)
            changed = random.Random(_digest(app, version)).randbytes(size // 20)
            (files / "start").write_bytes(b"#!/bin/sh\n# " + changed.hex().encode() + b"\n")
            (files / "start").chmod(0o755)
            out = f"{folder}/{app}-{version}.holdall"
            build(str(source), out, keys=keys, options=BuildOptions(level=1))


def _shares(old: Path, new: Path) -> dict[str, float]:
    """What of a bundle's frames are contents that an older one lacks.

    ``whole`` are the frames that have any of them, ``share`` is divided by bytes.
    """
    known = set(_open(old)[0])
    contents, index = _open(new)
    lacking = [at not in known for at in contents]
    whole, share, fresh = 0, 0.0, 0
    for frame in index.frames:
        end = frame.start + frame.raw
        overlap = sum(
            max(0, min(place.start + place.size, end) - max(place.start, frame.start))
            for place in index.places
            if lacking[place.content]
        )
        fresh += overlap
        share += frame.stored * overlap / frame.raw
        whole += frame.stored if overlap else 0
    return {"whole": whole, "share": share, "fresh": fresh, "all": index.stored}


def _open(path: Path) -> tuple[list[bytes], Index]:
    with path.open("rb") as stream:
        preamble = read_preamble(stream)
    release = open_envelope(preamble.envelope).release
    opened = open_preamble(
        preamble,
        tree_sha256=release.packing.tree,
        index_sha256=release.packing.index,
        tree_digest=release.tree_digest.raw,
    )
    return list(opened.tree.contents), opened.index


if __name__ == "__main__":
    main(sys.argv[1:])
