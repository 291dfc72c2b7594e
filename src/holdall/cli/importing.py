"""``import deb`` and ``import wheel``: source folders made of packages."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from holdall.cli.command import Command
from holdall.cli.output import Output, size_of
from holdall.journeys.host import Event, Host

if TYPE_CHECKING:
    from holdall.publish import source_folder


def _deb(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    from holdall.publish.debian import DebRequest, import_deb, plan_deb

    request = DebRequest(
        names=tuple(arguments.names),
        kind=arguments.kind,
        id=arguments.id,
        branch=arguments.branch,
        runtime=arguments.runtime,
        runtime_folder=Path(arguments.runtime_dir) if arguments.runtime_dir else None,
        command=arguments.with_command,
        recommends=arguments.recommends,
        keep_documentation=arguments.keep_docs,
        base=not arguments.no_base,
        without=tuple(arguments.without),
        permissions=tuple(arguments.permission),
    )
    plan = plan_deb(request)
    packages = [
        {"name": item.name, "version": item.version, "size": item.size} for item in plan.packages
    ]
    value = {
        "packages": packages,
        "download": plan.download_bytes,
        "steps": plan.steps,
        "version": plan.version,
    }
    if arguments.dry_run:
        lines = [f"{item.name} {item.version}, {size_of(item.size)}" for item in plan.packages]
        out.result(value, [*lines, f"{len(packages)} packages, {size_of(plan.download_bytes)}."])
        return 0
    target = import_deb(plan, _target(arguments), cache=_cache("deb"), report=_reporter(out))
    out.result(
        {**value, "path": str(target)},
        [f"Made {target} of {len(packages)} packages; look through {target}/holdall.toml."],
    )
    return 0


def _wheel(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    from holdall.publish.wheels import WheelRequest, import_wheel, plan_wheel

    request = WheelRequest(
        requirements=tuple(arguments.names),
        id=arguments.id,
        branch=arguments.branch,
        command=arguments.with_command,
        dependencies=not arguments.no_deps,
        python=arguments.python,
        permissions=tuple(arguments.permission),
    )
    plan = plan_wheel(request)
    wheels = [
        {"name": item.name, "version": item.version, "file": item.file_name} for item in plan.wheels
    ]
    value = {"id": plan.id, "wheels": wheels, "steps": plan.steps}
    if arguments.dry_run:
        out.result(value, [f"{item['name']} {item['version']}" for item in wheels])
        return 0
    target = import_wheel(plan, _target(arguments), cache=_cache("wheel"), report=_reporter(out))
    out.result(
        {**value, "path": str(target)},
        [f"Made {target} of {len(wheels)} wheels; look through {target}/holdall.toml."],
    )
    return 0


def _target(arguments: argparse.Namespace) -> Path:
    return Path(arguments.output or arguments.names[0].partition("=")[0])


def _cache(kind: str) -> Path:
    import platformdirs

    return platformdirs.user_cache_path("holdall") / kind


def _reporter(out: Output) -> "source_folder.Report":
    from holdall.publish.source_folder import Advanced, Noted

    def report(event: Advanced | Noted) -> None:
        if isinstance(event, Noted):
            out.report(Event(event.text))
        elif event.done == event.total:
            out.report(Event(f"{event.step}: {event.total} done"))

    return report


def _arguments(parser: argparse.ArgumentParser) -> None:
    table = parser.add_subparsers(dest="source", metavar="SOURCE", required=True)
    deb = table.add_parser("deb", help="from Debian packages and all they depend on")
    _shared(deb, "PACKAGE")
    deb.add_argument("--kind", choices=("app", "runtime"), default="app", help="what to make (app)")
    deb.add_argument("--runtime", metavar="REF", help="the runtime the app runs on")
    deb.add_argument(
        "--runtime-dir", metavar="DIR", help="that runtime's source folder, or its installed files"
    )
    deb.add_argument("--recommends", action="store_true", help="recommended packages too")
    deb.add_argument("--keep-docs", action="store_true", help="keep manual pages and documentation")
    deb.add_argument(
        "--no-base", action="store_true", help="a runtime without a shell and coreutils"
    )
    deb.add_argument(
        "--without",
        metavar="PACKAGE",
        action="append",
        default=[],
        help="leave this package out; repeatable",
    )
    deb.set_defaults(act=_deb)
    wheel = table.add_parser(
        "wheel", help="from the wheels of Python projects and all they depend on"
    )
    _shared(wheel, "NAME[==V]")
    wheel.add_argument("--no-deps", action="store_true", help="leave dependencies out")
    wheel.add_argument("--python", metavar="X.Y", help="the version of Python the app will run on")
    wheel.set_defaults(act=_wheel)


def _shared(parser: argparse.ArgumentParser, names: str) -> None:
    parser.add_argument("names", metavar=names, nargs="+")
    parser.add_argument(
        "-o", "--output", metavar="DIR", help="the source folder to make (the first name)"
    )
    parser.add_argument("--id", help="the app's id")
    parser.add_argument("--branch", default="stable", help="the app's branch (stable)")
    parser.add_argument("--command", dest="with_command", metavar="CMD", help="what starts the app")
    parser.add_argument(
        "--permission",
        metavar="NAME[=VALUE]",
        action="append",
        default=[],
        help="grant, or with no-NAME withhold; repeatable",
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be fetched")


def _run(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    return int(arguments.act(arguments, host, out))


COMMANDS = {"import": Command(_arguments, _run)}
