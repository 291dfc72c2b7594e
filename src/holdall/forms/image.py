"""The form ``image``: the bundle itself is kept, with the image its publisher made.

To install is to copy one file, and to check it. A program in user space reads the image, unless the
kernel was allowed to. Where there is no publisher's image, as after an increment, one is made here.

Of a publisher's image the bytes are checked, which are signed, and that it has just the names,
kinds, modes and sizes of the signed tree. That its contents are those of the tree is not, which
would take as long as reading them all: who signed the tree signed the image. `holdall verify` does.
"""

import os
from typing import Any

from holdall.errors import CorruptError, UnsupportedError
from holdall.forms import imaging
from holdall.forms.port import Cell, Fault, Parcel, Place, Traits, Work
from holdall.model.tree import Tree
from holdall.system.means import Means
from holdall.system.mounting import Mount

_BUNDLE, _IMAGE = "bundle", "image"

TRAITS = Traits(
    "image",
    "the bundle's own file with the publisher's image, read in user space",
    folder=False,
    holder="its image",
    images=True,
    parcel=True,
    single=(_BUNDLE, _IMAGE),
)


def lay_down(work: Work) -> dict[str, Any]:
    """See `holdall.forms.port.Form`."""
    if work.parcel is None:
        record = imaging.make(work, f"{work.staged}/{_IMAGE}")
    else:
        record = _keep(work, work.parcel)
    imaging.stand_in(work.files)
    return record | {"kernel": work.choice.kernel}


def _keep(work: Work, parcel: Parcel) -> dict[str, Any]:
    """Have the bundle itself, checked."""
    reason = imaging.lacking(parcel.kind, work.means, kernel=work.choice.kernel)
    if reason:
        raise UnsupportedError(
            f"The publisher's image is of kind {parcel.kind}, which cannot be read here: {reason}."
            f"{imaging.kernel_hint(parcel.kind, work.means)}"
        )
    path = f"{work.staged}/{_BUNDLE}"
    parcel.copy(path)
    work.meanwhile()
    found = imaging.measure(path, parcel.offset)
    if (found.digest, found.size) != (parcel.digest, parcel.size):
        raise CorruptError("The bundle's image is not what the publisher signed.")
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        imaging.check_listing(parcel.kind, fd, parcel.offset, parcel.size, tree=work.tree)
    finally:
        os.close(fd)
    verity = work.means.verity and imaging.protect(path)
    work.report(work.layup.fresh_size)
    return {
        "kind": parcel.kind,
        "offset": parcel.offset,
        "size": parcel.size,
        "digest": parcel.digest,
        "whole": found.whole,
        "verity": verity,
        "local": False,
    }


def mount(place: Place, means: Means) -> Mount | None:
    """See `holdall.forms.port.Form`."""
    kernel = bool(place.record["local"] or place.record["kernel"])
    return imaging.mount(place, _name(place), means, kernel=kernel)


def inspect(place: Place, tree: Tree, *, fast: bool) -> list[Fault]:  # noqa: ARG001 - one file
    """See `holdall.forms.port.Form`."""
    return imaging.faults(f"{place.folder}/{_name(place)}", place.record, fast=fast)


def sweep(store: str) -> int:  # noqa: ARG001 - nothing is shared
    """See `holdall.forms.port.Form`."""
    return 0


def cells(means: Means) -> dict[str, Cell]:
    """See `holdall.forms.port.Form`."""
    return {
        **imaging.cells(means, kernel=False, sizes="each version is a bundle of its own"),
        "R1": Cell("yes", "what travels is what is installed: one file"),
        "N1": Cell(
            "partly", "an increment makes the files, and then an image is made of them here"
        ),
        "N6": Cell("yes", "read in user space, unless --allow-kernel-parser says otherwise"),
    }


def _name(place: Place) -> str:
    return _IMAGE if place.record["local"] else _BUNDLE
