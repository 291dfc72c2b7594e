"""``search``: apps that remotes offer."""

import argparse

from holdall.cli.command import Command
from holdall.cli.output import Output, size_of
from holdall.journeys.host import Host
from holdall.journeys.searching import search


def _search(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    found = search(
        arguments.words,
        host,
        remote=arguments.remote or "",
        refresh=arguments.refresh,
        report=out.report,
    )
    rows = [item._asdict() for item in found]
    shown = [{**row, "download": size_of(row["download"])} for row in rows]
    installed = {"installed": "INSTALLED"} if any(item.installed for item in found) else {}
    columns = {
        "ref": "REF",
        "version": "VERSION",
        **installed,
        "download": "DOWNLOAD",
        "remote": "REMOTE",
        "summary": "SUMMARY",
    }
    words = " ".join(arguments.words)
    out.table(rows if out.json else shown, columns, empty=f"No remote has anything for {words}.")
    return 0


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "words",
        metavar="WORD",
        nargs="+",
        help="part of the id, the name, the summary or the developer; every one must be there",
    )
    parser.add_argument("--remote", metavar="NAME", help="search this remote only")
    parser.add_argument(
        "--refresh", action="store_true", help="ask the remotes anew, even within the hour"
    )


COMMANDS = {"search": Command(_arguments, _search)}
