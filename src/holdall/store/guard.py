"""What a store must be before anything is written to it: folders that nobody else can change.

A folder made or swapped beforehand by another user could lead a writer, and most of all one that
removes, to somewhere else.
"""

import os
import stat
from contextlib import suppress

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
        with suppress(FileNotFoundError):
            _check(path, os.lstat(path))
    _check_volume(layout.root)


def _check_volume(store: str) -> None:
    """The same for a btrfs in a file of the store, and the link that leads there."""
    with suppress(FileNotFoundError):
        _check(f"{store}/volume", os.lstat(f"{store}/volume"))
    file = f"{store}/volume.btrfs"
    with suppress(FileNotFoundError):
        status = os.lstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise CorruptError(f"{file} should be a file of the store; move what is there away.")
        _check_access(file, status)
    link = f"{store}/.volume"
    if os.path.lexists(link) and (not os.path.islink(link) or os.readlink(link) != "volume"):
        raise CorruptError(f"{link} should be a link to volume; remove it, and `holdall gc`.")


def is_roots(store: str, path: str) -> bool:
    """Whether a file of a store, and every folder from the store down to it, is root's alone.

    Nobody else can have written it, then, nor put it there. No link is followed below the store.
    """
    where, names = store, os.path.relpath(path, store).split("/")
    try:
        if not _is_roots(os.stat(where)):
            return False
        for name in names:
            where = f"{where}/{name}"
            if name == ".." or not _is_roots(os.lstat(where)):
                return False
    except OSError:
        return False
    return True


def _is_roots(status: os.stat_result) -> bool:
    others = stat.S_IWGRP | stat.S_IWOTH
    return status.st_uid == 0 and not status.st_mode & others and not stat.S_ISLNK(status.st_mode)


def check_folder(path: str) -> None:
    """The same for one folder, which must be there and no link."""
    _check(path, os.lstat(path))


def _check(path: str, status: os.stat_result) -> None:
    if not stat.S_ISDIR(status.st_mode):
        raise CorruptError(f"{path} should be a folder of the store; move what is there away.")
    _check_access(path, status)


def _check_access(path: str, status: os.stat_result) -> None:
    if status.st_uid not in {0, os.geteuid()}:
        raise UntrustedError(f"{path} belongs to another user, who could change what is installed.")
    if status.st_mode & stat.S_IWOTH:
        raise UntrustedError(f"{path} may be written by everybody; take that away: `chmod o-w`.")
    if status.st_mode & stat.S_IWGRP and not _is_private(status):
        raise UntrustedError(f"{path} may be written by a group; take that away: `chmod g-w`.")


def _is_private(status: os.stat_result) -> bool:
    """Whether a file's group is the one that its owner, not root, has for itself alone."""
    import grp
    import pwd

    if status.st_uid == 0:
        return False
    with suppress(KeyError):
        owner, group = pwd.getpwuid(status.st_uid), grp.getgrgid(status.st_gid)
        alone = owner.pw_gid == group.gr_gid and owner.pw_name == group.gr_name
        return alone and set(group.gr_mem) <= {owner.pw_name}
    return False
