"""``install``, ``update``, ``rollback``: commands that change which version is active."""

import argparse

from holdall.cli.command import Command
from holdall.cli.output import Output, asker, size_of
from holdall.errors import HoldallError, UnsupportedError
from holdall.journeys.host import Host
from holdall.journeys.install import install
from holdall.journeys.planning import InstallPlan
from holdall.journeys.running import left_behind
from holdall.journeys.shipment import by_ref
from holdall.journeys.switch import rollback
from holdall.journeys.trusting import TrustChoice
from holdall.model.ref import RefPattern


def _install(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    return _install_all(arguments, host, out, only_update=False)


def _update(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    return _install_all(arguments, host, out, only_update=True)


def _install_all(
    arguments: argparse.Namespace, host: Host, out: Output, *, only_update: bool
) -> int:
    choice = TrustChoice(
        trust_key=arguments.trust_key,
        insecure_unsigned=arguments.insecure_unsigned,
        allow_downgrade=arguments.allow_downgrade,
        ask=asker(out),
    )
    if arguments.form != "tree":
        raise UnsupportedError(f"This holdall has no form {arguments.form}; it installs as tree.")
    plans: list[InstallPlan] = []
    failures: list[HoldallError] = []
    groups = by_ref(arguments.files)
    for group in groups:
        try:
            plans.append(
                install(
                    group,
                    host,
                    choice=choice,
                    dry_run=arguments.dry_run,
                    only_update=only_update,
                    report=out.report,
                )
            )
        except HoldallError as error:
            if len(groups) == 1:
                raise
            out.fail(error)
            failures.append(error)
    value = [
        {
            **plan._asdict(),
            "ref": str(plan.ref),
            "steps": [step._asdict() for step in plan.steps],
            "form": "tree",
            "dry_run": arguments.dry_run,
        }
        for plan in plans
    ]
    lines = [line for plan in plans for line in _told(plan, dry_run=arguments.dry_run)]
    changed = [] if arguments.dry_run else [str(plan.ref) for plan in plans]
    out.result(value, [*lines, *left_behind(host, changed)])
    return failures[0].exit_code if failures else 0


def _told(plan: InstallPlan, *, dry_run: bool) -> list[str]:
    name = f"{plan.ref} {plan.version}"
    if plan.already:
        return [f"{name} is installed already{'' if dry_run else ' and active'}."]
    done = "Would install" if dry_run else "Installed"
    if plan.before is not None:
        done = f"Would update {plan.before} to" if dry_run else f"Updated {plan.before} to"
    shared = (
        f", {size_of(plan.linked)} shared with {plan.before or 'an older version'}"
        if plan.linked
        else ""
    )
    read = f" (out of {size_of(plan.read)})" if plan.steps or dry_run else ""
    return [
        f"{done} {name}: {plan.files} files, {size_of(plan.produced)} new{read}{shared}.",
        *(
            f"  {step.before} to {step.version}: {size_of(step.produced)} out of "
            f"{size_of(step.read)}"
            for step in plan.steps
        ),
    ]


def _install_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="a full bundle or an increment; several of one app are used together, in any order; "
        "- reads one from standard input",
    )
    parser.add_argument("--form", metavar="FORM", default="tree", help="how it lies on disk: tree")
    parser.add_argument(
        "--trust-key",
        metavar="FINGERPRINT",
        help="trust this key for the app, on its first use here",
    )
    parser.add_argument(
        "--insecure-unsigned", action="store_true", help="take a bundle that nobody signed"
    )
    parser.add_argument(
        "--allow-downgrade", action="store_true", help="take a version older than one that was here"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only say what would be done, with exact bytes"
    )


def _rollback(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    switch = rollback(
        RefPattern.parse(arguments.ref),
        host,
        to=arguments.to,
        dry_run=arguments.dry_run,
        report=out.report,
    )
    verb = "Would go" if arguments.dry_run else "Went"
    lines = [f"{verb} back to {switch.ref} {switch.after} from {switch.before}."]
    changed = [] if arguments.dry_run else [str(switch.ref)]
    out.result({**switch._asdict(), "ref": str(switch.ref)}, [*lines, *left_behind(host, changed)])
    return 0


def _rollback_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ref", metavar="REF", help="id, id//branch or id/arch/branch")
    parser.add_argument(
        "--to", metavar="V", help="an installed version; else the one that was active before"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")


COMMANDS = {
    "install": Command(_install_arguments, _install),
    "update": Command(_install_arguments, _update),
    "rollback": Command(_rollback_arguments, _rollback),
}
