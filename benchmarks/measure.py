"""Runs programs and says what they cost: wall time, processor time, memory.

A job is a sequence of commands; it is data, made by a contender, and this module is the only one
that runs it. Nothing here knows what is being measured.
"""

import json
import os
import re
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, TypeVar

from benchmarks.errors import BenchmarkError


@dataclass(frozen=True, slots=True)
class Command:
    """A program with its arguments, additions to its environment, and what it finds open.

    ``opened`` are files to read, by descriptor.
    """

    argv: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    opened: tuple[tuple[int, Path], ...] = ()

    @classmethod
    def of(cls, *argv: str | Path) -> Self:
        return cls(tuple(map(str, argv)))

    def within(self, environment: dict[str, str]) -> Self:
        return replace(self, environment=(*self.environment, *environment.items()))


Job = tuple[Command, ...]
Ask = Callable[[dict[str, Any]], dict[str, Any]]
"""Puts a question to a program, and returns its answer; both are what JSON can say."""

Name = TypeVar("Name")


@dataclass(frozen=True, slots=True)
class Sample:
    """What one job cost: seconds, and the bytes of its largest process."""

    wall: float
    cpu: float
    peak: int


@dataclass(frozen=True, slots=True)
class Footprint:
    """The most memory a job held at any instant, in bytes.

    ``largest`` is that of a single process, by the kernel's own account. The sums over the process
    tree are sampled: ``resident`` counts a page once for each process that maps it,
    ``proportional`` divides it among them.
    """

    largest: int
    resident: int
    proportional: int


class Runner:
    """Starts commands in a clean environment, with their words kept for the case of failure."""

    def __init__(self, log: Path, environment: dict[str, str]) -> None:
        self._log = log
        self._environment = environment

    def run(self, job: Job) -> Sample:
        """Run every command to its end and add up what they cost."""
        return _total([self._finish(command, self._start(command)) for command in job])

    def observe(self, job: Job, interval: float) -> tuple[Sample, Footprint]:
        """Run the job and look at its memory every so often; looking costs it some time."""
        samples, largest, resident, proportional = [], 0, 0, 0
        for command in job:
            started = self._start(command)
            while os.waitid(os.P_PID, started[0], os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                processes = tuple(process_tree(started[0]))
                largest = max(largest, *(_bytes(pid, "status", "VmHWM") for pid in processes))
                resident = max(resident, sum(_bytes(pid, "status", "VmRSS") for pid in processes))
                shares = (_bytes(pid, "smaps_rollup", "Pss") for pid in processes)
                proportional = max(proportional, sum(shares))
                time.sleep(interval)
            samples.append(self._finish(command, started))
        total = _total(samples)
        # A child begins as large as the harness, by the kernel's book-keeping over exec: its
        # exact maximum says something only where it is beyond that.
        floor = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        exact = total.peak if total.peak > floor else 0
        return total, Footprint(max(largest, exact), max(resident, exact), proportional)

    def output(self, command: Command) -> str:
        """Run a command and return what it printed."""
        self.run((command,))
        return self._log.with_suffix(".out").read_text(errors="replace")

    @contextmanager
    def conversation(self, command: Command) -> Iterator[Ask]:
        """Start a program that answers, once it said that it is ready: JSON, one value a line."""
        with (
            self._log.open("w") as log,
            subprocess.Popen(
                command.argv,
                env=self._environment | dict(command.environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            ) as process,
        ):

            def ask(question: dict[str, Any]) -> dict[str, Any]:
                assert process.stdin
                process.stdin.write(json.dumps(question) + "\n")
                process.stdin.flush()
                return heard()

            def heard() -> dict[str, Any]:
                assert process.stdout
                line = process.stdout.readline()
                if not line:
                    status = process.wait()
                    said = self._log.read_text(errors="replace").strip()[-2000:]
                    raise BenchmarkError(f"a reader ended with status {status}: {said}")
                answer: dict[str, Any] = json.loads(line)
                return answer

            try:
                heard()
                yield ask
                process.communicate(timeout=60)
            finally:
                process.kill()

    def _start(self, command: Command) -> tuple[int, float]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(self._log.with_suffix(".out")), flags, 0o600),
            (os.POSIX_SPAWN_OPEN, 2, str(self._log), flags, 0o600),
        ]
        actions += [
            (os.POSIX_SPAWN_OPEN, fd, str(path), os.O_RDONLY, 0) for fd, path in command.opened
        ]
        environment = self._environment | dict(command.environment)
        begun = time.perf_counter()
        try:
            pid = os.posix_spawnp(command.argv[0], command.argv, environment, file_actions=actions)
        except OSError as error:
            message = f"cannot start {command.argv[0]}: {error.strerror}; is it installed?"
            raise BenchmarkError(message) from error
        return pid, begun

    def _finish(self, command: Command, started: tuple[int, float]) -> Sample:
        pid, begun = started
        _, status, usage = os.wait4(pid, 0)
        wall = time.perf_counter() - begun
        if code := os.waitstatus_to_exitcode(status):
            said = self._log.read_text(errors="replace").strip()[-2000:]
            line = " ".join(command.argv)
            raise BenchmarkError(f"a measured program ended with status {code}: {line}\n{said}")
        return Sample(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def _total(samples: Sequence[Sample]) -> Sample:
    return Sample(
        sum(sample.wall for sample in samples),
        sum(sample.cpu for sample in samples),
        max((sample.peak for sample in samples), default=0),
    )


def process_tree(pid: int) -> Iterator[int]:
    """Yield the process and all that descend from it, as far as they still run."""
    yield pid
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [child for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return
    for child in children:
        yield from process_tree(int(child))


def peak_of(pid: int) -> int:
    """The most memory a process has held in its life, in bytes; nothing once it has ended."""
    return _bytes(pid, "status", "VmHWM")


def share_of(pid: int) -> int:
    """The memory of a process in bytes, of pages that several map its share."""
    return _bytes(pid, "smaps_rollup", "Pss")


def seconds_of(pid: int) -> float:
    """The processor time a process has taken so far; nothing once it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _bytes(pid: int, file: str, key: str) -> int:
    """One line of a process's memory in /proc, or nothing once the process has ended."""
    try:
        text = Path(f"/proc/{pid}/{file}").read_text()
    except OSError:
        return 0
    found = re.search(rf"^{key}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def interleaved(names: Sequence[Name], rounds: int) -> Iterator[Name]:
    """Yield every name once a round, each round beginning one further, so that drift cancels."""
    for number in range(rounds):
        start = number % len(names) if names else 0
        yield from names[start:]
        yield from names[:start]


def paired_ratio(values: Sequence[float], baseline: Sequence[float]) -> float | None:
    """The median of the ratios of runs made in the same round."""
    ratios = [value / base for value, base in zip(values, baseline, strict=False) if base > 0]
    return statistics.median(ratios) if ratios else None


def wait_for_quiet(patience: float, *, busy: float = 0.1, window: float = 0.1) -> bool:
    """Write everything back, then wait until the processors idle; False when they never did."""
    os.sync()
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        before = _processor_ticks()
        time.sleep(window)
        after = _processor_ticks()
        total = after[0] - before[0]
        if total > 0 and (after[1] - before[1]) / total <= busy:
            return True
    return False


def _processor_ticks() -> tuple[int, int]:
    """All ticks of all processors since boot, and those that were not idle."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(fields), sum(fields) - fields[3] - fields[4]
