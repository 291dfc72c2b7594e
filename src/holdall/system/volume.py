"""A btrfs in a file of the store, for root: made, mounted, grown and shrunk.

The file's blocks are allocated, not sparse: a disk that fills up later must not make writes inside
fail, since the kernel would make all of it read-only. It is mounted once, by one loop device.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from holdall.errors import BusyError, CorruptError, NoSpaceError, NotFoundError, ProgramError
from holdall.system.locks import open_lock, take_exclusive
from holdall.system.process import find_program, run

_OPTIONS = "noatime,nodev,nosuid,nodiscard"
_FIRST = 96 * 2**20
_LEAST = 256 * 2**20  # the kernel resizes none to less
_SLACK = 64 * 2**20
_MARGIN = 192 * 2**20
_STEP = 16 * 2**20
_PATIENCE = 600.0
_BALANCED = 80  # per cent of use up to which parts are packed together before shrinking
_MAGIC, _MAGIC_AT = b"_BHRfS_M", 2**16 + 64  # in the first superblock
_PACKAGE = "btrfs-progs"
_MINIMUM = (5, 4)


class _Usage(NamedTuple):
    """How a mounted volume's bytes are used; `given` is what is set aside for files and names."""

    total: int
    unallocated: int
    given: int
    used: int

    def short_of(self, need: int) -> int:
        """By how much it is too small for so many bytes more."""
        room = self.given - self.used + self.unallocated
        return max(0, need + self.total // 8 + _SLACK - room)

    @property
    def enough(self) -> int:
        """The size that would do for what is in it."""
        return max(_LEAST, _rounded(self.used + self.used // 8 + _MARGIN))

    @property
    def tight(self) -> int:
        """The least size that leaves what is set aside as it is, with room to move it.

        With less the kernel runs out of space half-way, and makes all read-only.
        """
        return _rounded(self.total - self.unallocated + _MARGIN)


class Volume(NamedTuple):
    """The volume of the store at `store`; it need not be there."""

    store: str
    lock: int = -1

    @property
    def file(self) -> str:
        """Its file."""
        return f"{self.store}/volume.btrfs"

    @property
    def point(self) -> str:
        """Where it is mounted."""
        return f"{self.store}/volume"

    @property
    def is_ready(self) -> bool:
        """Whether it is mounted."""
        return os.path.ismount(self.point)

    def ready(self) -> None:
        """Have it mounted, to be written to; raises NotFoundError for none, and ProgramError."""
        with self._alone() as volume:
            volume.mount()

    def make_room(self, need: int) -> None:
        """Make, mount and grow it, so that so many bytes more fit; raises NoSpaceError.

        Whatever it raises, what is in the volume is as it was.
        """
        with self._alone() as volume:
            if not os.path.exists(self.file):
                volume.create(_rounded(need + need // 4 + _FIRST))
            volume.mount()
            usage = volume.usage()
            if short := usage.short_of(need):
                volume.grow(max(_LEAST, _rounded(usage.total + short)))

    def shrink(self) -> int:
        """Give back what nothing uses; returns the bytes that the file became smaller by."""
        with self._alone() as volume:
            volume.mount()
            # deleted subvolumes are freed when that is begun, awaited, and written down
            for kind in ("filesystem", "subvolume", "filesystem"):
                volume.btrfs(kind, "sync", self.point)
            before = volume.usage()
            if before.total - before.enough < _SLACK:
                return 0
            if before.given - before.used > _SLACK:
                limits = (f"-dusage={_BALANCED}", f"-musage={_BALANCED}")
                volume.btrfs("balance", "start", *limits, self.point)
            size = max(before.enough, volume.usage().tight)
            if before.total - size < _SLACK:
                return 0
            volume.btrfs("filesystem", "resize", str(size), self.point)
            os.truncate(self.file, size)
            volume.tell_size()
            return before.total - size

    def delete(self) -> int:
        """Unmount it and delete its file; returns the bytes freed, none where it is in use."""
        with self._alone() as volume:
            freed = os.stat(self.file).st_size
            if self.is_ready:
                try:
                    volume.run([find_program("umount", package="mount"), self.point])
                except ProgramError:
                    return 0
            os.unlink(self.file)
            os.rmdir(self.point)
            return freed

    @contextmanager
    def _alone(self) -> Iterator["_Held"]:
        """Keep other processes from the volume: mounted twice at once, it would be by two loops."""
        # not the store's folder, which everybody may read, and so lock
        fd = open_lock(f"{self.store}/volume.lock")
        try:
            if not take_exclusive(fd, wait=_PATIENCE):
                raise BusyError(f"Another process is changing {self.file}; try again.")
            yield _Held(self.store, fd)
        finally:
            os.close(fd)


class _Held(Volume):
    """One that nobody else changes, as this process has the `lock`.

    Programs that it runs have that, too. They go on when this process is killed, and whoever comes
    next waits for them to end.
    """

    __slots__ = ()

    def run(self, argv: list[str]) -> bytes:
        """Run a program that has the lock."""
        return run(argv, pass_fds=(self.lock,))

    def create(self, size: int) -> None:
        beside = f"{self.store}/.volume.tmp"
        with suppress(FileNotFoundError):
            os.unlink(beside)
        try:
            fd = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                self.allocate(fd, 0, size)
            finally:
                os.close(fd)
            # mixed: with space set aside for each, contents would starve names where the size is
            # kept tight. -K: keeps what was allocated
            mkfs = find_program("mkfs.btrfs", package=_PACKAGE)
            self.run([mkfs, "-q", "-K", "--mixed", "-d", "single", "-m", "single", beside])
            os.rename(beside, self.file)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(beside)
            raise

    def mount(self) -> None:
        if self.is_ready:
            if not os.statvfs(self.point).f_flag & os.ST_RDONLY:
                return
            # so the kernel leaves it after a failure; what is on the disk is whole
            self.run([find_program("umount", package="mount"), self.point])
        if not os.path.exists(self.file):
            raise NotFoundError(
                f"{self.file} is missing, and with it all that was installed there."
            )
        self.check()
        os.makedirs(self.point, exist_ok=True)
        device = self.device()
        options = _OPTIONS if device else f"loop,{_OPTIONS}"
        mount = find_program("mount", package="mount")
        try:
            self.run([mount, "-t", "btrfs", "-o", options, device or self.file, self.point])
        except ProgramError as error:
            if "superblock" in "\n".join(error.__notes__):
                raise self.spoiled() from error
            raise
        self.catch_up()

    def check(self) -> None:
        """Raise CorruptError for a file that is not even the beginning of a btrfs."""
        fd = os.open(self.file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if os.pread(fd, len(_MAGIC), _MAGIC_AT) != _MAGIC:
                raise self.spoiled()
        finally:
            os.close(fd)

    def spoiled(self) -> CorruptError:
        return CorruptError(
            f"{self.file} is damaged and cannot be mounted as btrfs; put a copy of it back, or move"
            " it away and `holdall repair` from a bundle each app that was installed in it."
        )

    def catch_up(self) -> None:
        """Use all of the file, which is larger where growing or shrinking was interrupted."""
        if os.stat(self.file).st_size > max(self.usage().total, _LEAST - 1):
            self.tell_size()
            self.btrfs("filesystem", "resize", "max", self.point)

    def grow(self, size: int) -> None:
        before = os.stat(self.file).st_size
        fd = os.open(self.file, os.O_RDWR | os.O_CLOEXEC)
        try:
            self.allocate(fd, before, size)
        finally:
            os.close(fd)
        self.tell_size()
        self.btrfs("filesystem", "resize", "max", self.point)

    def allocate(self, fd: int, before: int, size: int) -> None:
        host = os.fstatvfs(fd)
        wanted = size - before
        try:
            if host.f_bavail * host.f_frsize < wanted:
                raise NoSpaceError(
                    f"{self.file} needs {wanted // 2**20} MiB more, and the disk does not have"
                    " them; free some space and try again."
                )
            os.posix_fallocate(fd, before, wanted)
        except OSError:
            os.ftruncate(fd, before)
            raise

    def device(self) -> str:
        """The loop device of the file, or ""."""
        losetup = find_program("losetup", package="mount")
        found = self.run([losetup, "--noheadings", "--output", "NAME", "--associated", self.file])
        return found.decode().strip().partition("\n")[0].strip()

    def tell_size(self) -> None:
        """Have the loop device know the file's size."""
        if device := self.device():
            self.run([find_program("losetup", package="mount"), "--set-capacity", device])

    def usage(self) -> _Usage:
        text = self.btrfs("filesystem", "usage", "--raw", self.point).decode(errors="replace")
        return _parsed(text)

    def btrfs(self, *argv: str) -> bytes:
        return self.run([find_program("btrfs", package=_PACKAGE, minimum=_MINIMUM), *argv])


def _parsed(text: str) -> _Usage:
    """Read what ``btrfs filesystem usage --raw`` prints."""

    def figure(pattern: str) -> int:
        return sum(int(number) for number in re.findall(pattern, text, re.MULTILINE))

    return _Usage(
        total=figure(r"Device size:\s+(\d+)"),
        unallocated=figure(r"Device unallocated:\s+(\d+)"),
        given=figure(r"^Data\S*: Size:(\d+)"),
        used=figure(r"^Data\S*: Size:\d+, Used:(\d+)"),
    )


def _rounded(size: int) -> int:
    return -(-size // _STEP) * _STEP
