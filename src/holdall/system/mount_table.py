"""What is mounted, as the kernel lists it for this process (/proc/self/mountinfo)."""

import os
import re
from typing import NamedTuple

TABLE = "/proc/self/mountinfo"
_ESCAPE = re.compile(r"\\([0-7]{3})")


class Mounted(NamedTuple):
    """One mount: where, what kind of file system, from what; `options` are the file system's."""

    number: int
    point: str
    kind: str
    source: str
    options: tuple[str, ...]


def mounts() -> list[Mounted]:
    """Every mount this process sees, in the order they were made in at each place."""
    with open(TABLE, encoding="utf-8", errors="surrogateescape") as file:
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


def await_unmount(mount: Mounted) -> None:
    """Return when a mount is no longer there; takes no time of the processor until then."""
    import select

    fd = os.open(TABLE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        changes = select.poll()
        changes.register(fd, select.POLLPRI | select.POLLERR)
        while any((one.number, one.point) == (mount.number, mount.point) for one in mounts()):
            changes.poll()
    finally:
        os.close(fd)


def _parsed(line: str) -> Mounted:
    """A line: number, parent, device, root, point, options, …, "-", kind, source, options."""
    first, _, last = line.rstrip("\n").partition(" - ")
    number, _parent, _device, _root, point, *_ = first.split(" ")
    kind, source, options = last.split(" ")
    return Mounted(int(number), _plain(point), kind, _plain(source), tuple(options.split(",")))


def _plain(text: str) -> str:
    """Spaces and their like are written as a backslash and three octal digits."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)), text)
