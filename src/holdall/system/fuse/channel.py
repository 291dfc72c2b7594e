"""The way to the kernel: /dev/fuse, mounted without any program, read and answered.

A mount made in a namespace of one's own is gone with that, and with it the connection: then the
kernel says so to who answers.
"""

import errno
import os
import select
from collections.abc import Iterator
from time import monotonic as clock
from typing import TYPE_CHECKING, Final, Protocol

from holdall.errors import UnsupportedError
from holdall.system.fuse.wire import REQUEST_SIZE
from holdall.system.kernel import return_memory
from holdall.system.mount_calls import Configuration

if TYPE_CHECKING:
    from holdall.system.fuse.answers import Answers

DEVICE: Final = "/dev/fuse"
_KIND: Final = "holdall"
_LINGER: Final = 0.00005  # seconds to look out for a request; as long as waking up takes
_LUCK: Final = 16  # requests that came soon, at most, to make up for twice as many that did not
_PAUSE: Final = 64  # requests that are not looked out for, where most do not come soon
_QUIET: Final = 10_000  # milliseconds without a request, and memory is given back
_ENDED: Final = errno.ENODEV
# the request was given up, its sender was interrupted, or the kernel is just ending the connection
_PASSING: Final = {errno.ENOENT, errno.EINTR, errno.EAGAIN}


def open_device() -> int:
    """A descriptor for one mount, in the user namespace it is to be made in.

    Raises UnsupportedError.
    """
    try:
        return os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise UnsupportedError(
            f"{DEVICE} may not be opened ({(error.strerror or '').lower()}), so no image can be "
            "shown to one app: have it readable and writable for all, as systems commonly do, or "
            "use the form tree."
        ) from error


def detached(device: int, name: str, *, everybody: bool) -> int:
    """The descriptor of a read-only mount, attached to nothing, that is answered for at a device's.

    The kernel checks modes. Without `everybody` only this user sees anything. Raises OSError.
    """
    with Configuration("fuse") as configuration:
        configuration.set("source", name)
        configuration.set("subtype", _KIND)
        configuration.set("fd", str(device))
        configuration.set("rootmode", "40755")
        configuration.set("user_id", str(os.geteuid()))
        configuration.set("group_id", str(os.getegid()))
        configuration.flag("default_permissions")
        if everybody:
            configuration.flag("allow_other")
        return configuration.make()


class Stock(Protocol):
    """What is kept in memory to answer with."""

    @property
    def busy(self) -> bool:
        """Whether something is made ready just now."""
        ...

    def rest(self) -> None:
        """Keep nothing; it is had again when it is asked for."""
        ...


def converse(device: int, answers: "Answers", stock: Stock) -> None:
    """Answer until it is unmounted, on a device that does not block; raises OSError."""
    write, answer = os.writev, answers.answer
    for data in _requests(device, stock):
        if reply := answer(data):
            try:
                write(device, reply)
            except OSError as error:
                if error.errno not in _PASSING:
                    raise


def _requests(device: int, stock: Stock) -> Iterator[bytes]:
    """The requests until it is unmounted.

    Whoever reads mostly asks again at once, and to wake a processor that sleeps takes longer than
    most answers do. So the next request is looked out for a moment, unless something is being made
    ready meanwhile: then the interpreter is left to that. And where that is mostly in vain, as when
    other processes want all processors, it is not done for a while.
    """
    read, until, luck = os.read, 0.0, _LUCK
    waiting = select.poll()
    waiting.register(device, select.POLLIN)
    while True:
        try:
            data = read(device, REQUEST_SIZE)
        except BlockingIOError:
            if clock() < until and not stock.busy:
                os.sched_yield()
                continue
            if until:
                luck, until = luck - 2 if luck > 1 else -_PAUSE, 0.0
            if not waiting.poll(_QUIET):
                stock.rest()
                return_memory()
                waiting.poll()
        except OSError as error:
            if error.errno == _ENDED:
                return
            if error.errno not in _PASSING:
                raise
        else:
            luck = min(luck + 1, _LUCK)
            yield data
            until = clock() + _LINGER if luck >= 0 else 0.0
