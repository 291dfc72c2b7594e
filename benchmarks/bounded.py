"""Runs a program that may take too long or too much memory, and ends it where it does."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


class BeyondLimitsError(Exception):
    """Something could not be done within the limits, or not at all; says why."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds of processor time, and twice as many by the clock; bytes of address space."""

    seconds: int
    memory: int

    def __str__(self) -> str:
        return f"{self.seconds / 60:.0f} min of processor time, {self.memory / 2**30:.0f} GiB"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a program took: seconds of processor time, bytes at its largest."""

    seconds: float
    peak: int


def run(
    argv: tuple[str, ...],
    limits: Limits,
    folder: Path,
    environment: Mapping[str, str] | None = None,
) -> Cost:
    """Run a program to its end; what it prints is in ``folder``, in ``out`` and ``err``."""
    bounds = (f"--cpu={limits.seconds}:{limits.seconds + 5}", f"--as={limits.memory}")
    with (
        (folder / "out").open("wb") as out,
        (folder / "err").open("wb") as err,
        subprocess.Popen(
            ("prlimit", *bounds, "--", *argv),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=folder,
            env=environment,
            start_new_session=True,
        ) as process,
    ):
        try:
            cost = _wait(process, time.monotonic() + 2 * limits.seconds)
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        said = (folder / "err").read_text(errors="replace").strip().rpartition("\n")[2]
        raise BeyondLimitsError(_reason(process.returncode, limits, said))
    return cost


def _wait(process: subprocess.Popen[bytes], deadline: float) -> Cost:
    while time.monotonic() < deadline:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
        time.sleep(0.05)
    raise BeyondLimitsError("no end within twice the time limit by the clock")


def _reason(status: int, limits: Limits, said: str) -> str:
    if status == -signal.SIGXCPU:
        return f"no end within {limits.seconds / 60:.0f} min of processor time"
    if status < 0:
        return f"ended by {signal.Signals(-status).name}, within {limits}"
    return f"ended with status {status}, within {limits}: {said}"
