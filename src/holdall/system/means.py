"""What this machine has: kernel, privileges, file system, programs. Probed by trying, when asked.

Every fact is found out once for a `Means`. On the start path of apps that are mounted: imports as
little as can be.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property

from holdall.system.kernel import clone_file, enable_verity

_FUSE = "/dev/fuse"
_LOOP_CONTROL = "/dev/loop-control"
_CAP_SYS_ADMIN = 21
_FROM_FILES = (6, 12)  # Linux, from which on EROFS is mounted from a file without a loop device
_EVERYONE = "0 0 4294967295"  # the user mapping of what is in no user namespace of its own
_PROGRAMS = {
    "squashfuse": ("squashfuse_ll", "squashfuse"),
    "fusermount3": ("fusermount3", "fusermount"),
}
_PACKAGES = {
    "squashfuse": "squashfuse",
    "erofsfuse": "erofsfuse",
    "mkfs.erofs": "erofs-utils",
    "mksquashfs": "squashfs-tools",
    "btrfs": "btrfs-progs",
    "mkfs.btrfs": "btrfs-progs",
    "fusermount3": "fuse3",
    "bwrap": "bubblewrap",
}
_REASONS = {
    "root": "needs root",
    "privileged": "needs root, outside of any container",
    "verity": "the store's file system has no fs-verity",
    "user_namespaces": "user namespaces are forbidden here",
    "fuse": f"{_FUSE} may not be opened",
    "loop": "there are no loop devices for this user",
    "kernel_erofs": "the kernel mounts no EROFS images for this user",
    "kernel_squashfs": "the kernel mounts no squashfs images for this user",
    "data_only_overlay": "the kernel's overlayfs has no data-only layers for this user",
    "overlay_for_user": "the kernel's overlayfs has no data-only layers for this user",
    "reflink": "the store's file system shares no blocks between files",
    "subvolumes": "the store's file system is not btrfs",
    "subvolume_removal": "btrfs is mounted without user_subvol_rm_allowed",
}


class Means:
    """The facts a form's doing depends on; `store` is a folder on the store's file system."""

    def __init__(self, store: str) -> None:
        self.store = store
        self._found: dict[str, str | None] = {}

    def lacking(self, *facts: str) -> str:
        """The first of these facts or programs that does not hold, in a few words; "" for none.

        A fact is the name of a property of this class, a program what `program` takes.
        """
        for fact in facts:
            if fact in _REASONS:
                if not getattr(self, fact):
                    return _REASONS[fact]
            elif self.program(fact) is None:
                return f"the program {fact} is missing: install the package {package_of(fact)}"
        return ""

    def program(self, name: str) -> str | None:
        """The absolute path of a program, or None; of squashfuse's kinds the fastest there is."""
        if name not in self._found:
            names = _PROGRAMS.get(name, (name,))
            self._found[name] = next((path for one in names if (path := _which(one))), None)
        return self._found[name]

    def trust_no_image(self) -> None:
        """Have the kernel parse none from now on: what there is to mount may have been changed."""
        self.kernel_erofs = self.kernel_squashfs = False

    @cached_property
    def root(self) -> bool:
        """Whether this process is root's."""
        return os.geteuid() == 0

    @cached_property
    def privileged(self) -> bool:
        """Whether this process may have the kernel mount images: root, and in no container."""
        status = _read("/proc/self/status")
        granted = re.search(r"^CapEff:\s*([0-9a-f]+)", status, re.MULTILINE)
        may = granted is not None and bool(int(granted[1], 16) >> _CAP_SYS_ADMIN & 1)
        return self.root and may and " ".join(_read("/proc/self/uid_map").split()) == _EVERYONE

    @cached_property
    def verity(self) -> bool:
        """Whether the store's file system has fs-verity."""
        with self._trial() as path:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return enable_verity(fd)
            finally:
                os.close(fd)

    @cached_property
    def reflink(self) -> bool:
        """Whether files on the store's file system can share blocks."""
        with self._trial() as one, self._trial() as other:
            source = os.open(one, os.O_RDONLY | os.O_CLOEXEC)
            fd = os.open(other, os.O_WRONLY | os.O_CLOEXEC)
            try:
                return clone_file(source, fd)
            finally:
                os.close(source)
                os.close(fd)

    @cached_property
    def user_namespaces(self) -> bool:
        """Whether this user may mount in a user namespace of its own."""
        from holdall.system.namespace import may_enter

        return may_enter()

    @cached_property
    def fuse(self) -> bool:
        """Whether this user may serve file systems (open /dev/fuse)."""
        return _opens(_FUSE)

    @cached_property
    def loop(self) -> bool:
        """Whether this user may make loop devices."""
        return self.privileged and _opens(_LOOP_CONTROL)

    @cached_property
    def kernel_erofs(self) -> bool:
        """Whether the kernel mounts EROFS images that lie in files, for this user."""
        straight = self.privileged and _kernel_version() >= _FROM_FILES
        return (straight or self.loop) and _has_file_system("erofs")

    @cached_property
    def kernel_squashfs(self) -> bool:
        """Whether the kernel mounts squashfs images that lie in files, for this user."""
        return self.loop and _has_file_system("squashfs")

    @cached_property
    def data_only_overlay(self) -> bool:
        """Whether the kernel lets this user mount overlays whose data lie in layers of their own.

        Tried up to the last step; nothing is mounted.
        """
        from holdall.system.mount_calls import Configuration

        if not self.privileged:
            return False
        try:
            with Configuration("overlay") as overlay:
                overlay.set("lowerdir+", self.store)
                overlay.set("datadir+", self.store)
        except OSError:
            return False
        return True

    @cached_property
    def overlay_for_user(self) -> bool:
        """The same, or that in a user namespace of its own this user may mount such ones.

        Tried to the end there.
        """
        from holdall.system.namespace import may_enter

        return self.data_only_overlay or (self.user_namespaces and may_enter(self._try_overlay))

    def _try_overlay(self) -> None:
        from holdall.system.mount_calls import Configuration

        with Configuration("overlay") as overlay:
            overlay.flag("userxattr")
            overlay.set("lowerdir+", "/etc" if self.store.startswith("/usr") else "/usr")
            overlay.set("datadir+", self.store)
            os.close(overlay.make())

    @cached_property
    def fs_type(self) -> str:
        """The type of the store's file system as the kernel names it ("ext4"), or ""."""
        return self._mounted[0]

    @cached_property
    def subvolumes(self) -> bool:
        """Whether the store lies on btrfs, where every user may make subvolumes and snapshots."""
        return self.fs_type == "btrfs"

    @cached_property
    def subvolume_removal(self) -> bool:
        """Whether this user may also remove subvolumes at once there."""
        return self.subvolumes and (self.root or "user_subvol_rm_allowed" in self._mounted[1])

    @cached_property
    def _mounted(self) -> tuple[str, tuple[str, ...]]:
        """Type and options of the file system that the store lies on."""
        from holdall.system.mount_table import mount_over

        mount = mount_over(self.store)
        return ("", ()) if mount is None else (mount.kind, mount.options)

    @contextmanager
    def _trial(self) -> Iterator[str]:
        """A file on the store's file system to try something on."""
        path = f"{self.store}/.{os.urandom(8).hex()}.tmp"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, b"holdall")
            os.close(fd)
            yield path
        finally:
            # a writer clears up what others seem to have left
            with suppress(FileNotFoundError):
                os.unlink(path)


def package_of(program: str) -> str:
    """The Debian package that has a program."""
    return _PACKAGES.get(program, program)


def _which(name: str) -> str | None:
    folders = [*os.environ.get("PATH", "/usr/bin:/bin").split(":"), "/usr/sbin", "/sbin"]
    for folder in folders:
        path = f"{folder}/{name}"
        if folder.startswith("/") and os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def _opens(path: str) -> bool:
    with suppress(OSError):
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        return True
    return False


def _has_file_system(name: str) -> bool:
    """Whether the kernel has it, or a module it would load when it is mounted."""
    if any(line.split()[-1:] == [name] for line in _read("/proc/filesystems").splitlines()):
        return True
    modules = _read(f"/lib/modules/{os.uname().release}/modules.dep")
    return re.search(rf"^[^:]*/{name}\.ko[^/:]*:", modules, re.MULTILINE) is not None


def _kernel_version() -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", os.uname().release)[:2])


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""
