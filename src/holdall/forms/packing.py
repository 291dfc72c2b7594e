"""Packing a release's files into a bundle of the store's own, where they came otherwise.

What an older version's bundle has is taken from there frame by frame, where that is worth it. Only
the rest is laid down, and packed from there.
"""

from collections.abc import Collection

from holdall.forms import laying
from holdall.forms.port import Filled, Older, Packing, Work
from holdall.forms.seeding import Layup, Loan
from holdall.model.tree import File, Tree
from holdall.system.files import remove_tree


def pack(work: Work, path: str, older: Older | None) -> Packing:
    """Make the bundle at `path`, with frames out of an `older` one; raises as `laying.lay_down`."""
    scratch = f"{work.staged}/scratch"

    def fill(left: Collection[bytes]) -> Filled:
        layup = only(work.layup, left)
        work.report(work.layup.fresh_size - layup.fresh_size)
        laying.lay_down(
            layup,
            work.source,
            scratch,
            meanwhile=work.meanwhile,
            report=work.report,
            passing=True,
        )
        with open(f"{work.staged}/envelope", "rb") as envelope:
            return Filled(scratch, _files(layup), envelope.read())

    packing = work.bundles.pack(work.tree, path, fill, older)
    remove_tree(scratch)
    return packing


def only(layup: Layup, wanted: Collection[bytes]) -> Layup:
    """What of a layup gives the wanted contents, each to one file of the tree; no other entries."""
    left = set(wanted)
    loans = []
    for loan in layup.loans:
        items = []
        for held, files in loan.items:
            if files[0].digest in left:
                left.remove(files[0].digest)
                items.append((held, files[:1]))
        loans.append(Loan(loan.seed, tuple(items)))
    fresh = {digest: files[:1] for digest, files in layup.fresh.items() if digest in left}
    return Layup(Tree(()), tuple(loans), fresh)


def _files(layup: Layup) -> list[File]:
    """The files that a layup makes."""
    lent = [files[0] for loan in layup.loans for _, files in loan.items]
    return [*lent, *(files[0] for files in layup.fresh.values())]
