"""``repo list|show|delta|gc``: what is in a repository, increments, and keeping it small."""

import argparse
from typing import TYPE_CHECKING

from holdall.cli.command import Command
from holdall.cli.output import Output, size_of
from holdall.journeys.host import Host

if TYPE_CHECKING:
    from holdall.journeys.repository_care import Detail
    from holdall.journeys.repository_deltas import Delta


def _list(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    from holdall.journeys.repository_care import list_apps
    from holdall.model.ref import RefPattern

    patterns = [RefPattern.parse(ref) for ref in arguments.refs]
    rows = [item._asdict() for item in list_apps(arguments.directory, patterns)]
    shown = [
        {**row, "size": size_of(row["size"]), "download": size_of(row["download"])} for row in rows
    ]
    columns = {
        "ref": "REF",
        "version": "VERSION",
        "size": "INSTALLED",
        "download": "DOWNLOAD",
        "releases": "RELEASES",
        "increments": "INCREMENTS",
        "waiting": "TO PUBLISH",
    }
    out.table(rows if out.json else shown, columns, empty="The repository has no app yet.")
    return 0


def _show(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    from holdall.journeys.repository_care import details, show
    from holdall.model.ref import RefPattern

    if arguments.ref:
        import msgspec

        found = details(arguments.directory, RefPattern.parse(arguments.ref))
        value = msgspec.to_builtins([item._asdict() for item in found])
        out.result(value, [line for item in found for line in _detail_lines(item)])
        return 0
    shown = show(arguments.directory)
    lines = [
        f"{shown.path}: {shown.apps} apps in {shown.bins} bins.",
        f"Fingerprint: {shown.fingerprint}",
        *(f"Keys: {folder}" for folder in shown.keys),
        *(f"{role.role} {role.version} expires at {role.expires}." for role in shown.roles),
        f"The first of the bins expires at {shown.bins_expire}.",
    ]
    if shown.waiting:
        lines.append(f"Waiting to be published: {', '.join(shown.waiting)}.")
    roles = [role._asdict() for role in shown.roles]
    out.result({**shown._asdict(), "roles": roles}, lines)
    return 0


def _detail_lines(item: "Detail") -> list[str]:
    lines = [f"{item.ref}, in {item.role}:"]
    versions = {release.release: release.version for release in item.releases}
    for release in item.releases:
        signers = ", ".join(f"{signer[:16]}…" for signer in release.signers)
        lines.append(f"  {release.version}, {size_of(release.bundle.size)}, signed by {signers}")
        lines += [
            f"    from {versions[base]} by ranges: {size_of(size)}"
            for base, size in release.ranges.items()
            if base in versions
        ]
        lines += [
            f"    from {' or '.join(versions.get(base, base[:16]) for base in increment.bases)}"
            f" by an increment: {size_of(increment.size)}"
            for increment in item.increments
            if increment.release == release.release
        ]
    return lines


def _delta(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    from holdall.journeys.repository_deltas import make_deltas
    from holdall.model.ref import RefPattern

    deltas = make_deltas(
        arguments.directory,
        host,
        [RefPattern.parse(ref) for ref in arguments.refs],
        depth=arguments.depth,
        key=arguments.key,
        again=arguments.again,
        dry_run=arguments.dry_run,
        report=out.report,
    )
    lines = [_delta_line(item, dry_run=arguments.dry_run) for item in deltas]
    if not arguments.dry_run and any(item.outcome == "made" for item in deltas):
        lines.append(f"`holdall repo publish {arguments.directory}` puts them out.")
    out.result([item._asdict() for item in deltas], lines or ["No app has an older release."])
    return 0


def _delta_line(item: "Delta", *, dry_run: bool) -> str:
    what = f"{item.ref} {item.version} from {item.base}"
    match item.outcome:
        case "made" if dry_run:
            return f"Would make {what}."
        case "made":
            return f"Made {what}: {size_of(item.size)} instead of {size_of(item.full)}."
        case "there":
            return f"There is {what} already."
        case "useless":
            return f"None for {what}: it would save next to nothing."
        case _:
            return f"None for {what}: only its publisher can sign it."


def _delta_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument("refs", metavar="REF", nargs="*", help="only for these apps")
    parser.add_argument(
        "--depth",
        metavar="N",
        type=_positive,
        default=1,
        help="from the N releases before the newest, besides those that lasted four weeks (1)",
    )
    parser.add_argument("--key", metavar="FILE", help="sign with this key instead of your own")
    parser.add_argument(
        "--again", action="store_true", help="try those that were found to save nothing"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be made")


def _gc(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    from holdall.journeys.repository_care import GRACE, collect

    grace = GRACE if arguments.grace is None else arguments.grace
    found = collect(
        arguments.directory,
        keep=arguments.keep,
        grace=grace,
        dry_run=arguments.dry_run,
        wait=host.wait,
    )
    would = arguments.dry_run
    verb = "Would remove" if would else "Removed"
    lines = [f"{verb} {len(found.files)} files, {size_of(found.size)}."]
    if found.apps:
        lines.append(
            f"{'Would drop' if would else 'Dropped'} old releases of {', '.join(found.apps)}"
            + ("." if would else f"; `holdall repo publish {arguments.directory}` puts it out.")
        )
    value = {
        "files": [item._asdict() for item in found.files],
        "size": found.size,
        "apps": found.apps,
    }
    out.result(value, lines)
    return 0


def _gc_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument(
        "--keep",
        metavar="N",
        type=_positive,
        help="drop all but the N newest releases of each app and branch",
    )
    parser.add_argument(
        "--grace",
        metavar="HOURS",
        type=float,
        help="leave what was needed so lately, for clients that still read (24)",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 on")
    return int(text)


def _list_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument("refs", metavar="REF", nargs="*", help="only these apps")


def _show_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument("ref", metavar="REF", nargs="?", help="an app: all that is offered of it")


PARTS = {
    "list": Command(_list_arguments, _list),
    "show": Command(_show_arguments, _show),
    "delta": Command(_delta_arguments, _delta),
    "gc": Command(_gc_arguments, _gc),
}
