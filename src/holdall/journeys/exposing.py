"""Showing the files of an installed version at a folder, until they are hidden again.

Nothing is written down about it: the kernel's list of mounts, or a link, is all there is.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import NamedTuple

from holdall.errors import (
    BusyError,
    NotFoundError,
    ProgramError,
    UnsupportedError,
    UsageError,
)
from holdall.journeys.host import Host
from holdall.journeys.mounting import mount_of
from holdall.model.ref import Ref
from holdall.store.catalog import Deployment
from holdall.system.files import each_child, in_words, plain_errors
from holdall.system.lending import lent, serve_for_user
from holdall.system.locks import hold_lease
from holdall.system.loop import backing_file
from holdall.system.means import Means
from holdall.system.mount_calls import attach, unmount
from holdall.system.mount_table import Mounted, await_unmount, mount_numbered
from holdall.system.mounting import NAME, Answered, Bound, Mount, ServedImage
from holdall.system.process import leave_behind, run
from holdall.system.spot import Spot, at_spot, lies_in, mount_number


class Shown(NamedTuple):
    """Where the files of a version can be read.

    `how` is "mount", or "link" where they lie in a plain folder and the user may mount nothing.
    """

    ref: str
    version: str
    path: str
    how: str


def show(host: Host, deployment: Deployment, folder: str) -> Shown:
    """Make a version's files readable at `folder`, which is empty or missing, until `hide`.

    As long as it is mounted there the version is kept. Raises UsageError, UnsupportedError with
    what would help, CorruptError, ProgramError and NotFoundError.
    """
    with plain_errors(f"{folder} cannot be used"), at_spot(folder) as spot:
        return _show_at(host, deployment, spot, folder)


def _show_at(host: Host, deployment: Deployment, spot: Spot, folder: str) -> Shown:
    means = Means(host.layout.root)
    told = Shown(str(deployment.ref), deployment.version, spot.path, "mount")
    with _chosen(host, spot, folder) as (place, made):
        try:
            keep = hold_lease(deployment.lease)
        except (FileNotFoundError, BlockingIOError) as error:
            raise NotFoundError(f"{deployment.ref} was removed in this moment.") from error
        try:
            if not means.privileged:
                means.user_namespaces = True  # none is needed: it is no mount of this process's own
            mount = mount_of(host, deployment, means)
            if mount is None and not means.privileged:
                _link(deployment.files, spot, replaced=not made)
                return told._replace(how="link")
            name = f"{NAME}:{deployment.ref.id}"[:200]
            if isinstance(mount, ServedImage | Answered) and os.geteuid() != 0:
                _serve_for_user(mount, spot, name, means, keep)
            else:
                _mount_for_all(mount or Bound(deployment.files), place, name, keep)
        finally:
            os.close(keep)
    return told


def hide(host: Host, folder: str) -> str:
    """Undo `show`; returns the path.

    An empty folder stays where one was mounted on or replaced. Raises UsageError for what `show`
    did not make, BusyError while somebody uses it.
    """
    with plain_errors(f"{folder} cannot be looked at"), at_spot(folder) as spot:
        if spot.is_link:
            _unlink(host, spot, folder)
        else:
            _unmount(host, spot, folder)
        return spot.path


def _unmount(host: Host, spot: Spot, folder: str) -> None:
    mounted = _mounted_at(spot)
    if mounted is None:
        raise UsageError(f"Nothing of holdall's is mounted at {folder}.")
    if not _is_ours(host, mounted, spot):
        raise UsageError(f"{folder} is not of holdall's making; `umount {folder}` unmounts it.")
    if os.geteuid() != 0:
        _unmount_as_user(host, folder, spot.path)
        return
    try:
        # at worst another mount with this name in the same folder, as no link is followed
        unmount(spot.handle)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise _in_use(folder) from error
        raise in_words(error, f"{folder} cannot be unmounted") from error


def _mounted_at(spot: Spot) -> Mounted | None:
    """The mount at a spot; it is no longer held when this returns."""
    try:
        fd = spot.open()
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        number = mount_number(fd)
    finally:
        os.close(fd)
    return None if number == mount_number(spot.above) else mount_numbered(number)


def _serve_for_user(
    mount: ServedImage | Answered, spot: Spot, name: str, means: Means, keep: int
) -> None:
    if reason := means.lacking("fusermount3"):
        raise UnsupportedError(f"An image can be mounted for all by no ordinary user: {reason}.")
    serve_for_user(mount, spot.path, name, keep=keep)


def _mount_for_all(mount: Mount, place: int, name: str, keep: int) -> None:
    with lent(mount, place, name, keep=keep) as lending:
        number = mount_number(lending)
        attach(lending, place)
    mounted = mount_numbered(number)
    if mounted is not None and not isinstance(mount, ServedImage | Answered):
        # the kernel holds no lease: this process does, until the mount is gone
        leave_behind(partial(await_unmount, mounted), keep=(keep,))


@contextmanager
def _chosen(host: Host, spot: Spot, folder: str) -> Iterator[tuple[int, bool]]:
    """The folder to show files at, by a descriptor, and whether it was made for that.

    Then it is gone again if something fails. Raises UsageError for one that cannot be.
    """
    if lies_in(spot.above, host.layout.root):
        raise UsageError(f"{folder} lies in the store; choose a folder elsewhere.")
    if spot.is_link:
        raise UsageError(f"{folder} is a link; choose a folder that is empty or does not exist.")
    made = False
    with plain_errors(f"{folder} cannot be made"), suppress(FileExistsError):
        os.mkdir(spot.name, dir_fd=spot.above)
        made = True
    try:
        place = spot.open()
    except NotADirectoryError as error:
        raise UsageError(f"{folder} is no folder.") from error
    try:
        _check_free(host, spot, place, folder)
        yield place, made
    except BaseException:
        if made:
            with suppress(OSError):
                os.rmdir(spot.name, dir_fd=spot.above)
        raise
    finally:
        os.close(place)


def _check_free(host: Host, spot: Spot, place: int, folder: str) -> None:
    if mount_number(place) != mount_number(spot.above):
        raise UsageError(
            f"Something is mounted at {folder} already; `holdall unmount` ends what holdall began."
        )
    if lies_in(place, host.layout.root):
        raise UsageError(f"{folder} lies in the store; choose a folder elsewhere.")
    with plain_errors(f"{folder} cannot be read"):
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place)
    try:
        if os.listdir(fd):
            raise UsageError(
                f"{folder} is not empty; choose a folder that is empty or does not exist."
            )
    finally:
        os.close(fd)


def _link(files: str, spot: Spot, *, replaced: bool) -> None:
    """Put a link to the files at a spot; one to their "/." tells that a folder was there before."""
    with plain_errors(f"{spot.path} cannot be made a link"):
        os.rmdir(spot.name, dir_fd=spot.above)
        os.symlink(f"{files}/." if replaced else files, spot.name, dir_fd=spot.above)


def _unlink(host: Host, spot: Spot, folder: str) -> None:
    target = os.readlink(spot.name, dir_fd=spot.above)
    if not target.removesuffix("/.").endswith("/files") or not _in_store(host, target):
        raise UsageError(f"{folder} is a link that holdall did not make.")
    with plain_errors(f"{folder} cannot be taken away"):
        os.unlink(spot.name, dir_fd=spot.above)
        if target.endswith("/."):
            os.mkdir(spot.name, dir_fd=spot.above)


def _in_store(host: Host, path: str) -> bool:
    tops = (host.layout.root, os.path.realpath(host.layout.root))
    return any(path.startswith(f"{top}/") for top in tops)


def _is_ours(host: Host, mounted: Mounted, spot: Spot) -> bool:
    """Whether a mount was made by `show`: by its name, its image, or the folder it shows."""
    if mounted.source.split(":")[0] == NAME:
        return True
    image = backing_file(mounted.source) or mounted.source
    if _in_store(host, image):
        return True
    try:
        shown = os.lstat(spot.name, dir_fd=spot.above)
    except OSError:
        return False
    return any(os.path.samestat(shown, one) for one in _all_files(host))


def _all_files(host: Host) -> Iterator[os.stat_result]:
    """The folders of files of all versions, and of those that were removed and not freed yet."""
    catalog = host.catalog
    top = catalog.layout.deployments
    refs = [
        Ref(app_id, arch, branch)
        for app_id in each_child(top)
        for arch in each_child(f"{top}/{app_id}")
        for branch in each_child(f"{top}/{app_id}/{arch}")
    ]
    folders = [item.files for ref in refs for item in catalog.deployments(ref)]
    trash = catalog.layout.trash
    for files in (*folders, *(f"{trash}/{name}/files" for name in each_child(trash))):
        with suppress(OSError):
            yield os.stat(files)


def _unmount_as_user(host: Host, folder: str, path: str) -> None:
    program = Means(host.layout.root).program("fusermount3")
    if program is None:
        raise UnsupportedError("The program fusermount3 is missing: install the package fuse3.")
    try:
        run([program, "-u", "--", path])
    except ProgramError as error:
        if "busy" in str(error):
            raise _in_use(folder) from error
        raise


def _in_use(folder: str) -> BusyError:
    return BusyError(f"{folder} is in use; end what works in it, then unmount it again.")
