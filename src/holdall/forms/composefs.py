"""The form ``composefs``: a metadata image over a folder of contents shared by hard links.

The kernel joins both by overlayfs: names, modes and sizes come from the image, bytes from files
that the pool and other versions have too, so that every version, app and mount has one copy of them
on the disk and in memory. The image is made here from the verified tree, and is what the release
says it must be. For root: no kernel mounts EROFS in a user namespace.
"""

import errno
import os
from contextlib import suppress
from typing import Any

from holdall.errors import CorruptError, NotFoundError, UnsupportedError
from holdall.forms import erofs, imaging, objects, seeding
from holdall.forms.pool import lay_pooled
from holdall.forms.port import Cell, Fault, Place, Traits, Work
from holdall.model.digest import Digest, Hasher, digest_of
from holdall.model.tree import Tree
from holdall.store import pool
from holdall.store.guard import is_roots
from holdall.system.files import write_new
from holdall.system.kernel import measure_verity
from holdall.system.means import Means
from holdall.system.mounting import Composed, Mount

_IMAGE = "meta.erofs"
_NEEDS = ("privileged", "kernel_erofs", "data_only_overlay")
_PIECE = 2**20


TRAITS = Traits(
    "composefs",
    "a metadata image over contents shared by all versions and apps, joined by the kernel",
    folder=False,
    holder="its metadata image",
    privileged=True,
    seed=objects.seed,
)


def lay_down(work: Work) -> dict[str, Any]:
    """See `holdall.forms.port.Form`.

    Nobody gets a content he cannot show: one that the pool has is linked once the same was produced
    here. Versions of one ref give each other theirs, as in ``tree``.
    """
    if reason := work.means.lacking(*_NEEDS):
        raise UnsupportedError(
            f"The form {TRAITS.name} cannot be used here: {reason}; use the form tree or pool."
        )
    flat, folder = objects.flat(work.tree), f"{work.staged}/{objects.FOLDER}"
    digests: list[str] = []

    def beside() -> None:
        digests.append(_write_image(work))
        imaging.stand_in(work.files)
        work.meanwhile()

    lay_pooled(work._replace(meanwhile=beside), seeding.plan(flat, _seeds(work)), folder)
    if work.means.verity:
        objects.protect(flat, folder)
    return {"digest": digests[0], "pool": work.choice.pool, "verity": work.means.verity}


def mount(place: Place, means: Means) -> Mount | None:
    """See `holdall.forms.port.Form`.

    The image is read, which takes milliseconds, unless fs-verity holds its digest.
    """
    image = f"{place.folder}/{_IMAGE}"
    try:
        digest = _measure(image, fast=True)
    except FileNotFoundError as error:
        raise NotFoundError(
            f"{image} is missing; `holdall repair` makes it anew from a bundle."
        ) from error
    if digest != place.record.get("digest"):
        raise CorruptError(f"{image} was changed; `holdall repair` makes it anew from a bundle.")
    if reason := means.lacking(*_NEEDS):
        raise UnsupportedError(
            f"This app lies in the form {TRAITS.name}, which cannot be mounted here: {reason}; as "
            "root, `holdall convert` brings it to the form tree or pool."
        )
    if not is_roots(place.store, image):
        raise UnsupportedError(
            f"{image} may be written by others than root, and the kernel parses nothing of theirs; "
            "have the store belong to root alone, or use the form tree or pool."
        )
    return Composed(
        image, f"{place.folder}/{objects.FOLDER}", verity=bool(place.record.get("verity"))
    )


def inspect(place: Place, tree: Tree, *, fast: bool) -> list[Fault]:
    """See `holdall.forms.port.Form`."""
    expected = str(Digest(digest_of(erofs.image(tree))))
    faults = []
    try:
        right = _measure(f"{place.folder}/{_IMAGE}", fast=fast) == expected
        fault = "" if right else "the metadata image was changed"
    except FileNotFoundError:
        fault = "the metadata image is missing"
    except CorruptError as error:
        fault = str(error)
    except OSError as error:
        # a damaged block: the disk's own word for it, or fs-verity's
        if error.errno != errno.EIO:
            raise
        fault = "the metadata image is damaged"
    if fault:
        faults.append(("", fault))
    if place.record.get("digest") != expected:
        faults.append(("", "what was noted of the metadata image was changed"))
    return faults


def sweep(store: str) -> int:
    """See `holdall.forms.port.Form`."""
    return pool.sweep(store)


def cells(means: Means) -> dict[str, Cell]:
    """See `holdall.forms.port.Form`."""
    reason = means.lacking(*_NEEDS)
    when_read = (
        Cell("yes", "fs-verity checks each block when it is read, overlayfs each file")
        if means.verity
        else Cell("partly", "`holdall verify` finds a change; nothing checks while files are read")
    )
    return {
        "R1": Cell("yes", "laid down from a bundle, as it arrives; the release names the image"),
        "R2": Cell("no", reason) if reason else Cell("yes", "overlayfs over EROFS in the kernel"),
        "N1": Cell("yes", "an increment takes its bases from the contents themselves"),
        "N2": Cell("yes", "one inode for each content, on disk and in memory, for every mount"),
        "N3": Cell("yes", "staged, synced once, renamed; a mount keeps it after it was removed"),
        "N4": Cell("no", "no kernel mounts EROFS in a user namespace"),
        "N5": Cell("yes", "needs no other program"),
        "N6": Cell("yes", "the image is made here, from the verified tree"),
        "N7": when_read,
        "N8": Cell("no", "holdall checks the signature; the kernel is given no key"),
        "N9": Cell("yes", "copied out when it is installed, and checked"),
    }


def _seeds(work: Work) -> list[seeding.Seed | seeding.Objects]:
    """Those of the plan, after the older version's own objects; all to be linked.

    Nobody writes through a mount, so no file needs an inode that is its own.
    """
    seeds = [_to_link(loan.seed) for loan in work.layup.loans]
    if work.base:
        with suppress(OSError):
            return [objects.seed(work.base.place, work.base.tree), *seeds]
    return seeds


def _to_link(seed: seeding.Seed | seeding.Objects) -> seeding.Seed | seeding.Objects:
    return seed._replace(apart=False) if isinstance(seed, seeding.Seed) else seed


def _write_image(work: Work) -> str:
    """Make the metadata image; returns its digest, which must be what the release says."""
    data = erofs.image(work.tree)
    digest = str(Digest(digest_of(data)))
    if work.metadata_image not in {digest, ""}:
        raise CorruptError(
            f"The release of {work.ref} names the metadata image {work.metadata_image}, but its "
            f"tree makes {digest}; its publisher has to build it anew."
        )
    image = f"{work.staged}/{_IMAGE}"
    write_new(image, data)
    if work.means.verity:
        imaging.protect(image)
    return digest


def _measure(image: str, *, fast: bool) -> str:
    """The digest of the file `image`; with `fast` the kernel's word is taken, where it has one."""
    fd = imaging.open_image(image)
    try:
        if fast and (held := measure_verity(fd)) is not None:
            return str(Digest(held))
        hasher = Hasher()
        while piece := os.read(fd, _PIECE):
            hasher.update(piece)
        return str(Digest(hasher.digest()))
    finally:
        os.close(fd)
