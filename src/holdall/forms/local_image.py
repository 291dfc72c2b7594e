"""The form ``local-image``: a file system image that is made here from the verified files.

What is installed is one file. The kernel may parse it, since no publisher made it.
"""

from typing import Any

from holdall.forms import imaging
from holdall.forms.port import Cell, Fault, Place, Traits, Work
from holdall.model.tree import Tree
from holdall.system.means import Means
from holdall.system.mounting import Mount

_IMAGE = "image"

TRAITS = Traits(
    "local-image",
    "a file system image made here from the verified files",
    folder=False,
    holder="its image",
    images=True,
    single=(_IMAGE,),
)


def lay_down(work: Work) -> dict[str, Any]:
    """See `holdall.forms.port.Form`.

    Takes room for the files and the image at once; only the image stays.
    """
    record = imaging.make(work, f"{work.staged}/{_IMAGE}")
    imaging.stand_in(work.files)
    return record


def mount(place: Place, means: Means) -> Mount | None:
    """See `holdall.forms.port.Form`."""
    return imaging.mount(place, _IMAGE, means, kernel=True)


def inspect(place: Place, tree: Tree, *, fast: bool) -> list[Fault]:  # noqa: ARG001 - one file
    """See `holdall.forms.port.Form`."""
    return imaging.faults(f"{place.folder}/{_IMAGE}", place.record, fast=fast)


def sweep(store: str) -> int:  # noqa: ARG001 - nothing is shared
    """See `holdall.forms.port.Form`."""
    return 0


def cells(means: Means) -> dict[str, Cell]:
    """See `holdall.forms.port.Form`."""
    return {
        **imaging.cells(means, kernel=True, sizes="each version is an image of its own"),
        "R1": Cell("yes", "made of a bundle, as it arrives, and of room for its files"),
        "N1": Cell("yes", "an increment takes its bases from the mounted image"),
        "N6": Cell("yes", "the image is made here, from files that were verified"),
    }
