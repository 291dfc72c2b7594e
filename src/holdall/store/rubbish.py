"""Freeing what is no longer wanted.

That is removed deployments, once nothing runs from them, and what killed commands left.

On the path of ``remove``: imports as little as can be.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from holdall.store.layout import Layout
from holdall.system.files import each_child, remove_tree
from holdall.system.locks import await_lease_end, is_leased, is_shared, try_exclusive
from holdall.system.process import leave_behind


def waiting(layout: Layout) -> list[str]:
    """The removed deployments that still lie in the trash."""
    with suppress(FileNotFoundError):
        return [f"{layout.trash}/{name}" for name in sorted(os.listdir(layout.trash))]
    return []


def sweep(layout: Layout, *, patiently: bool = False) -> int:
    """Free what nothing runs from; returns how many removed deployments stay.

    Those are what still runs; and unless `patiently`, what another process is freeing.
    """
    in_use = is_shared if patiently else is_leased
    leased = freed = 0
    for path in waiting(layout):
        if in_use(f"{path}/lease"):
            leased += 1
        else:
            _free(path)
            freed += 1
    if freed:
        _sweep_pool(layout)
    return leased


def sweep_to_the_end(layout: Layout, then: Callable[[], None]) -> None:
    """Free everything in the trash, leaving a process behind for each version that still runs.

    For a process nobody waits for. What somebody waits for already is left to them. `then` is done
    after what could be freed at once, and after each version that ended later.
    """
    if sweep(layout):
        for path in waiting(layout):
            leave_behind(partial(_free_when_ended, layout, path, then))
    then()


def _free_when_ended(layout: Layout, path: str, then: Callable[[], None]) -> None:
    with suppress(FileNotFoundError):
        fd = os.open(f"{path}/lease", os.O_RDWR | os.O_CLOEXEC)
        try:
            # another kind of lock than the lease's: one process waits for each version
            if try_exclusive(fd):
                _free(path)
                _sweep_pool(layout)
                then()
        finally:
            os.close(fd)


def clear_staging(layout: Layout) -> None:
    """Remove what a killed writer was making; only for the holder of the lock.

    What has a lease may be a version that was just replaced and still runs: it goes to the trash.
    """
    left = each_child(layout.staging, lambda _name: True)
    for name in left:
        path = f"{layout.staging}/{name}"
        if os.path.lexists(f"{path}/lease"):
            os.makedirs(layout.trash, exist_ok=True)
            os.rename(path, f"{layout.trash}/{name}")
        else:
            remove_tree(path)
    if left:
        _sweep_pool(layout)


def clear_strays(layout: Layout) -> None:
    """Remove files killed writers had not finished, and empty folders; only for the lock's holder.

    Never looks into a deployment.
    """
    for folder in (layout.active, layout.deployments, f"{layout.root}/run"):
        _clear(folder, depth=3)
    _clear(f"{layout.root}/state", depth=4)
    for folder in (layout.journal, layout.root):
        _clear(folder, depth=0)


def _clear(folder: str, *, depth: int) -> None:
    for name in each_child(folder, lambda _name: True):
        path = f"{folder}/{name}"
        if name.startswith(".") and name.endswith(".tmp"):
            os.unlink(path)
        elif depth and os.path.isdir(path) and not os.path.islink(path):
            _clear(path, depth=depth - 1)
            with suppress(OSError):
                os.rmdir(path)


def _sweep_pool(layout: Layout) -> None:
    """Free what only the pool has any more."""
    if os.path.isdir(layout.pool):
        from holdall.store import pool

        pool.sweep(layout.root)


def _free(path: str) -> None:
    # the files first: while the lease file stands, a launch that came too late still finds it and
    # its lock fails
    try:
        fd = os.open(f"{path}/lease", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        remove_tree(path)
        return
    try:
        await_lease_end(fd)
        _free_files(path)
        remove_tree(path)
    finally:
        os.close(fd)


def _free_files(path: str) -> None:
    """Remove the files of a removed version, also where they lie in the store's volume."""
    files = f"{path}/files"
    if os.path.islink(files):
        # never where a link leads, whatever it says: one name in that one folder
        name = os.path.basename(os.readlink(files))
        if name not in {"", ".", ".."}:
            remove_tree(f"{os.path.dirname(os.path.dirname(path))}/volume/{name}")
    remove_tree(files)
