"""``convert``, and the options that say in which form something is installed."""

import argparse

from holdall.cli.command import Command
from holdall.cli.output import Output, file_of, size_of
from holdall.errors import UsageError
from holdall.forms.table import FORMS
from holdall.journeys.forming import Wanted
from holdall.journeys.host import Host
from holdall.model.ref import RefPattern


def form_arguments(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """Options that `wanted_form` reads."""
    otherwise = "" if required else "; else as it does already, or as the settings say"
    parser.add_argument(
        "--form",
        metavar="FORM",
        choices=tuple(FORMS),
        default="",
        required=required,
        help=f"how it lies on disk: {', '.join(FORMS)}{otherwise} (`holdall forms` tells what each "
        "gives here)",
    )
    parser.add_argument(
        "--image",
        choices=("erofs", "squashfs"),
        help="of a form that makes an image: which kind",
    )
    parser.add_argument(
        "--no-compress", action="store_true", help="of a form that makes an image: as it is"
    )
    parser.add_argument(
        "--allow-kernel-parser",
        action=argparse.BooleanOptionalAction,
        help="of the form image: let the kernel mount the publisher's image (as root), which it "
        "then parses without having checked it; updates of the app keep to what was said",
    )


def wanted_form(arguments: argparse.Namespace) -> Wanted:
    """What was said about the form."""
    return Wanted(
        arguments.form,
        arguments.image,
        False if arguments.no_compress else None,
        arguments.allow_kernel_parser,
    )


def _convert(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    from holdall.journeys.convert import convert

    if arguments.all and arguments.version:
        raise UsageError("--all and --version exclude each other.")
    results = convert(
        RefPattern.parse(arguments.ref),
        host,
        wanted_form(arguments),
        version=arguments.version,
        every=arguments.all,
        dry_run=arguments.dry_run,
        report=out.report,
    )
    verb = "Would convert" if arguments.dry_run else "Converted"
    lines = [
        f"{item.ref} {item.version} lies as {item.after} already."
        if item.already
        else f"{verb} {item.ref} {item.version} from {item.before} to {item.after}"
        f" ({size_of(item.size)}{file_of(item.stored)})."
        for item in results
    ]
    value = [{**item._asdict(), "dry_run": arguments.dry_run} for item in results]
    out.result(value, lines)
    return 0


def _convert_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ref", metavar="REF", help="id, id//branch or id/arch/branch")
    form_arguments(parser, required=True)
    parser.add_argument(
        "--version", metavar="V", help="an installed version other than the active one"
    )
    parser.add_argument("--all", action="store_true", help="every installed version")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")


COMMANDS = {"convert": Command(_convert_arguments, _convert)}
