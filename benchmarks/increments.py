"""The command increments: exact sizes beside the peers', and what holdall's own cost."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks import applying, machine, sizes
from benchmarks.bounded import Limits
from benchmarks.data import Release, releases_of
from benchmarks.differs import DIFFERS, Bench, Differ, missing
from benchmarks.disk import own_mounts, workplace
from benchmarks.errors import BenchmarkError
from benchmarks.laboratory import Laboratory, furnish, say
from benchmarks.page import Figures, kept
from benchmarks.pairs import PAIRS, Pair
from benchmarks.results import BUILT, INCREMENT, Report, moments, save
from benchmarks.sizes import Size

Choice = TypeVar("Choice")


def describe(command: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    command.add_argument(
        "--pairs",
        default=",".join(name for name in PAIRS if name != "sample"),
        help=f"of {', '.join(PAIRS)} (made up, nothing of it is kept)",
    )
    command.add_argument(
        "--peers",
        default=",".join(DIFFERS),
        metavar="NAME,…",
        help="which; what is kept of the same is not measured again (%(default)s)",
    )
    some = command.add_mutually_exclusive_group()
    some.add_argument("--no-peers", action="store_true", help="holdall only; needs root")
    some.add_argument("--only-peers", action="store_true", help="leave holdall out")
    command.add_argument("--again", action="store_true", help="measure known peers, too")
    command.add_argument(
        "--limit-minutes",
        type=int,
        default=20,
        help="of processor time, and twice that by the clock, for a peer and pair (%(default)s)",
    )
    command.add_argument(
        "--limit-memory", type=int, default=8, metavar="GIB", help="for a peer (%(default)s)"
    )
    command.add_argument(
        "--runs", type=int, default=3, help="rounds of applying that are timed (%(default)s)"
    )
    command.add_argument(
        "--keep-bundles",
        action="store_true",
        help="take full bundles from the cache, or put them there, with the key that signed them; "
        "put increments there, too",
    )
    command.add_argument(
        "--only-applying",
        action="store_true",
        help="apply the increments that --keep-bundles kept; what is known of building them stays",
    )


def run(arguments: argparse.Namespace) -> Figures:
    """Measure the pairs, one after the other; return their figures and what was known of them."""
    pairs = _chosen(arguments.pairs, PAIRS, "pair")
    differs = [] if arguments.no_peers else _chosen(arguments.peers, DIFFERS, "peer")
    if asked := missing(differs):
        message = f"peers are missing for {sys.executable}: {'; '.join(asked)}"
        raise BenchmarkError(f"{message}; or choose others with --peers or --no-peers")
    if not arguments.only_peers:
        own_mounts()
    known = kept(arguments.results)
    reports = {one.dataset: one for one in known.reports if one.part == INCREMENT}
    weighed = {name: dict(found) for name, found in known.sizes.items()}
    for pair in pairs:
        with workplace() as (folder, mount_point):
            say(f"lay out {pair.title}")
            releases = tuple(releases_of(pair.dataset, arguments.cache, folder / "sources"))
            _weigh(arguments, pair, differs, _bench(arguments, folder, releases), weighed)
            if not arguments.only_peers:
                laboratory = _laboratory(arguments, folder, mount_point)
                reports[pair.name] = _report(
                    arguments, laboratory, pair, releases, reports.get(pair.name)
                )
    chosen = [pair.name for pair in pairs]
    return Figures(
        tuple(reports[name] for name in chosen if name in reports),
        {name: weighed[name] for name in chosen if name in weighed},
    )


def _chosen(names: str, known: Mapping[str, Choice], kind: str) -> list[Choice]:
    if unknown := set(names.split(",")) - set(known):
        raise BenchmarkError(f"no such {kind}: {', '.join(sorted(unknown))}; see --help")
    return [known[name] for name in names.split(",")]


def _bench(arguments: argparse.Namespace, folder: Path, releases: Sequence[Release]) -> Bench:
    limits = Limits(arguments.limit_minutes * 60, arguments.limit_memory << 30)
    return Bench(folder / "bench", limits, releases[0], releases[-1])


def _weigh(
    arguments: argparse.Namespace,
    pair: Pair,
    differs: Sequence[Differ],
    bench: Bench,
    weighed: dict[str, dict[str, Size]],
) -> None:
    """Add what the peers take to what is known; each is kept as soon as it is measured."""
    known = weighed.setdefault(pair.name, {}) if differs else weighed.get(pair.name, {})
    for size in sizes.measure(bench, differs, dict(known), again=arguments.again):
        known[size.peer] = size
        say(f"{size.peer}, {pair.title}: {size.size or size.reason}")
        if not pair.made_up:
            sizes.save(arguments.results, pair.name, size)


def _laboratory(arguments: argparse.Namespace, folder: Path, mount_point: Path) -> Laboratory:
    return furnish(
        folder,
        mount_point,
        cache=arguments.cache,
        holdall=arguments.holdall,
        contend=lambda _: (),
        runs=arguments.runs,
        patience=arguments.patience,
    )


def _report(
    arguments: argparse.Namespace,
    laboratory: Laboratory,
    pair: Pair,
    releases: Sequence[Release],
    known: Report | None,
) -> Report:
    begun = machine.moment()
    old, new = releases[0], releases[-1]
    before: dict[str, str] = {}
    if arguments.only_applying:
        if known is None:
            raise BenchmarkError(f"{pair.title} was never measured; leave --only-applying out")
        built = tuple(applying.fetch(laboratory, old, new, known.rows))
        before = {BUILT: known.circumstances.get(BUILT) or moments(known)}
    else:
        keep = arguments.keep_bundles
        built = tuple(applying.build(laboratory, pair, old, new, keep=keep))
    rows = (*built, *applying.apply(laboratory, pair, old, new))
    times = {"begun": begun, "ended": machine.moment(), "runs": str(laboratory.runs)}
    report = Report(INCREMENT, pair.name, machine.facts() | times | before, rows)
    if not pair.made_up:
        save(report, arguments.results)
    return report
