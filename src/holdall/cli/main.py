"""``holdall``: finds the command and turns errors into sentences and exit codes.

Starting must be quick: a module is imported when its command is called, and costly ones inside of
it later still.
"""

import argparse
import gc
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple, NoReturn, cast

from holdall import __version__
from holdall.cli.command import Command, shared_options
from holdall.cli.output import Output
from holdall.errors import HoldallError, UsageError
from holdall.journeys.host import Host, root_host, system_host, user_host


class Row(NamedTuple):
    """One command of the table: its name, the module that has it, and what it does in a line."""

    name: str
    module: str
    summary: str


COMMANDS = (
    Row("init", "publishing", "write a source folder to start from"),
    Row("build", "publishing", "make a signed bundle of a source folder"),
    Row("inspect", "inspecting", "show what is in a bundle, and who signed it"),
    Row("import", "importing", "make a source folder from Debian packages or Python wheels"),
    Row("key", "keys", "make, show and exchange signing keys; decide whom to trust"),
    Row("install", "apps", "install a bundle"),
    Row("update", "apps", "update an installed app from a bundle"),
    Row("rollback", "apps", "go back to a version that is still installed"),
    Row("remove", "removing", "remove an app, or one version of it"),
    Row("convert", "forming", "bring an installed app to another form"),
    Row("list", "lists", "list what is installed"),
    Row("info", "lists", "show everything about an installed app"),
    Row("history", "lists", "show what happened to an app"),
    Row("path", "lists", "print the folder that holds an app's files"),
    Row("mount", "mounting", "show an app's files in a folder, whatever its form"),
    Row("unmount", "mounting", "end what `mount` began"),
    Row("du", "lists", "show what apps take on the disk, and what versions share"),
    Row("run", "running", "run an app in its sandbox"),
    Row("ps", "running", "list what runs"),
    Row("timer", "timer", "update apps by themselves, regularly"),
    Row("verify", "care", "check installed files against what was signed"),
    Row("repair", "care", "mend damaged files from a bundle"),
    Row("gc", "care", "free what is no longer needed, and old versions"),
    Row("forms", "forms", "show what each installed form gives on this machine"),
    Row("settings", "settings", "show and change what is set for a store"),
    Row("export", "care", "show an app in the host's menus again"),
    Row("unexport", "care", "take an app out of the host's menus"),
    Row("remote", "remotes", "add, list and remove the repositories to get apps from"),
    Row("search", "searching", "find apps that remotes offer"),
    Row("repo", "repositories", "make and keep a repository that any web server hands out"),
    Row("completion", "completing", "print a completion script for a shell"),
)


class _Parser(argparse.ArgumentParser):
    """argparse with this program's errors: one sentence, exit code 2."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:]}; see `{self.prog} --help`.")


def entry() -> NoReturn:
    """The command ``holdall``."""
    gc.disable()  # a short life; what is made is kept to its end
    try:
        _have_streams()
        try:
            code = main(sys.argv[1:])
        except SystemExit as asked:  # help was
            code = int(asked.code or 0)
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = 1  # whoever read along has seen enough
    except KeyboardInterrupt:
        code = 130
    os._exit(code)  # everything is flushed; taking the interpreter apart would cost 3 ms


def main(argv: Sequence[str]) -> int:
    """Do what a command line says; returns the exit code."""
    out = Output(json="--json" in _before_rest(argv))
    try:
        arguments, row = _parse(list(argv))
        command = _command(row)
        return command.run(arguments, _host(arguments), out)
    except HoldallError as error:
        return out.fail(error)
    except BrokenPipeError:
        raise
    except OSError as error:
        from holdall.system.files import in_words

        return out.fail(in_words(error, "The operating system refused"))
    except RecursionError:
        return out.fail(HoldallError("The input is nested too deeply."))


def _have_streams() -> None:
    """Open nothing in place of standard streams that whoever started this has closed."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - to the end


def whole_parser() -> argparse.ArgumentParser:
    """The parser of everything, for documentation and completion."""
    parser, table = _outer()
    for row in COMMANDS:
        _command(row).arguments(_add(table, row))
    return parser


def _parse(argv: list[str]) -> tuple[argparse.Namespace, Row]:
    name = next((word for word in _commands_in(argv)), None)
    row = next((row for row in COMMANDS if row.name == name), None)
    rest: list[str] = []
    if row is not None and row.name == "run" and "--" in argv:
        at = argv.index("--")
        argv, rest = argv[:at], argv[at + 1 :]
    parser, table = _outer()
    for known in COMMANDS if row is None else (row,):
        child = _add(table, known)
        if known is row:
            _command(row).arguments(child)
    if name is not None and row is None:
        raise UsageError(f"There is no command {name!r}; `holdall --help` lists them.")
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:
        raise UsageError(f"Unrecognized arguments: {' '.join(unknown)}; {_advice(row)}.")
    if row is None:
        parser.print_help()
        raise SystemExit(2)
    arguments.rest = rest
    return arguments, row


def _advice(row: Row | None) -> str:
    """What helps who wrote options that a command does not have."""
    if row is not None and row.name == "run":
        return "write -- before what is for the app"
    return f"see `holdall {row.name} --help`" if row else "see `holdall --help`"


def _outer() -> "tuple[_Parser, argparse._SubParsersAction[_Parser]]":
    parser = _Parser(
        prog="holdall", description="One signed bundle, every installed form.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"holdall {__version__}")
    shared_options(parser, None)
    table = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    return parser, table


def _add(table: "argparse._SubParsersAction[_Parser]", row: Row) -> argparse.ArgumentParser:
    child = table.add_parser(
        row.name,
        help=row.summary,
        description=f"{row.summary[:1].upper()}{row.summary[1:]}.",
        allow_abbrev=False,
    )
    shared_options(child, argparse.SUPPRESS)
    return child


def _host(arguments: argparse.Namespace) -> Host:
    wait = arguments.wait or 0.0
    if arguments.root is not None:
        return root_host(arguments.root, export_to=arguments.export_to, wait=wait)
    if arguments.export_to is not None:
        raise UsageError("--export-to goes with --root DIR.")
    return system_host(wait=wait) if arguments.system else user_host(wait=wait)


def _command(row: Row) -> Command:
    module = importlib.import_module(f"holdall.cli.{row.module}")
    return cast("Command", module.COMMANDS[row.name])


def _before_rest(argv: Sequence[str]) -> Sequence[str]:
    return argv[: list(argv).index("--")] if "--" in argv else argv


def _commands_in(argv: list[str]) -> list[str]:
    """The words that are neither options nor their values, the first of which is the command."""
    words, skip = [], False
    for at, word in enumerate(argv):
        if skip:
            skip = False
        elif word in {"--root", "--export-to"}:
            skip = True
        elif word == "--wait":
            skip = at + 1 < len(argv) and argv[at + 1].replace(".", "", 1).isdigit()
        elif word == "--":
            break
        elif not word.startswith("-"):
            words.append(word)
    return words
