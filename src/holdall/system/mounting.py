"""Mounts: as values, and made, in a namespace of this process or of a child's.

What is mounted in a namespace of one's own is gone when its last process ends, however that ends.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, NamedTuple, assert_never

from holdall.errors import CorruptError, UnsupportedError
from holdall.system.files import in_words
from holdall.system.loop import loop_device
from holdall.system.mount_calls import Configuration, attach, clone, detach_root
from holdall.system.namespace import leave_host

if TYPE_CHECKING:
    from holdall.system.answering import Serve

_NOT_STRAIGHT = {errno.EINVAL, errno.ENOTBLK}
_LONGEST = 255  # bytes that the kernel takes as the value of an option
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


class Answered(NamedTuple):
    """A file that a process of our own shows over FUSE; `serve` is called there, at its beginning.

    It needs no program, and has fewer rights than any.
    """

    file: str
    serve: "Serve"


Mount = KernelImage | ServedImage | Composed | Bound | Answered

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

        serve_here(serving(one, target, f"ro,fsname={NAME}"), target)
        return
    folder = os.open(target, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with _made(one, folder) as mounted:
            attach(mounted, folder)
    finally:
        os.close(folder)


def _made(
    one: KernelImage | Composed | Bound | Answered, folder: int
) -> AbstractContextManager[int]:
    if isinstance(one, Answered):
        from holdall.system.answering import answered

        return answered(one.file, one.serve, NAME)
    return kernel_mount(one, folder)


@contextmanager
def kernel_mount(
    one: KernelImage | Composed | Bound, folder: int, name: str = NAME
) -> Iterator[int]:
    """The descriptor of a mount that needs no program; see `perform`.

    It is to be attached to the folder that another descriptor is of, and else gone at the end.
    """
    try:
        match one:
            case KernelImage():
                made = _image(one)
            case Composed():
                made = _composed(one, folder, name)
            case Bound(shown):
                made = clone(shown)
            case _:
                assert_never(one)
        try:
            yield made
        finally:
            os.close(made)
    except OSError as error:
        raise _explained(error, one) from error


def serving(image: ServedImage, target: str, options: str) -> tuple[str, ...]:
    """The command of a program that serves an image at `target` and stays in the foreground."""
    offset = f"--offset={image.offset}" if image.kind == "erofs" else f"-ooffset={image.offset}"
    shifted = (offset,) if image.offset else ()
    return (image.program, "-f", *shifted, "-o", options, image.file, target)


def _image(image: KernelImage) -> int:
    straight = image.kind == "erofs" and len(os.fsencode(image.file)) <= _LONGEST
    if straight and (made := _straight(image)) is not None:
        return made
    with (
        loop_device(image.file, image.offset, image.size) as device,
        Configuration(image.kind) as configuration,
    ):
        configuration.set("source", device)
        return configuration.make()


def _straight(image: KernelImage) -> int | None:
    """EROFS right from its file; None where the kernel takes block devices only.

    Reading directly keeps pages from being cached twice, where the file system below can do it.
    """
    for directly in (True, False):
        try:
            with Configuration("erofs") as configuration:
                configuration.set("source", image.file)
                if directly:
                    configuration.flag("directio")
                if image.offset:
                    configuration.set("fsoffset", str(image.offset))
                return configuration.make()
        except OSError as error:
            if error.errno not in _NOT_STRAIGHT:
                raise
    return None


def _composed(image: Composed, folder: int, name: str) -> int:
    """The metadata image as the upper layer of an overlay, which keeps its layers by itself.

    Older kernels take no layer that is attached to nothing: it is at the folder for a moment there.
    """
    size = os.stat(image.image).st_size
    metadata = _image(KernelImage("erofs", image.image, 0, size))
    try:
        try:
            return _overlay(image, metadata, name)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        attach(metadata, folder)
        try:
            return _overlay(image, metadata, name)
        finally:
            detach_root(metadata)
    finally:
        os.close(metadata)


def _overlay(image: Composed, metadata: int, name: str) -> int:
    lower = os.open(image.data, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with Configuration("overlay") as overlay:
            overlay.set("source", name)
            overlay.set("metacopy", "on")
            overlay.set("redirect_dir", "on")
            # by descriptor, as the kernel takes no value longer than 255 bytes
            overlay.set("lowerdir+", f"/proc/self/fd/{metadata}")
            overlay.set("datadir+", f"/proc/self/fd/{lower}")
            if image.verity:
                overlay.set("verity", "require")
            return overlay.make()
    finally:
        os.close(lower)


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
