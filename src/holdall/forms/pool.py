"""The form ``pool``: ordinary files, hard-linked from a pool of contents that apps share.

An app's own older versions are linked from, as in ``tree``. What another app brought is linked only
after the same content came here for this app, and was right: nobody gets a content he cannot show.
With reflinks every file is an inode of its own over an object's blocks, and ``objects`` beside them
has the links that keep those objects.
"""

import os
import sys
from collections.abc import Iterator
from typing import Any, Final

from holdall.forms import laying
from holdall.forms.port import Cell, Fault, Place, Traits, Work
from holdall.forms.seeding import Layup, Loan, Objects, Seed
from holdall.model.tree import File, Tree
from holdall.store import pool
from holdall.store.several import Several
from holdall.system.means import Means
from holdall.system.mounting import Mount

TRAITS = Traits(
    "pool",
    "ordinary files, hard-linked from one pool of contents for all apps",
    folder=True,
    links=True,
)
OBJECTS: Final = "objects"
LINK: Final = "link"
REFLINK: Final = "reflink"

_Key = tuple[bytes, bool]


def lay_down(work: Work) -> dict[str, Any]:
    """See `holdall.forms.port.Form`.

    The record says which pool, and whether files are links or reflinks: links, too, where the file
    system has no reflinks.
    """
    if work.choice.share == REFLINK and work.means.reflink:
        share = REFLINK
        objects = _as_objects(work)
        lay_pooled(work, objects, f"{work.staged}/{OBJECTS}")
        _clone(work, objects.tree)
    else:
        share = LINK
        loans = tuple(loan._replace(seed=_kept_apart(work, loan.seed)) for loan in work.layup.loans)
        lay_pooled(work, work.layup._replace(loans=loans), work.files)
    return {"pool": work.choice.pool, "share": share}


def lay_pooled(work: Work, layup: Layup, target: str) -> None:
    """Make files under the new folder `target`, as links of the pool's objects where it has them.

    The pool gets what it does not have. For every form that keeps contents there; calls
    `work.meanwhile`.
    """
    objects = pool.pool_of(work.store, work.choice.pool, work.ref.id)
    laying.lay_down(
        layup,
        work.source,
        target,
        verity=work.means.verity,
        meanwhile=work.meanwhile,
        report=work.report,
        give=objects.give,
    )
    objects.enter(layup.tree.files, target)


def _as_objects(work: Work) -> Layup:
    """How the distinct contents of a release are laid down as files named by number."""
    names = _names(work.tree)

    def one(files: tuple[File, ...]) -> tuple[File, ...]:
        return tuple({_key(file): file._replace(path=names[_key(file)]) for file in files}.values())

    tree = Tree(
        tuple(sorted(one(work.tree.files), key=lambda file: file.path)),
    )
    loans = tuple(
        Loan(part.seed, tuple((held, one(files)) for held, files in part.items))
        for loan in work.layup.loans
        for part in _without_clones(work, loan)
    )
    return Layup(tree, loans, {key: one(files) for key, files in work.layup.fresh.items()})


def _without_clones(work: Work, loan: Loan) -> Iterator[Loan]:
    """A loan of an older version, by its objects as far as the pool still has them."""
    base = work.base
    if isinstance(loan.seed, Objects) or base is None or not _is_reflinked(work, loan.seed):
        yield loan._replace(seed=_kept_apart(work, loan.seed))
        return
    folder = f"{base.place.folder}/{OBJECTS}"
    names = _names(base.tree)
    objects = pool.pool_of(work.store, work.choice.pool, work.ref.id)
    kept = {
        held
        for held, files in loan.items
        if _same(f"{folder}/{names[_key(files[0])]}", objects, files[0])
    }
    seed = loan.seed._replace(files=folder)
    items = [(names[_key(files[0])], files) for held, files in loan.items if held in kept]
    yield Loan(seed, tuple(items))
    left = tuple(item for item in loan.items if item[0] not in kept)
    yield Loan(_kept_apart(work, loan.seed), left)


def _clone(work: Work, objects: Tree) -> None:
    """Make each of the release's files a clone of its object."""
    names = _names(work.tree)
    items = tuple((names[_key(file)], (file,)) for file in work.tree.files)
    seed = Seed(objects, f"{work.staged}/{OBJECTS}", sys.maxsize, apart=True)
    layup = Layup(work.tree, (Loan(seed, items),), {})
    laying.lay_down(layup, Several(()), work.files, verity=work.means.verity)


def _kept_apart(work: Work, seed: Seed | Objects) -> Seed | Objects:
    """A seed of which inodes that are nobody else's stay so."""
    if isinstance(seed, Seed) and _is_reflinked(work, seed):
        return seed._replace(apart=True)
    return seed


def _is_reflinked(work: Work, seed: Seed) -> bool:
    base = work.base
    return (
        base is not None
        and seed.files == base.place.files
        and base.place.record.get("share") == REFLINK
    )


def _same(path: str, objects: pool.Pool, file: File) -> bool:
    """Whether a file is the pool's object of a content."""
    try:
        held = os.lstat(objects.path(file.digest, executable=file.executable))
        return os.path.samestat(held, os.lstat(path))
    except OSError:
        return False


def _names(tree: Tree) -> dict[_Key, str]:
    """A short name for each distinct content and mode of a tree."""
    return {key: f"{at:x}" for at, key in enumerate(sorted({_key(file) for file in tree.files}))}


def _key(file: File) -> _Key:
    return file.digest, file.executable


def mount(place: Place, means: Means) -> Mount | None:  # noqa: ARG001 - a folder
    """See `holdall.forms.port.Form`."""
    return None


def inspect(place: Place, tree: Tree, *, fast: bool) -> list[Fault]:  # noqa: ARG001 - no more
    """See `holdall.forms.port.Form`.

    The pool's objects are the files' own inodes. With reflinks they are not, and whoever is given
    one reads it.
    """
    return []


def sweep(store: str) -> int:
    """See `holdall.forms.port.Form`."""
    return pool.sweep(store)


def cells(means: Means) -> dict[str, Cell]:
    """See `holdall.forms.port.Form`."""
    when_read = (
        Cell("yes", "fs-verity checks each block when it is read")
        if means.verity
        else Cell("partly", "`holdall verify` finds a change; nothing checks while files are read")
    )
    return {
        "R1": Cell("yes", "laid down from a bundle, as it arrives"),
        "R2": Cell("yes", "ordinary files in an ordinary folder"),
        "N1": Cell("yes", "an increment takes its bases from the files themselves"),
        "N2": Cell(
            "yes", "one inode for a content in all apps and versions, on disk and in memory"
        ),
        "N3": Cell("yes", "staged, synced, renamed; a version that runs is kept by its lease"),
        "N4": Cell("yes", "ordinary files in a folder of one's own"),
        "N5": Cell("yes", "needs no other program"),
        "N6": Cell("yes", "there is no image to parse"),
        "N7": when_read,
        "N8": Cell("no", "holdall checks the signature; the kernel is given no key"),
        "N9": Cell("yes", "copied out when it is installed, and checked"),
    }
