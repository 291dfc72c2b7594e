"""``list``, ``info``, ``history``, ``path``, ``du``: commands that only read."""

import argparse

from holdall.cli.command import Command
from holdall.cli.output import Output, size_of
from holdall.errors import NotFoundError
from holdall.journeys import listing
from holdall.journeys.host import Event, Host
from holdall.journeys.recovery import recover_if_needed
from holdall.model.ref import RefPattern
from holdall.store.steady import chosen_anew, steadily
from holdall.system.files import each_child

_EMPTY: tuple[object, ...] = ("", [], None)


def _list(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    recover_if_needed(host, out.report)
    if arguments.updates:
        from holdall.cli.offers import list_updates

        return list_updates(arguments.kind, host, out)
    rows = [item._asdict() for item in listing.listing(host) if arguments.kind in {None, item.kind}]
    shown = [{**row, "size": size_of(row["size"])} for row in rows]
    forms = {"form": "FORM"} if any(row["form"] != "tree" for row in rows) else {}
    columns = {
        "ref": "REF",
        "version": "VERSION",
        "kind": "KIND",
        **forms,
        "versions": "VERSIONS",
        "size": "SIZE",
        "summary": "SUMMARY",
    }
    out.table(
        rows if out.json else shown,
        columns,
        empty="Nothing is installed; `holdall install FILE` installs a bundle.",
    )
    return 0


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--kind", choices=("app", "runtime"), help="only apps, or only runtimes")
    parser.add_argument(
        "--updates",
        action="store_true",
        help="ask the remotes, and list what there are newer versions of",
    )


def _info(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    pattern = RefPattern.parse(arguments.ref)
    facts = None
    if not arguments.remote:
        try:
            facts = listing.info(host, pattern, arguments.version)
        except NotFoundError:
            if not each_child(host.layout.remotes):
                raise
    if facts is None:
        from holdall.cli.offers import show_offer

        return show_offer(pattern, arguments.version, arguments.remote, host, out)
    out.result(facts, _info_lines(facts))
    return 0


def _info_lines(facts: dict[str, object]) -> list[str]:
    import time

    shown = dict(facts)
    shown["installed"] = time.strftime(
        "%Y-%m-%d %H:%M", time.localtime(int(str(facts["installed"])))
    )
    shown["size"] = size_of(int(str(facts["size"])))
    if not facts["path"]:
        shown["path"] = f"none; `holdall mount {facts['id']} DIR` shows its files in a folder"
    lines = []
    for name, value in shown.items():
        if isinstance(value, dict):
            told = [f"  {key}: {_plain(item)}" for key, item in value.items() if item not in _EMPTY]
            lines += [f"{name}:", *told] if told else []
        elif value not in _EMPTY:
            lines.append(f"{name}: {_plain(value)}")
    return lines


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(str(item) for item in value) if isinstance(value, list) else str(value)


def _ref_and_version(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ref", metavar="REF", help="id, id//branch or id/arch/branch")
    parser.add_argument("--version", metavar="V", help="a version other than the active one")


def _info_arguments(parser: argparse.ArgumentParser) -> None:
    _ref_and_version(parser)
    parser.add_argument("--remote", metavar="NAME", help="what this remote offers")


def _history(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    import time

    rows = listing.events(host, RefPattern.parse(arguments.ref))
    shown = [
        {
            **row,
            "when": time.strftime("%Y-%m-%d %H:%M", time.localtime(row["time"])),
            "state": "active" if row["active"] else "installed" if row["installed"] else "",
        }
        for row in rows
    ]
    columns = {"when": "WHEN", "action": "ACTION", "version": "VERSION", "state": "NOW"}
    out.table(rows if out.json else shown, columns, empty="Nothing has happened yet.")
    return 0


def _ref(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ref", metavar="REF", help="id, id//branch or id/arch/branch")


def _path(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    recover_if_needed(host, out.report)
    ref, path = chosen_anew(lambda: _find(arguments, host))
    out.result({"ref": ref, "path": path}, [path])
    return 0


def _find(arguments: argparse.Namespace, host: Host) -> tuple[str, str]:
    """The ref that is meant, and the folder with its files."""
    deployment = host.catalog.current(RefPattern.parse(arguments.ref))
    if arguments.version:
        deployment = host.catalog.version(deployment.ref, arguments.version)

    def find() -> str:
        if deployment.form == "tree":
            return deployment.files
        from holdall.journeys.forming import plain_folder

        return plain_folder(host, deployment)

    return str(deployment.ref), steadily(deployment, find)


def _du(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    from holdall.journeys.measuring import usage

    measured = usage(host)
    if measured.unseen:
        first, *more = measured.unseen
        others = f" and {len(more)} more folders" if more else ""
        text = f"You may not look into {first}{others}; what is there is left out."
        out.report(Event(text, loud=True))
    rows = [item._asdict() for item in measured.rows]
    if arguments.ref:
        wanted = host.catalog.resolve(RefPattern.parse(arguments.ref))
        rows = [row for row in rows if row["ref"] == str(wanted)]
    shown = [
        {
            "ref": item["ref"],
            "versions": item["versions"] or "",
            "apparent": size_of(item["apparent"]) if item["apparent"] else "",
            "unique": size_of(item["unique"]),
            "shared": size_of(item["shared"]) if item["shared"] else "",
        }
        for item in rows
    ]
    shared = {"shared": "SHARED"} if any(item["shared"] for item in rows) else {}
    columns = {"ref": "REF", "versions": "VERSIONS", "apparent": "APPARENT", "unique": "ON DISK"}
    out.table(rows if out.json else shown, {**columns, **shared}, empty="Nothing is installed.")
    return 0


def _optional_ref(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ref", metavar="REF", nargs="?", help="only this app")


COMMANDS = {
    "list": Command(_list_arguments, _list),
    "info": Command(_info_arguments, _info),
    "history": Command(_ref, _history),
    "path": Command(_ref_and_version, _path),
    "du": Command(_optional_ref, _du),
}
