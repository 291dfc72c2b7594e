"""What runs: the leases that sandboxes hold, as the kernel lists them.

A sandbox's first process holds a POSIX read lock on its deployment's lease for as long as it runs.
What runs from a bundle that is not installed has its lease in memory, in a mount that names the
store: it is found by the sandbox's own mounts.
Imports as little as can be.
"""

import os
from collections.abc import Iterator
from typing import Final, NamedTuple

from holdall.errors import UsageError
from holdall.model.ref import Ref
from holdall.system.files import each_child, read_regular

_LEASE: Final = "/run/holdall/lease"


class Running(NamedTuple):
    """One running sandbox: `pid` is the app's own process, `sandbox` the first one around it.

    `runtime` is the ref of the runtime it runs on, `runtime_digest` its release's; both are empty
    for the host's own /usr. Of what is not `installed`, `deployment` is as the sandbox has it.
    """

    pid: int
    sandbox: int
    ref: str
    digest: str
    deployment: str
    runtime: str
    command: tuple[str, ...]
    runtime_digest: str
    installed: bool = True


class _Lock(NamedTuple):
    pid: int
    device: tuple[int, int]
    inode: int


class _Found(NamedTuple):
    """What a process holds the lease of."""

    sandbox: int
    ref: str
    digest: str
    deployment: str
    installed: bool = True


def mark(store: str) -> str:
    """What the source is of mounts that have what runs by a store and is not installed there."""
    status = os.stat(store)
    return f"holdall:{status.st_dev:x}:{status.st_ino}"


def running(store: str) -> list[Running]:
    """The sandboxes that run by the store, installed there or not, in order of their process ids.

    Those of other users too, where the kernel shows their processes.
    """
    locks: dict[int, list[_Lock]] = {}
    for lock in _locks():
        locks.setdefault(lock.inode, []).append(lock)
    if not locks:
        return []
    runtimes: dict[int, tuple[str, str]] = {}
    apps = []
    for ref, digest, deployment in (*_deployments(store), *_removed(store)):
        for lock in _holding(f"{deployment}/lease", locks):
            if os.path.lexists(f"{deployment}/launch"):
                apps.append(_Found(lock.pid, ref, digest, deployment))
            else:
                runtimes[lock.pid] = ref, digest
    known = {app.sandbox for app in apps}
    others = {lock.pid for held in locks.values() for lock in held if lock.pid > 0} - known
    apps += _not_installed(store, others)
    return sorted(_describe(app, runtimes.get(app.sandbox, ("", ""))) for app in apps)


def _not_installed(store: str, holders: set[int]) -> Iterator[_Found]:
    """Those of the processes with a lock that are sandboxes of bundles run by this store."""
    sandboxes = [pid for pid in sorted(holders) if _is_sandbox(pid)]
    if not sandboxes:
        return
    try:
        wanted = mark(store)
    except OSError:
        return
    for pid in sandboxes:
        # id, parent, device, root, place, options, …, "-", type, source, options
        lines = (line.split() for line in _read(f"/proc/{pid}/mountinfo").splitlines())
        if any(words[4] == _LEASE and words[-3:-1] == ["tmpfs", wanted] for words in lines):
            folder = f"/proc/{pid}/root{os.path.dirname(_LEASE)}"
            if known := _release(folder):
                yield _Found(pid, *known, folder, installed=False)


def _locks() -> Iterator[_Lock]:
    """Whole read locks in the kernel's list; its devices are hexadecimal, its inodes are not."""
    for line in _read("/proc/locks").splitlines():
        words = line.split()
        if len(words) == 8 and words[1] == "POSIX" and words[3] == "READ" and words[4].isdigit():
            major, minor, inode = words[5].split(":")
            yield _Lock(int(words[4]), (int(major, 16), int(minor, 16)), int(inode))


def _deployments(store: str) -> Iterator[tuple[str, str, str]]:
    """Ref, release digest and folder of everything installed."""
    top = f"{store}/deployments"
    for app in each_child(top):
        for arch in each_child(f"{top}/{app}"):
            for branch in each_child(f"{top}/{app}/{arch}"):
                ref = f"{app}/{arch}/{branch}"
                for digest in each_child(f"{top}/{ref}"):
                    yield ref, digest, f"{top}/{ref}/{digest}"


def _removed(store: str) -> Iterator[tuple[str, str, str]]:
    """The same of versions that were removed and are freed when nothing runs from them."""
    for name in each_child(f"{store}/trash"):
        folder = f"{store}/trash/{name}"
        if known := _release(folder):
            yield *known, folder


def _release(folder: str) -> tuple[str, str] | None:
    """Ref and digest of the release in a folder."""
    import hashlib
    import json

    try:
        release = read_regular(f"{folder}/release", limit=2**24)
        manifest = json.loads(release)["manifest"]
        ref = Ref(manifest["id"], manifest["arch"], manifest.get("branch", "stable"))
        # an app may make itself a sandbox of its own, with anything in it
        return str(Ref.parse(str(ref))), hashlib.sha256(release).hexdigest()
    except (OSError, ValueError, KeyError, TypeError, RecursionError, UsageError):
        return None


def _holding(lease: str, locks: dict[int, list[_Lock]]) -> list[_Lock]:
    try:
        status = os.lstat(lease)
    except OSError:
        return []
    device = (os.major(status.st_dev), os.minor(status.st_dev))
    # btrfs and overlayfs show another device in stat than in the list of locks
    return [
        lock
        for lock in locks.get(status.st_ino, [])
        if lock.pid > 0 and (lock.device == device or _is_sandbox(lock.pid))
    ]


def _is_sandbox(pid: int) -> bool:
    return _read(f"/proc/{pid}/comm").strip() == "bwrap"


def _describe(found: _Found, runtime: tuple[str, str]) -> Running:
    sandbox, ref, digest, deployment, installed = found
    children = _read(f"/proc/{sandbox}/task/{sandbox}/children").split()
    pid = int(children[0]) if children else sandbox
    command = tuple(_read(f"/proc/{pid}/cmdline").split("\0")[:-1])
    return Running(
        pid, sandbox, ref, digest, deployment, runtime[0], command, runtime[1], installed
    )


def _read(path: str) -> str:
    try:
        # pathlib would cost this command a tenth of its time
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""
