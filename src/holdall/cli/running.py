"""``run`` and ``ps``.

Running becomes the launch file made at install; nothing heavy is loaded before.
"""

import argparse
import os

from holdall.cli.command import Command
from holdall.cli.output import Output
from holdall.desktop.start import described, must_be_mounted, start
from holdall.errors import RemovedError, UsageError
from holdall.journeys.host import Host
from holdall.journeys.recovery import recover_if_needed
from holdall.model.ref import RefPattern
from holdall.store.steady import chosen_anew


def _run(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    # launch files name their version, and know the store but not where it exports to
    if not arguments.version:
        recover_if_needed(host, out.report)
    # another version may have become active, and this one been removed, just now
    return chosen_anew(lambda: _start(arguments, host, out))


def _start(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    deployment = host.catalog.current(RefPattern.parse(arguments.ref))
    if arguments.version:
        deployment = host.catalog.version(deployment.ref, arguments.version)
    if not os.path.exists(f"{deployment.path}/launch"):
        if not os.path.isdir(deployment.path):
            raise RemovedError(f"{deployment.ref} was removed in this moment.")
        raise UsageError(
            f"{deployment.ref} is a runtime; apps run on it, it does not run by itself."
        )
    rest = [*arguments.arguments, *arguments.rest]
    command = arguments.with_command or ""
    if arguments.dry_run:
        from shlex import join

        commands = described(deployment.path, rest, os.environ, command=command)
        out.result(
            {"ref": str(deployment.ref), "commands": commands}, [join(argv) for argv in commands]
        )
        return 0
    # a runtime alone that has to be mounted is found by the launch file, which comes back here
    entered = bool(arguments.version) or must_be_mounted(deployment.path)
    if entered:
        from holdall.journeys.mounting import enter

        enter(host, deployment)
    return start(deployment.path, rest, os.environ, command=command, entered=entered)


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ref", metavar="REF", help="id, id//branch or id/arch/branch")
    parser.add_argument(
        "arguments",
        metavar="ARG",
        nargs="*",
        help="passed to the app; after -- even those with dashes",
    )
    parser.add_argument(
        "--command",
        dest="with_command",
        metavar="CMD",
        help="run this program of the sandbox instead",
    )
    parser.add_argument(
        "--version", metavar="V", help="an installed version other than the active one"
    )
    parser.add_argument("--dry-run", action="store_true", help="only print what would be run")


def _ps(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    from holdall.journeys.running import running_apps

    rows = [item._asdict() | {"command": " ".join(item.command)} for item in running_apps(host)]
    note = {"note": "NOTE"} if any(row["note"] for row in rows) else {}
    columns = {"pid": "PID", "ref": "REF", "version": "VERSION", **note, "command": "COMMAND"}
    out.table(rows, columns, empty="Nothing runs.")
    return 0


def _nothing(parser: argparse.ArgumentParser) -> None:
    """Takes no arguments of its own."""


COMMANDS = {"run": Command(_run_arguments, _run), "ps": Command(_nothing, _ps)}
