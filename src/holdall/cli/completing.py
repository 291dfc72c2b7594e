"""``completion``: a script that completes commands and options in bash, zsh or tcsh."""

import argparse

from holdall.cli.command import Command
from holdall.cli.output import Output
from holdall.journeys.host import Host


def _completion(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    import shtab

    from holdall.cli.main import whole_parser

    print(shtab.complete(whole_parser(), shell=arguments.shell))
    return 0


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="which shell")


COMMANDS = {"completion": Command(_arguments, _completion)}
