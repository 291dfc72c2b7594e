"""What running apps are told: a file in a folder of their version, which their sandbox shows.

The folder is empty while its version is the active one. A sandbox has the folder itself, so what is
told reaches those who started a moment before, and goes along when the version is removed.
On the path of ``remove``: imports as little as can be.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from holdall.model.ref import Ref
from holdall.store.catalog import Catalog, Deployment
from holdall.store.layout import Layout
from holdall.system.files import each_child, read_regular, write_all

FOLDER: Final = "notice"
UPDATED: Final = "updated"
REMOVED: Final = "removed"

_LIMIT = 4096


def prepare(deployment: str) -> None:
    """Make the folder of notices in a deployment's own folder, open to every reader."""
    path = f"{deployment}/{FOLDER}"
    os.mkdir(path)
    os.chmod(path, 0o755)


def tell(layout: Layout, ref: Ref, active: Deployment | None) -> None:
    """Have every version of `ref` say whether another one is active, or none is any more.

    Those that were removed and still lie in the trash, too. May be repeated; for the holder of the
    store's lock. Nothing waits for a notice, so what cannot be written, or was installed by a
    holdall without notices, is left as it is.
    """
    told = {REMOVED: b""} if active is None else {UPDATED: f"{active.version}\n".encode()}
    for digest, folder in (*_installed(layout, ref), *_removed(layout, ref)):
        current = active is not None and digest == active.digest
        with suppress(OSError, ValueError):
            _bring(layout, f"{folder}/{FOLDER}", {} if current else told)


def _installed(layout: Layout, ref: Ref) -> Iterator[tuple[str, str]]:
    for item in Catalog(layout).deployments(ref):
        yield item.digest, item.path


def _removed(layout: Layout, ref: Ref) -> Iterator[tuple[str, str]]:
    """The release digest and folder of each removed version of `ref` that is not freed yet."""
    for name in each_child(layout.trash):
        import json
        from hashlib import sha256

        folder = f"{layout.trash}/{name}"
        try:
            release = read_regular(f"{folder}/release", limit=2**24)
            manifest = json.loads(release)["manifest"]
            of = Ref(manifest["id"], manifest["arch"], manifest.get("branch", "stable"))
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if of == ref:
            yield sha256(release).hexdigest(), folder


def _bring(layout: Layout, folder: str, wanted: dict[str, bytes]) -> None:
    """Leave exactly the files `wanted` in a folder of notices; each appears whole, by a rename."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        for name, data in wanted.items():
            if _found(f"{folder}/{name}") != data:
                _put(layout, fd, name, data)
        gone = {UPDATED, REMOVED} - wanted.keys()
        for name in gone & set(os.listdir(fd)):
            os.unlink(name, dir_fd=fd)
            # an active version that came back with it after a power loss would tell it for ever
            os.fsync(fd)
    finally:
        os.close(fd)


def _found(path: str) -> bytes | None:
    try:
        return read_regular(path, limit=_LIMIT)
    except (OSError, ValueError):
        return None


def _put(layout: Layout, folder: int, name: str, data: bytes) -> None:
    """Write the file where rubbish is swept, so that the app never sees it unfinished."""
    os.makedirs(layout.staging, mode=0o700, exist_ok=True)
    beside = f"{layout.staging}/{os.urandom(16).hex()}"
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        os.fchmod(fd, 0o644)
        write_all(fd, data)
    finally:
        os.close(fd)
    try:
        os.rename(beside, name, dst_dir_fd=folder)
    except OSError:
        os.unlink(beside)
        raise
