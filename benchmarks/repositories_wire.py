"""What a real update takes on the wire, over a remote: with an increment, and without any."""

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path

from benchmarks.errors import BenchmarkError
from benchmarks.laboratory import say
from benchmarks.measure import Command
from benchmarks.repositories_market import Market, opened, stock
from benchmarks.repositories_server import Traffic
from benchmarks.results import SUBJECT, Of, Row, Target, Unit, row

TITLE = "PySide6 6.8.1 → 6.8.2"
_APP = "org.holdall.bench.Pyside6"
_INCREMENT_LIMIT = 3.5e6
_RANGES_LIMIT = 1.02
_PLAN_LIMIT = 1.0
_ZSTD = ("zstd", "-19", "--long=27", "-q")


def wire(folder: Path, cache: Path, *, packing: bool) -> Iterator[Row]:
    """Measure with the bundles of the cache; ``packing`` also packs the new contents alone."""
    old, new, increment = _kept(cache / "bundles")
    with opened(folder, cache / "bundles/key-store") as market:
        user = folder / "user"
        market.add(old)
        market.publish()
        market.join(user)
        planned, taken = _act(market, user, "install", _APP)
        yield from _judged("install", planned, taken)
        for copy in ("by-increment", "by-ranges"):
            market.runner.run((Command.of("cp", "-a", user, folder / copy),))
        market.add(new)
        market.publish()
        planned, ranges = _act(market, folder / "by-ranges", "update")
        yield from _judged("update without an increment", planned, ranges)
        yield from _without(market, folder, (old, new), ranges, packing=packing)
        market.add(increment)
        market.publish()
        planned, taken = _act(market, folder / "by-increment", "update")
        limit = Target(_INCREMENT_LIMIT, Of.VALUE)
        yield from _judged("update by increment", planned, taken, limit)
        market.ask(folder / "by-increment", "verify")


def _kept(folder: Path) -> tuple[Path, Path, Path]:
    increments = list(folder.glob("pyside6-6.8.2-*-from-6.8.1-*.holdall"))
    if len(increments) != 1:
        raise BenchmarkError(
            "there are no bundles of pyside6 in the cache; measure once with "
            "`increments --pairs pyside6 --no-peers --keep-bundles`"
        )
    new, _, base = increments[0].stem.partition("-from-")
    return folder / f"pyside6-{base}.holdall", folder / f"{new}.holdall", increments[0]


def _act(market: Market, store: Path, *argv: str) -> tuple[int, Traffic]:
    """Ask for the plan, then carry it out from the state before; returns the bytes planned."""
    asked = store.with_name(f"{store.name}-asked")
    market.runner.run((Command.of("cp", "-a", store, asked),))
    (told,) = market.ask(asked, *argv, "--dry-run")
    shutil.rmtree(asked)
    (done,), taken = market.did(store, *argv)
    say(f"{' '.join(argv)}: planned {told['download']:,}, done {done['download']:,}")
    return int(told["download"]), taken


def _judged(
    measure: str, planned: int, taken: Traffic, limit: Target | None = None
) -> Iterator[Row]:
    yield _row(f"{measure}, planned", Unit.BYTES, planned)
    yield _row(f"{measure}, bodies in the log", Unit.BYTES, taken.bodies)
    off = 100 * abs(taken.bodies / planned - 1)
    yield _row(f"{measure}, bodies off the plan", Unit.PERCENT, off, Target(_PLAN_LIMIT, Of.VALUE))
    yield _row(f"{measure}, metadata", Unit.BYTES, taken.metadata.wire)
    yield _row(f"{measure}, requests", Unit.COUNT, len(taken.requests))
    yield _row(f"{measure}, on the wire in all", Unit.BYTES, taken.wire, limit)


def _without(
    market: Market, folder: Path, bundles: tuple[Path, Path], taken: Traffic, *, packing: bool
) -> Iterator[Row]:
    """The update without an increment, beside what the new contents weigh, told in several ways."""
    shares: Mapping[str, float] = json.loads(stock(market, "shares", *bundles))
    yield _row("new contents, as they are", Unit.BYTES, shares["fresh"])
    weights = {"their share of the frames that have them": shares["share"]}
    weights["the frames that have them"] = shares["whole"]
    if packing:
        say("pack the new contents alone")
        weights |= _packed(market, folder)
    for how, weight in weights.items():
        yield _row(f"new contents, {how}", Unit.BYTES, weight)
    for how, weight in weights.items():
        target = None if how.startswith("the frames") else Target(_RANGES_LIMIT, Of.VALUE)
        measure = f"update without an increment, on the wire, to {how}"
        yield _row(measure, Unit.TIMES, taken.wire / weight, target)


def _packed(market: Market, folder: Path) -> dict[str, float]:
    """The new contents, each once, packed by holdall, by tar and zstd, and each file by itself."""
    store = folder / "by-ranges"
    known = {_digest(path) for path in _files(market, folder / "by-increment")}
    source = folder / "fresh"
    (source / "files").mkdir(parents=True)
    manifest = 'id = "org.example.Fresh"\nbranch = "stable"\nversion = "1"\nkind = "app"\n'
    (source / "holdall.toml").write_text(manifest + 'runtime = "host"\ncommand = "true"\n')
    root = _root(market, store)
    seen: set[bytes] = set()
    for path in _files(market, store):
        if (digest := _digest(path)) not in known | seen:
            seen.add(digest)
            copy = source / "files" / path.relative_to(root)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    out = folder / "fresh.holdall"
    market.runner.run((market.command(market.subject.key_store, "build", source, "-o", out),))
    archive = folder / "fresh.tar"
    subprocess.run(["tar", "-C", source, "-cf", archive, "files"], check=True)
    subprocess.run([*_ZSTD, "-T2", archive, "-o", f"{archive}.zst"], check=True)
    alone = _alone(folder, [path for path in source.rglob("files/**/*") if path.is_file()])
    return {
        "packed alone by holdall, frames": json.loads(stock(market, "frames", out))["all"],
        "packed alone by tar and zstd -19 --long=27": Path(f"{archive}.zst").stat().st_size,
        "each by itself, zstd -19": alone,
    }


def _alone(folder: Path, paths: list[Path]) -> int:
    """What files take, each compressed by itself; two programs at once."""
    halves = [paths[::2], paths[1::2]]
    flat = folder / "alone"
    flat.mkdir()
    running = []
    for number, half in enumerate(halves):
        for at, path in enumerate(half):
            (flat / f"{number}-{at}").hardlink_to(path)
        files = [flat / f"{number}-{at}" for at in range(len(half))]
        running.append(subprocess.Popen([*_ZSTD, *files]))
    if any(process.wait() for process in running):
        raise BenchmarkError("zstd could not compress the new contents")
    return sum(path.stat().st_size for path in flat.glob("*.zst"))


def _root(market: Market, store: Path) -> Path:
    said = market.runner.output(market.subject.command(store, "path", _APP))
    return Path(said.removesuffix("\n"))


def _files(market: Market, store: Path) -> list[Path]:
    found = _root(market, store).rglob("*")
    return sorted(path for path in found if path.is_file() and not path.is_symlink())


def _digest(path: Path) -> bytes:
    return sha256(path.read_bytes()).digest()


def _row(measure: str, unit: Unit, value: float, target: Target | None = None) -> Row:
    return row(measure, TITLE, unit, {SUBJECT: [value]}, target=target)
