"""Processes of our own that answer for a mount: started beside an app, and ended with its last one.

Such a process has little open but the file it shows and /dev/fuse, no rights, and a filter that
lets it neither open nor connect nor start anything. It is in no namespace that its own mount is in,
so the mount ends when nobody is left who sees it, and the kernel tells the process so.
"""

import errno
import fcntl
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from holdall.errors import UnsupportedError
from holdall.system.descriptors import let_go
from holdall.system.files import in_words
from holdall.system.fuse.answers import Answers, Attribute, FileSystem
from holdall.system.fuse.channel import DEVICE, Stock, converse, detached, open_device
from holdall.system.kernel import keep_memory
from holdall.system.mount_calls import give_up_capabilities, hold_to, new_namespaces, receive_only
from holdall.system.seccomp import reading_only

Complain = Callable[[str], None]


class Served(NamedTuple):
    """What is answered with, and what is to be done at the end."""

    files: FileSystem
    stock: Stock
    finish: Callable[[], None]
    attribute: Attribute | None = None


Serve = Callable[[int, Complain], Served]
"""Makes a file system of a descriptor of the file.

Gets what takes a line of complaint. What it needs to have open, it opens.
"""

_HOST = "0 0 4294967295"  # the user mapping of what is in no user namespace of its own
_COMPLAINTS = 100
_PATIENCE = 5.0  # seconds for writing the last of them
_SWITCH = 0.0005  # seconds a thread that computes may keep others from answering


@contextmanager
def answered(
    file: str, serve: Serve, name: str, *, keep: int | None = None, held: int | None = None
) -> Iterator[int]:
    """The descriptor of a mount that shows a file, to be attached to a folder.

    The file is the one that `held` is a descriptor of, where one is given. It is answered for until
    nobody sees it any more, by a process that holds the descriptor `keep`, and with that outlives
    this one's caller. For a process of one thread. Raises UnsupportedError and OSError.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(file, flags) if held is None else os.dup(held)
    try:
        device = open_device()
        try:
            mounted = _mounted(device, name, file)
            try:
                _fork(serve, fd, device, apart=True, keep=keep)
            except BaseException:
                os.close(mounted)
                raise
        finally:
            # whoever asks anything of the mount would wait for ever if the other process ended
            os.close(device)
    finally:
        os.close(fd)
    try:
        yield mounted
    finally:
        os.close(mounted)


def answer_through(file: str, serve: Serve, device: int, keep: int) -> None:
    """The same for what another program has mounted; closes `device`."""
    try:
        fd = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _fork(serve, fd, device, apart=False, keep=keep)
        finally:
            os.close(fd)
    finally:
        os.close(device)


def _mounted(device: int, name: str, file: str) -> int:
    try:
        return detached(device, name, everybody=_sees_everybody())
    except OSError as error:
        raise _explained(error, file) from error


def _explained(error: OSError, file: str) -> Exception:
    if error.errno in {errno.EPERM, errno.EACCES, errno.ENODEV}:
        return UnsupportedError(
            f"The kernel lets this user mount nothing from {DEVICE} "
            f"({(error.strerror or '').lower()}): use the form tree."
        )
    return in_words(error, f"{file} cannot be mounted")


def _sees_everybody() -> bool:
    """Whether all users may see what this process mounts: it is root's, and in no container.

    Of a mount in a user namespace those outside of it see nothing otherwise, its owner not either.
    """
    if os.geteuid() != 0:
        return False
    with open("/proc/self/uid_map", encoding="ascii") as mapping:
        return " ".join(mapping.read().split()) == _HOST


def _fork(serve: Serve, fd: int, device: int, *, apart: bool, keep: int | None) -> None:
    """Start answering; returns when the process is in no namespace that this one attaches to."""
    waits, tells = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            if keep is not None and os.fork():
                os._exit(0)
            if apart:
                new_namespaces(user=False)
                receive_only()
            os.write(tells, b".")
            _answer(serve, fd, device, keep)
        finally:
            os._exit(1)
    os.close(tells)
    if keep is not None:
        os.waitpid(child, 0)
    said = os.read(waits, 1)
    os.close(waits)
    if not said:
        raise UnsupportedError(
            "The process that was to show files ended before it did; use the form tree."
        )


def _answer(serve: Serve, fd: int, device: int, keep: int | None) -> None:
    """In the child: answer to the end."""
    gc.freeze()
    gc.disable()
    keep_memory()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    # whoever was started without standard streams has these in their places
    fd, device, *leases = (
        fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 3) for one in (fd, device, keep) if one is not None
    )
    let_go({fd, device, *leases, *(() if leases else (2,))})
    os.chdir("/")
    complain = Complaints()
    try:
        # before there is a thread more: each has its own rights
        give_up_capabilities()
        complain.begin()
        files, stock, finish, attribute = serve(fd, complain)
        os.set_blocking(device, False)
        hold_to(reading_only(os.uname().machine))
    except Exception as error:  # noqa: BLE001 - a process of its own: nobody else will tell
        complain(f"what was mounted cannot be shown: {error}")
        complain.finish()
        os._exit(1)
    sys.setswitchinterval(_SWITCH)
    converse(device, Answers(files, attribute), stock)
    with suppress(OSError):
        finish()
    complain.finish()
    os._exit(0)


class Complaints:
    """Takes lines for the system's journal, and for where the app complains.

    Each once, and no more than some: an app may try again for ever. They are written by a thread of
    their own, as whoever is to read them may not just now, and files are to be read meanwhile.
    """

    def __init__(self) -> None:
        import queue
        import syslog
        import time

        time.tzset()  # reads a file, which cannot be opened later
        syslog.openlog("holdall", syslog.LOG_NDELAY | syslog.LOG_PID)
        self._said: set[str] = set()
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, daemon=True)

    def begin(self) -> None:
        """Start the thread."""
        self._writer.start()

    def __call__(self, line: str) -> None:
        """Take a line."""
        # names may be anything, and must not look like lines of their own
        line = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in line)
        if line in self._said or len(self._said) > _COMPLAINTS:
            return
        self._said.add(line)
        if len(self._said) > _COMPLAINTS:
            line = "More cannot be read; nothing else of it is said."
        self._lines.put(line)

    def finish(self) -> None:
        """Wait until all is written, for a moment."""
        self._lines.put(None)
        if self._writer.is_alive():
            self._writer.join(_PATIENCE)

    def _write(self) -> None:
        import syslog

        while (line := self._lines.get()) is not None:
            syslog.syslog(syslog.LOG_ERR, line)
            with suppress(OSError):
                os.write(2, f"holdall: {line}\n".encode())
