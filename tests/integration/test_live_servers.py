"""Who shows a bundle in the form live: what it may, what it says, and when it ends."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from looking import NOISE, OUTPUT, Looker, flip, looking, make_looker
from mounted_app import APP, Person, without_fuse
from mounts import answering, eventually, fuse_for_everybody
from surroundings import Require

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("sandbox")]

FUZZ = """\
import ctypes, errno, json, os, random, sys
SEED, PROCESSES, ROUNDS = 7, 8, 130
with open("/app/look.py", "rb") as file:
    known = {"/app/look.py": file.read()}
noise = random.Random(1).randbytes(2_000_000)
known["/app/noise"] = noise
libc, memory = ctypes.CDLL(None, use_errno=True), ctypes.create_string_buffer(5000)


def name(chance):
    return b"/app/" + chance.choice([
        b"..", b".", b"data/x", b"\\xff\\xfe", b"a\\nb", b"n" * chance.randrange(200, 400),
        b"d" * 5000, b"bin/../data", b"\\x01", b"DATA", b"data ", b"no\\xc3\\xa4",
    ])


def ask(chance):
    path = chance.choice(list(known))
    match chance.randrange(6):
        case 0:
            os.stat(name(chance))
        case 1 | 2:
            fd = os.open(path, os.O_RDONLY)
            try:
                at = chance.choice([chance.randrange(2_100_000), 2**62, 2**63 - 1, 0, 2**32])
                size = chance.choice([1, 4096, 131072, 3_000_000])
                found = os.pread(fd, size, at)
                assert found == known[path][at : at + len(found)], (path, at)
                whole = len(found) == min(size, max(0, len(known[path]) - at))
                # what is read before an error is given
                assert whole or SPOILED, (path, at)
            finally:
                os.close(fd)
        case 3:
            fd = os.open(chance.choice(["/app", "/app/bin"]), os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.lseek(fd, chance.choice([0, 1, 2, 3, 99, 2**31, 2**62]), 0)
                found = libc.syscall(ENTRIES, fd, memory, chance.choice([16, 24, 64, 5000]))
                assert found >= 0 or ctypes.get_errno() == errno.EINVAL, ctypes.get_errno()
            finally:
                os.close(fd)
        case 4:
            with open(chance.choice(["/app/new", path]), "r+b"):
                raise AssertionError("written to")
        case 5:
            chance.choice([os.readlink, os.listxattr, os.statvfs, os.rmdir, os.unlink])(path)


def work(number):
    chance = random.Random(SEED + number)
    for _ in range(ROUNDS):
        try:
            ask(chance)
        except OSError as error:
            if error.errno in {errno.ENOTCONN, errno.ECONNABORTED, errno.ENODEV}:
                return 2
            if error.errno == errno.EIO and not SPOILED:
                return 3
    return 0


ENTRIES = {"x86_64": 217, "aarch64": 61}[os.uname().machine]
SPOILED = sys.argv[1:] == ["spoiled"]
ends = []
for number in range(PROCESSES):
    child = os.fork()
    if child == 0:
        try:
            os._exit(work(number))
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    ends.append(child)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in ends])
"""


@pytest.fixture(autouse=True)
def everybodys_fuse(tmp_path: Path) -> Iterator[None]:
    """FUSE for every user."""
    with fuse_for_everybody(tmp_path):
        yield


@pytest.fixture(params=["root", "user"])
def live(request: pytest.FixtureRequest) -> Person:
    """Somebody with the app installed."""
    person = make_looker(request, str(request.param), {"fuzz.py": FUZZ.encode()})
    person.install("--form", "live", app="noisy")
    return person


@pytest.fixture
def looker(live: Person) -> Iterator[Looker]:
    """The app, looking."""
    with looking(live) as looker:
        assert looker("data") == len(OUTPUT)
        yield looker


def first_frame(person: Person) -> int:
    """Where the frames begin in the bundle's file."""
    return int(json.loads((person.deployment / "form").read_text())["packing"][2])


def status_of(thread: Path) -> dict[str, str]:
    lines = (thread / "status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def test_it_has_no_rights_and_little_open(live: Person, looker: Looker) -> None:
    assert looker("noise") == len(NOISE)
    (server,) = answering(live.home)
    for thread in Path(f"/proc/{server}/task").iterdir():
        status = status_of(thread)
        assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {"0" * 16}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    held = [str(fd.readlink()) for fd in Path(f"/proc/{server}/fd").iterdir()]
    journal = [one for one in held if one.startswith("socket:")]
    complaint = str(Path(f"/proc/{looker.process.pid}/fd/2").readlink())
    assert len(journal) <= 1
    assert sorted(set(held) - set(journal)) == sorted(
        {
            *("/dev/null", "/dev/fuse", complaint),
            *(str(live.deployment / name) for name in ("bundle", "habit")),
        }
    )
    assert len(held) == 6 + len(journal)
    assert int(status_of(Path(f"/proc/{server}"))["VmHWM"].split()[0]) < 100_000


def test_what_an_app_leaves_running_ends_with_it(live: Person) -> None:
    script = "setsid sleep 600 </dev/null >/dev/null 2>&1 & echo left"
    assert live.run(live.stub, "-c", script, HOLDALL_COMMAND="/bin/sh").stdout == "left\n"
    assert eventually(live.nothing_is_left)


def test_it_ends_with_an_app_that_is_killed(live: Person, looker: Looker) -> None:
    looker.process.kill()
    looker.process.wait()
    assert eventually(live.nothing_is_left)


def test_what_was_never_read_is_there_after_removal_and_gc(live: Person, looker: Looker) -> None:
    live.cli("remove", APP)
    live.cli("gc")
    assert looker("noise") == len(NOISE)
    looker.close()
    assert eventually(live.nothing_is_left)
    assert eventually(lambda: not list((live.store / "trash").iterdir()))


@pytest.mark.parametrize("bundle", ["two.holdall", "two.inc"])
def test_what_runs_stays_as_it_was_through_updates(
    live: Person, looker: Looker, bundle: str
) -> None:
    live.cli("update", live.home / bundle)
    assert live.run(live.stub).stdout.startswith(f"{OUTPUT}more")
    live.cli("rollback", APP)
    live.cli("gc", "--keep", "1")
    assert looker("noise") == len(NOISE)
    assert looker("data") == len(OUTPUT)
    assert live.run(live.stub).stdout.startswith(OUTPUT)


def test_one_that_is_stopped_holds_nobody_else_up(live: Person, looker: Looker) -> None:
    (server,) = answering(live.home)
    os.kill(server, signal.SIGSTOP)
    try:
        for words in (["list"], ["ps"], ["du"], ["info", APP], ["verify"], ["gc"]):
            live.cli(*words, timeout=30)
        assert live.run(live.stub).stdout.startswith(OUTPUT)
        live.cli("convert", APP, "--form", "tree", timeout=30)
        live.cli("remove", APP, timeout=30)
        live.cli("gc", timeout=30)
    finally:
        os.kill(server, signal.SIGCONT)
    assert looker("noise") == len(NOISE)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_what_nobody_answers_for_can_be_unmounted(
    live: Person, number: signal.Signals, require: Require
) -> None:
    require("fusermount3")
    folder = live.home / "shown"
    live.cli("mount", APP, folder)
    (server,) = answering(live.home)
    os.kill(server, number)
    try:
        if number == signal.SIGKILL:
            assert eventually(lambda: not answering(live.home))
            told = live.cli("mount", APP, folder, expect=2).stderr
            assert "`holdall unmount` ends" in told
        live.cli("unmount", folder, timeout=30)
        live.cli("mount", APP, folder, timeout=30)
        assert live.run("cat", folder / "data").stdout == OUTPUT
        live.cli("unmount", folder)
    finally:
        with suppress(ProcessLookupError):
            os.kill(server, signal.SIGCONT)
    assert eventually(live.nothing_is_left)


def in_a_world_with_a_journal(home: Path, *argv: str | Path) -> tuple[str, ...]:
    """The command as root runs it where /dev/log is a socket in a folder."""
    script = """\
    set -e; new=$1; log=$2; shift 2
    mount -t tmpfs dev "$new"
    for name in null zero full random urandom tty fuse; do
        : >"$new/$name"; mount --bind "/dev/$name" "$new/$name"; done
    : >"$new/log"; mount --bind "$log" "$new/log"
    mount --move "$new" /dev
    exec "$@"
    """
    (home / "dev").mkdir()
    words = ("unshare", "--mount", "/bin/sh", "-c", script, "sh", home / "dev", home / "log", *argv)
    return tuple(map(str, words))


def test_what_cannot_be_read_is_said_in_the_journal(live: Person) -> None:
    flip(live.deployment / "bundle", first_frame(live) + 1_000_000)
    user, group = map(str, live.cli.user or (0, 0))
    become = ("setpriv", "--reuid", user, "--regid", group, "--clear-groups", "--")
    environment = {**live.cli.environment, "HOLDALL_COMMAND": "/bin/cat"}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(live.home / "log"))
        (live.home / "log").chmod(0o666)
        words = in_a_world_with_a_journal(live.home, *become, live.stub, "/app/noise")
        done = subprocess.run(words, env=environment, capture_output=True, check=False)
        assert b"Input/output error" in done.stderr
        assert NOISE.startswith(done.stdout)
        journal.settimeout(60)
        line = journal.recv(4096).decode()
    app = "/".join(live.deployment.parts[-4:])
    priority, _, text = line.partition(">")
    assert priority == "<11"  # user.err
    assert f"]: {app}: noise cannot be read at " in text
    assert "The bundle's frame at " in text
    assert f"{app}: noise cannot be read at " in done.stderr.decode()


@pytest.mark.parametrize("spoiled", ["", "spoiled"])
def test_whatever_is_asked_of_it_is_answered(live: Person, spoiled: str) -> None:
    if spoiled:
        size = (live.deployment / "bundle").stat().st_size
        for at in range(first_frame(live) + 300_000, size - 100_000, 400_000):
            flip(live.deployment / "bundle", at)
    done = live.run(
        live.stub, "-I", "/app/fuzz.py", *spoiled.split(), HOLDALL_COMMAND="/usr/bin/python3"
    )
    assert (done.stdout, done.returncode) == (f"{[0] * 8}\n", 0), done.stderr
    assert ("cannot be read at" in done.stderr) == bool(spoiled)
    assert eventually(live.nothing_is_left)


def test_an_increment_is_applied_without_fuse(live: Person) -> None:
    told = without_fuse(live, "update", live.home / "two.inc")
    assert told.stderr.count("is laid down as tree") == 1
    assert live.run(live.stub).stdout.startswith(f"{OUTPUT}more")
    live.cli("verify")
