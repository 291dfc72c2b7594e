"""Reading an installed version while others may put another one in its place, or take it away.

Readers hold no lock, and a version's folder is exchanged by one rename: what is read by its path
may be of two of them. So it is looked at again afterwards, and where it is another one, read anew.

On the start path of apps that have to be mounted: imports as little as can be.
"""

import os
from collections.abc import Callable
from typing import Final, TypeVar

from holdall.errors import BusyError, HoldallError, RemovedError
from holdall.store.catalog import Deployment

T = TypeVar("T")
TRIES: Final = 8


def steadily(
    deployment: Deployment, act: Callable[[], T], *, settled: Callable[[T], bool] = lambda _: False
) -> T:
    """What `act` returns, or raises, for a version that stayed the same meanwhile.

    A result that is `settled` holds whatever happened. Raises RemovedError when the version was
    removed, and BusyError when it is another one again and again.
    """
    for _ in range(TRIES):
        try:
            # open, its inode number is nobody else's
            held = os.open(deployment.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            break
        try:
            result = act()
            if settled(result) or _is_at(deployment.path, held):
                return result
        except (HoldallError, OSError):
            if _is_at(deployment.path, held):
                raise
        finally:
            os.close(held)
    else:
        raise BusyError(f"{deployment.ref} is being changed again and again; try again later.")
    raise RemovedError(f"{deployment.ref} was removed in this moment.")


def chosen_anew(act: Callable[[], T]) -> T:
    """What `act` returns, which chooses a version itself: again where that is removed meanwhile.

    Raises RemovedError when that happens again and again.
    """
    for _ in range(TRIES):
        try:
            return act()
        except RemovedError:
            continue
    return act()


def _is_at(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False
