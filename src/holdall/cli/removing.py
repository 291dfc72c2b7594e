"""``remove``, which returns at once.

Apart from the other commands, since it loads next to nothing.
"""

import argparse

from holdall.cli.command import Command
from holdall.cli.output import Output
from holdall.journeys.host import Host
from holdall.journeys.switch import remove, remove_data
from holdall.model.ref import RefPattern


def _remove(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    switch = remove(
        RefPattern.parse(arguments.ref),
        host,
        version=arguments.version,
        force=arguments.force,
        dry_run=arguments.dry_run,
        report=out.report,
    )
    if arguments.data and not arguments.dry_run and switch.after is None:
        remove_data(switch.ref.id, host)
    verb = "Would remove" if arguments.dry_run else "Removed"
    lines = [f"{verb} {switch.ref} {', '.join(switch.removed)}."]
    if switch.after is not None and switch.after != switch.before:
        lines.append(f"{switch.after} is the active version now.")
    out.result({**switch._asdict(), "ref": str(switch.ref)}, lines)
    return 0


def _remove_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ref", metavar="REF", help="id, id//branch or id/arch/branch")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--version", metavar="V", help="only this version")
    which.add_argument("--all", action="store_true", help="every version (the default)")
    parser.add_argument("--data", action="store_true", help="also what the app has stored for you")
    parser.add_argument(
        "--force", action="store_true", help="remove a runtime although apps need it"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")


COMMANDS = {"remove": Command(_remove_arguments, _remove)}
