"""Durable and careful changes to files.

Written beside and renamed, removed by descriptor, never through links.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from holdall.errors import DeniedError, HoldallError, NoSpaceError, NotFoundError

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}
_SUBVOLUME = 256  # the inode every subvolume of btrfs has for its root; others have it by chance
_LONG = 300  # characters of a path that a sentence still has room for
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


def write_atomic(
    path: str, data: bytes, *, mode: int = 0o644, durable: bool = False, whole: bool = False
) -> None:
    """Put `data` at `path` so that a reader sees the old file or the new one, whole.

    With `whole`, also after a power loss; with `durable`, also on the disk when this returns.
    The folder is made when it is missing.
    """
    folder = os.path.dirname(path) or "."
    os.makedirs(folder, exist_ok=True)
    beside = f"{folder}/.{os.urandom(8).hex()}.tmp"
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        try:
            os.fchmod(fd, mode)
            write_all(fd, data)
            if durable or whole:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(beside, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside)
        raise
    if durable:
        sync_folder(folder)


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write every byte; a short write is continued."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_new(path: str, data: bytes) -> None:
    """Make a file of mode 0644 with these bytes; it must not be there."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        os.fchmod(fd, 0o644)
        write_all(fd, data)
    finally:
        os.close(fd)


def sync(folder: str) -> None:
    """Have everything written to a folder's file system on the disk before this returns."""
    from holdall.system.kernel import sync_filesystem

    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_filesystem(fd)
    finally:
        os.close(fd)


def sync_folder(path: str) -> None:
    """Have the names in a folder on the disk before this returns."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def replace_symlink(path: str, target: str) -> None:
    """Make `path` a symbolic link to `target` in one step, whatever it was before."""
    folder = os.path.dirname(path) or "."
    os.makedirs(folder, exist_ok=True)
    beside = f"{folder}/.{os.urandom(8).hex()}.tmp"
    os.symlink(target, beside)
    try:
        os.rename(beside, path)
    except OSError:
        os.unlink(beside)
        raise


def read_regular(path: str, *, limit: int) -> bytes:
    """The bytes of a regular file that is no link and no longer than `limit`.

    Raises OSError or ValueError.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
            raise ValueError(f"{path} is not a regular file of at most {limit} bytes")
        return os.read(fd, limit + 1) if status.st_size < 2**20 else _read_all(fd, limit)
    finally:
        os.close(fd)


def _read_all(fd: int, limit: int) -> bytes:
    pieces, total = [], 0
    while piece := os.read(fd, 2**20):
        pieces.append(piece)
        total += len(piece)
        if total > limit:
            raise ValueError(f"a file grew past {limit} bytes while it was read")
    return b"".join(pieces)


def remove_tree(path: str) -> None:
    """Remove a file or a whole folder, through descriptors, following no link.

    What is gone already is no error.
    """
    folder, name = os.path.split(path)
    try:
        parent = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        _remove_at(parent, name)
    finally:
        os.close(parent)


def _remove_at(parent: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in {errno.EISDIR, errno.EPERM}:
            raise
        _remove_folder_at(parent, name)


def _remove_folder_at(parent: int, name: str) -> None:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        fd = os.open(name, flags, dir_fd=parent)
    except FileNotFoundError:
        # another process, which frees the same, was quicker
        return
    try:
        if os.fstat(fd).st_ino == _SUBVOLUME and _destroyed(parent, name, fd):
            return
        with os.scandir(fd) as entries:
            listed = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for child, is_folder in listed:
            if is_folder:
                _remove_at(fd, child)
            else:
                with suppress(FileNotFoundError):
                    os.unlink(child, dir_fd=fd)
    finally:
        os.close(fd)
    with suppress(FileNotFoundError):
        os.rmdir(name, dir_fd=parent)


def _destroyed(parent: int, name: str, fd: int) -> bool:
    """Whether a folder was a subvolume, and is gone by one call."""
    from holdall.system.btrfs import destroy

    return destroy(parent, name, fd)


@contextmanager
def plain_errors(what: str) -> Iterator[None]:
    """Turn the operating system's refusals into sentences: `what` says what could not be done."""
    try:
        yield
    except OSError as error:
        raise in_words(error, what) from error


def in_words(error: OSError, what: str) -> HoldallError:
    """The named error for an operating system's refusal."""
    reason = f"{what}: {(error.strerror or str(error)).lower()}{_named(error)}"
    if error.errno in _NO_SPACE:
        return NoSpaceError(f"{reason}; free some space and try again.")
    if error.errno in _DENIED:
        return DeniedError(f"{reason}.")
    if error.errno == errno.ENOENT:
        return NotFoundError(f"{reason}.")
    return HoldallError(f"{reason}.")


def _named(error: OSError) -> str:
    """The file that was refused, in brackets; of a link the link, not where it was to lead."""
    name = error.filename2 if error.errno == errno.ENAMETOOLONG else None
    name = error.filename if name is None else name
    if name is None or isinstance(name, int):
        return ""
    text = os.fsdecode(name)
    return f" ({text})" if len(text) <= _LONG else f" ({text[:_LONG]}…)"


def each_child(
    path: str, keep: Callable[[str], bool] = lambda name: not name.startswith(".")
) -> list[str]:
    """The sorted names in a folder that `keep` accepts; none when there is no such folder."""
    try:
        return sorted(name for name in os.listdir(path) if keep(name))
    except (FileNotFoundError, NotADirectoryError):
        return []


def copy_file(source: str, target: str, *, durable: bool = False) -> None:
    """Copy a regular file to a new one, sharing its blocks where the file system can."""
    fd = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    try:
        out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            os.fchmod(out, 0o644)
            _copy(fd, out)
            if durable:
                os.fsync(out)
        finally:
            os.close(out)
    finally:
        os.close(fd)


def _copy(fd: int, out: int) -> None:
    try:
        while os.copy_file_range(fd, out, 2**30):
            pass
    except OSError as error:
        if error.errno not in {errno.EXDEV, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}:
            raise
        while os.sendfile(out, fd, None, 2**24):
            pass
