"""The units of automatic updates, as systemd reads them, and in a real manager."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from bundles import APP, KEY, make_bundle, snapshot
from holdall.desktop.units import SERVICE, TIMER, Wish, units
from surroundings import Finished, HoldallCli, OrdinaryUser, Require, not_here, run

MANAGER = "/usr/lib/systemd/systemd"
ODD = [
    "a b",
    "100%h %% %",
    "$HOME ${HOME} $$",
    "it's",
    'say "hi"',
    "back\\slash\\",
    "süß ☃",
    "@-:+!|",
    ";",
    "#x",
]
# A manager for a user of a machine that was not started by systemd, in a control group of its own.
_START = """
if ! [ -d /run/systemd/system ]; then
    mkdir -p /run/systemd && mount -t tmpfs tmpfs /run/systemd && mkdir /run/systemd/system
fi || exit 1
uid=$1 gid=$2; shift 2
while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit 1; shift; done; shift
exec setpriv --reuid="$uid" --regid="$gid" --clear-groups -- "$@"
"""
_RECORDER = '#!/bin/sh\nprintf "%s\\0" "$0" "$@" "$XDG_DATA_HOME" >"$HOME/started"\n'


def verify(require: Require, folder: Path, *options: str) -> Finished:
    program, paths = require("systemd-analyze"), (folder / SERVICE, folder / TIMER)
    return run([program, *options, "verify", *paths], environment=os.environ)


def write(folder: Path, wish: Wish) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in units(wish).items():
        (folder / name).write_text(text)
    return folder


def wait_until(what: Callable[[], bool], patience: float = 60) -> None:
    end = time.monotonic() + patience
    while not what():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


@pytest.mark.parametrize("options", [("--user",), ("--system",)])
@pytest.mark.parametrize("hours", [1, 5, 24])
def test_systemd_finds_no_fault_in_the_units(
    require: Require, tmp_path: Path, options: tuple[str, ...], hours: int
) -> None:
    system = options == ("--system",)
    environment = {} if system else {"XDG_DATA_HOME": "/home/a b/100%/\\s"}
    wish = Wish(("/bin/true", "update"), hours, environment, system)
    finished = verify(require, write(tmp_path / "units", wish), *options)
    assert (finished.returncode, finished.stderr) == (0, "")


@pytest.mark.parametrize("name", [*ODD, "new\nline"])
def test_systemd_takes_any_path_of_the_program(require: Require, tmp_path: Path, name: str) -> None:
    program = tmp_path / name / "holdall"
    program.parent.mkdir()
    program.touch(mode=0o755)
    finished = verify(require, write(tmp_path / "units", Wish((str(program), "update"))), "--user")
    assert (finished.returncode, finished.stderr) == (0, "")


def test_the_check_would_find_a_program_that_is_not_there(require: Require, tmp_path: Path) -> None:
    wish = Wish((str(tmp_path / "absent"), "update"))
    finished = verify(require, write(tmp_path / "units", wish), "--user")
    assert "absent is not executable" in finished.stderr


def test_what_enabling_writes_is_what_systemd_reads(
    holdall_cli: HoldallCli, require: Require, isolated_home: Path
) -> None:
    said = holdall_cli("timer", "enable", "--every", "6").stdout
    assert "from the next login on" in said
    folder = isolated_home / ".config/systemd/user"
    finished = verify(require, folder, "--user")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "every" in said
    assert "*-*-* 00/6:00:00" in holdall_cli("timer", "status").stdout


@dataclass(frozen=True, slots=True)
class Session:
    """A user whose manager runs."""

    user: OrdinaryUser

    @property
    def units(self) -> Path:
        return self.user.home / ".config/systemd/user"

    def systemctl(self, *argv: str, expect: int | None = 0) -> str:
        return self.user.run("systemctl", "--user", *argv, expect=expect).stdout.strip()


def control_groups(name: str) -> Iterator[Path]:
    """New control groups in the trees a manager keeps its own in."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 ") or ",name=systemd" in after:
            yield Path(before.split()[4], name)


def take_away(group: Path, patience: float = 20) -> None:
    """Remove a control group once what ran in it has ended."""
    end = time.monotonic() + patience
    while group.is_dir():
        try:
            group.rmdir()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.01)


@contextmanager
def manager(user: OrdinaryUser, require: Require) -> Iterator["subprocess.Popen[bytes]"]:
    """The user's own manager while it runs."""
    groups = list(control_groups(user.name))
    options = ["--user", "--log-target=console", "--unit=basic.target"]
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _START, "sh"]
    argv += [str(user.uid), str(user.gid), *map(str, groups), "--", MANAGER, *options]
    require("systemctl")
    try:
        for group in groups:
            group.mkdir()
            user.give(group)
        with subprocess.Popen(
            argv, env=dict(user.environment), cwd="/", stderr=subprocess.PIPE
        ) as process:
            try:
                yield process
            finally:
                process.terminate()
                process.communicate()
    finally:
        for group in groups:
            for folder in sorted(group.rglob("*/"), reverse=True):
                take_away(folder)
            take_away(group)


@pytest.fixture
def session(ordinary_user: OrdinaryUser, require: Require) -> Iterator[Session]:
    """An ordinary user with a manager that runs; needs root."""
    found = Session(ordinary_user)
    with manager(ordinary_user, require) as process:
        end = time.monotonic() + 60
        while not found.systemctl("show", "--property=Version", expect=None):
            if process.poll() is not None or time.monotonic() > end:
                not_here("needs a place to start a manager of systemd")
            time.sleep(0.05)
        yield found


@pytest.mark.root
def test_the_timer_runs_and_starts_what_it_should(session: Session) -> None:
    user = session.user
    before = snapshot(user.home / ".config")
    said = user.holdall("timer", "enable").stdout
    assert "from now on" in said
    assert session.systemctl("is-enabled", TIMER) == "enabled"
    assert session.systemctl("is-active", TIMER) == "active"
    found = user.holdall.json("timer", "status")
    assert isinstance(found, dict)
    assert (found["enabled"], found["active"], found["startable"]) == (True, True, True)
    assert found["next"]
    assert "Next: " in user.holdall("timer", "status").stdout
    user.holdall("timer", "disable")
    assert session.systemctl("is-active", TIMER, expect=None) == "inactive"
    assert session.systemctl("list-unit-files", "--no-legend", "holdall-*", expect=None) == ""
    new = set(snapshot(user.home / ".config")) - set(before)
    assert new <= {str(user.home / ".config")}


@pytest.mark.root
def test_enabling_again_changes_the_timer_that_runs(session: Session) -> None:
    session.user.holdall("timer", "enable")
    session.user.holdall("timer", "enable", "--every", "1")
    calendar = session.systemctl("show", TIMER, "--property=TimersCalendar")
    assert "OnCalendar=*-*-* *:00:00 " in calendar
    session.user.holdall("timer", "disable")


@pytest.mark.root
def test_every_path_and_argument_reaches_the_program_as_it_is(session: Session) -> None:
    user = session.user
    for at, name in enumerate([*ODD, "new\nline", "x\udcff"]):
        program = user.home / f"{at}{name}" / "holdall"
        program.parent.mkdir()
        program.write_text(_RECORDER)
        program.chmod(0o755)
        user.give(program.parent)
        data = str(user.home / f"d{name}") if name.isprintable() else ""
        command = (str(program), name, "", "update")
        wish = Wish(command, environment={"XDG_DATA_HOME": data} if data else {})
        write(session.units, wish)
        # whoever runs this may be on battery
        service = session.units / SERVICE
        service.write_text(service.read_text().replace("ConditionACPower=true\n", ""))
        user.give(user.home / ".config")
        session.systemctl("daemon-reload")
        session.systemctl("start", SERVICE)
        words = (user.home / "started").read_bytes().split(b"\0")[:-1]
        assert [os.fsdecode(word) for word in words[:4]] == list(command)
        if data:
            assert os.fsdecode(words[4]) == data


@pytest.mark.root
@pytest.mark.usefixtures("sandbox")
def test_what_the_service_forbids_is_not_what_holdall_does(
    session: Session, tmp_path: Path
) -> None:
    user = session.user
    bundle = user.home / "app.holdall"
    made = make_bundle(tmp_path / "app", {"bin/editor": b"#!/bin/sh\necho it runs\n"})
    bundle.write_bytes(made.read_bytes())
    user.give(bundle)
    script = '"$1" -m holdall install "$2" --trust-key "$3" && "$1" -m holdall run "$4" >"$HOME/x"'
    words = (str(user.python), str(bundle), KEY.public.fingerprint, APP)
    write(session.units, Wish(("/bin/sh", "-c", script, "sh", *words)))
    service = session.units / SERVICE
    service.write_text(service.read_text().replace("ConditionACPower=true\n", ""))
    user.give(user.home / ".config")
    session.systemctl("daemon-reload")
    session.systemctl("start", SERVICE)
    assert (user.home / "x").read_text() == "it runs\n"


@pytest.mark.root
def test_a_program_that_fails_for_want_of_a_network_is_tried_again(session: Session) -> None:
    user = session.user
    for status, tried_again in ((1, True), (4, False)):
        wish = Wish(("/bin/sh", "-c", f"exit {status}"))
        write(session.units, wish)
        user.give(user.home / ".config")
        session.systemctl("daemon-reload")
        session.systemctl("start", "--no-block", SERVICE)
        state = ("show", SERVICE, "--property=SubState", "--value")
        expected = "auto-restart" if tried_again else "failed"
        wait_until(lambda: session.systemctl(*state) == expected)  # noqa: B023 - used at once
        session.systemctl("stop", SERVICE)


@pytest.mark.root
def test_the_machine_s_timer_stands_in_etc(holdall_cli: HoldallCli) -> None:
    script = """
mount -t tmpfs tmpfs /etc/systemd/system && "$1" -m holdall --system timer enable &&
ls -R /etc/systemd/system && cat /etc/systemd/system/holdall-update.service &&
"$1" -m holdall --system timer disable && echo gone: $(ls /etc/systemd/system)
"""
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh"]
    finished = run([*argv, holdall_cli.python], environment=holdall_cli.environment)
    assert finished.returncode == 0, finished.stderr
    assert "timers.target.wants" in finished.stdout
    assert '"--system", "update"' in finished.stdout
    assert "XDG_DATA_HOME" not in finished.stdout
    assert finished.stdout.endswith("gone:\n")
