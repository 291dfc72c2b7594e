"""``repo key``: the keys of a repository's roles, and publishers' own roles."""

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from holdall.cli.command import Command, shared_options
from holdall.cli.output import Output
from holdall.journeys.host import Event, Host

if TYPE_CHECKING:
    from holdall.journeys.repository_keys import Changed, KeyChanges, KeyPlaces
    from holdall.publish.repository.roles import Waiting


def _list(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    from holdall.journeys.repository_keys import listed

    rows, waiting = listed(arguments.directory, _places(arguments))
    if out.json:
        value = {
            "keys": [row._asdict() for row in rows],
            "waiting": [{**item._asdict(), "complete": item.is_complete} for item in waiting],
        }
        out.result(value, [])
        return 0
    shown = [
        {
            "role": row.role,
            "key": row.keyid[:16],
            "threshold": row.threshold,
            "where": row.path or "elsewhere",
            "apps": ", ".join(path[5:-5] for path in row.paths),
        }
        for row in rows
    ]
    columns = {
        "role": "ROLE",
        "key": "KEY",
        "threshold": "NEEDS",
        "where": "PRIVATE PART",
        "apps": "APPS",
    }
    out.table(shown, columns, empty="")
    for item in waiting:
        out.report(Event(_waiting_line(item, arguments.directory)))
    return 0


def _add(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    return _say(arguments, out, _changes(arguments, host).add(arguments.role, arguments.key))


def _remove(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    return _say(arguments, out, _changes(arguments, host).remove(arguments.role, arguments.keyid))


def _rotate(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    return _say(arguments, out, _changes(arguments, host).rotate(arguments.role))


def _threshold(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    changes = _changes(arguments, host)
    return _say(arguments, out, changes.set_threshold(arguments.role, arguments.number))


def _sign(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    return _say(arguments, out, _changes(arguments, host).sign())


def _delegate(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    changed = _changes(arguments, host).delegate(
        arguments.name, tuple(arguments.patterns), tuple(arguments.key)
    )
    return _say(arguments, out, changed)


def _undelegate(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    changed = _changes(arguments, host).undelegate(arguments.name, keep=arguments.keep)
    return _say(arguments, out, changed)


def _changes(arguments: argparse.Namespace, host: Host) -> "KeyChanges":
    from holdall.journeys.repository_keys import KeyChanges

    return KeyChanges(arguments.directory, host, _places(arguments))


def _places(arguments: argparse.Namespace) -> "KeyPlaces":
    from holdall.journeys.repository_keys import KeyPlaces

    return KeyPlaces(tuple(arguments.keys or ()), tuple(arguments.root_keys or ()))


def _say(arguments: argparse.Namespace, out: Output, changed: "Changed") -> int:
    lines = [f"Made the key {path}; keep it private." for path in changed.files]
    lines += [f"{app_id} is now the operator's to publish." for app_id in changed.apps]
    lines += [_waiting_line(item, arguments.directory) for item in changed.waiting]
    value = {
        "files": changed.files,
        "apps": changed.apps,
        "waiting": [{**item._asdict(), "complete": item.is_complete} for item in changed.waiting],
    }
    out.result(value, lines or ["Nothing waits for a signature."])
    return 0


def _waiting_line(item: "Waiting", folder: str) -> str:
    name = f"{item.role} {item.version}"
    if item.is_complete:
        return f"{name} is signed; `holdall repo publish {folder}` puts it out."
    former = (
        f" and {item.former} of {item.former_threshold} of the former keys"
        if item.former < item.former_threshold
        else ""
    )
    return (
        f"{name} has {item.signatures} of {item.threshold} signatures{former};"
        f" `holdall repo key {folder} sign --keys FOLDER` adds some."
    )


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR")
    table = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def add(name: str, summary: str) -> argparse.ArgumentParser:
        child = table.add_parser(name, help=summary, allow_abbrev=False)
        shared_options(child, argparse.SUPPRESS)
        for option, what in (("--keys", "roles'"), ("--root-keys", "root's")):
            child.add_argument(
                option, metavar="FOLDER", action="append", help=f"where the {what} keys are"
            )
        return child

    add("list", "list who signs for which role, and what waits").set_defaults(change=_list)
    more = add("add", "let one more key sign for a role")
    more.add_argument("role", metavar="ROLE")
    more.add_argument("--key", metavar="FILE", help="this public key, not a new one")
    more.set_defaults(change=_add)
    remove = add("remove", "let a key not sign for a role any more")
    remove.add_argument("role", metavar="ROLE")
    remove.add_argument("keyid", metavar="KEYID")
    remove.set_defaults(change=_remove)
    rotate = add("rotate", "put new keys in the place of a role's keys")
    rotate.add_argument("role", metavar="ROLE")
    rotate.set_defaults(change=_rotate)
    threshold = add("threshold", "have a role need so many signatures")
    threshold.add_argument("role", metavar="ROLE")
    threshold.add_argument("number", metavar="N", type=int)
    threshold.set_defaults(change=_threshold)
    add("sign", "add signatures to what waits for some").set_defaults(change=_sign)
    _publisher_arguments(add)


def _publisher_arguments(add: Callable[[str, str], argparse.ArgumentParser]) -> None:
    delegate = add("delegate", "let a publisher answer for its own apps")
    delegate.add_argument("name", metavar="NAME", help="a name for the publisher's role")
    delegate.add_argument(
        "patterns", metavar="PATTERN", nargs="+", help="an app's id, or such as org.example.*"
    )
    delegate.add_argument(
        "--key",
        metavar="FILE",
        action="append",
        required=True,
        help="the publisher's public key, as `holdall key export` writes it; repeatable",
    )
    delegate.set_defaults(change=_delegate)
    undelegate = add("undelegate", "let a publisher answer for nothing any more")
    undelegate.add_argument("name", metavar="NAME")
    undelegate.add_argument(
        "--keep", action="store_true", help="go on offering its apps, as the operator's"
    )
    undelegate.set_defaults(change=_undelegate)


def _run(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    return int(arguments.change(arguments, host, out))


PARTS = {"key": Command(_arguments, _run)}
