"""A process that holds a namespace with one mount in it, for another process to read there.

For whoever reads an installed version without becoming it. The reader's own mounts stay as they
are, and it may have any number of such rooms at once.
"""

import os
import signal
from collections.abc import Callable
from contextlib import suppress

from holdall import errors
from holdall.errors import HoldallError
from holdall.system.descriptors import let_go
from holdall.system.mounting import Mount, enter

_READY = b"ready\n"


class Aside:
    """A child that does something and stays until `close`; it ends with the process that made it.

    `said` is what the task returned.
    """

    def __init__(self, task: Callable[[], str], target: str, *, keep: frozenset[int]) -> None:
        """Raises what the task does: an error of holdall's, or an OSError for `target` in words.

        Of what is open here it keeps the descriptors `keep`.
        """
        says, tells = os.pipe()
        waits, holds = os.pipe()
        self.number = os.fork()
        if self.number == 0:
            _stay(task, target, tells, waits, keep)
        os.close(tells)
        os.close(waits)
        self._door = holds
        try:
            self.said = _listen(says)
        except BaseException:
            self.close()
            raise
        finally:
            os.close(says)

    def close(self) -> None:
        """End the process; again is nothing."""
        if self.number:
            os.close(self._door)
            with suppress(ProcessLookupError):
                os.kill(self.number, signal.SIGKILL)
            os.waitpid(self.number, 0)
            self.number = 0


class Room:
    """One mount, to be read at `folder` until `close`; it ends with the process that made it."""

    def __init__(self, one: Mount, target: str) -> None:
        """Raises what `holdall.system.mounting.enter` raises."""
        # links in the path would lead back to what this process itself sees
        target = os.path.realpath(target)

        def furnish() -> str:
            enter([(one, target)])
            return ""

        self._aside = Aside(furnish, target, keep=frozenset())
        self.folder = f"/proc/{self._aside.number}/root{target}"

    def close(self) -> None:
        """End the process, and with it the mount; again is nothing."""
        self._aside.close()


def _stay(
    task: Callable[[], str], target: str, tells: int, waits: int, keep: frozenset[int]
) -> None:
    """In the child: do the task, say so, and stay until the other end of a pipe is closed.

    That the end of the parent does, too; a signal at its end would come at that of a thread.
    """
    try:
        os.setsid()
        let_go(but={tells, waits, *keep})
        try:
            said = task()
        except HoldallError as error:
            os.write(tells, f"{type(error).__name__}\n{error}".encode(errors="replace")[:4000])
            return
        except OSError as error:
            os.write(tells, f"HoldallError\n{target} cannot be mounted: {error}.".encode())
            return
        os.write(tells, _READY + said.encode())
        os.close(tells)
        os.read(waits, 1)
    finally:
        os._exit(0)


def _listen(says: int) -> str:
    """Return what the child says when it is ready; raises the error it names."""
    said = b"".join(iter(lambda: os.read(says, 4096), b""))
    if said.startswith(_READY):
        return said.removeprefix(_READY).decode()
    name, _, message = said.decode(errors="replace").partition("\n")
    kind = getattr(errors, name, HoldallError)
    raise kind(message or "The process that was to make a mount ended before it had done so.")
