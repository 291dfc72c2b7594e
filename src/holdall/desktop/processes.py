"""Which installed versions run: the leases their sandboxes hold, as the kernel lists them.

A sandbox's first process holds a POSIX read lock on its deployment's lease for as long as it runs.
Imports as little as can be.
"""

import os
from collections.abc import Iterator
from typing import NamedTuple

from holdall.system.files import each_child


class Running(NamedTuple):
    """One running sandbox: `pid` is the app's own process, `sandbox` the first one around it.

    `runtime` is the ref of the runtime it runs on, `runtime_digest` its release's; both are empty
    for the host's own /usr.
    """

    pid: int
    sandbox: int
    ref: str
    digest: str
    deployment: str
    runtime: str
    command: tuple[str, ...]
    runtime_digest: str


class _Lock(NamedTuple):
    pid: int
    device: tuple[int, int]
    inode: int


def running(store: str) -> list[Running]:
    """The sandboxes that run from the store's installed versions, in order of their process ids.

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
                apps.append((lock.pid, ref, digest, deployment))
            else:
                runtimes[lock.pid] = ref, digest
    return sorted(
        _describe(sandbox, deployed, runtimes.get(sandbox, ("", ""))) for sandbox, *deployed in apps
    )


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
        import hashlib
        import json

        folder = f"{store}/trash/{name}"
        release = _read(f"{folder}/release")
        try:
            manifest = json.loads(release)["manifest"]
            ref = f"{manifest['id']}/{manifest['arch']}/{manifest.get('branch', 'stable')}"
        except (ValueError, KeyError, TypeError):
            continue
        yield ref, hashlib.sha256(release.encode("utf-8", "surrogateescape")).hexdigest(), folder


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


def _describe(sandbox: int, deployed: list[str], runtime: tuple[str, str]) -> Running:
    ref, digest, deployment = deployed
    children = _read(f"/proc/{sandbox}/task/{sandbox}/children").split()
    pid = int(children[0]) if children else sandbox
    command = tuple(_read(f"/proc/{pid}/cmdline").split("\0")[:-1])
    return Running(pid, sandbox, ref, digest, deployment, runtime[0], command, runtime[1])


def _read(path: str) -> str:
    try:
        # pathlib would cost this command a tenth of its time
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""
