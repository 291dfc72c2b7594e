"""The command repositories: publishing, metadata, bytes on the wire, and many clients at once."""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks import machine, repositories_page
from benchmarks.laboratory import say
from benchmarks.page import Figures
from benchmarks.repositories_crowd import crowd
from benchmarks.repositories_growth import growth
from benchmarks.repositories_wire import wire
from benchmarks.results import Report, Row, save

_RESULTS = Path(__file__).parent / "results/repositories"
_PARTS = ("growth", "wire", "crowd")


def describe(command: argparse.ArgumentParser, cache: Path) -> None:
    """Add the options of the command."""
    command.add_argument("--apps", default="100,1000,10000", help="sizes (%(default)s)")
    command.add_argument("--clients", type=int, default=200, help="at once (%(default)s)")
    command.add_argument("--only", choices=_PARTS, help=", ".join(_PARTS))
    command.add_argument(
        "--no-packing", action="store_true", help="do not pack the new contents alone: minutes"
    )
    command.add_argument("--cache", type=Path, default=cache, help="bundles")
    command.add_argument(
        "--results", type=Path, default=_RESULTS, help="folder of kept figures (%(default)s)"
    )
    command.add_argument("--page", type=Path, metavar="PAGE", help="write the page of all kept")
    command.add_argument(
        "--patience", type=float, default=5, help="seconds to wait for quiet a run"
    )
    command.set_defaults(write=None, quick=False)


def run(arguments: argparse.Namespace) -> Figures:
    """Measure, keep and print the figures; the page of the main job has none of them."""
    with tempfile.TemporaryDirectory(prefix="holdall-bench-") as folder:
        for part, name, rows in _measured(arguments, Path(folder)):
            say(f"measure {part}: {name}")
            begun = machine.moment()
            measured = tuple(rows)
            times = {"begun": begun, "ended": machine.moment(), "runs": "1 to 9"}
            about = machine.facts() | {"file system": _file_system(folder)} | times
            save(Report(part, name, about, measured), arguments.results)
    reports = repositories_page.kept(arguments.results)
    print(repositories_page.tables(reports))
    if arguments.page:
        arguments.page.write_text(repositories_page.render(reports))
    return Figures((), {})


def _measured(
    arguments: argparse.Namespace, folder: Path
) -> Iterator[tuple[str, str, Iterator[Row]]]:
    chosen = {arguments.only} if arguments.only else set(_PARTS)
    if "growth" in chosen:
        for apps in map(int, arguments.apps.split(",")):
            rows = growth(folder / f"growth-{apps}", apps, arguments.patience)
            yield "growth", f"{apps}-apps", rows
    if "wire" in chosen:
        packing = not arguments.no_packing
        yield "wire", "pyside6", wire(folder / "wire", arguments.cache, packing=packing)
    if "crowd" in chosen:
        rows = crowd(folder / "crowd", arguments.clients)
        yield "crowd", f"{arguments.clients}-clients", rows


def _file_system(folder: str) -> str:
    found = ("", "unknown")
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if f"{folder}/".startswith(place.rstrip("/") + "/") and len(place) >= len(found[0]):
            found = (place, kind)
    return f"{found[1]}, the machine's own disk"
