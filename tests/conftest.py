"""Fixtures for every test. Their types are in ``support/surroundings.py``.

``isolated_home`` is always on: no test sees the home, the session bus, the display or the settings
of whoever runs it.
"""

import contextlib
import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from disks import disk
from surroundings import (
    PYTHON,
    HoldallCli,
    OrdinaryUser,
    Require,
    environment_for,
    make_home,
    not_here,
    run,
)

TESTS = Path(__file__).parent
NEEDS_ROOT = "needs root"
SESSION = {
    *("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "DBUS_SESSION_BUS_ADDRESS"),
    *("XDG_CONFIG_DIRS", "XDG_DATA_DIRS"),
}

# In the background (`scripts/test &`) tests are started without it, as is then what they start.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Two shared cores make any deadline a coin toss.
settings.register_profile(
    "holdall", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("holdall")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all of ``tests/integration``, so that no test there can pass for a unit test."""
    for item in items:
        if item.path.is_relative_to(TESTS / "integration"):
            item.add_marker(pytest.mark.integration)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Run tests marked ``root`` as root only."""
    if item.get_closest_marker("root") and os.geteuid() != 0:
        not_here(NEEDS_ROOT)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say aloud what was left out for want of root."""
    skipped = terminalreporter.getreports("skipped")
    count = sum(
        isinstance(report.longrepr, tuple) and NEEDS_ROOT in report.longrepr[2]
        for report in skipped
    )
    if count:
        terminalreporter.write_line(f"NOT RUN: {count} tests need root", yellow=True, bold=True)


@pytest.fixture(autouse=True)
def isolated_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty home in the test's own folder; HOME and every XDG directory point into it."""
    keep_package_settings(monkeypatch)
    with tempfile.TemporaryDirectory(prefix="holdall-run-", ignore_cleanup_errors=True) as runtime:
        home = make_home(tmp_path / "home", runtime=Path(runtime))
        for name, value in environment_for(home).items():
            monkeypatch.setenv(name, value)
        for name in tuple(os.environ):
            if name in SESSION or name.startswith("HOLDALL_") or name.lower().endswith("_proxy"):
                monkeypatch.delenv(name)
        yield home


def keep_package_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pip find its settings and its cache once HOME points elsewhere."""
    config = Path.home() / ".config/pip/pip.conf"
    if config.is_file() and "PIP_CONFIG_FILE" not in os.environ:
        monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    if "PIP_CACHE_DIR" not in os.environ:
        monkeypatch.setenv("PIP_CACHE_DIR", str(Path.home() / ".cache/pip"))


@pytest.fixture
def holdall_cli(isolated_home: Path) -> HoldallCli:
    """The command ``holdall`` with the test's own home."""
    return HoldallCli(PYTHON, environment_for(isolated_home))


@pytest.fixture(scope="session", autouse=True)
def own_mounts() -> None:
    """Mounts that only this process and its children see, of root's: tests run side by side."""
    clone_newns = 0x20000
    if os.geteuid() == 0 and not ctypes.CDLL(None).unshare(clone_newns):
        subprocess.run(["mount", "--make-rslave", "/"], check=True)


@pytest.fixture(scope="session")
def require() -> Require:
    """A guard: ``require("bwrap")`` is its path, or the end of the test (a failure in CI)."""

    def find(program: str, /) -> Path:
        found = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        if found is None:
            not_here(f"needs the program {program}")
        return Path(found)

    return find


@pytest.fixture(scope="session")
def sandbox(require: Require) -> Path:
    """The program bwrap, on a machine that lets it make user namespaces."""
    bwrap = require("bwrap")
    attempt = run([bwrap, "--unshare-all", "--ro-bind", "/", "/", "true"], environment={})
    if attempt.returncode != 0:
        not_here(f"needs user namespaces: {attempt.stderr.strip()}")
    return bwrap


@dataclass(frozen=True, slots=True)
class Account:
    """A throwaway account, and an interpreter with holdall that it can start."""

    entry: pwd.struct_passwd
    python: Path
    environment: dict[str, str]

    @property
    def base(self) -> Path:
        return Path(self.entry.pw_dir)


@pytest.fixture(scope="session")
def account(require: Require) -> Iterator[Account]:
    """One throwaway account for all tests of this process."""
    if os.geteuid() != 0:
        not_here(NEEDS_ROOT)
    # pytest's own temporary folders are closed to other users.
    base = Path(tempfile.mkdtemp(prefix="holdall-test-"))
    base.chmod(0o755)
    name = base.name.replace("_", "-").lower()
    subprocess.run(
        [
            *(require("useradd"), "--system", "--no-create-home", "--user-group"),
            *("--home-dir", base, "--shell", "/bin/sh", name),
        ],
        check=True,
    )
    try:
        entry = pwd.getpwnam(name)
        yield reachable_python(Account(entry, PYTHON, {}))
    finally:
        end_processes(pwd.getpwnam(name).pw_uid)
        subprocess.run([require("userdel"), "--force", name], check=True, capture_output=True)
        shutil.rmtree(base)


def reachable_python(account: Account) -> Account:
    """Give the account an interpreter with holdall, copied if the checkout is closed to it."""
    user = (account.entry.pw_uid, account.entry.pw_gid)

    def starts(python: Path, environment: dict[str, str]) -> bool:
        try:
            attempt = run(
                [python, "-c", "import holdall, cryptography"],
                environment=environment,
                directory=Path("/"),
                user=user,
            )
        except PermissionError:
            return False
        return attempt.returncode == 0

    if starts(PYTHON, {}):
        return account
    library = account.base / "python"
    own = shutil.ignore_patterns("__pycache__")  # others may be writing there
    for source in (sysconfig.get_path("purelib"), TESTS.parent / "src"):
        shutil.copytree(source, library, symlinks=True, dirs_exist_ok=True, ignore=own)
    subprocess.run(["chmod", "-R", "a+rX", library], check=True)
    copied = replace(account, python=PYTHON.resolve(), environment={"PYTHONPATH": str(library)})
    if not starts(copied.python, copied.environment):
        not_here(f"needs a Python that ordinary users can start, not {copied.python}")
    return copied


def end_processes(uid: int) -> None:
    """End whatever a test left running as a throwaway account, and wait for that."""
    end = time.monotonic() + 60
    while left := processes_of(uid):
        assert time.monotonic() < end, f"processes {left} do not end"
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.005)


def processes_of(uid: int) -> list[int]:
    """What runs as a throwaway account; not what has ended and waits to be asked how."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            status = (process / "stat").read_text().rpartition(")")[2].split()[0]
            if process.stat().st_uid == uid and status != "Z":
                found.append(int(process.name))
    return found


@pytest.fixture
def ordinary_user(account: Account) -> Iterator[OrdinaryUser]:
    """A user without privileges, with an empty home; only root can make one."""
    entry = account.entry
    home = make_home(account.base / "home")
    environment = environment_for(home) | account.environment | {"USER": entry.pw_name}
    environment["PIP_CACHE_DIR"] = str(home / ".cache/pip")
    user = OrdinaryUser(
        entry.pw_name, entry.pw_uid, entry.pw_gid, home, environment, account.python
    )
    user.give(home)
    yield user
    end_processes(entry.pw_uid)
    shutil.rmtree(home)


@pytest.fixture
def ext4_loop(require: Require) -> Iterator[Path]:
    """An empty, journalled ext4 of 2 GB in a loop file in memory, mounted; needs root.

    It has no fs-verity, and is open to every user as /tmp is.
    """
    require("mkfs.ext4")
    with disk("ext4", 2 << 30, "relatime") as point:
        point.chmod(0o1777)
        yield point
