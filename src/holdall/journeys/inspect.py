"""Looking into a bundle: what it is, who signed it, how it is packed, what it is made from."""

from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from holdall.delivery import index as indexes
from holdall.delivery import layout
from holdall.delivery.bundle import Opened
from holdall.delivery.zstandard import unpack
from holdall.errors import CorruptError
from holdall.journeys.arrival import Arrival, all_arriving, arriving
from holdall.journeys.host import Host
from holdall.journeys.installed import known_tree, release_of
from holdall.journeys.trusting import vouched
from holdall.model import tree as trees
from holdall.model.tree import Tree
from holdall.store.catalog import history
from holdall.trust.envelope import SignedStatement, open_statement

if TYPE_CHECKING:
    from holdall.delivery.increment import Increment


def inspect(path: str, *, host: Host | None = None, against: Sequence[str] = ()) -> dict[str, Any]:
    """The facts of the bundle at `path`, after its signatures and digests were checked.

    For one that was packed by the store of `host`, that store vouches; raises CorruptError for one
    of another.

    Frames and units are not decoded. Of an increment: what it costs from each of its bases; and for
    each base that is installed in the store of `host`, or whose full bundle is among `against`,
    what each file costs. The full bundle of the new version there says what is saved.
    """
    with arriving(path) as arrival:
        if not arrival.is_increment:
            return _common(arrival) | _of_full(arrival, host)
        said = open_statement(arrival.preamble.statement)
        vouched(arrival.signed, arrival.digest, said)
        with all_arriving(tuple(against)) as others:
            return _common(arrival) | _of_increment(arrival, said, host, others)


def _common(arrival: Arrival) -> dict[str, Any]:
    release = arrival.release
    return {
        "ref": str(release.ref),
        "release": arrival.digest,
        "signed_by": [key.fingerprint for key in arrival.signed.signers],
        "bundle": arrival.preamble.size,
        "size": release.size,
        "tree": release.tree,
        "metadata_image": release.metadata_image,
        "created": release.created,
        "expires": release.expires,
        "manifest": msgspec.to_builtins(release.manifest),
    }


def _of_full(arrival: Arrival, host: Host | None) -> dict[str, Any]:
    local = arrival.preamble.head.is_local and host is not None and _is_of(host, arrival)
    opened = _opened_here(arrival) if local else arrival.open()
    frames = opened.index.frames
    return {
        "increment": False,
        "local": local,
        "files": len(opened.tree.files),
        "contents": len(opened.tree.contents),
        "frames": len(frames),
        "image": msgspec.to_builtins(opened.image),
        "largest_frame": max((frame.raw for frame in frames), default=0),
    }


def _is_of(host: Host, arrival: Arrival) -> bool:
    """Whether a version that is installed begins like this bundle, which was packed for it."""
    before = sha256(arrival.preamble.data).hexdigest()
    return any(
        item.digest == arrival.digest and item.record.get("before") == before
        for item in host.catalog.deployments(arrival.release.ref)
    )


def _opened_here(arrival: Arrival) -> Opened:
    """The tree and the index of a bundle that was packed here."""
    preamble = arrival.preamble
    data = unpack(preamble.tree, layout.MAX_TREE)
    if trees.tree_digest(data) != arrival.release.tree_digest:
        raise CorruptError(f"The tree of {arrival.path} is not the one its release names.")
    tree = trees.parse(data)
    sizes = list(tree.contents.values())
    return Opened(tree, indexes.parse(unpack(preamble.index, layout.MAX_INDEX), sizes))


class _Known(NamedTuple):
    """What is at hand of releases: versions by release digest, trees by theirs."""

    versions: dict[str, str]
    installed: frozenset[str]
    trees: dict[bytes, Tree]


def _of_increment(
    arrival: Arrival, said: SignedStatement, host: Host | None, others: Sequence[Arrival]
) -> dict[str, Any]:
    from holdall.delivery.increment import open_increment

    increment = open_increment(arrival.preamble, said.statement)
    known = _known(arrival, increment, host, others)
    full = [item.preamble.size for item in others if item.digest == arrival.digest]
    return {
        "increment": True,
        "units": increment.unit_count,
        "stored": increment.stored,
        "full": full[0] if full else None,
        "from": [
            {
                "release": release,
                "version": known.versions.get(release),
                "installed": release in known.installed,
                "units": len(increment.units(base)),
                "read": increment.cost(base),
                "files": _files(increment, base, known.trees.get(increment.bases[base])),
            }
            for base, release in enumerate(said.statement.bases)
        ],
    }


def _files(increment: "Increment", base: int, tree: Tree | None) -> list[dict[str, Any]] | None:
    """What each new file costs from a base; None where its tree is not at hand."""
    if tree is None:
        return None
    shares = increment.describe(base, increment.skeleton(base, tree))
    return [{**share._asdict(), "stored": round(share.stored)} for share in shares]


def _known(
    arrival: Arrival, increment: "Increment", host: Host | None, others: Sequence[Arrival]
) -> _Known:
    ref = arrival.release.ref
    versions = {item.digest: item.release.manifest.version for item in others}
    trees = {
        item.release.tree_digest.raw: item.open().tree
        for item in others
        if item.release.tree_digest.raw in increment.bases
    }
    if host is None:
        return _Known(versions, frozenset(), trees)
    installed = host.catalog.deployments(ref)
    for item in installed:
        versions[item.digest] = item.version
        release = release_of(item)
        place = release.tree_digest.raw if release else b""
        if place in increment.bases and place not in trees and (tree := known_tree(item)):
            trees[place] = tree
    for event in history(host.layout, ref):
        if event.get("release") and event.get("version"):
            versions.setdefault(event["release"], event["version"])
    return _Known(versions, frozenset(item.digest for item in installed), trees)
