"""Programs that serve a file system over FUSE: started, awaited, and made to end in time.

A program for one's own namespace gets just the right it needs to mount there, so no program that
has more rights than its user is ever called; one that is to outlive this process mounts by
``fusermount3`` where its user is not root.
"""

import fcntl
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from holdall.errors import ProgramError
from holdall.system.descriptors import let_go
from holdall.system.fuse.channel import open_device
from holdall.system.kernel import die_with_parent
from holdall.system.mount_calls import detach, keep_mounting, no_new_privileges
from holdall.system.mount_table import TABLE, mount_at

PATIENCE = 30.0
"""Seconds a program has until it serves."""

_COMPLAINT = 4096  # bytes that are kept of what a program says


def serve_here(argv: Sequence[str], target: str) -> None:
    """Have a program serve at `target`, in this process's own namespace.

    It is killed when this process ends, whatever program that is by then, and only then: neither
    signals from a terminal nor a closed one reach it. Raises UnsupportedError and ProgramError.
    """
    os.close(open_device())
    above = os.getpid()

    def prepare() -> None:
        die_with_parent()
        if os.getppid() != above:
            os._exit(1)
        no_new_privileges()
        if os.geteuid() != 0:
            keep_mounting()

    _serve(argv, target, prepare)


def serve_on(argv: Sequence[str], target: str, keep: int) -> None:
    """Have a program serve at `target` until that is unmounted; it keeps the descriptor `keep`.

    Raises ProgramError.
    """

    def prepare() -> None:
        fcntl.fcntl(keep, fcntl.F_SETFD, 0)

    _serve(argv, target, prepare, keep=frozenset({keep}))


def _serve(
    argv: Sequence[str],
    target: str,
    prepare: Callable[[], None],
    *,
    keep: frozenset[int] = frozenset(),
) -> None:
    place = os.path.realpath(target)
    before = mount_at(place)
    complaint = _paper()
    # opened before the program is there, so that no change is missed
    table = os.open(TABLE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        child = os.fork()
        if child == 0:
            _become(argv, complaint, prepare, keep)
        try:
            ended = _await(child, table, lambda: mount_at(place) != before)
        except BaseException:
            _end(child)
            raise
        if ended:
            _end(child)
            if mount_at(place) != before:
                detach(place)
            said = _first_line(complaint) or ended
            raise ProgramError(f"{os.path.basename(argv[0])} does not show {argv[-2]}: {said}.")
    finally:
        os.close(complaint)
        os.close(table)


def _await(child: int, table: int, mounted: Callable[[], bool]) -> str:
    """Return "" when something is mounted, or why nothing is.

    Looks at the kernel's list only: a look at the mount itself would wait for the program, and
    nobody could interrupt that.
    """
    import select

    process = os.pidfd_open(child)
    try:
        poller = select.poll()
        poller.register(table, select.POLLPRI | select.POLLERR)
        poller.register(process, select.POLLIN)
        end = time.monotonic() + PATIENCE
        while True:
            ready = {fd for fd, _ in poller.poll(max(0.0, end - time.monotonic()) * 1000)}
            if process in ready:
                return "it ended and said nothing"
            if mounted():
                return ""
            if not ready:
                return f"not within {PATIENCE:g} seconds"
    finally:
        os.close(process)


def _end(child: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def _become(
    argv: Sequence[str], complaint: int, prepare: Callable[[], None], keep: frozenset[int]
) -> None:
    """In the child: become the program, which has nothing else of this process open, or end."""
    try:
        os.setsid()
        prepare()
        let_go(but={complaint, *keep})
        os.dup2(complaint, 2)
        os.chdir("/")
        environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8"}
        os.execve(argv[0], list(argv), environment)  # noqa: S606 - as meant
    except OSError as error:
        os.write(complaint, (error.strerror or str(error)).encode())
    finally:
        os._exit(127)


def _paper() -> int:
    """A file in memory to complain into: it is never in the way, and does not grow."""
    fd = os.memfd_create("complaint", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, _COMPLAINT)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return fd


def _first_line(complaint: int) -> str:
    said = os.pread(complaint, _COMPLAINT, 0).rstrip(b"\0").decode(errors="replace")
    lines = [line.strip() for line in said.splitlines()]
    return next((line.rstrip(".") for line in lines if line), "")
