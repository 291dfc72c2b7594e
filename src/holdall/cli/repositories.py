"""``repo``: the commands of those who run a repository, each in a module of the table `PARTS`.

Such a module has `PARTS`, a `Command` for each name, and imports what costs inside of them.
"""

import argparse
import importlib
from typing import NamedTuple, cast

from holdall.cli.command import Command, shared_options
from holdall.cli.output import Output
from holdall.journeys.host import Host


class Part(NamedTuple):
    """A command below ``repo``: its name, the module that has it, and what it does in a line."""

    name: str
    module: str
    summary: str


PARTS: tuple[Part, ...] = (
    Part("init", "repository_publishing", "make a repository, and keys for its roles"),
    Part("add", "repository_publishing", "add bundles, which the next publication puts out"),
    Part("delta", "repository_care", "make increments to the newest releases"),
    Part("publish", "repository_publishing", "sign and put out what was added"),
    Part("serve", "serving", "serve a repository, to try it out"),
    Part("site", "site", "make pages for people, and a catalogue for software centres"),
    Part("list", "repository_care", "list the apps in a repository"),
    Part("show", "repository_care", "show a repository's roles, or all that is offered of an app"),
    Part("gc", "repository_care", "remove what nobody needs any more"),
    Part("mirror", "mirroring", "copy a repository, or some apps of it, to install from offline"),
    Part("key", "repository_keys", "decide who signs, and who answers for which apps"),
)


def _arguments(parser: argparse.ArgumentParser) -> None:
    table = parser.add_subparsers(dest="part", metavar="ACTION", required=True)
    for part in PARTS:
        module = importlib.import_module(f"holdall.cli.{part.module}")
        command = cast("Command", module.PARTS[part.name])
        child = table.add_parser(
            part.name,
            help=part.summary,
            description=f"{part.summary[:1].upper()}{part.summary[1:]}.",
            allow_abbrev=False,
        )
        shared_options(child, argparse.SUPPRESS)
        command.arguments(child)
        child.set_defaults(act=command.run)


def _run(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    return int(arguments.act(arguments, host, out))


COMMANDS = {"repo": Command(_arguments, _run)}
