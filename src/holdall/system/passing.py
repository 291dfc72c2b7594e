"""Mounts for one app whose user may make no namespace: seen by all at first, then by it alone.

``fusermount3``, which is setuid, mounts them at their own places. A sandbox begins with a copy of
what is mounted; when it has what it needs, they are taken away from where all can see them. So they
end with the app, as those in a namespace of its own do.
"""

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from typing import Final, NamedTuple

from holdall.errors import BusyError, NotFoundError, ProgramError, UnsupportedError
from holdall.system.lending import serve_for_user
from holdall.system.locks import hold_lease, open_lock, take_exclusive
from holdall.system.mount_table import mounts
from holdall.system.mounting import NAME, Answered, ServedImage
from holdall.system.process import find_program, leave_behind, run

_PATIENCE: Final = 30.0  # seconds for who else just starts the same
_PAUSE: Final = 2  # milliseconds


class Passing(NamedTuple):
    """What is to be mounted, in which deployment's folder `files`.

    `lock` is a file in there that is made and stays.
    """

    mount: ServedImage | Answered
    deployment: str
    lock: str

    @property
    def files(self) -> str:
        """Where."""
        return f"{self.deployment}/files"


def pass_on(wanted: Sequence[Passing]) -> None:
    """Mount all until the sandbox that this process is going to be has it, or this process ends.

    One who starts the same meanwhile waits. Raises UnsupportedError, ProgramError, BusyError, and
    NotFoundError for what was removed.
    """
    program = find_program("fusermount3", package="fuse3")
    name = f"{NAME}:{os.urandom(8).hex()}"
    places = {one.files for one in wanted}
    with ExitStack() as stack:
        # in one order: two who each had what the other needs would wait for ever
        locks = []
        for one in sorted(wanted, key=lambda one: one.deployment):
            locks.append(_lock(one))
            stack.callback(os.close, locks[-1])
        process = os.pidfd_open(os.getpid())
        stack.callback(os.close, process)
        watch = partial(_watch, process, os.getpid(), name, places, program)
        try:
            for one in wanted:
                _clear(one, program)
                _serve(one, name)
        except BaseException:
            _take_away(program, name)
            raise
        leave_behind(watch, keep=(process, *locks))


def _lock(one: Passing) -> int:
    try:
        fd = open_lock(f"{one.deployment}/{one.lock}")
    except FileNotFoundError as error:
        raise NotFoundError(f"{one.deployment} was removed in this moment.") from error
    except PermissionError as error:
        raise UnsupportedError(
            f"{one.deployment} is another user's, and fusermount3 mounts nothing in such a folder."
        ) from error
    if not take_exclusive(fd, wait=_PATIENCE):
        os.close(fd)
        raise BusyError(f"{one.deployment} is just being mounted by another process; try again.")
    return fd


def _clear(one: Passing, program: str) -> None:
    """Take away what one who was killed has left, asking nothing of it: its server may be gone."""
    files = os.path.realpath(one.deployment) + "/files"
    for left in {mounted.source for mounted in mounts() if mounted.point == files}:
        _take_away(program, left)


def _serve(one: Passing, name: str) -> None:
    try:
        keep = hold_lease(f"{one.deployment}/lease")
    except (FileNotFoundError, BlockingIOError) as error:
        raise NotFoundError(f"{one.deployment} was removed in this moment.") from error
    try:
        serve_for_user(one.mount, one.files, name, keep=keep)
    finally:
        os.close(keep)


def _watch(process: int, number: int, name: str, places: set[str], program: str) -> None:
    """Wait until a process that was started by another has all of it at other places."""
    import select

    poller = select.poll()
    poller.register(process, select.POLLIN)
    end = time.monotonic() + _PATIENCE
    while not _has_all(number, name, places):
        late = time.monotonic() > end
        if poller.poll(None if late else _PAUSE):
            break
    _take_away(program, name)


def _has_all(number: int, name: str, places: set[str]) -> bool:
    with suppress(OSError):
        with open(f"/proc/{number}/task/{number}/children", encoding="ascii") as file:
            children = [int(child) for child in file.read().split()]
        for child in children:
            with suppress(OSError):
                own = [one.point for one in mounts(child) if one.source == name]
                moved = [point for point in own if not point.endswith(tuple(places))]
                if len(moved) >= len(places):
                    return True
    return False


def _take_away(program: str, name: str) -> None:
    """Unmount all of a name, wherever it is by now; who has it elsewhere keeps it."""
    for one in mounts():
        if one.source == name:
            with suppress(ProgramError):
                run([program, "-u", "-z", "--", one.point])
