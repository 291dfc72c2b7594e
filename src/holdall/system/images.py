"""File system images in files: made of a folder, and read out again, by the programs for each kind.

Nothing here asks the kernel to mount anything. The same folder gives the same bytes as long as the
version of the program is the same: no times, no owners, no extended attributes.
"""

import errno
import os
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from holdall.errors import CorruptError, NoSpaceError, ProgramError, UnsupportedError, UsageError
from holdall.system import erofs_image, squashfs_image
from holdall.system.erofs_image import Found
from holdall.system.files import remove_tree
from holdall.system.process import find_program, run

EROFS, SQUASHFS = "erofs", "squashfs"
KINDS = (EROFS, SQUASHFS)

QUICK, THOROUGH = 3, 19
"""Levels of compression: for images made where an app is installed, and for those that travel."""

_BLOCK = 128 * 2**10  # of squashfs: what one read of a few bytes decodes
_CLUSTER = 64 * 2**10  # of EROFS, in the same way
_NO_COPYING = {errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
_PLAIN_SQUASHFS = ("-noI", "-noId", "-noD", "-noF", "-noX")
_MEMORY = ("-data-queue", "64", "-frag-queue", "64")  # MB of unsquashfs
_LONG_NAME = 255  # bytes: mkfs.erofs 1.5 takes no more than 254
_LINE = 64  # bytes that telling of an entry takes at least
_FULL = "No space left on device"
# unlike the caller's: mksquashfs takes no times beside SOURCE_DATE_EPOCH
_SURROUNDINGS = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


class _Kind(NamedTuple):
    maker: str
    reader: str
    asked: str
    package: str
    minimum: tuple[int, ...]


_PROGRAMS = {
    EROFS: _Kind("mkfs.erofs", "fsck.erofs", "-V", "erofs-utils", (1, 5)),
    SQUASHFS: _Kind("mksquashfs", "unsquashfs", "-version", "squashfs-tools", (4, 5)),
}


def check_kind(kind: str) -> None:
    """Raise UsageError for a kind of image there is not."""
    if kind not in KINDS:
        raise UsageError(f"There is no image of kind {kind!r}; there is {' and '.join(KINDS)}.")


def maker(kind: str) -> str:
    """The path of the program that makes images of a kind; raises UnsupportedError without one."""
    check_kind(kind)
    reader(kind)
    return find_program(_PROGRAMS[kind].maker, package=_PROGRAMS[kind].package)


def reader(kind: str) -> str:
    """The path of the program that reads them out; raises UnsupportedError without one."""
    check_kind(kind)
    found = _PROGRAMS[kind]
    return find_program(
        found.reader, package=found.package, minimum=found.minimum, asked=found.asked
    )


def make(kind: str, folder: str, image: str, *, name: bytes, level: int) -> None:
    """Make the new file `image` of what is in `folder`, with the modes it has there.

    `name` are 16 bytes that tell it from others. `level` 0 compresses nothing, and up to 22 more
    takes longer. Raises UnsupportedError, ProgramError, NoSpaceError.
    """
    program = maker(kind)
    if kind == EROFS:
        try:
            _run([program, *_erofs_options(name, level), image, folder])
        except ProgramError as error:
            if (held := _longest_name(folder)) and len(held) >= _LONG_NAME:
                raise UnsupportedError(
                    f"This {_PROGRAMS[kind].maker} makes no image of kind erofs with a name as long"
                    f" as {held[:40].decode(errors='replace')!a}…; one of kind squashfs can hold it"
                    " (--image squashfs)."
                ) from error
            raise
    else:
        _run([program, folder, image, *_squashfs_options(level)])


def _longest_name(folder: str) -> bytes:
    """The longest name of what is in a folder, in bytes."""
    names = (name for _, *held in os.walk(os.fsencode(folder)) for name in (*held[0], *held[1]))
    return max(names, key=len, default=b"")


def _erofs_options(name: bytes, level: int) -> Sequence[str]:
    hexadecimal = name.hex()
    # version 8 of RFC 9562: a form of one's own
    parts = (
        hexadecimal[:8],
        hexadecimal[8:12],
        f"8{hexadecimal[13:16]}",
        f"8{hexadecimal[17:20]}",
        hexadecimal[20:32],
    )
    options = ["-T0", f"-U{'-'.join(parts)}", "-x-1", "--all-root", "--quiet"]
    if level:
        method = "lz4" if level <= QUICK else f"lz4hc,{min(level, 12)}"
        options += [f"-z{method}", f"-C{_CLUSTER}"]
    return options


def _squashfs_options(level: int) -> Sequence[str]:
    how = ("-Xcompression-level", str(level)) if level else _PLAIN_SQUASHFS
    times = ("-all-time", "0", "-mkfs-time", "0", "-root-time", "0")
    owners = ("-all-root", "-root-mode", "755", "-no-xattrs", "-no-exports", "-reproducible")
    manner = ("-noappend", "-no-recovery", "-exit-on-error", "-quiet", "-no-progress")
    return ("-comp", "zstd", "-b", str(_BLOCK), *how, *times, *owners, *manner)


def listing(kind: str, fd: int, offset: int, size: int, *, limit: int) -> dict[str, Found]:
    """Every entry of the image at `offset` of an open file by its path, the root's as "".

    Raises CorruptError for what is no image, has extended attributes or owners, or takes more than
    `limit` bytes to tell.
    """

    def read(start: int, length: int) -> bytes:
        room = min(length, size - start)
        return os.pread(fd, room, offset + start) if room > 0 else b""

    found: dict[str, Found] = {}
    read_out = erofs_image.entries if kind == EROFS else squashfs_image.entries
    for path, entry in read_out(read, limit // _LINE):
        if path in found:
            raise CorruptError("The image has two files of one name.")
        found[path] = entry
    return found


def path_of(fd: int) -> str:
    """A path that programs this process starts can open a file by."""
    return f"/proc/{os.getpid()}/fd/{fd}"


def extract(
    kind: str, fd: int, offset: int, size: int, *, folder: str, paths: Collection[str]
) -> None:
    """Read the files `paths`, or more, out of the image at `offset` of an open file.

    They are in the new folder `folder`, as they are in the image. For images whose `listing` was
    found right: names that lead elsewhere are followed. Raises UnsupportedError, CorruptError and
    NoSpaceError.
    """
    program = reader(kind)
    os.mkdir(f"{folder}.d", 0o700)
    try:
        if kind == SQUASHFS:
            _unsquash(program, path_of(fd), offset, f"{folder}.d", paths)
        else:
            with _alone(fd, offset, size, f"{folder}.d/image") as path:
                _run([program, f"--extract={folder}.d/files", "--no-preserve", path])
        _check_regular(f"{folder}.d/files", paths)
        os.rename(f"{folder}.d/files", folder)
    except (ProgramError, FileNotFoundError) as error:
        raise CorruptError(f"The image cannot be read: {error}") from error
    finally:
        remove_tree(f"{folder}.d")


def _unsquash(program: str, file: str, offset: int, work: str, paths: Collection[str]) -> None:
    if not paths:
        os.mkdir(f"{work}/files")
        return
    with open(f"{work}/paths", "x", encoding="utf-8", newline="") as out:
        # a backslash keeps what follows from being anything but a name
        out.writelines(f"\\{path}\n" for path in paths)
    options = ("-no-wildcards", "-no-xattrs", "-quiet", "-no-progress", "-offset", str(offset))
    _run(
        [
            program,
            *options,
            *_MEMORY,
            "-dest",
            f"{work}/files",
            "-extract-file",
            f"{work}/paths",
            file,
        ]
    )


@contextmanager
def _alone(fd: int, offset: int, size: int, path: str) -> Iterator[str]:
    """The image in a file of its own, which may be the one it is in."""
    if offset == 0:
        yield path_of(fd)
        return
    out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        copy_range(fd, out, size, start=offset)
    finally:
        os.close(out)
    yield path
    os.unlink(path)


def _check_regular(folder: str, paths: Collection[str]) -> None:
    """Raise CorruptError where an image has anything but a file at one of the paths."""
    for path in paths:
        try:
            mode = os.lstat(f"{folder}/{path}").st_mode
        except OSError:
            mode = 0
        if not stat.S_ISREG(mode) or not mode & stat.S_IRUSR:
            raise CorruptError(f"The image has no regular file {path!r}, which its app has.")


def _run(argv: Sequence[str]) -> None:
    try:
        run(argv, env=_SURROUNDINGS)
    except ProgramError as error:
        if any(_FULL in note for note in getattr(error, "__notes__", ())):
            raise NoSpaceError(f"{error} Free some space and try again.") from error
        raise


def copy_range(fd: int, out: int, size: int, *, start: int = 0) -> None:
    """Append `size` bytes from `start` on to another file, sharing blocks where that can be.

    What is not there is not copied. Both are to be multiples of a block for blocks to be shared.
    """
    end = start + size
    try:
        while start < end and (step := os.copy_file_range(fd, out, end - start, start)):
            start += step
    except OSError as error:
        if error.errno not in _NO_COPYING:
            raise
        while start < end and (step := os.sendfile(out, fd, start, min(end - start, 2**24))):
            start += step
