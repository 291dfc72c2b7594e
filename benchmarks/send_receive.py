"""The command send-receive: what an update weighs and costs as a stream of ``btrfs send``.

The new version is a snapshot of the old one, changed in two ways: files that differ are replaced,
as an installer does; or only the blocks that differ are written (rsync --inplace), which is the
best that send can be given. Streams are packed with zstd, too, and taken from a file system that
compresses.
"""

import argparse
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import machine
from benchmarks.data import Release, releases_of
from benchmarks.disk import Disks, own_mounts, workplace
from benchmarks.errors import BenchmarkError
from benchmarks.laboratory import say
from benchmarks.measure import Command, Job, Runner, Sample, wait_for_quiet
from benchmarks.page import Figures
from benchmarks.pairs import PAIRS, Pair
from benchmarks.results import INCREMENT, SUBJECT, load

RESULTS = "send-receive"
_SIZE = 6 << 30
_WAYS = {
    "replaced": ("--whole-file",),
    "in place": ("--inplace", "--no-whole-file"),
}
_HEAD = """\
# Streams of btrfs beside increments

Written by `python -m benchmarks send-receive --page FILE`. What an update weighs as a stream of
`btrfs send -p`, and what sending and receiving it cost, once each, on btrfs in a loop file in
memory; in brackets processor time. Of the new version, files that differ are either *replaced*, as
installers do, or written *in place*, block by block (`rsync --inplace`), which is the best that
send can be given. *Compressed* is taken from a file system that compresses with zstd
(`--compressed-data`). The last line is the increment as it was [measured](benchmarks.md), signed
and with every digest; it is applied on ext4, and that time includes checking all it makes.
"""
_OF_OURS = {
    "size": "increment, size",
    "seconds": "apply, time",
    "processor": "apply, processor time",
}


@dataclass(frozen=True, slots=True)
class Update:
    """One way of sending a version to somebody who has the one before; bytes and seconds."""

    way: str
    compressed: bool
    stream: int
    packed: int
    send: Sample
    receive: Sample


def describe(command: argparse.ArgumentParser, results: Path, cache: Path) -> None:
    """Add the options of the command."""
    pairs = "ansible-11.10,pyside6"
    command.add_argument("--pairs", default=pairs, help=f"of {', '.join(PAIRS)} (%(default)s)")
    command.add_argument("--cache", type=Path, default=cache, help="packages")
    command.add_argument("--results", type=Path, default=results, help="folder of kept figures")
    command.add_argument("--patience", type=float, default=5, help="seconds to wait for quiet")
    command.add_argument("--page", type=Path, metavar="PAGE", help="write the page of all kept")
    command.set_defaults(write=None, quick=False)


def run(arguments: argparse.Namespace) -> Figures:
    """Measure the pairs, keep the figures beside what is known of increments, and print them."""
    own_mounts()
    for name in filter(None, arguments.pairs.split(",")):
        if name not in PAIRS:
            raise BenchmarkError(f"no such pair: {name}; see --help")
        pair = PAIRS[name]
        with workplace() as (folder, mount_point):
            say(f"lay out {pair.title}")
            releases = tuple(releases_of(pair.dataset, arguments.cache, folder / "sources"))
            bench = _Bench(folder, mount_point, arguments.patience, releases[0], releases[-1])
            begun = machine.moment()
            updates = list(bench.updates())
        kept = {
            "pair": pair.title,
            "circumstances": machine.facts() | {"begun": begun, "ended": machine.moment()},
            "updates": [asdict(update) for update in updates],
            "increment": _increment(arguments.results, pair),
        }
        print("\n".join(_lines(kept)))
        if not pair.made_up:
            path = arguments.results / RESULTS / f"{name}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(kept, indent=1) + "\n")
    if arguments.page:
        arguments.page.write_text(render(arguments.results))
    return Figures((), {})


def render(results: Path) -> str:
    """The page of all that is kept."""
    found = [json.loads(path.read_text()) for path in sorted((results / RESULTS).glob("*.json"))]
    lines = [_HEAD]
    for kept in found:
        lines += _lines(kept)
    for kept in found:
        about = kept["circumstances"]
        facts = (about[name] for name in ("system", "kernel", "processor", "memory"))
        when = f"{about['begun']} to {about['ended']}, commit {about['commit']}"
        lines.append(f"- {kept['pair']}: {', '.join(facts)}; {when}.")
    return "\n".join(lines) + "\n"


class _Bench:
    """A publisher's disk and a client's, and the versions that go from one to the other."""

    def __init__(
        self, folder: Path, mount_point: Path, patience: float, old: Release, new: Release
    ) -> None:
        self._disks = Disks(folder / "images", mount_point, _SIZE, "btrfs")
        self._runner = Runner(folder / "stderr", {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
        self._folder, self._patience = folder, patience
        self._old, self._new = old, new

    def updates(self) -> Iterator[Update]:
        """Every way, from a plain file system and from one that compresses."""
        for compressed in (False, True):
            for way in _WAYS:
                say(f"{way}, {'compressed' if compressed else 'plain'}")
                yield self._update(way, compressed=compressed)

    def _update(self, way: str, *, compressed: bool) -> Update:
        full, stream = self._folder / "full", self._folder / "stream"
        options = ("--proto", "2", "--compressed-data") if compressed else ()
        publisher = self._disks.image("publisher", lambda root: self._lay_out(root, compressed))
        with self._disks.remounted(publisher) as root:
            self._do(("btrfs", "send", "-q", *options, "-f", full, root / "old"))
            self._do(("btrfs", "subvolume", "snapshot", root / "old", root / "new"))
            sync = ("rsync", "-a", "--delete", "--checksum", *_WAYS[way])
            self._do((*sync, f"{self._new.files}/", f"{root / 'new'}/"), *_sealed(root / "new"))
            wait_for_quiet(self._patience)
            send = ("btrfs", "send", "-q", *options, "-p", root / "old", "-f", stream)
            sent = self._do((*send, root / "new"))
        publisher.unlink()
        received = self._receive(full, stream)
        packed = self._folder / "packed"
        self._do(("zstd", "-q", "-f", "-19", "--long=27", stream, "-o", packed))
        size = stream.stat().st_size
        return Update(way, compressed, size, packed.stat().st_size, sent, received)

    def _lay_out(self, root: Path, compressed: bool) -> None:  # noqa: FBT001 - not called elsewhere
        self._do(("btrfs", "subvolume", "create", root / "old"))
        if compressed:
            self._do(("btrfs", "property", "set", root / "old", "compression", "zstd"))
        self._do(("cp", "-a", f"{self._old.files}/.", root / "old"), *_sealed(root / "old"))

    def _receive(self, full: Path, stream: Path) -> Sample:
        """Have a client that got the old version whole take the update; nothing is forgotten."""
        take = ("btrfs", "receive", "-q", "-f")
        client = self._disks.image("client", lambda root: self._received(root, full))
        full.unlink()
        with self._disks.remounted(client) as root:
            wait_for_quiet(self._patience)
            sample = self._do((*take, stream, root), ("sync", "-f", root))
            same = ["diff", "-r", "--no-dereference", str(self._new.files), str(root / "new")]
            if subprocess.run(same, check=False, capture_output=True).returncode:
                raise BenchmarkError("what was received is not what was sent")
        client.unlink()
        return sample

    def _received(self, root: Path, full: Path) -> None:
        self._do(("btrfs", "receive", "-q", "-f", full, root))

    def _do(self, *commands: tuple[str | Path, ...]) -> Sample:
        job: Job = tuple(Command.of(*argv) for argv in commands)
        return self._runner.run(job)


def _sealed(subvolume: Path) -> tuple[tuple[str | Path, ...], ...]:
    """Read-only, as what is sent must be, and on the disk."""
    return (
        ("btrfs", "property", "set", "-ts", subvolume, "ro", "true"),
        ("sync", "-f", subvolume),
    )


def _increment(results: Path, pair: Pair) -> dict[str, float]:
    """What was measured of the increment before."""
    path = results / f"{INCREMENT}-{pair.name}.json"
    if not path.exists():
        return {}
    rows = {row.measure: row.cells for row in load(path).rows}
    return {key: rows[measure][SUBJECT].value for key, measure in _OF_OURS.items()}


def _lines(kept: Mapping[str, object]) -> Iterator[str]:
    """The figures for reading, as a table in Markdown."""
    yield f"## {kept['pair']}\n"
    yield "| files that differ | bytes of the stream | with zstd -19 | send | receive, synced |"
    yield "|-|-|-|-|-|"
    updates = kept["updates"]
    assert isinstance(updates, list)
    for update in updates:
        way = f"{update['way']}, compressed" if update["compressed"] else update["way"]
        costs = (update[verb] for verb in ("send", "receive"))
        seconds = (f"{cost['wall']:.2f} s ({cost['cpu']:.2f} s)" for cost in costs)
        yield f"| {way} | {update['stream']:,} | {update['packed']:,} | {' | '.join(seconds)} |"
    ours = kept["increment"]
    if isinstance(ours, dict) and ours:
        taken = f"{ours['seconds']:.2f} s ({ours['processor']:.2f} s)"
        yield f"| holdall's increment | | {ours['size']:,.0f} | | {taken} |"
    yield ""
