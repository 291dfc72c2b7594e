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
from holdall.system.locks import hold_lease
from holdall.system.loop import backing_file
from holdall.system.means import Means
from holdall.system.mount_calls import unmount
from holdall.system.mount_table import Mounted, await_unmount, mount_at
from holdall.system.mounting import (
    NAME,
    Bound,
    Mount,
    ServedImage,
    have_kernel_mount,
    serve_for_all,
)
from holdall.system.process import leave_behind, run


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
    path = _chosen(host, folder)
    means = Means(host.layout.root)
    try:
        keep = hold_lease(deployment.lease)
    except (FileNotFoundError, BlockingIOError) as error:
        raise NotFoundError(f"{deployment.ref} was removed in this moment.") from error
    try:
        if not means.privileged:
            means.user_namespaces = True  # none is needed, as it is no mount of this process's own
        mount = mount_of(host, deployment, means)
        if mount is None and not means.privileged:
            _link(deployment.files, path)
            return Shown(str(deployment.ref), deployment.version, path, "link")
        with _folder(path):
            _mount_for_all(mount or Bound(deployment.files), path, deployment.ref.id, means, keep)
        return Shown(str(deployment.ref), deployment.version, path, "mount")
    finally:
        os.close(keep)


def hide(host: Host, folder: str) -> str:
    """Undo `show`; returns the path.

    An empty folder stays where one was mounted on or replaced. Raises UsageError for what `show`
    did not make, BusyError while somebody uses it.
    """
    path = _real(folder)
    if os.path.islink(path):
        _unlink(host, path, folder)
        return path
    mounted = mount_at(path)
    if mounted is None:
        raise UsageError(f"Nothing of holdall's is mounted at {folder}.")
    if not _is_ours(host, mounted):
        raise UsageError(f"{folder} is not of holdall's making; `umount {folder}` unmounts it.")
    if os.geteuid() == 0:
        try:
            unmount(path)
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise _in_use(folder) from error
            raise in_words(error, f"{folder} cannot be unmounted") from error
    else:
        _unmount_as_user(host, folder, path)
    return path


def _mount_for_all(mount: Mount, path: str, app_id: str, means: Means, keep: int) -> None:
    name = f"{NAME}:{app_id}"[:200]
    if isinstance(mount, ServedImage):
        reason = "" if means.privileged else means.lacking("fusermount3")
        if reason:
            raise UnsupportedError(
                f"An image can be mounted for all by no ordinary user: {reason}."
            )
        serve_for_all(mount, path, name, keep=keep)
        return
    have_kernel_mount(mount, path, name)
    mounted = mount_at(path)
    if mounted is not None:
        # the kernel holds no lease: this process does, until the mount is gone
        leave_behind(partial(await_unmount, mounted), keep=keep)


def _chosen(host: Host, folder: str) -> str:
    """The real path of a folder to show files at; raises UsageError for one that cannot be."""
    path = _real(folder)
    store = os.path.realpath(host.layout.root)
    if path == store or path.startswith(f"{store}/"):
        raise UsageError(f"{folder} lies in the store; choose a folder elsewhere.")
    if os.path.islink(path):
        raise UsageError(f"{folder} is a link; choose a folder that is empty or does not exist.")
    if mount_at(path) is not None:
        raise UsageError(
            f"Something is mounted at {folder} already; `holdall unmount` ends what holdall began."
        )
    if os.path.lexists(path):
        if not os.path.isdir(path):
            raise UsageError(f"{folder} is no folder.")
        if os.listdir(path):
            raise UsageError(
                f"{folder} is not empty; choose a folder that is empty or does not exist."
            )
    return path


def _real(folder: str) -> str:
    """The path of a folder with the links above it followed; it may itself be anything."""
    above, name = os.path.split(os.path.abspath(folder))
    return f"{os.path.realpath(above).rstrip('/')}/{name}"


@contextmanager
def _folder(path: str) -> Iterator[None]:
    """A folder at `path`, which is gone again if it was made for something that fails."""
    made = not os.path.isdir(path)
    if made:
        with plain_errors(f"{path} cannot be made"):
            os.mkdir(path)
    try:
        yield
    except BaseException:
        if made:
            os.rmdir(path)
        raise


def _link(files: str, path: str) -> None:
    """Put a link to the files at `path`; one to their "/." tells that a folder was there before."""
    with plain_errors(f"{path} cannot be made a link"):
        replaced = os.path.isdir(path)
        if replaced:
            os.rmdir(path)
        os.symlink(f"{files}/." if replaced else files, path)


def _unlink(host: Host, path: str, folder: str) -> None:
    target = os.readlink(path)
    if not target.removesuffix("/.").endswith("/files") or not _in_store(host, target):
        raise UsageError(f"{folder} is a link that holdall did not make.")
    with plain_errors(f"{folder} cannot be taken away"):
        os.unlink(path)
        if target.endswith("/."):
            os.mkdir(path)


def _in_store(host: Host, path: str) -> bool:
    tops = (host.layout.root, os.path.realpath(host.layout.root))
    return any(path.startswith(f"{top}/") for top in tops)


def _is_ours(host: Host, mounted: Mounted) -> bool:
    """Whether a mount was made by `show`: by its name, its image, or the folder it shows."""
    if mounted.source.split(":")[0] == NAME:
        return True
    image = backing_file(mounted.source) or mounted.source
    if _in_store(host, image):
        return True
    try:
        shown = os.stat(mounted.point)
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
