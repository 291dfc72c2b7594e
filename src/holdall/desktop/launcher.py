"""Launch files: a sandbox written down at install, so that starting an app needs sh and bwrap only.

Beside a deployment's `files` stand ``launch.args`` (bwrap's fixed arguments, each ended by a NUL),
and for an app ``launch`` (POSIX sh) and ``launch.seccomp``. A ref's stub finds the active version's
``launch`` by one open and becomes it. Explanation: docs/explanation/launch.md.
"""

import os
import sys
from pathlib import Path
from typing import Final

from holdall.desktop.sandbox import Place, Sandbox, host_root, plan, runtime_arguments
from holdall.desktop.script import (
    Choice,
    Choose,
    Filled,
    Group,
    Is,
    Item,
    Not,
    Require,
    RequireProgram,
    Step,
    Variable,
    encoded,
    quoted,
    steps,
    words,
)
from holdall.desktop.seccomp import filter_for
from holdall.desktop.sockets import Bus
from holdall.model.manifest import Manifest
from holdall.model.ref import Ref
from holdall.model.tree import Tree
from holdall.store.layout import NOT_MOUNTED, PASSING

LAUNCH: Final = "launch"
ARGUMENTS: Final = "launch.args"
FILTER: Final = "launch.seccomp"

_TRIES = 5
_ROOT_FOLDERS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_COMMAND, _OWN = Variable("HOLDALL_COMMAND"), Variable("own")
_FIXED, _RUNTIME, _BUS = Variable("fixed"), Variable("runtime"), Variable("bus")

# bwrap reads its arguments at descriptors 3 and 4 and the filter at 5, makes /etc/passwd and
# /etc/group of 6 and 7, and waits at 8 and 9 for the bus; with HOLDALL_DRY_RUN it is printed.
_DRY_RUN = """\
start=exec
if [ -n "$HOLDALL_DRY_RUN" ]; then
start='printf %s\\0'
else
fixed=3 runtime=4
fi
"""
# The proxy writes a byte when its sockets listen and ends when bwrap does: 8 and 9 are one pipe.
_START_BUS = """\
bus=
if [ -n "$session$system" ]; then
if [ -n "$HOLDALL_DRY_RUN" ]; then
bus=${run:-/tmp}/holdall.XXXXXXXXXX
proxy $start xdg-dbus-proxy
else
bus=$(mktemp -d -- "${run:-/tmp}/holdall.XXXXXXXXXX") || exit 6
mkdir -- "$bus/bus" && mkfifo -m 600 -- "$bus/ready" || exit 6
(trap '' HUP INT TERM
proxy xdg-dbus-proxy 9>"$bus/ready"
rm -rf -- "$bus") </dev/null >/dev/null &
exec 8<"$bus/ready" 9<&8
fi
fi
"""
_ACCOUNTS = """\
$name:x:$uid:$gid::$inside:/bin/sh
nobody:x:65534:65534::/:/bin/false
PASSWD
$name:x:$gid:
nogroup:x:65534:
GROUP
"""


def launch_files(
    manifest: Manifest, tree: Tree, place: Place, *, machine: str | None = None
) -> dict[str, bytes]:
    """The launch files of a deployment by name, to be written beside its `files`.

    `place` is where the deployment will lie once it is published. For a runtime the same call
    makes the arguments it adds to its apps. Only looks at how this machine lays out its own /usr;
    raises UsageError for a permission that cannot be given.
    """
    if manifest.kind == "runtime":
        return {ARGUMENTS: _terminated(runtime_arguments(tree, place))}
    sandbox = plan(manifest, tree, place, host_root(_root_folders()))
    program = filter_for(machine or os.uname().machine)
    files = {
        ARGUMENTS: _terminated(sandbox.fixed),
        LAUNCH: encoded(_launch(manifest, sandbox, place, filtered=program is not None)),
    }
    return files if program is None else {**files, FILTER: program}


def compile_stub(ref: Ref, store: str) -> bytes:
    """The stable, executable launch file of a ref: becomes the active version's, or says why not.

    `store` is an absolute path. Status 3 and a sentence when the ref is not installed.
    """
    launch = quoted(f"{store}/active/{ref}/{LAUNCH}")
    sentence = quoted(f"holdall: {ref} is not installed; install it with: holdall install {ref}")
    return encoded(
        f"#!/bin/sh\n# Starts the active version of {ref}. Made by holdall.\n"
        f"launch={launch}\n"
        f"[ -r \"$launch\" ] || {{ printf '%s\\n' {sentence} >&2; exit 3; }}\n"
        '. "$launch"\n'
    )


def _launch(manifest: Manifest, sandbox: Sandbox, place: Place, *, filtered: bool) -> str:
    runtime = manifest.runtime_ref
    arguments: list[Item] = [("--args",), (_FIXED,)]
    redirected = f"3<{quoted(f'{place.deployment}/{ARGUMENTS}')}"
    before: list[Step] = [
        RequireProgram("bwrap", "bubblewrap"),
        Choose(_FIXED, (Choice((), (f"{place.deployment}/{ARGUMENTS}",)),)),
    ]
    if runtime is not None:
        active = f"{place.store}/active/{runtime}/{ARGUMENTS}"
        sentence = f"{manifest.id} runs on {runtime}, which is not installed; install that first."
        before.append(Require(Is("r", (active,)), sentence, 3))
        before.append(Choose(_RUNTIME, (Choice((), (active,)),)))
        arguments += [("--args",), (_RUNTIME,)]
        redirected += f" 4<{quoted(active)}"
    if filtered:
        arguments += [("--seccomp",), ("5",)]
        redirected += f" 5<{quoted(f'{place.deployment}/{FILTER}')}"
    else:
        arguments.append(("--new-session",))
    command: tuple[Item, ...] = (
        ("--",),
        Group(_COMMAND, ((_COMMAND,),)),
        Group(_OWN, tuple((one,) for one in sandbox.command)),
    )
    name = Variable("USER")
    after: tuple[Step, ...] = (
        Choose(_OWN, (Choice((Not(Filled(_COMMAND)),), ("1",)),)),
        Choose(Variable("name"), (Choice((Filled(name),), (name,)), Choice((), ("user",)))),
    )
    return (
        f"#!/bin/sh\n# Starts {manifest.ref} {manifest.version}. Made by holdall.\n"
        + _unless_mounted(manifest, place)
        + steps((*before, *sandbox.steps, *after))
        + _DRY_RUN
        + _buses(sandbox.buses)
        + _unless_changed(manifest, place)
        + f'$start bwrap {words((*arguments, *sandbox.items, *command))} "$@"'
        + f" {redirected} 6<<PASSWD 7<<GROUP\n{_ACCOUNTS}"
    )


def _unless_mounted(manifest: Manifest, place: Place) -> str:
    """The lines that have holdall mount first what lies in no plain folder: it comes back here.

    For what is not installed holdall did before it came here.
    """
    if not place.installed:
        return ""
    digest = os.path.basename(place.deployment)
    named = f"--root {quoted(place.store)} run {manifest.ref} --version {digest}"
    interpreter = quoted(sys.executable or "/usr/bin/python3")
    sentence = (
        f"{manifest.id} lies in an image, and the holdall that mounts it is gone: put holdall on "
        "the PATH."
    )
    return (
        f'if [ -z "$HOLDALL_DRY_RUN" ] && [ "$HOLDALL_ENTERED" != {quoted(place.deployment)} ]'
        f" && {{ {_missing(manifest, place, passing=True)}; }}; then\n"
        f'set -- {named} ${{HOLDALL_COMMAND:+--command="$HOLDALL_COMMAND"}} -- "$@"\n'
        # -P: the working directory may be anyone's, and is no place for modules
        f'[ -x {interpreter} ] && exec {interpreter} -P -m holdall "$@"\n'
        'command -v holdall >/dev/null && exec holdall "$@"\n'
        f"printf '%s\\n' {quoted(f'holdall: {sentence}')} >&2; exit 7\n"
        "fi\n"
    )


def _unless_changed(manifest: Manifest, place: Place) -> str:
    """The last lines before the sandbox: they begin anew where the version was converted meanwhile.

    A few times: an app may have a file of that name. Between them and the sandbox's own mounts are
    the milliseconds that bwrap takes to start.
    """
    sentence = f"{manifest.id} {manifest.version} was removed in this moment."
    if not place.installed:
        return _unless_runtime_changed(manifest, place)
    return (
        'if [ -z "$HOLDALL_DRY_RUN" ]; then\n'
        f"[ -r {quoted(f'{place.deployment}/{ARGUMENTS}')} ]"
        f" || {{ printf '%s\\n' {quoted(f'holdall: {sentence}')} >&2; exit 3; }}\n"
        f'if [ "${{#HOLDALL_AGAIN}}" -lt {_TRIES} ] && {{ {_missing(manifest, place)}; }}; then\n'
        'export HOLDALL_AGAIN="x$HOLDALL_AGAIN" HOLDALL_ENTERED=\n'
        f'exec /bin/sh {quoted(f"{place.deployment}/{LAUNCH}")} "$@"\n'
        "fi\nfi\n"
    )


def _unless_runtime_changed(manifest: Manifest, place: Place) -> str:
    """The same of an app that is not installed: only its runtime can be another one by now."""
    if manifest.runtime_ref is None:
        return ""
    sentence = f"{manifest.runtime_ref} was changed in this moment; start the app again."
    return (
        f'if [ -z "$HOLDALL_DRY_RUN" ] && {{ {_missing(manifest, place)}; }}; then\n'
        f"printf '%s\\n' {quoted(f'holdall: {sentence}')} >&2; exit 5\n"
        "fi\n"
    )


def _missing(manifest: Manifest, place: Place, *, passing: bool = False) -> str:
    """A test of whether the files of the app or its runtime are not to be seen.

    With `passing` also of whether they may be only for a moment.
    """
    folders = [place.deployment]
    if manifest.runtime_ref is not None:
        folders.append(f"{place.store}/active/{manifest.runtime_ref}")
    # a link leads to nothing while the store's own volume is not mounted
    tests = [
        f"[ -e {quoted(f'{folder}/files/{NOT_MOUNTED}')} ]"
        f" || {{ [ -h {quoted(f'{folder}/files')} ] && [ ! -d {quoted(f'{folder}/files')} ]; }}"
        for folder in folders
    ]
    if passing:
        tests += [f"[ -e {quoted(f'{folder}/{PASSING}')} ]" for folder in folders]
    return " || ".join(tests)


def _buses(buses: tuple[Bus, ...]) -> str:
    """The lines that start a filtering proxy for the buses the app may talk on, none for none."""
    if not buses:
        return ""
    proxied: tuple[Item, ...] = tuple(
        Group(
            bus.address,
            (
                (bus.address,),
                (_BUS, f"/bus/{bus.name}"),
                ("--filter",),
                *((one,) for one in bus.rules),
            ),
        )
        for bus in buses
    )
    missing = {"session", "system"} - {bus.name for bus in buses}
    needed = tuple(RequireProgram("xdg-dbus-proxy", "xdg-dbus-proxy", bus.address) for bus in buses)
    return (
        "".join(f"{name}=\n" for name in sorted(missing))
        + steps(needed)
        + f'proxy() {{ "$@" --fd=9 {words(proxied)}; }}\n'
        + _START_BUS
    )


def _root_folders() -> dict[str, str | None]:
    """What /bin and its like are on this machine: the target of a link, or None for a folder."""
    found: dict[str, str | None] = {}
    for path in _ROOT_FOLDERS:
        try:
            found[path] = str(Path(path).readlink())
        except FileNotFoundError:
            continue
        except OSError:
            found[path] = None
    return found


def _terminated(arguments: tuple[str, ...]) -> bytes:
    return b"".join(os.fsencode(argument) + b"\0" for argument in arguments)
