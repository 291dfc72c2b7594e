"""``install``, ``update``, ``rollback``: commands that change which version is active."""

import argparse
import os
import sys
from collections.abc import Sequence

from holdall.cli.command import Command
from holdall.cli.forming import form_arguments, wanted_form
from holdall.cli.outcomes import as_json, summary, told
from holdall.cli.output import Output, asker, safe
from holdall.errors import HoldallError, UsageError
from holdall.journeys.host import Host
from holdall.journeys.install import install
from holdall.journeys.planning import Outcome
from holdall.journeys.running import left_behind
from holdall.journeys.shipment import by_ref
from holdall.journeys.switch import rollback
from holdall.journeys.trusting import Consent, TrustChoice, withhold
from holdall.model.ref import RefPattern


def _install(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    paths, patterns = _sorted_out(arguments.items)
    if paths and (arguments.version or arguments.remote):
        raise UsageError("--version and --remote go with the name of an app, not with a file.")
    from_files = _from_files(paths, arguments, host, out, only_update=False)
    if not patterns:
        return _finished(from_files, arguments, host, out)
    from holdall.journeys.updating import Request, install_refs

    request = Request(
        patterns,
        arguments.version,
        arguments.remote,
        not arguments.no_runtime,
        arguments.dry_run,
        wanted_form(arguments),
    )
    choice = _choice(arguments, out)
    outcomes = install_refs(request, host, choice=choice, report=out.report)
    return _finished([*from_files, *outcomes], arguments, host, out)


def _update(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    paths, patterns = _sorted_out(arguments.items)
    from_files = _from_files(paths, arguments, host, out, only_update=True)
    if paths and not patterns:
        return _finished(from_files, arguments, host, out)
    from holdall.journeys.updating import Request, update_refs

    request = Request(patterns, dry_run=arguments.dry_run, wanted=wanted_form(arguments))
    choice = _choice(arguments, out)
    outcomes = update_refs(request, host, choice=choice, report=out.report)
    return _finished([*from_files, *outcomes], arguments, host, out)


def _sorted_out(items: Sequence[str]) -> tuple[list[str], tuple[RefPattern, ...]]:
    """What was given as files (or addresses of files), and as names of apps."""
    paths, patterns = [], []
    for item in items:
        try:
            if item == "-" or "://" in item or item.endswith(".holdall") or os.path.lexists(item):
                paths.append(item)
            else:
                patterns.append(RefPattern.parse(item))
        except UsageError:
            paths.append(item)
    return paths, tuple(dict.fromkeys(patterns))


def _choice(arguments: argparse.Namespace, out: Output) -> TrustChoice:
    return TrustChoice(
        trust_key=arguments.trust_key,
        insecure_unsigned=arguments.insecure_unsigned,
        allow_downgrade=arguments.allow_downgrade,
        ask=asker(out),
        yes_permissions=arguments.yes_permissions,
        consent=_consenter(out),
    )


def _consenter(out: Output) -> Consent:
    """Asks a person on the terminal whether an update may have more permissions, once for each."""
    if out.json or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return withhold
    answers: dict[tuple[str, tuple[str, ...]], bool] = {}

    def consent(version: str, words: tuple[str, ...]) -> bool:
        if (version, words) not in answers:
            out.end_progress()
            print(f"{safe(version)} asks for more permissions than before:", file=sys.stderr)
            for line in words:
                print(f"  to {safe(line)}", file=sys.stderr)
            print("Let it? [y/N] ", end="", file=sys.stderr, flush=True)
            answers[version, words] = sys.stdin.readline().strip().lower() in {"y", "yes"}
        return answers[version, words]

    return consent


def _from_files(
    paths: Sequence[str],
    arguments: argparse.Namespace,
    host: Host,
    out: Output,
    *,
    only_update: bool,
) -> list[Outcome]:
    choice = _choice(arguments, out)
    outcomes = []
    for group in by_ref(paths):
        try:
            plan = install(
                group,
                host,
                choice=choice,
                wanted=wanted_form(arguments),
                dry_run=arguments.dry_run,
                only_update=only_update,
                report=out.report,
            )
            outcomes.append(Outcome(str(plan.ref), plan))
        except HoldallError as error:
            outcomes.append(Outcome(" and ".join(group), error=error))
    return outcomes


def _finished(
    outcomes: Sequence[Outcome], arguments: argparse.Namespace, host: Host, out: Output
) -> int:
    """Say how it went; returns the exit code, that of the first failure."""
    failures = list(dict.fromkeys(item.error for item in outcomes if item.error))
    if len(outcomes) == 1 and failures:
        raise failures[0]
    for error in failures:
        out.fail(error)
    done = [item for item in outcomes if not item.error]
    dry_run = arguments.dry_run
    value = [as_json(item, dry_run=dry_run) for item in done]
    lines = [line for item in done for line in told(item, dry_run=dry_run)]
    if len(outcomes) > 1:
        lines += summary(outcomes)
    changed = [] if dry_run else [item.ref for item in done]
    empty = ["Everything that came from a remote is up to date."] if not outcomes else []
    out.result(value, [*lines, *left_behind(host, changed), *empty])
    return failures[0].exit_code if failures else 0


def _install_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "items",
        metavar="FILE|URL|REF",
        nargs="+",
        help="a full bundle or an increment, as a file or at an address (several of one app are "
        "used together, in any order; - reads one from standard input), or the name of an app "
        "that a remote offers",
    )
    parser.add_argument("--version", metavar="V", help="of a REF: this version, not the newest")
    parser.add_argument(
        "--remote", metavar="NAME", help="of a REF: from this remote, where several offer it"
    )
    parser.add_argument(
        "--no-runtime", action="store_true", help="do not install the runtime that a REF takes"
    )
    parser.set_defaults(yes_permissions=False)
    _common_arguments(parser)


def _update_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "items",
        metavar="FILE|URL|REF",
        nargs="*",
        help="as with install, of apps that are installed; none: all that came from remotes",
    )
    parser.add_argument(
        "--yes-permissions",
        action="store_true",
        help="let the new version have more permissions than the old one",
    )
    _common_arguments(parser)


def _common_arguments(parser: argparse.ArgumentParser) -> None:
    form_arguments(parser)
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
    "update": Command(_update_arguments, _update),
    "rollback": Command(_rollback_arguments, _rollback),
}
