"""The sandbox of an app as a value: bubblewrap's arguments, fixed or decided by the session.

`plan` is pure: a manifest, a tree and where they lie in, a `Sandbox` out; `launcher` writes it.
Reference: docs/reference/sandbox.md.
"""

from bisect import bisect_left
from collections.abc import Iterator
from operator import attrgetter
from typing import NamedTuple

from holdall.desktop.grants import base_folder, grants
from holdall.desktop.script import (
    Below,
    Choice,
    Choose,
    Filled,
    Group,
    Identity,
    Is,
    Item,
    MakeFolder,
    Not,
    Require,
    Resolve,
    Step,
    Variable,
    Word,
)
from holdall.desktop.sockets import HOME, INSIDE_RUN, RUN, Bus, buses, socket_items, socket_steps
from holdall.model.manifest import Manifest
from holdall.model.tree import Directory, Tree
from holdall.store.notices import FOLDER as NOTICES

# What of the starter's environment is let in; everything else is cleared.
_KEPT = (
    *("LANG", "LANGUAGE", "LC_ALL", "LC_ADDRESS", "LC_COLLATE", "LC_CTYPE", "LC_IDENTIFICATION"),
    *("LC_MEASUREMENT", "LC_MESSAGES", "LC_MONETARY", "LC_NAME", "LC_NUMERIC", "LC_PAPER"),
    *("LC_TELEPHONE", "LC_TIME", "TZ", "TERM", "COLORTERM", "NO_COLOR", "COLUMNS", "LINES"),
    *("USER", "LOGNAME", "XDG_CURRENT_DESKTOP", "XDG_SESSION_DESKTOP", "XDG_SESSION_TYPE"),
    *("DESKTOP_SESSION", "XDG_ACTIVATION_TOKEN", "DESKTOP_STARTUP_ID", "GTK_THEME"),
)
# What stands in /etc whatever a runtime has there.
_OWN_ETC = frozenset(("passwd", "group", "resolv.conf", "hosts", "localtime", "machine-id", "mtab"))
# What programs of the host's /usr look for in the host's /etc; nothing that holds secrets.
_HOST_ETC = (
    *(
        "alternatives",
        "ca-certificates",
        "ca-certificates.conf",
        "crypto-policies",
        "debian_version",
    ),
    *("fonts", "gtk-2.0", "gtk-3.0", "gtk-4.0", "ld.so.cache", "ld.so.conf", "ld.so.conf.d"),
    *(
        "locale.alias",
        "magic",
        "mime.types",
        "os-release",
        "pki",
        "protocols",
        "python3",
        "services",
    ),
    *("shells", "ssl", "terminfo", "timezone", "vulkan", "glvnd", "X11", "xdg", "pulse", "alsa"),
    *("asound.conf", "nsswitch.conf", "host.conf", "gai.conf"),
)
_GRAPHICS = (
    *(
        "/dev/dri",
        "/dev/kfd",
        "/dev/mali0",
        "/dev/nvidiactl",
        "/dev/nvidia-modeset",
        "/dev/nvidia0",
    ),
    *("/dev/nvidia1", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"),
)
_DATA_FOLDERS = ("/.config", "/.cache", "/.local", "/.local/share", "/.local/state")
_SYSFS = ("/sys/block", "/sys/bus", "/sys/class", "/sys/dev", "/sys/devices")

_DATA = Variable("data")


class Place(NamedTuple):
    """Where a deployment will lie: absolute paths of the store and of its own folder there.

    `data` is the folder of the per-app data for a store under ``--root``; None is the user's own.
    One that is not `installed` is there for the one start it is made for.
    """

    store: str
    deployment: str
    data: str | None = None
    installed: bool = True


class Sandbox(NamedTuple):
    """One app's sandbox. bwrap's arguments are `fixed`, those of the runtime, then `items`."""

    fixed: tuple[str, ...]
    steps: tuple[Step, ...]
    items: tuple[Item, ...]
    buses: tuple[Bus, ...]
    command: tuple[str, ...]


def plan(manifest: Manifest, tree: Tree, place: Place, host_links: tuple[str, ...]) -> Sandbox:
    """The sandbox of an app; `host_links` are the arguments of `host_root` on this machine.

    Raises UsageError for a permission that cannot be given.
    """
    return _Planner(manifest, tree, place).sandbox(host_links)


def runtime_arguments(tree: Tree, place: Place) -> tuple[str, ...]:
    """What a runtime adds to the arguments of an app on it: /usr, its links, /etc, a lease.

    And what it is told when another version becomes active.
    """
    arguments = ["--ro-bind", f"{place.deployment}/files", "/usr"]
    lease = "/run/holdall/runtime-lease"
    arguments += ["--ro-bind", f"{place.deployment}/lease", lease, "--lock-file", lease]
    arguments += ["--ro-bind-try", f"{place.deployment}/{NOTICES}", "/run/holdall/runtime-notice"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        if _find(tree, name) is not None:
            arguments += ["--symlink", f"usr/{name}", f"/{name}"]
    for name in _names_in(tree, "etc"):
        if name not in _OWN_ETC:
            arguments += ["--symlink", f"/usr/etc/{name}", f"/etc/{name}"]
    return tuple(arguments)


def host_root(links: dict[str, str | None]) -> tuple[str, ...]:
    """bwrap's arguments for the host's own /usr; `links` says what /bin and its like are here.

    A target for a symbolic link, None for a folder of its own; absent for what is not there.
    """
    arguments = ["--ro-bind", "/usr", "/usr"]
    for path, target in links.items():
        arguments += ["--ro-bind", path, path] if target is None else ["--symlink", target, path]
    for name in _HOST_ETC:
        arguments += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    return tuple(arguments)


class _Planner(NamedTuple):
    manifest: Manifest
    tree: Tree
    place: Place

    def sandbox(self, host_links: tuple[str, ...]) -> Sandbox:
        permissions = self.manifest.permissions
        protected = (Variable("store"), Variable("own_data"), Variable("own_config"))
        granted = grants(permissions.filesystem, protected)
        whole_home = any(
            entry.partition(":")[0] in {"home", "host"} for entry in permissions.filesystem
        )
        steps = [*self._folders(), *granted.steps, *socket_steps(self.manifest)]
        inside = Variable("inside")
        homes = granted.places if whole_home else ()
        steps.append(Choose(inside, (*_within(homes, HOME), Choice((), (_DATA,)))))
        seen = _within(granted.places, Variable("PWD"))
        steps.append(Choose(Variable("cwd"), (*seen, Choice((), (inside,)))))
        items: list[Item] = [
            *granted.items,
            *(("--bind",), (_DATA,), (_DATA,)),
            *(("--perms",), ("0700",), ("--tmpfs",), INSIDE_RUN),
            *socket_items(self.manifest),
            *(("--file",), ("6",), ("/etc/passwd",), ("--file",), ("7",), ("/etc/group",)),
            *(("--remount-ro",), ("/",)),
            *self._environment(inside),
            *(("--chdir",), (Variable("cwd"),)),
        ]
        fixed = [*self._fixed(), *(() if self.manifest.runtime_ref else host_links)]
        return Sandbox(
            tuple(fixed), tuple(steps), tuple(items), buses(self.manifest), self._command()
        )

    def _fixed(self) -> Iterator[str]:
        permissions, deployment = self.manifest.permissions, self.place.deployment
        yield from ("--unshare-user-try", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try")
        if not permissions.ipc:
            yield "--unshare-ipc"
        if not permissions.network:
            yield "--unshare-net"
        yield from ("--die-with-parent", "--cap-drop", "ALL", "--clearenv")
        yield from ("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp")  # noqa: S108 - inside
        yield from ("--symlink", "/tmp", "/var/tmp", "--symlink", "/run", "/var/run")  # noqa: S108
        yield from ("--ro-bind", f"{deployment}/files", "/app")
        yield from ("--ro-bind", f"{deployment}/release", "/run/holdall/release")
        yield from ("--ro-bind", f"{deployment}/lease", "/run/holdall/lease")
        yield from ("--lock-file", "/run/holdall/lease")
        yield from ("--ro-bind-try", f"{deployment}/{NOTICES}", "/run/holdall/notice")
        etc = (
            "localtime",
            "machine-id",
            *(("resolv.conf", "hosts") if permissions.network else ()),
        )
        for name in etc:
            yield from ("--ro-bind-try", f"/etc/{name}", f"/etc/{name}")
        if permissions.dri:
            for path in _GRAPHICS:
                yield from ("--dev-bind-try", path, path)
            for path in _SYSFS:
                yield from ("--ro-bind-try", path, path)
        for name, value in self._constants().items():
            yield from ("--setenv", name, value)

    def _constants(self) -> dict[str, str]:
        """Variables that are the same at every start, the manifest's own over ours."""
        libraries = [
            f"/app/{path}"
            for path in ("lib", f"lib/{self.manifest.arch}-linux-gnu")
            if isinstance(_find(self.tree, path), Directory)
        ]
        constants = {
            "PATH": "/app/bin:/usr/bin:/usr/sbin:/bin",
            "XDG_DATA_DIRS": "/app/share:/usr/share",
            "XDG_CONFIG_DIRS": "/app/etc/xdg:/etc/xdg",
            "HOLDALL_APP_ID": self.manifest.id,
        }
        if libraries:
            constants["LD_LIBRARY_PATH"] = ":".join(libraries)
        return constants | self.manifest.environment

    def _environment(self, inside: Variable) -> Iterator[Item]:
        """Variables whose values the session has, but for those the manifest sets."""
        taken = self._constants().keys()
        for name in _KEPT:
            if name not in taken:
                yield Group(Variable(name), (("--setenv",), (name,), (Variable(name),)))
        folders: dict[str, Word] = {
            "HOME": (inside,),
            "XDG_DATA_HOME": (_DATA, "/.local/share"),
            "XDG_CONFIG_HOME": (_DATA, "/.config"),
            "XDG_CACHE_HOME": (_DATA, "/.cache"),
            "XDG_STATE_HOME": (_DATA, "/.local/state"),
            "XDG_RUNTIME_DIR": INSIDE_RUN,
        }
        for name, value in folders.items():
            if name not in taken:
                yield from (("--setenv",), (name,), value)

    def _folders(self) -> Iterator[Step]:
        """The user's home, the app's data, the session's folder; and what no grant may reach."""
        home = Variable("HOME")
        yield Identity()
        usable = (Below((home,), ()), Is("d", (home,)), Not(Below(("/",), (home,))))
        yield Choose(HOME, (Choice(usable, (home,)),))
        run = Variable("XDG_RUNTIME_DIR")
        yield Choose(RUN, (Choice((Below((run,), ()), Is("d", (run,))), (run,)),))
        own = f"/holdall/data/{self.manifest.id}"
        if self.place.data is None:
            yield Choose(_DATA, base_folder("XDG_DATA_HOME", "/.local/share", own))
        else:
            yield Choose(_DATA, (Choice((), (f"{self.place.data}/{self.manifest.id}",)),))
        sentence = f"{self.manifest.id} has nowhere to keep its data: HOME names no folder."
        yield Require(Filled(_DATA), sentence, 6)
        yield MakeFolder((_DATA,), _DATA_FOLDERS)
        if self.manifest.permissions.filesystem:
            yield Choose(Variable("store"), (Choice((), (self.place.store,)),))
            yield Choose(
                Variable("own_data"), base_folder("XDG_DATA_HOME", "/.local/share", "/holdall")
            )
            yield Choose(
                Variable("own_config"), base_folder("XDG_CONFIG_HOME", "/.config", "/holdall")
            )
            for name in ("store", "own_data", "own_config"):
                one = Variable(name)
                yield Resolve(one, one)
                # nothing can be granted there, so it stands for a folder that does not exist
                yield Choose(one, (Choice((Filled(one),), (one,)), Choice((), ("/run/holdall",))))

    def _command(self) -> tuple[str, ...]:
        program, *rest = self.manifest.argv
        if "/" in program and not program.startswith("/"):
            return (f"/app/{program}", *rest)
        if "/" not in program and _find(self.tree, f"bin/{program}") is not None:
            return (f"/app/bin/{program}", *rest)
        return (program, *rest)


def _within(places: tuple[Variable, ...], path: Variable) -> tuple[Choice, ...]:
    """`path`, when one of `places` was granted and holds it."""
    return tuple(Choice((Filled(one), Below((path,), (one,))), (path,)) for one in places)


def _find(tree: Tree, path: str) -> object:
    """The entry at `path`, None when there is none."""
    index = bisect_left(tree.entries, path, key=attrgetter("path"))
    found = tree.entries[index : index + 1]
    return found[0] if found and found[0].path == path else None


def _names_in(tree: Tree, folder: str) -> Iterator[str]:
    """The names right below `folder`."""
    start = f"{folder}/"
    for entry in tree.entries[bisect_left(tree.entries, start, key=attrgetter("path")) :]:
        if not entry.path.startswith(start):
            return
        if "/" not in entry.path[len(start) :]:
            yield entry.path[len(start) :]
