"""Mounts: as values, and made, in a namespace of this process or of a child's.

What is mounted in a namespace of one's own is gone when its last process ends, however that ends.
"""

import errno
import os
from collections.abc import Iterable
from typing import NamedTuple, assert_never

from holdall.errors import CorruptError, UnsupportedError
from holdall.system.files import in_words
from holdall.system.loop import loop_device
from holdall.system.mount_calls import CARELESS, Configuration, attach, bind, detach, mount
from holdall.system.namespace import leave_host

_NOT_STRAIGHT = {errno.EINVAL, errno.ENOTBLK}
_SPOILED = {errno.EINVAL, errno.EUCLEAN, errno.EBADMSG, errno.EIO}


class KernelImage(NamedTuple):
    """An image in a file that the kernel reads: EROFS from the file, squashfs by a loop device.

    `kind` is "erofs" or "squashfs"; offset and size in bytes. For root.
    """

    kind: str
    file: str
    offset: int
    size: int


class ServedImage(NamedTuple):
    """The same, read by a program in user space over FUSE."""

    kind: str
    program: str
    file: str
    offset: int


class Composed(NamedTuple):
    """An EROFS metadata image over a folder of data files: overlayfs' data-only layers. For root.

    With `verity` the kernel refuses data files whose fs-verity digest is not the image's.
    """

    image: str
    data: str
    verity: bool


class Bound(NamedTuple):
    """A folder seen at another place, read-only."""

    folder: str


Mount = KernelImage | ServedImage | Composed | Bound

NAME = "holdall"
"""What the kernel's list of mounts shows as their source, where that can be chosen."""


def enter(mounts: Iterable[tuple[Mount, str]]) -> None:
    """Leave the host's mounts for a namespace of one's own, and make mounts there, each at a path.

    For a process of one thread. The next program this process becomes has no right to mount, unless
    it is root's; the programs that serve images end with it. Raises what `perform` raises, and
    UnsupportedError where no namespace is to be had.
    """
    leave_host()
    for one, target in mounts:
        perform(one, target)


def perform(one: Mount, target: str) -> None:
    """Make a mount at a folder, in the namespace this process is in.

    Raises UnsupportedError with what would help, CorruptError for an image that cannot be read, and
    ProgramError with what the program that is to serve it says.
    """
    if isinstance(one, ServedImage):
        from holdall.system.serving import serve_here

        serve_here(_serving(one, target, f"ro,fsname={NAME}"), target)
    else:
        have_kernel_mount(one, target)


def have_kernel_mount(one: KernelImage | Composed | Bound, target: str, name: str = NAME) -> None:
    """Make a mount that needs no program; see `perform`."""
    try:
        match one:
            case KernelImage():
                _mount_image(one, target)
            case Composed():
                _compose(one, target, name)
            case Bound(folder):
                bind(folder, target)
            case _:
                assert_never(one)
    except OSError as error:
        raise _explained(error, one) from error


def serve_for_all(one: ServedImage, target: str, name: str, *, keep: int) -> None:
    """Have an image served at a folder until that is unmounted, by a program that outlives this.

    It keeps the descriptor `keep` open. What root has served everybody may read, what a user with
    fusermount3 has served only that user. See `perform`.
    """
    from holdall.system.serving import serve_on

    everybody = ",allow_other,default_permissions" if os.geteuid() == 0 else ""
    serve_on(_serving(one, target, f"ro,fsname={name}{everybody}"), target, keep)


def _serving(image: ServedImage, target: str, options: str) -> tuple[str, ...]:
    """The command of a program that serves an image at `target` and stays in the foreground."""
    offset = f"--offset={image.offset}" if image.kind == "erofs" else f"-ooffset={image.offset}"
    shifted = (offset,) if image.offset else ()
    return (image.program, "-f", *shifted, "-o", options, image.file, target)


def _mount_image(image: KernelImage, target: str) -> None:
    if image.kind == "erofs" and _straight(image, target):
        return
    with loop_device(image.file, image.offset, image.size) as device:
        mount(device, target, image.kind, CARELESS)


def _straight(image: KernelImage, target: str) -> bool:
    """Mount EROFS right from its file; False where the kernel takes block devices only.

    Reading directly keeps pages from being cached twice, where the file system below can do it.
    """
    where = [f"fsoffset={image.offset}"] if image.offset else []
    for options in (["directio", *where], where):
        try:
            mount(image.file, target, "erofs", CARELESS, ",".join(options))
        except OSError as error:
            if error.errno not in _NOT_STRAIGHT:
                raise
        else:
            return True
    return False


def _compose(image: Composed, target: str, name: str) -> None:
    """Mount the metadata image, take it as the upper layer, and put the overlay in its place.

    An overlay keeps its layers by itself, so only it stays; older kernels take no layer that is
    attached to nothing.
    """
    size = os.stat(image.image).st_size
    _mount_image(KernelImage("erofs", image.image, 0, size), target)
    try:
        made = _overlay(image, target, name)
    finally:
        detach(target)
    attach(made, target)


def _overlay(image: Composed, metadata: str, name: str) -> int:
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    upper = os.open(metadata, flags)
    try:
        lower = os.open(image.data, flags)
        try:
            with Configuration("overlay") as overlay:
                overlay.set("source", name)
                overlay.set("metacopy", "on")
                overlay.set("redirect_dir", "on")
                # by descriptor, as the kernel takes no value longer than 255 bytes
                overlay.set("lowerdir+", f"/proc/self/fd/{upper}")
                overlay.set("datadir+", f"/proc/self/fd/{lower}")
                if image.verity:
                    overlay.set("verity", "require")
                return overlay.make()
        finally:
            os.close(lower)
    finally:
        os.close(upper)


def _explained(error: OSError, one: KernelImage | Composed | Bound) -> Exception:
    what = one.folder if isinstance(one, Bound) else one[0] if isinstance(one, Composed) else one[1]
    reason = (error.strerror or str(error)).lower()
    if error.errno in {errno.EPERM, errno.EACCES}:
        return UnsupportedError(
            f"The kernel does not mount {what} for this user ({reason}): that takes root; use "
            "a form that is read in user space, or the form tree."
        )
    if error.errno == errno.ENODEV or (isinstance(one, Composed) and "datadir" in str(error)):
        return UnsupportedError(
            f"This kernel cannot mount {what} ({reason}): it lacks the file system; use the form "
            "tree."
        )
    if error.errno in _SPOILED:
        return CorruptError(f"The kernel cannot read {what} as an image ({reason}).")
    return in_words(error, f"{what} cannot be mounted")
