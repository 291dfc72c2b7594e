"""A command as a value: how its arguments are declared, and what does it; options of all."""

import argparse
from collections.abc import Callable
from typing import NamedTuple

from holdall.cli.output import Output
from holdall.journeys.host import Host


class Command(NamedTuple):
    """`arguments` adds to a parser; `run` does the command and returns the exit code."""

    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Host, Output], int]


def shared_options(
    parser: argparse.ArgumentParser, default: str | None, *, own_root: bool = False
) -> None:
    """The options every command takes, before or after its name.

    One that has an `own_root`, an option of that name with another meaning, takes it before.
    """
    where = parser.add_mutually_exclusive_group()
    false = default or False
    where.add_argument(
        "--user", action="store_true", default=false, help="use the user's own store (the default)"
    )
    where.add_argument(
        "--system", action="store_true", default=false, help="use the machine's store"
    )
    if not own_root:
        where.add_argument("--root", metavar="DIR", default=default, help="use a store under DIR")
    parser.add_argument(
        "--export-to",
        metavar="DIR",
        default=default,
        help="with --root: show apps below DIR, in share/ and bin/",
    )
    parser.add_argument("--json", action="store_true", default=false, help="print JSON")
    parser.add_argument(
        "--wait",
        metavar="SECONDS",
        type=float,
        nargs="?",
        const=float("inf"),
        default=default,
        help="wait for another process that changes the store (without SECONDS: until it ends)",
    )
