"""The catalogue: which deployments a store has and which are active.

The one place where that changes.

Readers take no lock and never see a half state: a deployment appears by one rename, whole and on
the disk, and is active by one rename of a link. A writer holds the lock, notes what it is about to
do in the journal, and does it by steps that can be repeated; whoever finds a note without a holder
of the lock does the rest (`holdall.journeys.recovery`).

On the start path of every command: imports as little as can be.
"""

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from holdall.errors import BusyError, CorruptError, NotFoundError, RemovedError, UsageError
from holdall.model.ref import Ref, RefPattern
from holdall.store.layout import Layout
from holdall.store.record import TREE, Record, parse, read_beside

_FACTS = {"manifest", "size", "entries", "tree"}
_NAMED = {"id", "version", "kind"}
RECORD = "form"  # the file that says how a deployment's files lie; without it, as a tree
GRACE = 1.0  # seconds a writer waits for the workers of one that was killed


class Deployment(NamedTuple):
    """An installed release.

    `digest` is the SHA-256 of its release bytes in hex, `path` its folder.
    """

    ref: Ref
    digest: str
    path: str

    @property
    def files(self) -> str:
        """The folder that becomes /app (or /usr, for a runtime)."""
        return f"{self.path}/files"

    @property
    def lease(self) -> str:
        """The file that running processes hold a lock on; made when the deployment was complete."""
        return f"{self.path}/lease"

    def read(self, name: str) -> bytes:
        """One of the files beside `files`: release, envelope, tree, launch.

        Raises OSError, and CorruptError when something else is in its place.
        """
        return read_beside(f"{self.path}/{name}")

    @property
    def record(self) -> Record:
        """How its files lie: the name of its form under "form", and what that form keeps.

        Raises CorruptError when that was spoiled on the disk.
        """
        try:
            data = self.read(RECORD)
        except FileNotFoundError:
            return TREE
        if (found := parse(data)) is None:
            raise CorruptError(
                f"{self.path}/{RECORD} was changed; `holdall repair` lays {self.ref} down anew."
            )
        return found

    @property
    def form(self) -> str:
        """The name of its form, or "?" when its record was spoiled."""
        try:
            return str(self.record["form"])
        except (CorruptError, OSError):
            return "?"

    def facts(self) -> dict[str, Any]:
        """The release as plain JSON, for listings.

        Checked on the way in; raises CorruptError when it was spoiled on the disk since.
        """
        import json

        try:
            table = json.loads(self.read("release"))
            if table.keys() >= _FACTS and table["manifest"].keys() >= _NAMED:
                return dict(table)
        except (OSError, ValueError, AttributeError, RecursionError):
            pass
        raise CorruptError(f"{self.path}/release was changed; `holdall repair` puts it back.")

    @property
    def version(self) -> str:
        """Its version, or "?" when its release was spoiled."""
        try:
            return str(self.facts()["manifest"]["version"])
        except CorruptError:
            return "?"

    @property
    def installed(self) -> float:
        """When it was installed, in seconds since the epoch."""
        return os.stat(self.lease).st_mtime


class Catalog(NamedTuple):
    """A store as it stands."""

    layout: Layout

    def refs(self, app_id: str | None = None) -> list[Ref]:
        """Every ref with an active deployment, sorted; or those of one app."""
        return [ref for ref in _refs(self.layout.active, app_id) if self.active(ref)]

    def deployments(self, ref: Ref) -> list[Deployment]:
        """Every installed version of `ref`, oldest installation first."""
        folder = f"{self.layout.deployments}/{ref}"
        names = [name for name in _names(folder) if _is_digest(name)]
        found = []
        for name in names:
            item = Deployment(ref, name, f"{folder}/{name}")
            # a reader may look while it is taken away
            with suppress(OSError):
                found.append((item.installed, item))
        return [item for _, item in sorted(found)]

    def active(self, ref: Ref) -> Deployment | None:
        """The version of `ref` in use."""
        digest = self._linked(ref)
        while digest is not None:
            path = self.layout.deployment(ref, digest)
            if os.path.isdir(path):
                return Deployment(ref, digest, path)
            # another one may have become active and this one been removed, just now
            before, digest = digest, self._linked(ref)
            if digest == before:
                break
        return None

    def _linked(self, ref: Ref) -> str | None:
        """The release digest that the active link of `ref` names."""
        try:
            digest = os.path.basename(os.readlink(self.layout.link(ref)))
        except OSError:
            return None
        return digest if _is_digest(digest) else None

    def resolve(self, pattern: RefPattern) -> Ref:
        """The one installed ref that is meant; raises NotFoundError or UsageError."""
        found = [ref for ref in self.refs(pattern.id) if pattern.matches(ref)]
        if not found:
            raise NotFoundError(f"{pattern} is not installed; `holdall list` shows what is.")
        if len(found) > 1:
            names = ", ".join(str(ref) for ref in found)
            raise UsageError(f"{pattern} may mean any of {names}; write more of it.")
        return found[0]

    def current(self, pattern: RefPattern) -> Deployment:
        """The active deployment of what is meant; raises NotFoundError or UsageError."""
        active = self.active(self.resolve(pattern))
        if active is None:
            raise RemovedError(f"{pattern} was removed in this moment.")
        return active

    def version(self, ref: Ref, version: str) -> Deployment:
        """An installed deployment by its version, or by the start of its release digest.

        Raises NotFoundError.
        """
        for item in reversed(self.deployments(ref)):
            if item.version == version or (len(version) >= 8 and item.digest.startswith(version)):
                return item
        raise NotFoundError(
            f"{ref} has no version {version} installed; `holdall history {ref.id}` shows those it "
            "has."
        )


class Writer(NamedTuple):
    """A catalogue whose lock this process holds. Every step may be repeated after a kill."""

    catalog: Catalog

    def stage(self) -> str:
        """A new private folder to make a deployment in."""
        path = f"{self.catalog.layout.staging}/{os.urandom(16).hex()}"
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        os.mkdir(path, 0o700)
        return path

    def note(self, ref: Ref, intent: dict[str, Any]) -> None:
        """Put what is about to happen to `ref` into the journal, on the disk before it happens.

        On a full disk the reserve pays for it.
        """
        import json

        from holdall.store.reserve import spend
        from holdall.system.files import write_atomic

        data = json.dumps({"ref": str(ref), **intent}).encode()
        try:
            write_atomic(self._note_path(ref), data, whole=True)
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            spend(self.catalog.layout)
            write_atomic(self._note_path(ref), data, whole=True)

    def forget(self, ref: Ref) -> None:
        """Take the note of `ref` back: what it said is done."""
        with suppress(FileNotFoundError):
            os.unlink(self._note_path(ref))

    def notes(self) -> list[dict[str, Any]]:
        """What is in the journal.

        A note that a power loss tore is dropped: nothing it announced had been done.
        """
        import json

        folder = self.catalog.layout.journal
        notes = []
        for name in _names(folder):
            with open(f"{folder}/{name}", "rb") as file:
                data = file.read()
            try:
                notes.append(json.loads(data))
            except ValueError:
                os.unlink(f"{folder}/{name}")
        return notes

    def publish(self, staged: str, ref: Ref, digest: str) -> Deployment:
        """Give a whole, synced deployment its place, by one rename.

        The name is on the disk when this returns: what is made active next must not outlive it,
        and not every file system keeps the order of two renames over a power loss.
        """
        from holdall.system.files import sync_folder

        path = self.catalog.layout.deployment(ref, digest)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if not os.path.isdir(path):
            os.chmod(staged, 0o755)
            os.rename(staged, path)
            sync_folder(os.path.dirname(path))
        return Deployment(ref, digest, path)

    def replace(self, staged: str, deployment: Deployment) -> None:
        """Put a whole, synced deployment in the place of one of the same release, by one rename.

        The old one is in the trash afterwards; a kill in between leaves it in staging, from where
        the next writer takes it there.
        """
        from holdall.system.files import sync_folder
        from holdall.system.kernel import exchange

        os.chmod(staged, 0o755)
        exchange(staged, deployment.path)
        sync_folder(os.path.dirname(deployment.path))
        trash = self.catalog.layout.trash
        os.makedirs(trash, exist_ok=True)
        os.rename(staged, f"{trash}/{os.path.basename(staged)}")

    def activate(self, deployment: Deployment) -> None:
        """Make a deployment the active one of its ref, by one rename."""
        from holdall.system.files import replace_symlink

        link = self.catalog.layout.link(deployment.ref)
        replace_symlink(link, f"../../../deployments/{deployment.ref}/{deployment.digest}")

    def deactivate(self, ref: Ref) -> None:
        """Leave `ref` without an active deployment, and without the folders it had for itself."""
        link = self.catalog.layout.link(ref)
        with suppress(FileNotFoundError):
            os.unlink(link)
        prune_folders(os.path.dirname(link), self.catalog.layout.active)

    def discard(self, deployment: Deployment) -> None:
        """Take a deployment away, by one rename.

        Its space is freed by `sweep` when nothing runs from it.
        """
        trash = self.catalog.layout.trash
        os.makedirs(trash, exist_ok=True)
        with suppress(FileNotFoundError):
            os.rename(deployment.path, f"{trash}/{os.urandom(16).hex()}")
        prune_folders(os.path.dirname(deployment.path), self.catalog.layout.deployments)

    def record(self, ref: Ref, event: dict[str, Any]) -> None:
        """Add a line to the history of `ref`."""
        import json

        path = self.catalog.layout.history(ref)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        line = json.dumps({"time": int(time.time()), **event}, sort_keys=True).encode() + b"\n"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            size = os.fstat(fd).st_size
            if size and os.pread(fd, 1, size - 1) != b"\n":
                line = b"\n" + line
            os.write(fd, line)
        finally:
            os.close(fd)

    def _note_path(self, ref: Ref) -> str:
        return f"{self.catalog.layout.journal}/{str(ref).replace('/', '~')}"


@contextmanager
def writing(layout: Layout, *, wait: float = 0.0, grace: float = GRACE) -> Iterator[Writer]:
    """Hold the store's lock.

    Raises BusyError when another process does for longer than `wait` seconds, and what `check_ours`
    raises. Nothing made meanwhile can be written by others, whatever the process's mask is.
    """
    from holdall.store.guard import check_ours
    from holdall.system.files import plain_errors
    from holdall.system.locks import open_lock, take_exclusive

    mask = os.umask(0o022)
    os.umask(mask | 0o022)
    try:
        with plain_errors(f"The store {layout.root} cannot be written"):
            os.makedirs(layout.root, exist_ok=True)
            check_ours(layout)
            fd = open_lock(layout.lock)
        try:
            if not take_exclusive(fd, wait=max(wait, grace)):
                raise BusyError(
                    f"{_holder(fd)} is changing the store {layout.root}; try again, or use "
                    "--wait SECONDS."
                )
            os.pwrite(fd, f"{os.getpid():<10}\n".encode(), 0)
            yield Writer(Catalog(layout))
        finally:
            os.close(fd)
    finally:
        os.umask(mask)


def _holder(fd: int) -> str:
    """Who has the lock: the last one that wrote its number down, where that is still there."""
    from holdall.system.locks import has_open

    number = os.pread(fd, 32, 0).strip()
    known = number.isdigit() and has_open(int(number), fd)
    return f"Process {int(number)}" if known else "Another process"


def history(layout: Layout, ref: Ref) -> list[dict[str, Any]]:
    """What happened to `ref`, oldest first; a line that a power loss tore is left out."""
    import json

    events = []
    with suppress(FileNotFoundError), open(layout.history(ref), "rb") as file:
        for line in file:
            with suppress(ValueError):
                events.append(json.loads(line))
    return events


def prune_folders(folder: str, above: str) -> None:
    """Remove `folder` and those over it while they are empty, up to but not `above`."""
    with suppress(OSError):
        while folder.startswith(above + "/"):
            os.rmdir(folder)
            folder = os.path.dirname(folder)


def _refs(active: str, only: str | None = None) -> list[Ref]:
    return [
        Ref(app_id, arch, branch)
        for app_id in ([only] if only else _names(active))
        for arch in _names(f"{active}/{app_id}")
        for branch in _names(f"{active}/{app_id}/{arch}")
    ]


def _is_digest(name: str) -> bool:
    return len(name) == 64 and name.isalnum()


def _names(folder: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
