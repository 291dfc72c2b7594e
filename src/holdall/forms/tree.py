"""The form ``tree``: ordinary files, hard-linked to those of the version before.

Lineage: contents are shared only between versions of one ref, so no other app's content can be
attached.
"""

from typing import Any

from holdall.forms import laying
from holdall.forms.port import Cell, Fault, Place, Traits, Work
from holdall.model.tree import Tree
from holdall.system.means import Means
from holdall.system.mounting import Mount

TRAITS = Traits(
    "tree",
    "ordinary files, hard-linked to those of the version before",
    folder=True,
    links=True,
)


def lay_down(work: Work) -> dict[str, Any]:
    """See `holdall.forms.port.Form`."""
    laying.lay_down(
        work.layup,
        work.source,
        work.files,
        verity=work.means.verity,
        meanwhile=work.meanwhile,
        report=work.report,
    )
    return {}


def mount(place: Place, means: Means) -> Mount | None:  # noqa: ARG001 - a folder
    """See `holdall.forms.port.Form`."""
    return None


def inspect(place: Place, tree: Tree, *, fast: bool) -> list[Fault]:  # noqa: ARG001 - no more
    """See `holdall.forms.port.Form`."""
    return []


def sweep(store: str) -> int:  # noqa: ARG001 - nothing is shared but inodes
    """See `holdall.forms.port.Form`."""
    return 0


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
        "N2": Cell("yes", "unchanged files are hard links: one inode, on disk and in memory"),
        "N3": Cell("yes", "staged, synced once, renamed; a version that runs is kept by its lease"),
        "N4": Cell("yes", "ordinary files in a folder of one's own"),
        "N5": Cell("yes", "needs no other program"),
        "N6": Cell("yes", "there is no image to parse"),
        "N7": when_read,
        "N8": Cell("no", "holdall checks the signature; the kernel is given no key"),
        "N9": Cell("yes", "copied out when it is installed, and checked"),
    }
