"""``completion``: a script that completes commands, options and files in bash, zsh or tcsh."""

import argparse

from holdall.cli.command import Command
from holdall.cli.output import Output
from holdall.journeys.host import Host


def _completion(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    import shtab

    from holdall.cli.main import whole_parser

    parser = whole_parser()
    _complete_paths(parser, shtab.FILE, shtab.DIRECTORY)
    print(shtab.complete(parser, shell=arguments.shell))
    return 0


def _complete_paths(parser: argparse.ArgumentParser, file: object, folder: object) -> None:
    """Say of every argument that its name calls a file or a folder that it is one."""
    for action in parser._actions:  # noqa: SLF001 - argparse offers no other way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for child in action.choices.values():
                _complete_paths(child, file, folder)
        words = str(action.metavar or "").split("|")
        if "FILE" in words or "DIR" in words:
            action.complete = file if "FILE" in words else folder  # type: ignore[attr-defined]  # shtab's


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"), help="which shell")


COMMANDS = {"completion": Command(_arguments, _completion)}
