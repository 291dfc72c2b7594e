"""Mounts that are made apart and then attached to a folder of the host's, by its descriptor.

They stay until they are unmounted. The programs that serve images go by paths, which others may
change meanwhile: so they mount in a namespace of their own, and what is there is attached here. As
they stay in theirs, they keep no namespace alive but that, and end when nobody has the mount.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from holdall.system.answering import answer_through
from holdall.system.files import in_words
from holdall.system.fuse.fusermount import mounted_by_fusermount
from holdall.system.mount_calls import clone, detach, new_namespaces, receive_only
from holdall.system.mounting import (
    Answered,
    Bound,
    Composed,
    KernelImage,
    ServedImage,
    answered_mount,
    kernel_mount,
    serving,
)
from holdall.system.room import Aside
from holdall.system.serving import serve_on

_PRIVATE = "/proc/driver"
"""Where a program mounts in its own namespace: a folder every kernel has, and nobody changes."""

Lent = KernelImage | ServedImage | Composed | Bound | Answered


@contextmanager
def lent(one: Lent, folder: int, name: str, *, keep: int) -> Iterator[int]:
    """The descriptor of a mount that everybody may read, to be attached to `folder`. For root.

    A program that serves it holds the descriptor `keep`. Raises what
    `holdall.system.mounting.perform` does.
    """
    if isinstance(one, Answered):
        with answered_mount(one, folder, name, keep=keep) as mounted:
            yield mounted
        return
    if not isinstance(one, ServedImage):
        with kernel_mount(one, folder, name) as mounted:
            yield mounted
        return
    options = f"ro,fsname={name},allow_other,default_permissions"
    argv = serving(one, _PRIVATE, options)
    aside = Aside(lambda: _served(argv, keep), one.file, keep=frozenset({keep}))
    try:
        mounted = os.open(f"/proc/{aside.number}/fd/{aside.said}", os.O_PATH | os.O_CLOEXEC)
        try:
            yield mounted
        finally:
            os.close(mounted)
    except OSError as error:
        raise in_words(error, f"{one.file} cannot be mounted") from error
    finally:
        aside.close()


def serve_for_user(one: ServedImage | Answered, target: str, name: str, *, keep: int) -> None:
    """Have an image served at a folder until that is unmounted, for this user alone.

    By fusermount3, which judges the folder itself. See `lent`.
    """
    if isinstance(one, Answered):
        answer_through(one.file, one.serve, mounted_by_fusermount(target, name), keep)
    else:
        serve_on(serving(one, target, f"ro,fsname={name}"), target, keep)


def _served(argv: tuple[str, ...], keep: int) -> str:
    """In a process of its own: have a program serve, and keep only a copy of its mount."""
    new_namespaces(user=False)
    receive_only()
    serve_on(argv, _PRIVATE, keep)
    mounted = clone(_PRIVATE)
    detach(_PRIVATE)
    return str(mounted)
