"""``python -m benchmarks main-job`` or ``increments``: measure holdall beside its peers.

Both print a table, and keep their figures; ``table`` prints all that are kept, and writes the page.
``repositories`` measures what is served, ``forms`` the installed forms, and ``live`` the reading of
apps out of their bundles; each has a page of its own.
"""

import argparse
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks import (
    building,
    deployment,
    forms,
    increments,
    live,
    machine,
    page,
    repositories,
    send_receive,
    sharing,
)
from benchmarks.data import DATASETS, Dataset, releases_of
from benchmarks.disk import own_mounts, workplace
from benchmarks.errors import BenchmarkError
from benchmarks.laboratory import Laboratory, furnish, say
from benchmarks.peers import peers
from benchmarks.results import Report, Row, save
from benchmarks.stage import Stage
from benchmarks.startup import startup

_RESULTS = Path(__file__).parent / "results"
_STARTUP = "start-up"
_STAGED: dict[str, Callable[[Stage], Iterator[Row]]] = {
    "install": deployment.install,
    "update": deployment.update,
    "remove": deployment.remove,
    "verify": deployment.verify,
    "build": building.build,
    "sharing": sharing.sharing,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 1 where something could not be measured."""
    arguments = _parser().parse_args(argv)
    # Ended politely, the harness still takes its disks and folders away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        figures = _COMMANDS[arguments.command](arguments)
    except BenchmarkError as error:
        say(f"benchmarks: {error}")
        return 1
    if figures.reports or figures.sizes:
        print(page.tables(figures))
    if arguments.write is not None:
        shown = figures if arguments.quick else page.kept(arguments.results)
        arguments.write.write_text(page.render(shown))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    table = commands.add_parser("table", help="print what was measured before")
    job = commands.add_parser("main-job", help="measure and print; needs root")
    increment = commands.add_parser("increments", help="measure updates; needs root for holdall")
    for command in (table, job, increment):
        command.add_argument(
            "--results", type=Path, default=_RESULTS, help="folder of kept figures (%(default)s)"
        )
        command.add_argument("--write", type=Path, metavar="PAGE", help="write the page, too")
        command.set_defaults(quick=False)
    for command in (job, increment):
        command.add_argument(
            "--holdall", metavar="CMD", help="how to start it (this Python, -m holdall)"
        )
        command.add_argument(
            "--patience", type=float, default=5, help="seconds to wait for quiet a run"
        )
        command.add_argument(
            "--cache", type=Path, default=_default_cache(), help="packages and archives"
        )
    _describe(job)
    increments.describe(increment)
    served = commands.add_parser("repositories", help="measure repositories, served by nginx")
    repositories.describe(served, _default_cache())
    streams = commands.add_parser("send-receive", help="measure btrfs send; needs root")
    send_receive.describe(streams, _RESULTS, _default_cache())
    formed = commands.add_parser("forms", help="measure the installed forms; needs root")
    forms.describe(formed, _default_cache())
    lived = commands.add_parser("live", help="measure apps read out of bundles; needs root")
    live.describe(lived, _default_cache())
    return parser


def _describe(job: argparse.ArgumentParser) -> None:
    job.add_argument("--sets", default="ansible,pyside6,spyder", help=f"of {', '.join(DATASETS)}")
    job.add_argument(
        "--runs", type=int, default=5, help="rounds of every timed batch (%(default)s)"
    )
    job.add_argument("--quick", action="store_true", help="the made-up set, 2 rounds, nothing kept")
    job.add_argument("--only", metavar="PART", choices=page.PARTS, help=", ".join(page.PARTS))
    job.add_argument(
        "--launcher",
        metavar="PATH",
        default=f"run/{{id}}/{platform.machine()}/stable",
        help="an app's launch file in the store (%(default)s)",
    )
    job.add_argument("--peers-only", action="store_true", help="leave holdall and start-up out")


def _default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "holdall-bench"


def _run(arguments: argparse.Namespace) -> page.Figures:
    names = ["sample"] if arguments.quick else arguments.sets.split(",")
    if unknown := set(names) - set(DATASETS):
        raise BenchmarkError(f"no such data set: {', '.join(unknown)}; see --help")
    own_mounts()
    reports = []
    with workplace() as (folder, mount_point):
        laboratory = furnish(
            folder,
            mount_point,
            cache=arguments.cache,
            holdall=arguments.holdall,
            contend=peers,
            runs=2 if arguments.quick else arguments.runs,
            patience=arguments.patience,
            peers_only=arguments.peers_only,
        )
        for report in _reports(arguments, laboratory, [DATASETS[name] for name in names]):
            reports.append(report)
            if not arguments.quick:
                save(report, arguments.results)
    return page.Figures(tuple(reports), {})


def _reports(
    arguments: argparse.Namespace, laboratory: Laboratory, datasets: Sequence[Dataset]
) -> Iterator[Report]:
    for dataset in datasets:
        wanted = [
            part
            for part in (_STAGED if len(dataset.versions) > 1 else ("build",))
            if arguments.only in {None, part}
        ]
        if wanted:
            yield from _staged(laboratory, dataset, wanted)
    if arguments.only in {None, _STARTUP} and not laboratory.peers_only:
        rows = startup(laboratory, arguments.launcher)
        yield _report(laboratory, _STARTUP, "small", rows)


def _staged(laboratory: Laboratory, dataset: Dataset, parts: Sequence[str]) -> Iterator[Report]:
    say(f"lay out {dataset.name}")
    releases = tuple(releases_of(dataset, laboratory.cache, laboratory.shop / "sources"))
    stage = Stage(laboratory, releases)
    for part in parts:
        yield _report(laboratory, part, dataset.name, _STAGED[part](stage))
    stage.strike()
    for release in releases:
        laboratory.withdraw(release)


def _report(laboratory: Laboratory, part: str, dataset: str, rows: Iterator[Row]) -> Report:
    say(f"measure {part}: {dataset}")
    begun = machine.moment()
    measured = tuple(rows)
    times = {"begun": begun, "ended": machine.moment(), "runs": str(laboratory.runs)}
    return Report(part, dataset, machine.facts() | times, measured)


_COMMANDS: dict[str, Callable[[argparse.Namespace], page.Figures]] = {
    "main-job": _run,
    "increments": increments.run,
    "repositories": repositories.run,
    "forms": forms.run,
    "live": live.run,
    "send-receive": send_receive.run,
    "table": lambda arguments: page.kept(arguments.results),
}


if __name__ == "__main__":
    sys.exit(main())
