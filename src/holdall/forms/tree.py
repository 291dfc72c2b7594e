"""The form ``tree``: ordinary files, hard-linked to those of the version before.

Lineage: contents are shared only between versions of one ref, so no other app's content can be
attached.
"""

from typing import Any

from holdall.forms import laying
from holdall.forms.port import Fault, Place, Traits, Work
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
