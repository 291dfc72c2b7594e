"""``mount`` and ``unmount``: an installed version's files at a folder, whatever its form."""

import argparse

from holdall.cli.command import Command
from holdall.cli.output import Output
from holdall.journeys.host import Host
from holdall.journeys.recovery import recover_if_needed
from holdall.model.ref import RefPattern


def _mount(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    from holdall.journeys.exposing import show

    recover_if_needed(host, out.report)
    deployment = host.catalog.current(RefPattern.parse(arguments.ref))
    if arguments.version:
        deployment = host.catalog.version(deployment.ref, arguments.version)
    shown = show(host, deployment, arguments.folder)
    what = "is a link to the files" if shown.how == "link" else "has the files"
    told = f"{shown.path} {what} of {shown.ref} {shown.version}; `holdall unmount` ends that."
    out.result(shown._asdict(), [told])
    return 0


def _mount_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ref", metavar="REF", help="id, id//branch or id/arch/branch")
    parser.add_argument("folder", metavar="DIR", help="a folder that is empty or does not exist")
    parser.add_argument("--version", metavar="V", help="a version other than the active one")


def _unmount(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    from holdall.journeys.exposing import hide

    path = hide(host, arguments.folder)
    out.result({"path": path}, [f"{path} shows no app's files any more."])
    return 0


def _unmount_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="a folder given to `holdall mount`")


COMMANDS = {
    "mount": Command(_mount_arguments, _mount),
    "unmount": Command(_unmount_arguments, _unmount),
}
