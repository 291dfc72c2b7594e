"""The form ``btrfs``: a subvolume for each version, a snapshot of the one before and then changed.

On btrfs, `files` is a subvolume in the deployment's folder. Elsewhere root has one btrfs in a file
for the whole store (`holdall.system.volume`), and `files` is a link into that. Links go by way of
``.volume`` two folders up, which is there for deployments as for what is staged or in the trash, so
that they lead there from all three.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from holdall.errors import CorruptError, UnsupportedError
from holdall.forms import laying
from holdall.forms.changing import between
from holdall.forms.port import Cell, Fault, Place, Traits, Work
from holdall.forms.seeding import Layup, Seed
from holdall.model.tree import Tree
from holdall.store.catalog import prune_folders
from holdall.store.layout import Layout
from holdall.system import btrfs
from holdall.system.files import each_child, remove_tree
from holdall.system.means import Means
from holdall.system.mounting import Mount
from holdall.system.volume import Volume


def _vacate(store: str) -> None:
    """Delete the volume once nothing leads into it."""
    if os.path.exists(Volume(store).file) and not any(_linked(store)):
        sweep(store)


TRAITS = Traits(
    "btrfs",
    "a subvolume, made from a snapshot of the version before",
    folder=True,
    holder="its subvolume",
    vacate=_vacate,
)
_ENTRY = 2048  # bytes of metadata for a name with its inode, and what copying on write adds
_BLOCK = 4096
_HOP = ".volume"


def lay_down(work: Work) -> dict[str, Any]:
    """See `holdall.forms.port.Form`.

    The record says whether the store itself lies on btrfs, and when its files last changed.
    """
    if work.means.subvolumes:
        return {"native": True, "change": _make(work, work.staged, "files")}
    if not work.means.root:
        raise UnsupportedError(
            f"The store {work.store} is not on btrfs; the form btrfs needs that, or root, who may"
            " have one in a file."
        )
    volume = Volume(work.store)
    volume.make_room(_need(work.layup))
    name = f"{work.digest}.{os.urandom(4).hex()}"
    try:
        change = _make(work, volume.point, name)
        _link(work, name)
    except BaseException:
        remove_tree(f"{volume.point}/{name}")
        raise
    return {"native": False, "change": change}


def mount(place: Place, means: Means) -> Mount | None:
    """See `holdall.forms.port.Form`.

    Mounts the store's volume, for good, where `files` leads there and it is not mounted.
    """
    if place.record.get("native", True) or os.path.isdir(place.files):
        return None
    volume = Volume(place.store)
    if not volume.is_ready:
        if not means.root:
            raise UnsupportedError(
                f"{volume.file} is not mounted, as after a restart; `holdall path` of an app in it"
                " mounts it, as root."
            )
        volume.ready()
    if not os.path.isdir(place.files):
        raise CorruptError(f"{place.files} leads to nothing in {volume.file}; install it again.")
    return None


def inspect(place: Place, tree: Tree, *, fast: bool) -> list[Fault]:  # noqa: ARG001 - one flag
    """See `holdall.forms.port.Form`. A copy of the store that is no subvolume is as good."""
    state = btrfs.state(place.files)
    if state and not state.read_only:
        return [("", "its subvolume can be written to")]
    return []


def sweep(store: str) -> int:
    """See `holdall.forms.port.Form`.

    Deletes the subvolumes that nothing links to, and shrinks the volume; for the store's writer.
    """
    volume = Volume(store)
    with suppress(FileNotFoundError):
        os.unlink(f"{store}/.volume.tmp")
    if os.geteuid() != 0 or not os.path.exists(volume.file):
        return 0
    volume.ready()
    wanted = set(_linked(store))
    for name in each_child(volume.point, lambda _name: True):
        if name not in wanted:
            remove_tree(f"{volume.point}/{name}")
    _prune_hops(store)
    if each_child(volume.point):
        return volume.shrink()
    freed = volume.delete()
    if freed:
        # a first installation that was killed may not have made it yet
        with suppress(FileNotFoundError):
            os.unlink(f"{store}/{_HOP}")
    return freed


def cells(means: Means) -> dict[str, Cell]:
    """See `holdall.forms.port.Form`."""
    native = means.subvolumes
    found = {
        "R1": Cell("yes", "laid down from a bundle, as it arrives"),
        "R2": Cell("yes", "an ordinary folder, which is a subvolume"),
        "N1": Cell("yes", "an increment takes its bases from the files themselves"),
        "N2": Cell("partly", "versions share blocks on disk; in memory each has pages of its own"),
        "N3": Cell("yes", "staged, sealed, renamed; removed by one call when nothing runs from it"),
        "N4": Cell("yes", "every user may make subvolumes and snapshots"),
        "N5": Cell("yes", "needs no other program"),
        "N6": Cell("yes", "there is no image to parse"),
        "N7": Cell(
            "partly", "what the disk spoils fails when read, what others change at `verify`"
        ),
        "N8": Cell("no", "holdall checks the signature; the kernel is given no key"),
        "N9": Cell("yes", "copied out when it is installed, and checked"),
    }
    if native and means.verity:
        found["N7"] = Cell("yes", "fs-verity checks each block when it is read")
    if native and not means.subvolume_removal:
        slow = "removed file by file: mounted without user_subvol_rm_allowed"
        found["N3"] = Cell("yes", f"staged, sealed, renamed; {slow}")
    if not native:
        found |= _cells_in_a_file(means)
    return found


def _cells_in_a_file(means: Means) -> dict[str, Cell]:
    """What is different where the store does not lie on btrfs."""
    lacking = means.lacking("loop", "btrfs", "mkfs.btrfs")
    usable = Cell("yes", "a subvolume of the store's own btrfs in a file, mounted for all")
    return {
        "R2": Cell("no", f"the store is not on btrfs, and {lacking}") if lacking else usable,
        "N4": Cell("no", "only root mounts a btrfs that lies in a file"),
        "N5": Cell("yes", "root gains nothing by setuid: btrfs, mount and losetup are run as root"),
        "N6": Cell("yes", "the kernel parses only what it wrote itself"),
    }


def _make(work: Work, folder: str, name: str) -> int:
    """Make the release as a subvolume; returns when it last changed."""
    path = f"{folder}/{name}"
    layup = work.layup
    base = work.base
    if base and _is_untouched(base.place) and btrfs.snapshot(base.place.files, folder, name):
        changes = between(base.tree, work.tree)
        _remove(path, changes.gone)
        layup = changes.rest(layup)
    else:
        btrfs.create(folder, name)
    laying.lay_down(
        layup,
        work.source,
        path,
        verity=Means(folder).verity,
        meanwhile=work.meanwhile,
        report=work.report,
        inside=True,
    )
    return btrfs.seal(path).change


def _is_untouched(place: Place) -> bool:
    """Whether a version is as it was when it was installed, by the word of the file system.

    It says when anything in a subvolume last changed, also where somebody made it writable for a
    while. Contents need not be read then.
    """
    state = btrfs.state(place.files)
    return state is not None and state.read_only and state.change == place.record.get("change")


def _remove(root: str, paths: tuple[str, ...]) -> None:
    """Remove files, links and empty folders, in order."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for path in paths:
            try:
                os.unlink(path, dir_fd=fd)
            except IsADirectoryError:
                os.rmdir(path, dir_fd=fd)
    finally:
        os.close(fd)


def _need(layup: Layup) -> int:
    """What a layup will take of the volume at most: only what was never installed, or is copied."""
    sizes = [files[0].size for files in layup.fresh.values()]
    for loan in layup.loans:
        if not (isinstance(loan.seed, Seed) and os.path.islink(loan.seed.files)):
            sizes += [files[0].size for _, files in loan.items]
    data = sum(-(-size // _BLOCK) * _BLOCK for size in sizes)
    return data + _ENTRY * len(layup.tree.entries)


def _link(work: Work, name: str) -> None:
    for hop, target in (
        (f"{work.store}/{_HOP}", "volume"),
        (f"{work.store}/deployments/{work.ref.id}/{work.ref.arch}/{_HOP}", "../../../volume"),
    ):
        os.makedirs(os.path.dirname(hop), exist_ok=True)
        with suppress(FileExistsError):
            os.symlink(target, hop)
    os.symlink(f"../../{_HOP}/{name}", work.files)


def _linked(store: str) -> Iterator[str]:
    """The names in the volume that deployments, and removed ones that still run, lead to."""
    for folder in _folders(Layout(store)):
        try:
            yield os.path.basename(os.readlink(f"{folder}/files"))
        except OSError as error:
            if error.errno not in {errno.EINVAL, errno.ENOENT, errno.ENOTDIR}:
                raise


def _folders(layout: Layout) -> Iterator[str]:
    for top, depth in ((layout.deployments, 4), (layout.trash, 1), (layout.staging, 1)):
        found = [top]
        for _ in range(depth):
            found = [f"{folder}/{name}" for folder in found for name in each_child(folder)]
        yield from found


def _prune_hops(store: str) -> None:
    """Remove the links that lead on for apps which are not there any more."""
    top = Layout(store).deployments
    for app in each_child(top):
        for arch in each_child(f"{top}/{app}"):
            folder = f"{top}/{app}/{arch}"
            if not each_child(folder):
                with suppress(FileNotFoundError):
                    os.unlink(f"{folder}/{_HOP}")
                prune_folders(folder, top)
