"""What a store must be before anything is written to it: folders that nobody else can change.

A folder made or swapped beforehand by another user could lead a writer, and most of all one that
removes, to somewhere else.
"""

import os
import stat

from holdall.errors import CorruptError, UntrustedError
from holdall.store.layout import Layout


def check_ours(layout: Layout) -> None:
    """Raise UntrustedError or CorruptError for a store that is not this user's (or root's) alone.

    The store's own folder may be reached through a link, those in it may not.
    """
    _check(layout.root, os.stat(layout.root))
    for path in (
        layout.staging,
        layout.partial,
        layout.trash,
        layout.journal,
        layout.deployments,
        layout.pool,
        layout.active,
        os.path.dirname(layout.keyring),
    ):
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            continue
        _check(path, status)


def check_folder(path: str) -> None:
    """The same for one folder, which must be there and no link."""
    _check(path, os.lstat(path))


def _check(path: str, status: os.stat_result) -> None:
    if not stat.S_ISDIR(status.st_mode):
        raise CorruptError(f"{path} should be a folder of the store; move what is there away.")
    if status.st_uid not in {0, os.geteuid()}:
        raise UntrustedError(f"{path} belongs to another user, who could change what is installed.")
    if status.st_mode & stat.S_IWOTH:
        raise UntrustedError(f"{path} may be written by everybody; take that away: `chmod o-w`.")
