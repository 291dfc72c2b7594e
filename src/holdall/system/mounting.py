"""Mounts: as values, and made, in a namespace of this process or of a child's.

What is mounted in a namespace of one's own is gone when its last process ends, however that ends.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
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
_Options = tuple[tuple[str, str], ...]
# of an overlay: with attributes that any user may set, or root's
_USERS = (("userxattr", ""),)
_TRUSTED = (("metacopy", "on"), ("redirect_dir", "on"))
_VERITY = (("verity", "require"),)
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

    It needs no program, and has fewer rights than any. `data` is a folder, or "": files that have
    attributes which say so are read from there by the kernel, where it can, and with `verity` only
    what has the digest that they say. `held` is a descriptor of the file where it is open already,
    and may not be opened anew by its name.
    """

    file: str
    serve: "Serve"
    data: str = ""
    verity: bool = False
    held: int | None = None


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
    return answered_mount(one, folder) if isinstance(one, Answered) else kernel_mount(one, folder)


@contextmanager
def answered_mount(
    one: Answered, folder: int, name: str = NAME, *, keep: int | None = None
) -> Iterator[int]:
    """The descriptor of a mount that a process of our own answers for: see `answering.answered`.

    Whether the kernel can read the data by itself is tried; what it cannot is answered for, too.
    """
    from holdall.system.answering import answered

    with answered(one.file, one.serve, name, keep=keep, held=one.held) as shown:
        joined = _over(shown, one, folder, name) if one.data else None
        try:
            yield shown if joined is None else joined
        finally:
            if joined is not None:
                os.close(joined)


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
    """The metadata image as the upper layer of an overlay, which keeps its layers by itself."""
    size = os.stat(image.image).st_size
    options = (*_TRUSTED, *_VERITY) if image.verity else _TRUSTED
    metadata = _image(KernelImage("erofs", image.image, 0, size))
    try:
        try:
            return _overlay(metadata, image.data, name, options)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        with _attached(metadata, folder):
            return _overlay(metadata, image.data, name, options)
    finally:
        os.close(metadata)


def _over(shown: int, one: Answered, folder: int, name: str) -> int | None:
    """An overlay of a mount over its data; None where this kernel makes none for this user.

    Older kernels make it for root, as the one of `Composed`; then the mount cannot be attached any
    more, and what is returned otherwise is a copy of it.
    """
    refused = 0
    for options in _ways(_USERS, one):
        try:
            return _overlay(shown, one.data, name, options)
        except OSError as error:
            refused = error.errno or 0
    if os.geteuid() != 0 or refused != errno.EINVAL:
        return None
    with _attached(shown, folder):
        for options in _ways(_TRUSTED, one):
            with suppress(OSError):
                return _overlay(shown, one.data, name, options)
        return clone(f"/proc/self/fd/{shown}")


def _ways(options: _Options, one: Answered) -> tuple[_Options, ...]:
    """What to try, the best first: data that lack a digest on some kernels are shown without."""
    return ((*options, *_VERITY), options) if one.verity else (options,)


@contextmanager
def _attached(mounted: int, folder: int) -> Iterator[None]:
    """Have a mount at a folder for a moment: older kernels take no layer that is at none."""
    attach(mounted, folder)
    try:
        yield
    finally:
        detach_root(mounted)


def _overlay(metadata: int, data: str, name: str, options: _Options) -> int:
    lower = os.open(data, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with Configuration("overlay") as overlay:
            overlay.set("source", name)
            for key, value in options:
                overlay.set(key, value) if value else overlay.flag(key)
            # by descriptor, as the kernel takes no value longer than 255 bytes
            overlay.set("lowerdir+", f"/proc/self/fd/{metadata}")
            overlay.set("datadir+", f"/proc/self/fd/{lower}")
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
