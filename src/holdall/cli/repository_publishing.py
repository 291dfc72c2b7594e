"""``repo init|add|publish``: a repository's everyday commands."""

import argparse
import os
from typing import TYPE_CHECKING

from holdall.cli.command import Command
from holdall.cli.output import Output, size_of
from holdall.journeys.host import Event, Host

if TYPE_CHECKING:
    from holdall.journeys.repository_intake import Added
    from holdall.publish.repository.edition import Edition

_SHOWN = 20


def _init(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    from holdall.journeys.repository import init

    made = init(
        arguments.directory,
        host,
        keys=arguments.keys,
        bits=arguments.bits,
        expiry=arguments.expiry or (),
    )
    lines = [
        f"Made the repository {arguments.directory}.",
        f"Its keys are in {made.keys}: keep them private, and keep a copy of them.",
        f"Its fingerprint, for those who add it as a remote: {made.fingerprint}",
    ]
    out.result(made._asdict(), lines)
    return 0


def _init_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument(
        "--keys",
        metavar="FOLDER",
        help="where the roles' keys go (a folder beside your signing key)",
    )
    parser.add_argument(
        "--bits",
        metavar="N",
        type=int,
        default=1,
        help="begin with 2^N bins; there are more as they are needed (1)",
    )
    _expiry_argument(parser)


def _add(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    from holdall.journeys.repository_intake import IntakeOptions, add

    options = IntakeOptions(
        allow_new_signer=arguments.allow_new_signer,
        link=arguments.link,
        dry_run=arguments.dry_run,
        wait=host.wait,
    )
    added = add(arguments.directory, arguments.files, options=options, report=out.report)
    lines = [_added_line(item, dry_run=arguments.dry_run) for item in added]
    if any(item.new for item in added) and not arguments.dry_run:
        lines.append(f"`holdall repo publish {arguments.directory}` puts it out.")
    out.result([item._asdict() for item in added], lines)
    return 0


def _added_line(item: "Added", *, dry_run: bool) -> str:
    what = f"{item.ref} {item.version}"
    if item.bases:
        what = f"the increment to {what} from {' and '.join(item.bases)}"
    if not item.new:
        return f"{item.path} is there already: {what}."
    signers = ", ".join(f"{signer[:16]}…" for signer in item.signers)
    verb = "Would add" if dry_run else "Added"
    return f"{verb} {what}, {size_of(item.size)}, signed by {signers}."


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument("files", metavar="FILE", nargs="+", help="a bundle, full or incremental")
    parser.add_argument(
        "--allow-new-signer",
        action="store_true",
        help="take an app that another key signed than so far",
    )
    parser.add_argument(
        "--link",
        action="store_true",
        help="take hard links, not copies: for files that never change in place",
    )
    parser.add_argument("--dry-run", action="store_true", help="only check, and say what would be")


def _publish(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    from holdall.journeys.repository import PublishOptions, publish

    options = PublishOptions(
        keys=tuple(arguments.keys or ()),
        root_keys=tuple(arguments.root_keys or ()),
        role=arguments.role or "",
        expiry=tuple(arguments.expiry or ()),
        dry_run=arguments.dry_run,
    )
    edition = publish(arguments.directory, host, options=options)
    for note in edition.notes:
        out.report(Event(note, loud=True))
    value = {
        "apps": edition.apps,
        "roles": [role._asdict() for role in edition.roles],
        "files": [os.path.relpath(path, arguments.directory) for path in edition.files],
        "notes": edition.notes,
    }
    out.result(value, _published_lines(edition, arguments))
    return 0


def _published_lines(edition: "Edition", arguments: argparse.Namespace) -> list[str]:
    if edition.is_empty:
        return ["Nothing waits, and nothing expires soon."]
    verb = "Would publish" if arguments.dry_run else "Published"
    apps = list(edition.apps[:_SHOWN])
    if len(edition.apps) > len(apps):
        apps.append(f"{len(edition.apps) - len(apps)} more")
    roles = [f"{role.role} {role.version}" for role in edition.roles[-_SHOWN:]]
    if len(edition.roles) > len(roles):
        roles.insert(0, f"{len(edition.roles) - len(roles)} more")
    lines = [f"{verb} {', '.join(apps) or 'no change of an app'}.", f"Roles: {', '.join(roles)}."]
    if arguments.role and not arguments.dry_run:
        files = [os.path.relpath(path, arguments.directory) for path in edition.files]
        lines.append(
            "Hand these to the repository's operator, with the content files that are new:"
        )
        lines += [f"  {name}" for name in files]
    return lines


def _publish_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR")
    _keys_argument(parser)
    parser.add_argument(
        "--root-keys",
        metavar="FOLDER",
        action="append",
        help="where the root's keys are, if they are kept elsewhere",
    )
    parser.add_argument(
        "--role", metavar="NAME", help="sign a publisher's part of a copy, and nothing else"
    )
    _expiry_argument(parser)
    parser.add_argument("--dry-run", action="store_true", help="only say what would be published")


def _keys_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--keys",
        metavar="FOLDER",
        action="append",
        help="where more of the roles' keys are; repeatable",
    )


def _expiry_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--expiry",
        metavar="ROLE=DAYS",
        action="append",
        help="how long a role lasts from now on, such as timestamp=7; repeatable",
    )


PARTS = {
    "init": Command(_init_arguments, _init),
    "add": Command(_add_arguments, _add),
    "publish": Command(_publish_arguments, _publish),
}
