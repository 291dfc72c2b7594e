"""``settings``: what is set for a store."""

import argparse

from holdall.cli.command import Command
from holdall.cli.output import Output
from holdall.errors import UsageError
from holdall.journeys import settings
from holdall.journeys.host import Host
from holdall.store.settings import VALUES


def _settings(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    name, value = arguments.name, arguments.value
    if name is None:
        if arguments.default:
            raise UsageError("Say which setting: `holdall settings NAME --default`.")
        return _list(host, out)
    if value is None and not arguments.default:
        found = settings.setting(host, name)
        out.result(found._asdict(), [found.value])
        return 0
    if value is not None and arguments.default:
        raise UsageError("VALUE and --default exclude each other.")
    changed = settings.change_setting(host, name, value)
    out.result(changed._asdict(), [f"{changed.name} is {_written(changed.value)} from now on."])
    return 0


def _list(host: Host, out: Output) -> int:
    rows = [item._asdict() for item in settings.settings(host)]
    shown = [
        {**row, "value": _written(row["value"]), "default": _written(row["default"])}
        for row in rows
    ]
    columns = {"name": "NAME", "value": "VALUE", "default": "DEFAULT", "meaning": "MEANING"}
    out.table(rows if out.json else shown, columns, empty="")
    return 0


def _written(value: str) -> str:
    return value or '""'


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name",
        metavar="NAME",
        nargs="?",
        choices=tuple(VALUES),
        help=f"which one: {', '.join(VALUES)} (without it, all are shown)",
    )
    parser.add_argument(
        "value", metavar="VALUE", nargs="?", help="what it shall be (without it, it is printed)"
    )
    parser.add_argument("--default", action="store_true", help="let it be as if it was never set")


COMMANDS = {"settings": Command(_arguments, _settings)}
