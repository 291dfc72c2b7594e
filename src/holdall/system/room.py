"""A process that holds a namespace with one mount in it, for another process to read there.

For whoever reads an installed version without becoming it. The reader's own mounts stay as they
are, and it may have any number of such rooms at once.
"""

import os
import signal
from contextlib import suppress

from holdall import errors
from holdall.errors import HoldallError
from holdall.system.mounting import Mount, enter

_READY = b"ready"


class Room:
    """One mount, to be read at `folder` until `close`; it ends with the process that made it."""

    def __init__(self, one: Mount, target: str) -> None:
        """Raises what `holdall.system.mounting.enter` raises."""
        # links in the path would lead back to what this process itself sees
        target = os.path.realpath(target)
        says, tells = os.pipe()
        waits, holds = os.pipe()
        self._child = os.fork()
        if self._child == 0:
            os.close(says)
            os.close(holds)
            _stay(one, target, tells, waits)
        os.close(tells)
        os.close(waits)
        self._door = holds
        self.folder = f"/proc/{self._child}/root{target}"
        try:
            _listen(says)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(says)

    def close(self) -> None:
        """End the process, and with it the mount; again is nothing."""
        if self._child:
            os.close(self._door)
            with suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGKILL)
            os.waitpid(self._child, 0)
            self._child = 0


def _stay(one: Mount, target: str, tells: int, waits: int) -> None:
    """In the child: make the mount, say so, and stay until the other end of a pipe is closed.

    That the end of the parent does, too; a signal at its end would come at that of a thread.
    """
    try:
        os.setsid()
        _let_go(but={tells, waits})
        try:
            enter([(one, target)])
        except HoldallError as error:
            os.write(tells, f"{type(error).__name__}\n{error}".encode(errors="replace")[:4000])
            return
        except OSError as error:
            os.write(tells, f"HoldallError\n{target} cannot be mounted: {error}.".encode())
            return
        os.write(tells, _READY)
        os.close(tells)
        os.read(waits, 1)
    finally:
        os._exit(0)


def _let_go(but: set[int]) -> None:
    """Close what else the parent had open, so that neither its locks nor its pipes live on here."""
    silence = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(silence, fd)
    for fd in {int(name) for name in os.listdir("/proc/self/fd")} - but - {0, 1, 2}:
        with suppress(OSError):
            os.close(fd)


def _listen(says: int) -> None:
    """Return when the child is ready; raises the error it names."""
    said = b"".join(iter(lambda: os.read(says, 4096), b""))
    if said == _READY:
        return
    name, _, message = said.decode(errors="replace").partition("\n")
    kind = getattr(errors, name, HoldallError)
    raise kind(message or "The process that was to make a mount ended before it had done so.")
