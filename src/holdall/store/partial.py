"""What has been fetched from a remote, or made of an increment, and is not installed yet.

A killed command leaves it, and the next one goes on from there. Each increment of a ref has a
folder of its own that nobody else may look into, named by the SHA-256 of its index; each content
file that is fetched has one named by its own SHA-256.
"""

import os
from contextlib import suppress
from hashlib import sha256

from holdall.model.ref import Ref
from holdall.store.guard import check_folder
from holdall.store.layout import Layout
from holdall.system.files import each_child, remove_tree


def folder_of(layout: Layout, ref: Ref, index: bytes) -> str:
    """The folder of the increment with this index, made where it is missing.

    For the holder of the lock. Raises CorruptError and UntrustedError where another thing is there.
    """
    return fetched_folder(layout, ref, sha256(index).hexdigest())


def fetched_folder(layout: Layout, ref: Ref, name: str) -> str:
    """The same for the content file with this SHA-256."""
    path = layout.partial
    for part in ("", f"/{_name(ref)}", f"/{name}"):
        path += part
        with suppress(FileExistsError):
            os.mkdir(path, 0o700)
        check_folder(path)
    return path


def drop(path: str) -> None:
    """Remove one such folder, and those above it that are left empty."""
    remove_tree(path)
    with suppress(OSError):
        os.rmdir(os.path.dirname(path))
        os.rmdir(os.path.dirname(os.path.dirname(path)))


def discard(layout: Layout, ref: Ref) -> None:
    """Put all there is of a ref into the trash."""
    with suppress(FileNotFoundError):
        os.makedirs(layout.trash, exist_ok=True)
        os.rename(f"{layout.partial}/{_name(ref)}", f"{layout.trash}/{os.urandom(16).hex()}")
    with suppress(OSError):
        os.rmdir(layout.partial)


def finish(layout: Layout, ref: Ref) -> None:
    """Remove all there is of a ref, now."""
    remove_tree(f"{layout.partial}/{_name(ref)}")
    with suppress(OSError):
        os.rmdir(layout.partial)


def count(layout: Layout) -> int:
    """How many increments and downloads there are."""
    apps = each_child(layout.partial)
    return sum(len(each_child(f"{layout.partial}/{app}")) for app in apps)


def clear(layout: Layout) -> None:
    """Remove all of it; for the holder of the lock."""
    remove_tree(layout.partial)


def _name(ref: Ref) -> str:
    return str(ref).replace("/", "~")
