"""The sockets of a session that permissions let in: display, sound, and filtered message buses.

Each is bound at a path that is always the same inside, from wherever the session has it; one that
is not there is left out, and so is the variable that would name it.
"""

from collections.abc import Iterator
from typing import NamedTuple

from holdall.desktop.script import (
    Below,
    Choice,
    Choose,
    Cut,
    Filled,
    Group,
    Is,
    Item,
    Not,
    Step,
    Variable,
    Word,
)
from holdall.model.manifest import Manifest

HOME, RUN = Variable("home"), Variable("run")
INSIDE_RUN: Word = ("/run/user/", Variable("uid"))


class Bus(NamedTuple):
    """A filtered message bus: where it is, by variable, and what the app may say on it."""

    name: str
    address: Variable
    rules: tuple[str, ...]


def socket_steps(manifest: Manifest) -> Iterator[Step]:
    """The sockets of the session that the permissions name, where they are there."""
    permissions = manifest.permissions
    if permissions.x11:
        screen, socket, cookie = Variable("screen"), Variable("x11"), Variable("cookie")
        yield Cut(screen, Variable("DISPLAY"), (":",), ".")
        path: Word = ("/tmp/.X11-unix/X", screen)  # noqa: S108 - where X servers listen
        yield Choose(socket, (Choice((Filled(screen), Is("S", path)), path),))
        shown = (Filled(Variable("DISPLAY")),) if permissions.network else (Filled(socket),)
        yield Choose(Variable("display"), (Choice(shown, (Variable("DISPLAY"),)),))
        named: Word = (Variable("XAUTHORITY"),)
        usual: Word = (HOME, "/.Xauthority")
        yield Choose(cookie, (Choice((Is("f", named),), named), Choice((Is("f", usual),), usual)))
    if permissions.wayland:
        name = Variable("WAYLAND_DISPLAY")
        yield Choose(
            Variable("wayland"),
            (
                Choice((Below((name,), ()), Is("S", (name,))), (name,)),
                Choice((Filled(name), Is("S", (RUN, "/", name))), (RUN, "/", name)),
                Choice((Not(Filled(name)), Is("S", (RUN, "/wayland-0"))), (RUN, "/wayland-0")),
            ),
        )
    if permissions.pulseaudio:
        server, named = Variable("server"), (Variable("server"),)
        usual = (RUN, "/pulse/native")
        yield Cut(server, Variable("PULSE_SERVER"), ("unix:",))
        yield Choose(
            Variable("pulse"),
            (Choice((Filled(server), Is("S", named)), named), Choice((Is("S", usual),), usual)),
        )
    if _session_rules(manifest):
        usual = (RUN, "/bus")
        address = Variable("DBUS_SESSION_BUS_ADDRESS")
        yield Choose(
            Variable("session"),
            (
                Choice((Filled(address),), (address,)),
                Choice((Is("S", usual),), ("unix:path=", *usual)),
            ),
        )
    if permissions.system_bus:
        address = Variable("DBUS_SYSTEM_BUS_ADDRESS")
        usual = ("/run/dbus/system_bus_socket",)
        yield Choose(
            Variable("system"),
            (
                Choice((Filled(address),), (address,)),
                Choice((Is("S", usual),), ("unix:path=", *usual)),
            ),
        )


def socket_items(manifest: Manifest) -> Iterator[Item]:
    permissions = manifest.permissions
    if permissions.x11:
        x11, display, cookie = Variable("x11"), Variable("display"), Variable("cookie")
        inside = ("/run/holdall/xauthority",)
        yield Group(x11, (("--ro-bind",), (x11,), (x11,)))
        yield Group(display, (("--setenv",), ("DISPLAY",), (display,)))
        yield Group(
            cookie, (("--ro-bind",), (cookie,), inside, ("--setenv",), ("XAUTHORITY",), inside)
        )
    if permissions.wayland:
        wayland, socket = Variable("wayland"), (*INSIDE_RUN, "/wayland-0")
        yield Group(
            wayland,
            (
                ("--ro-bind",),
                (wayland,),
                socket,
                ("--setenv",),
                ("WAYLAND_DISPLAY",),
                ("wayland-0",),
            ),
        )
    if permissions.pulseaudio:
        pulse, socket = Variable("pulse"), (*INSIDE_RUN, "/pulse/native")
        yield Group(
            pulse,
            (
                ("--ro-bind",),
                (pulse,),
                socket,
                ("--setenv",),
                ("PULSE_SERVER",),
                ("unix:", *socket),
            ),
        )
    filtered = buses(manifest)
    if filtered:
        # the folder and not the sockets: they appear in it while bwrap waits on --block-fd
        folder = Variable("bus")
        yield Group(
            folder,
            (
                ("--ro-bind",),
                (folder, "/bus"),
                ("/run/holdall/bus",),
                ("--block-fd",),
                ("8",),
                ("--sync-fd",),
                ("9",),
            ),
        )
    for bus in filtered:
        path = f"/run/holdall/bus/{bus.name}"
        usual = (*INSIDE_RUN, "/bus") if bus.name == "session" else ("/run/dbus/system_bus_socket",)
        yield Group(
            bus.address,
            (
                ("--setenv",),
                (f"DBUS_{bus.name.upper()}_BUS_ADDRESS",),
                (f"unix:path={path}",),
                ("--symlink",),
                (path,),
                usual,
            ),
        )


def _session_rules(manifest: Manifest) -> tuple[str, ...]:
    permissions, identity = manifest.permissions, manifest.id
    own = list(permissions.session_bus_own)
    if manifest.exports.dbus_services:
        own += [identity, f"{identity}.*"]
    return (
        *(f"--talk={name}" for name in permissions.session_bus),
        *(f"--own={name}" for name in dict.fromkeys(own)),
    )


def buses(manifest: Manifest) -> tuple[Bus, ...]:
    session = _session_rules(manifest)
    system = tuple(f"--talk={name}" for name in manifest.permissions.system_bus)
    named = (("session", session), ("system", system))
    return tuple(Bus(name, Variable(name), rules) for name, rules in named if rules)
