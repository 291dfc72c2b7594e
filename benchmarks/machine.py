"""The circumstances of a measurement: what the machine is and how busy it was."""

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import disk


def facts() -> dict[str, str]:
    """Return what the machine is and which programs were compared."""
    return {
        "system": platform.freedesktop_os_release()["PRETTY_NAME"],
        "kernel": platform.release(),
        "processor": f"{len(os.sched_getaffinity(0))} cores, {_processor()}",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 1e9:.0f} GB",
        "file system": disk.DESCRIPTION,
        "python": platform.python_version(),
        **{
            program: _version(program) for program in ("tar", "zstd", "ostree", "flatpak", "casync")
        },
        "bwrap": _version("bwrap"),
        "commit": _commit(),
    }


def moment() -> str:
    """Return the time and how many processes wanted to run, on average over the last minute."""
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, load {os.getloadavg()[0]:.1f}"


def _processor() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _version(program: str) -> str:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"\d+(?:\.\d+)+", done.stdout) or re.search(r"\d+", done.stdout)
    return found[0] if found else "unknown"


def _commit() -> str:
    argv = ("git", "describe", "--always", "--dirty", "--exclude=*")
    checkout = Path(__file__).parent
    done = subprocess.run(argv, cwd=checkout, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "not in a repository"
