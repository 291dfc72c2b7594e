"""``remote``: the repositories that a store gets apps from."""

import argparse
from collections.abc import Callable
from typing import cast

from holdall.cli.command import Command, shared_options
from holdall.cli.output import Output
from holdall.errors import UsageError
from holdall.journeys import remotes
from holdall.journeys.host import Host
from holdall.journeys.remotes import Shown

_Act = Callable[[argparse.Namespace, Host, Output], int]


def _add(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    shown = remotes.add_remote(
        arguments.name, arguments.url, host, root=arguments.trusted_root, report=out.report
    )
    count = "" if shown.apps is None else f", with {_apps(shown.apps)}"
    out.result(shown._asdict(), [f"Added {shown.name}: {shown.url}{count}."])
    return 0


def _list(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    rows = [item._asdict() for item in remotes.remotes(host)]
    out.table(
        rows,
        {"name": "NAME", "url": "ADDRESS", "refreshed": "REFRESHED"},
        empty="No remote was added yet; `holdall remote add NAME URL --root FINGERPRINT` adds one.",
    )
    return 0


def _show(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    shown = remotes.show_remote(arguments.name, host)
    out.result(shown._asdict(), _lines(shown))
    return 0


def _remove(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    installed = remotes.remove_remote(arguments.name, host, report=out.report)
    lines = [f"Removed {arguments.name}."]
    if installed:
        lines.append(f"What was installed from it stays: {', '.join(installed)}.")
    out.result({"name": arguments.name, "installed": installed}, lines)
    return 0


def _set(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    if arguments.url is None:
        raise UsageError("Say what to set: --url URL.")
    shown = remotes.move_remote(arguments.name, arguments.url, host, report=out.report)
    out.result(shown._asdict(), [f"{shown.name} is at {shown.url} now."])
    return 0


def _lines(shown: Shown) -> list[str]:
    return [
        f"{shown.name}: {shown.url}",
        f"root: {shown.root}, version {shown.root_version}",
        f"refreshed: {shown.refreshed or 'never'}",
        f"expires: {shown.expires or 'unknown'}",
        f"apps: {'unknown until the first search' if shown.apps is None else shown.apps}",
        f"installed from it: {', '.join(shown.installed) or 'nothing'}",
    ]


def _apps(count: int) -> str:
    return f"{count} app{'' if count == 1 else 's'}"


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    _name(parser)
    parser.add_argument(
        "url",
        metavar="URL",
        help="where the repository is: http://, https:// or file://, or a folder",
    )
    parser.add_argument(
        "--root",
        dest="trusted_root",
        metavar="FILE|FINGERPRINT",
        required=True,
        help="the repository's root.json, or the SHA-256 of it, from somebody you trust",
    )


def _set_arguments(parser: argparse.ArgumentParser) -> None:
    _name(parser)
    parser.add_argument("--url", metavar="URL", help="another address of the same repository")


def _name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="what it is called here")


_ACTIONS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None], _Act]] = {
    "add": ("add a repository to get apps from", _add_arguments, _add),
    "list": ("list the remotes", lambda _parser: None, _list),
    "show": ("show everything about a remote", _name, _show),
    "set": ("change where a remote is", _set_arguments, _set),
    "remove": ("remove a remote; apps from it stay", _name, _remove),
}


def _arguments(parser: argparse.ArgumentParser) -> None:
    table = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, (summary, arguments, act) in _ACTIONS.items():
        child = table.add_parser(
            name,
            help=summary,
            description=f"{summary[:1].upper()}{summary[1:]}.",
            allow_abbrev=False,
        )
        shared_options(child, argparse.SUPPRESS, own_root=name == "add")
        arguments(child)
        child.set_defaults(act=act)


def _run(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    return cast("_Act", arguments.act)(arguments, host, out)


COMMANDS = {"remote": Command(_arguments, _run)}
