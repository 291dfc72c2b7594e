"""What is mounted, as the kernel lists it for this process (/proc/self/mountinfo)."""

import os
import re
from contextlib import suppress
from typing import NamedTuple

from holdall.system.kernel import name_process

TABLE = "/proc/self/mountinfo"
_WAITING = b"holdall-waits"
_ESCAPE = re.compile(r"\\([0-7]{3})")


class Mounted(NamedTuple):
    """One mount: where, what kind of file system, from what; `options` are the file system's.

    `root` is the folder within the file system that is seen there, "/" for all of it.
    """

    number: int
    point: str
    kind: str
    source: str
    options: tuple[str, ...]
    root: str = "/"


def mounts(process: int | None = None) -> list[Mounted]:
    """Every mount this process or another sees, in the order they were made in at each place."""
    table = TABLE if process is None else f"/proc/{process}/mountinfo"
    with open(table, encoding="utf-8", errors="surrogateescape") as file:
        return [_parsed(line) for line in file]


def mount_at(path: str) -> Mounted | None:
    """The topmost mount whose root is at `path`, an absolute path without links."""
    return next((one for one in reversed(mounts()) if one.point == path), None)


def mount_over(path: str) -> Mounted | None:
    """The mount that `path` lies on."""
    path = os.path.realpath(path)
    best = None
    for one in mounts():
        inside = path == one.point or path.startswith(f"{one.point.rstrip('/')}/")
        if inside and (best is None or len(one.point) >= len(best.point)):
            best = one
    return best


def mount_numbered(number: int) -> Mounted | None:
    """The mount of that number."""
    return next((one for one in mounts() if one.number == number), None)


def await_unmount(mount: Mounted) -> None:
    """Return when a mount is no longer there, or nobody is who sees it.

    Takes no time of the processor until then. Those who wait like this do not count: they would
    keep a namespace alive that everybody else has left. For a process of its own.
    """
    import select

    name_process(_WAITING)
    table = os.open(TABLE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while (other := _companion()) is not None:
            try:
                changes = select.poll()
                changes.register(table, select.POLLPRI | select.POLLERR)
                changes.register(other, select.POLLIN)
                while _same(mount_numbered(mount.number), mount):
                    if any(fd == other for fd, _ in changes.poll()):
                        break
                else:
                    return
            finally:
                os.close(other)
    finally:
        os.close(table)


def _same(one: Mounted | None, other: Mounted) -> bool:
    """Whether they are one mount: numbers are given anew, and a place may be renamed."""
    return one is not None and (one.kind, one.source) == (other.kind, other.source)


def _companion() -> int | None:
    """A pidfd of some other process in this mount namespace that does not just wait; if any."""
    here = os.readlink("/proc/self/ns/mnt")
    for number in sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()):
        with suppress(OSError):
            if number == os.getpid() or os.readlink(f"/proc/{number}/ns/mnt") != here:
                continue
            fd = os.pidfd_open(number)
            with open(f"/proc/{number}/comm", "rb") as file:
                if file.read().rstrip(b"\n") != _WAITING:
                    return fd
            os.close(fd)
    return None


def _parsed(line: str) -> Mounted:
    """A line: number, parent, device, root, point, options, …, "-", kind, source, options."""
    first, _, last = line.rstrip("\n").partition(" - ")
    number, _parent, _device, root, point, *_ = first.split(" ")
    kind, source, options = last.split(" ")
    return Mounted(
        int(number), _plain(point), kind, _plain(source), tuple(options.split(",")), _plain(root)
    )


def _plain(text: str) -> str:
    """Spaces and their like are written as a backslash and three octal digits."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)), text)
