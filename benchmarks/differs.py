"""The peers that make an update small: what each needs to go from one tree to the next, in bytes.

A differ is given a bench with two releases on it, and room. It only makes and weighs; that what it
made can be applied is its own affair.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import bounded, perfile
from benchmarks.bounded import BeyondLimitsError, Cost, Limits
from benchmarks.contenders import Program
from benchmarks.data import Release

_CHECKOUT = Path(__file__).resolve().parent.parent
_TAR = ("tar", "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner")


@dataclass(frozen=True, slots=True)
class Bench:
    """Two releases, a folder to work in, and the limits of whatever is run there."""

    folder: Path
    limits: Limits
    old: Release
    new: Release

    def run(self, *argv: str | Path) -> Cost:
        return bounded.run(tuple(map(str, argv)), self.limits, self.folder)

    def tar(self, release: Release) -> Path:
        """An archive of the release, the same every time."""
        path = self.folder / f"{release.version}.tar"
        if not path.exists():
            self.run(*_TAR, "-C", release.files, "-cf", path, ".")
        return path


@dataclass(frozen=True, slots=True)
class Differ:
    """A way to make an update small, told in one line; ``make`` returns bytes and cost.

    It is a program, or a ``module`` of this Python.
    """

    name: str
    manner: str
    program: Program
    make: Callable[[Bench], tuple[int, Cost]]
    module: str | None = None

    @property
    def version(self) -> str | None:
        """The version of the tool that is here, if any is."""
        if self.module is not None:
            return perfile.version(self.module)
        if shutil.which(self.program.command) is None:
            return None
        asked = (self.program.command, "-V" if self.name == "xdelta3" else "--version")
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        found = re.search(r"\d+(?:\.\d+)+", said := done.stdout + done.stderr)
        return (found or re.search(r"\d+", said) or ["unknown"])[0]


def _xdelta3(bench: Bench) -> tuple[int, Cost]:
    old, new, made = bench.tar(bench.old), bench.tar(bench.new), bench.folder / "made.xdelta"
    window = 1 << max(26, (old.stat().st_size - 1).bit_length())
    options = ("-9", "-S", "lzma", "-B", str(window))
    return _made(bench, made, "xdelta3", "-e", "-q", "-f", *options, "-s", old, new, made)


def _zstd(bench: Bench) -> tuple[int, Cost]:
    old, new, made = bench.tar(bench.old), bench.tar(bench.new), bench.folder / "made.zst"
    return _made(
        bench, made, "zstd", "-q", "-f", "-19", "--long=31", f"--patch-from={old}", new, "-o", made
    )


def _made(bench: Bench, made: Path, *argv: str | Path) -> tuple[int, Cost]:
    cost = bench.run(*argv)
    size = made.stat().st_size
    made.unlink()
    return size, cost


def _branch(release: Release) -> str:
    """A version as ostree takes it for a branch: Debian's have a ~."""
    return release.version.replace("~", "-")


def _ostree(bench: Bench) -> tuple[int, Cost]:
    repo, made = bench.folder / "ostree", bench.folder / "made.ostree"
    bench.run("ostree", f"--repo={repo}", "init", "--mode=archive")
    for release in (bench.old, bench.new):
        options = (f"--branch={_branch(release)}", "--canonical-permissions", "--timestamp=@0")
        bench.run("ostree", f"--repo={repo}", "commit", *options, release.files)
    ends = (f"--from={_branch(bench.old)}", f"--to={_branch(bench.new)}")
    # Without the fallback size large objects stand beside the delta, to be fetched whole.
    whole = ("--inline", "--min-fallback-size=0", f"--filename={made}")
    found = _made(
        bench, made, "ostree", f"--repo={repo}", "static-delta", "generate", *ends, *whole
    )
    shutil.rmtree(repo)
    return found


def _casync(bench: Bench) -> tuple[int, Cost]:
    costs = []
    for release in (bench.old, bench.new):
        store, index = _casync_paths(bench, release)
        made = ("casync", "make", "--with=unix", f"--store={store}", index, release.files)
        costs.append(bench.run(*made))
    (old, _), (new, index) = (_casync_paths(bench, end) for end in (bench.old, bench.new))
    had = {path.name for path in old.rglob("*.cacnk")}
    chunks = [path for path in new.rglob("*.cacnk") if path.name not in had]
    size = index.stat().st_size + sum(path.stat().st_size for path in chunks)
    for store in (old, new):
        shutil.rmtree(store)
    return size, costs[1]


def _casync_paths(bench: Bench, release: Release) -> tuple[Path, Path]:
    return bench.folder / f"{release.version}.castr", bench.folder / f"{release.version}.caidx"


def _per_file(engine: str) -> Callable[[Bench], tuple[int, Cost]]:
    def make(bench: Bench) -> tuple[int, Cost]:
        argv = ("-m", "benchmarks.perfile", engine, bench.old.files, bench.new.files)
        path = ("env", f"PYTHONPATH={_CHECKOUT}")
        try:
            cost = bench.run(*path, sys.executable, *argv)
        except BeyondLimitsError as error:
            raise BeyondLimitsError(f"{error}; {remainder(_lines(bench))}") from error
        lines = _lines(bench)
        if len(lines) - 1 < lines[0]["files"]:
            reason = f"{bench.limits.memory / 2**30:.0f} GiB are too little memory"
            raise BeyondLimitsError(f"{reason}; {remainder(lines)}")
        return sum(line["size"] for line in lines[1:]), cost

    return make


def _lines(bench: Bench) -> list[dict[str, int]]:
    # A line that was being written when the program was ended is not whole.
    text = (bench.folder / "out").read_text().rpartition("\n")[0]
    return [json.loads(line) for line in text.splitlines()] or [{"files": 0, "bytes": 0}]


def remainder(lines: Sequence[Mapping[str, int]]) -> str:
    """Say what of its work, told in its first line, a program has not done, and what it has."""
    whole, done = lines[0], lines[1:]
    files, size = whole["files"] - len(done), whole["bytes"] - sum(line["bytes"] for line in done)
    return (
        f"{files} of {whole['files']} contents are left out, {size / 1e6:.1f} of "
        f"{whole['bytes'] / 1e6:.1f} MB; the others take {sum(line['size'] for line in done):,}"
    )


DIFFERS = {
    differ.name: differ
    for differ in (
        Differ(
            "xdelta3",
            "xdelta3 -9 -S lzma of tars, -B as large as the old one",
            Program("xdelta3", "xdelta3"),
            _xdelta3,
        ),
        Differ("zstd", "zstd -19 --long=31 --patch-from of tars", Program("zstd", "zstd"), _zstd),
        Differ(
            "bsdiff",
            "bsdiff4 for each new content, added up; LZMA2 where there is no old one",
            Program("python3", "python3"),
            _per_file("bsdiff"),
            perfile.MODULES["bsdiff"],
        ),
        Differ(
            "hdiffpatch",
            "hdiffpatch with lzma2 level 9 for each new content, added up; LZMA2 where there is no "
            "old one",
            Program("python3", "python3"),
            _per_file("hdiffpatch"),
            perfile.MODULES["hdiffpatch"],
        ),
        Differ(
            "ostree",
            "ostree static-delta generate --inline --min-fallback-size=0",
            Program("ostree", "ostree"),
            _ostree,
        ),
        Differ(
            "casync",
            "chunks that the old chunk store has not, and the new index",
            Program("casync", "casync"),
            _casync,
        ),
    )
}


def missing(differs: Sequence[Differ]) -> tuple[str, ...]:
    """Say what to install for the differs whose tools are not here."""
    absent = [differ for differ in differs if differ.version is None]
    debian = sorted({one.program.package for one in absent if one.module is None})
    asked = [f"apt install {' '.join(debian)}"] if debian else []
    if any(one.module for one in absent):
        asked.append("pip install -r benchmarks/requirements.txt")
    return tuple(asked)
