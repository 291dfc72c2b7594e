"""Commands of holdall started, killed and watched: many in little time.

An interpreter with all of holdall loaded forks for each command, so that a command's life is its
work alone; what a killed command leaves running is adopted by it, and counted. Must not import
holdall itself.
"""

import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_SERVER = """
import ctypes, importlib, json, os, signal, sys, time
from holdall.cli import main as program
for row in program.COMMANDS:
    importlib.import_module(f"holdall.cli.{row.module}")
import holdall.journeys.verify, holdall.desktop.presence, holdall.forms.checking
import holdall.system.locks, holdall.store.trust_state
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)

def read(path):
    try:
        with open(path) as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""

def children():
    return read(f"/proc/self/task/{os.getpid()}/children").split()

def do(order):
    os.setsid()
    fd = os.open(order["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(fd, 1)
    os.dup2(os.open(order["err"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    code = 99
    try:
        code = program.main(order["argv"])
        sys.stdout.flush()
    except SystemExit as end:
        code = end.code
    except BaseException:
        import traceback
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)

def settle(limit):
    end = time.monotonic() + limit
    while children() and time.monotonic() < end:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            pass
        time.sleep(0.002)
    return [read(f"/proc/{pid}/cmdline") for pid in children()]

answers = os.fdopen(os.dup(1), "w", buffering=1)
print("ready", file=answers)
for line in sys.stdin:
    order = json.loads(line)
    if "settle" in order:
        print(json.dumps(settle(order["settle"])), file=answers)
        continue
    pid = os.fork()
    if not pid:
        do(order)
    begun = time.monotonic()
    if order["kill_after"] is not None:
        time.sleep(order["kill_after"])
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(json.dumps([status, time.monotonic() - begun]), file=answers)
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended: its exit status (minus the signal that killed it), what it said."""

    status: int
    output: str
    errors: str
    seconds: float

    @property
    def killed(self) -> bool:
        return self.status == -signal.SIGKILL

    def json(self) -> object:
        answer: object = json.loads(self.output)
        return answer


class Workbench:
    """Runs commands one after the other; `options` stand before each."""

    def __init__(self, server: "subprocess.Popen[str]", folder: Path, options: list[str]) -> None:
        self._server = server
        self._folder = folder
        self._options = options

    def __call__(self, *argv: str | Path, kill_after: float | None = None) -> Ended:
        """Run one command to its end, or to the moment it is killed, in seconds of its life."""
        out, err = self._folder / "out", self._folder / "err"
        words = [*self._options, *map(str, argv)]
        order = {"argv": words, "out": str(out), "err": str(err), "kill_after": kill_after}
        self._send(order)
        status, seconds = json.loads(self._answer())
        return Ended(status, out.read_text(), err.read_text(), seconds)

    def expect(self, status: int, *argv: str | Path) -> Ended:
        """Run a command that must end with `status`."""
        ended = self(*argv)
        assert ended.status == status, (argv, ended)
        return ended

    def left_running(self, limit: float = 60) -> list[str]:
        """The processes that commands have left behind and that do not end within `limit`."""
        self._send({"settle": limit})
        answer: list[str] = json.loads(self._answer())
        return answer

    def _send(self, order: object) -> None:
        _stream(self._server.stdin).write(json.dumps(order) + "\n")
        _stream(self._server.stdin).flush()

    def _answer(self) -> str:
        return _stream(self._server.stdout).readline()


@contextmanager
def workbench(
    python: Path,
    environment: Mapping[str, str],
    folder: Path,
    *options: str | Path,
    user: tuple[int, int] | None = None,
) -> Iterator[Workbench]:
    """A workbench whose scratch files lie in `folder`; of another `user` where one is named."""
    folder.mkdir()
    uid, gid = user or (None, None)
    if user:
        os.chown(folder, *user)
    with subprocess.Popen(
        [python, "-c", _SERVER],
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
        cwd="/",
        user=uid,
        group=gid,
        extra_groups=None if user is None else [],
    ) as server:
        bench = Workbench(server, folder, [str(option) for option in options])
        assert _stream(server.stdout).readline() == "ready\n"
        try:
            yield bench
        finally:
            server.terminate()


def _stream(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream
