"""``run`` of a bundle's file, which is not installed."""

import argparse
import os
from shlex import join

from holdall.cli.output import Output, asker
from holdall.desktop.start import described, start
from holdall.errors import UsageError
from holdall.journeys.direct import enter_bundle
from holdall.journeys.host import Host
from holdall.journeys.trusting import TrustChoice


def run_file(path: str, arguments: argparse.Namespace, host: Host, out: Output) -> int:
    """Become the app in the bundle at `path`, or say what would be run."""
    if path == "-" or "://" in path:
        raise UsageError(
            "`holdall run` reads a bundle where it lies, again and again: save it to a file first, "
            "or `holdall install` it."
        )
    if arguments.version:
        raise UsageError("--version goes with the name of an app, not with a file.")
    choice = TrustChoice(
        trust_key=arguments.trust_key,
        insecure_unsigned=arguments.insecure_unsigned,
        allow_downgrade=arguments.allow_downgrade,
        ask=asker(out),
    )
    dry_run = arguments.dry_run
    entered = enter_bundle(path, host, choice=choice, report=out.report, dry_run=dry_run)
    rest = [*arguments.arguments, *arguments.rest]
    command = arguments.with_command or ""
    if not dry_run:
        out.end_progress()
        return start(entered.folder, rest, os.environ, command=command, entered=True)
    commands = described(entered.folder, rest, os.environ, command=command)
    value = {"ref": str(entered.ref), "version": entered.version, "file": path}
    out.result({**value, "commands": commands}, [join(argv) for argv in commands])
    return 0
