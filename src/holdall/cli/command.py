"""A command as a value: how its arguments are declared, and what does it."""

import argparse
from collections.abc import Callable
from typing import NamedTuple

from holdall.cli.output import Output
from holdall.journeys.host import Host


class Command(NamedTuple):
    """`arguments` adds to a parser; `run` does the command and returns the exit code."""

    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Host, Output], int]
