"""``run`` and ``ps``.

Running becomes the launch file made at install; nothing heavy is loaded before, but for a file.
"""

import argparse
import os

from holdall.cli.command import Command
from holdall.cli.output import Output
from holdall.desktop.start import described, must_be_mounted, start
from holdall.errors import NotFoundError, RemovedError, UsageError
from holdall.journeys.host import Host
from holdall.journeys.recovery import recover_if_needed
from holdall.model.ref import RefPattern
from holdall.store.steady import chosen_anew

_ENDING = ".holdall"


def _run(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    # launch files name their version, and know the store but not where it exports to
    if not arguments.version:
        recover_if_needed(host, out.report)
    if _is_file(arguments, host):
        from holdall.cli.direct import run_file

        return run_file(arguments.ref, arguments, host, out)
    if arguments.trust_key or arguments.insecure_unsigned or arguments.allow_downgrade:
        raise UsageError(
            "--trust-key, --insecure-unsigned and --allow-downgrade go with a bundle's file; what "
            "is installed was let in before."
        )
    # another version may have become active, and this one been removed, just now
    return chosen_anew(lambda: _start(arguments, host, out))


def _is_file(arguments: argparse.Namespace, host: Host) -> bool:
    """Whether a bundle's file is meant: what cannot be the name of an app, or ends as files do.

    What is installed comes before a file; "./" makes a file of anything.
    """
    word = arguments.ref
    try:
        pattern = RefPattern.parse(word)
    except UsageError:
        return word == "-" or "/" in word or word.endswith(_ENDING) or os.path.lexists(word)
    if arguments.version or not word.endswith(_ENDING):
        return False
    return not any(pattern.matches(ref) for ref in host.catalog.refs(pattern.id))


def _start(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    try:
        deployment = host.catalog.current(RefPattern.parse(arguments.ref))
    except NotFoundError as error:
        if isinstance(error, RemovedError) or not os.path.isfile(arguments.ref):
            raise
        raise NotFoundError(
            f"{arguments.ref} is not installed; write ./{arguments.ref} to run the file of that "
            "name."
        ) from error
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
    parser.add_argument(
        "ref",
        metavar="REF|FILE",
        help="id, id//branch or id/arch/branch; or a bundle's file, which runs without being "
        "installed (what ends in .holdall, or cannot be a name: with ./ before it, anything)",
    )
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
    parser.add_argument(
        "--trust-key",
        metavar="FINGERPRINT",
        help="of a FILE: trust this key for the app, on its first use here",
    )
    parser.add_argument(
        "--insecure-unsigned", action="store_true", help="of a FILE: take one that nobody signed"
    )
    parser.add_argument(
        "--allow-downgrade",
        action="store_true",
        help="of a FILE: take a version older than one that was installed here",
    )


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
