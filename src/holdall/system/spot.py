"""A folder that somebody names, held by descriptors: what is done to it is done to that one.

Between a check and an act, whoever owns a folder above may put another one, or a link, in its
place; and one with more rights, who goes by the path, would act on that.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from holdall.errors import UntrustedError

_LINKS = 40  # as many as the kernel follows
_NO_LINK = {errno.EINVAL, errno.ENOENT}
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Spot(NamedTuple):
    """A name in a folder that is open as `above`; whatever has that name, or nothing."""

    above: int
    name: str

    @property
    def path(self) -> str:
        """Where it is by now."""
        above = os.readlink(f"/proc/self/fd/{self.above}")
        return above if self.name == "." else f"{above.rstrip('/')}/{self.name}"

    @property
    def handle(self) -> str:
        """A path for system calls, in which no folder above can be swapped."""
        return f"/proc/self/fd/{self.above}/{self.name}"

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link. A program that serves what is mounted is not asked."""
        try:
            os.readlink(self.name, dir_fd=self.above)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            return False
        return True

    def open(self) -> int:
        """Open the folder, or what is mounted on it, by O_PATH; raises OSError for anything else.

        A program that serves what is mounted is not asked.
        """
        return os.open(self.name, _FOLDER, dir_fd=self.above)


@contextmanager
def at_spot(path: str) -> Iterator[Spot]:
    """The spot that a path names. Of it only the folders above must be there.

    Links above are followed where they are root's or the caller's, as anybody else's may lead
    anywhere by the time they are followed: then UntrustedError is raised. Raises OSError.
    """
    above, name = os.path.split(os.path.abspath(path))
    fd = _walk(above)
    try:
        yield Spot(fd, name or ".")
    finally:
        os.close(fd)


def mount_number(fd: int) -> int:
    """The number of the mount that a descriptor lies on, as the kernel's list of mounts has it."""
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("mnt_id:"))


def lies_in(fd: int, folder: str) -> bool:
    """Whether a folder, given by a descriptor, is another one or lies in it."""
    top = os.stat(folder)
    at = os.dup(fd)
    try:
        while True:
            here = os.fstat(at)
            if os.path.samestat(here, top):
                return True
            over = os.open("..", _FOLDER, dir_fd=at)
            os.close(at)
            at = over
            if os.path.samestat(os.fstat(at), here):
                return False
    finally:
        os.close(at)


def _walk(path: str) -> int:
    """Open a folder by its absolute path, step by step."""
    steps, links = _steps(path), 0
    at = os.open("/", _FOLDER)
    try:
        while steps:
            fd = _step(at, steps.pop())
            if stat.S_ISLNK(os.fstat(fd).st_mode):
                links += 1
                target = _read_link(fd, links, path)
                steps += _steps(target)
                if not target.startswith("/"):
                    continue
                fd = os.open("/", _FOLDER)
            os.close(at)
            at = fd
    except BaseException:
        os.close(at)
        raise
    return at


def _step(at: int, name: str) -> int:
    try:
        return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    except OSError as error:
        # without the name, which is a part of one only
        raise OSError(error.errno, error.strerror) from error


def _read_link(fd: int, number: int, path: str) -> str:
    """What a link says, which is closed then."""
    try:
        if number > _LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        if os.fstat(fd).st_uid not in {0, os.geteuid()}:
            raise UntrustedError(
                f"{path} leads over a link of another user, who may change it; name the folder"
                " without it."
            )
        return os.readlink("", dir_fd=fd)
    finally:
        os.close(fd)


def _steps(path: str) -> list[str]:
    """The names in a path, the last one first."""
    return [step for step in reversed(path.split("/")) if step not in {"", "."}]
