"""``repo site``: pages for people, and a catalogue for software centres."""

import argparse

from holdall.cli.command import Command
from holdall.cli.output import Output
from holdall.journeys.host import Host


def _site(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    from holdall.journeys.site import SiteOptions, make_site

    options = SiteOptions(
        title=arguments.title or "",
        address=arguments.base_url or "",
        name=arguments.name or "",
        out=arguments.out or "",
        wait=host.wait,
    )
    made = make_site(arguments.directory, options, out.report)
    line = (
        f"{made.path}: pages of {made.apps} apps, {made.made} of them made anew; {made.written} "
        f"files written, {made.removed} removed."
    )
    out.result(made._asdict(), [line])
    return 0


def _site_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", help="the repository")
    parser.add_argument("--title", metavar="TEXT", help="what the pages are headed with")
    parser.add_argument(
        "--base-url", metavar="URL", help="where the repository is served; shown in its commands"
    )
    parser.add_argument(
        "--name", metavar="NAME", help="what users should call the repository (the title)"
    )
    parser.add_argument(
        "--out", metavar="DIR", help="write the pages here instead of into the repository"
    )


PARTS = {"site": Command(_site_arguments, _site)}
