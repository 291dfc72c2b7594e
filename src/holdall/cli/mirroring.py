"""``repo mirror``: a part of a remote repository in a folder."""

import argparse

from holdall.cli.command import Command
from holdall.cli.output import Output, size_of
from holdall.journeys.host import Host


def _mirror(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    from holdall.journeys.mirror import MirrorOptions, mirror
    from holdall.model.ref import RefPattern

    options = MirrorOptions(
        root=arguments.trust_root or "",
        all_versions=arguments.all_versions,
        dry_run=arguments.dry_run,
    )
    made = mirror(
        arguments.source,
        arguments.directory,
        host,
        [RefPattern.parse(ref) for ref in arguments.refs],
        options=options,
        report=out.report,
    )
    what = f"{len(made.refs)} apps and runtimes, {size_of(made.size)}"
    if arguments.dry_run:
        lines = [f"Would have {what}; {size_of(made.fetched)} to fetch."]
    else:
        lines = [
            f"{arguments.directory} has {what}; fetched {size_of(made.fetched)}.",
            f"Its fingerprint: {made.root}",
            f"Clients take it until {made.expires}.",
        ]
    out.result(made._asdict(), lines)
    return 0


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SRC", help="a remote's name, an address or a folder")
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument("refs", metavar="REF", nargs="*", help="only these, and their runtimes")
    parser.add_argument(
        "--trust-root",
        metavar="FINGERPRINT|FILE",
        help="the root to trust, where SRC is no remote of this store",
    )
    parser.add_argument(
        "--all-versions", action="store_true", help="every release, not only the newest"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be fetched")


PARTS = {"mirror": Command(_arguments, _mirror)}
