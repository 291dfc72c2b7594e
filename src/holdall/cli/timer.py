"""``timer``: automatic updates by systemd."""

import argparse
import os
import sys

from holdall.cli.command import Command, shared_options
from holdall.cli.output import Output
from holdall.desktop.units import DAY, SERVICE, Wish, calendar, units
from holdall.errors import UsageError
from holdall.journeys import timer
from holdall.journeys.host import Host
from holdall.journeys.timer import Manager

# What the user's session may have set, and its manager not; nothing secret.
_PASSED_ON = ("XDG_DATA_HOME", "HOLDALL_CA_BUNDLE")


def _enable(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    manager = _manager(arguments, host)
    system = ("--system",) if manager.system else ()
    passed = () if manager.system else _PASSED_ON
    environment = {name: os.environ[name] for name in passed if os.environ.get(name)}
    command = (*own_program(sys.argv[0]), *system, "update")
    wish = Wish(command, arguments.every, environment, manager.system)
    done = timer.enable(manager, wish, force=arguments.force, dry_run=arguments.dry_run)
    if arguments.dry_run:
        texts = {manager.path(name): text for name, text in units(wish).items()}
        lines = [
            line
            for path, text in texts.items()
            for line in (f"Would write {path}:", "", *text.splitlines(), "")
        ]
        start = "start the timer" if done.running else f"have it start with {_later(manager)}"
        out.result(done._asdict() | {"units": texts}, [*lines, f"And {start}."])
        return 0
    when = "daily" if arguments.every == DAY else f"every {arguments.every} hours"
    begins = "from now on" if done.running else f"from {_later(manager)} on"
    out.result(done._asdict(), [f"Apps are updated {when}, {begins}: {calendar(arguments.every)}."])
    return 0


def _enable_arguments(parser: argparse.ArgumentParser) -> None:
    when = parser.add_mutually_exclusive_group()
    when.add_argument(
        "--daily", dest="every", action="store_const", const=DAY, help="once a day (the default)"
    )
    when.add_argument(
        "--every", metavar="HOURS", type=_hours, help="every so many hours, counted from midnight"
    )
    parser.set_defaults(every=DAY)
    parser.add_argument(
        "--force", action="store_true", help="write units anew that were changed by hand"
    )
    parser.add_argument("--dry-run", action="store_true", help="only print the units")


def _disable(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    done = timer.disable(_manager(arguments, host), dry_run=arguments.dry_run)
    would = "Would remove" if arguments.dry_run else "Removed"
    lines = [f"{would} {path}" for path in done.removed]
    lines += [f"{path} was changed by hand and stays." for path in done.kept]
    out.result(done._asdict(), lines or ["Automatic updates were not on."])
    return 0


def _disable_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")


def _status(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    manager = _manager(arguments, host)
    found = timer.status(manager)
    out.result(found._asdict(), _told(found, manager))
    return 0


def _told(found: timer.Status, manager: Manager) -> list[str]:
    log = "" if manager.system else "--user "
    if not found.enabled:
        return ["Automatic updates are off; `holdall timer enable` turns them on."]
    lines = [f"Automatic updates are on: {found.schedule or 'at times of your own'}."]
    if found.units == "changed":
        lines.append("The units were changed by hand.")
    if found.units == "none":
        lines.append("But the units are gone; `holdall timer enable` writes them anew.")
    elif found.program and not found.startable:
        lines.append(
            f"But {found.program[0]} is not there any more; `holdall timer enable` names the "
            "program anew."
        )
    if not found.active:
        lines.append(f"The timer does not run now; it starts with {_later(manager)}.")
    if found.next:
        lines.append(f"Next: {found.next}.")
    if found.last:
        lines.append(f"Last: {found.last}, {found.result}.")
    if "status" in found.result:
        lines.append(f"Why: `journalctl {log}--unit {SERVICE}`, or `holdall update` yourself.")
    return lines


def _later(manager: Manager) -> str:
    return f"the next {'start of the machine' if manager.system else 'login'}"


def _no_arguments(parser: argparse.ArgumentParser) -> None:
    """Takes no arguments of its own."""


_ACTIONS = {
    "enable": ("update apps regularly by themselves", Command(_enable_arguments, _enable)),
    "disable": ("stop that, and remove its units", Command(_disable_arguments, _disable)),
    "status": ("show whether, when and with what result", Command(_no_arguments, _status)),
}


def _arguments(parser: argparse.ArgumentParser) -> None:
    table = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, (summary, command) in _ACTIONS.items():
        child = table.add_parser(
            name,
            help=summary,
            description=f"{summary[:1].upper()}{summary[1:]}.",
            allow_abbrev=False,
        )
        shared_options(child, argparse.SUPPRESS)
        command.arguments(child)


def _run(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    return _ACTIONS[arguments.action][1].run(arguments, host, out)


def own_program(argv0: str) -> tuple[str, ...]:
    """How this very holdall is started again: the command it was called by, or its module."""
    path = os.path.abspath(argv0)
    name = os.path.basename(path)
    if name != "__main__.py" and os.path.isfile(path) and os.access(path, os.X_OK):
        return (path,)
    return (sys.executable, "-m", "holdall")


def _manager(arguments: argparse.Namespace, host: Host) -> Manager:
    if arguments.root is not None:
        raise UsageError(
            "A timer updates your own store, or with --system the machine's; for one under --root "
            "call `holdall --root DIR update` from a timer of your own."
        )
    if arguments.system:
        return Manager("/etc/systemd/system", system=True)
    base = os.environ.get("XDG_CONFIG_HOME", "")
    config = base if base.startswith("/") else os.path.expanduser("~/.config")
    return Manager(f"{config}/systemd/user")


def _hours(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= DAY:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of hours from 1 to {DAY}")
    return int(text)


COMMANDS = {"timer": Command(_arguments, _run)}
