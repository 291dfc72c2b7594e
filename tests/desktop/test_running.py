"""Apps in a real sandbox: what goes in, what comes out, what stays outside."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from deployed import APP, Deployed, app, deploy
from holdall.desktop.processes import running
from holdall.desktop.start import described
from holdall.model.manifest import Manifest
from holdall.system.locks import is_leased
from surroundings import OrdinaryUser, Require, run

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("sandbox")]

Start = Callable[..., "subprocess.CompletedProcess[str]"]


def installed(store: Path, **fields: object) -> Deployed:
    return deploy(store, msgspec.convert(app() | fields, Manifest))


def started(
    deployed: Deployed, script: str, **environment: str
) -> "subprocess.CompletedProcess[str]":
    return run([deployed.stub, "-c", script], environment={**os.environ, **environment})


@contextmanager
def left_running(
    deployed: Deployed,
    script: str = "echo up; exec sleep 60",
    *,
    group: int | None = None,
    **environment: str,
) -> Iterator["subprocess.Popen[str]"]:
    """The app while it runs, once it has said that it is up, and is known to; signals are as ever.

    The process that holds the lease, and ends with who started it, is forked before the app is, but
    may come to that after it.
    """
    process = subprocess.Popen(
        ["env", "--default-signal", str(deployed.stub), "-c", script],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        process_group=group,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "up\n"
        assert eventually(lambda: is_leased(str(deployed.path / "lease")))
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether a condition comes to hold before long."""
    end = time.monotonic() + 60
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


@pytest.mark.parametrize("status", [0, 1, 42, 255])
def test_the_exit_status_is_the_app_s(tmp_path: Path, status: int) -> None:
    assert started(installed(tmp_path), f"exit {status}").returncode == status


def test_standard_streams_and_arguments_pass_through(tmp_path: Path) -> None:
    deployed = installed(tmp_path / 'it\'s a "$tore"\nwith a süß name')
    done = run(
        [deployed.stub, "-c", 'cat; printf "<%s>" "$@" >&2', "me", "a b", "", "$(x)\n"],
        environment=os.environ,
        typed="typed\n",
    )
    assert (done.stdout, done.stderr) == ("typed\n", "<a b><><$(x)\n>")


def test_a_signal_that_ends_the_app_is_its_exit_status(tmp_path: Path) -> None:
    assert started(installed(tmp_path), "kill -SEGV $$").returncode == 128 + signal.SIGSEGV


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL, signal.SIGHUP])
def test_ending_the_launch_process_ends_the_app(tmp_path: Path, number: int) -> None:
    with left_running(installed(tmp_path)) as process:
        (one,) = running(str(tmp_path))
        os.kill(process.pid, number)
        assert process.wait() == -number
        assert eventually(lambda: not Path(f"/proc/{one.pid}").exists())


def test_a_signal_to_the_process_group_reaches_the_app_itself(tmp_path: Path) -> None:
    script = "trap 'echo bye; exit 7' INT; echo up; while :; do sleep 0.1; done"
    with left_running(installed(tmp_path), script, group=0) as process:
        assert process.stdout
        (one,) = running(str(tmp_path))
        os.kill(one.pid, signal.SIGINT)
        assert process.stdout.read() == "bye\n"
        assert process.wait() == 7


def test_nothing_of_the_host_shows_but_usr(tmp_path: Path, isolated_home: Path) -> None:
    (isolated_home / "secret").touch()
    script = (
        'ls -A / /home /root /mnt /run /tmp "$1" /etc/shadow /etc/ssh; ls -A ~; ls /dev;'
        " echo; cat /proc/1/comm; cat /etc/passwd; ls /sys"
    )
    done = run([installed(tmp_path).stub, "-c", script, "x", isolated_home], environment=os.environ)
    assert "secret" not in done.stdout
    assert done.stdout.count("bwrap") == 1
    top = done.stdout.partition("\n\n")[0].splitlines()
    expected = {
        "app",
        "bin",
        "dev",
        "etc",
        "lib",
        "lib64",
        "proc",
        "run",
        "sbin",
        "tmp",
        "usr",
        "var",
    }
    assert {*top[1:]} - {"lib32", "libx32"} <= expected | {Path(tmp_path).parts[1]}
    for path in ("/home", "/root", "/mnt", "/etc/shadow", "/etc/ssh", "/sys"):
        assert f"{path}'" in done.stderr
    passwd = [line for line in done.stdout.splitlines() if ":x:" in line]
    assert len(passwd) == 2


def test_the_sandbox_can_write_only_where_it_may(tmp_path: Path) -> None:
    script = "for f in /x /app/x /usr/x /etc/x /run/x ~/x /tmp/x $XDG_RUNTIME_DIR/x; do"
    script += ' touch $f 2>/dev/null && echo "$f"; done; true'
    done = started(installed(tmp_path), script)
    data = Path(os.environ["XDG_DATA_HOME"]) / f"holdall/data/{APP}"
    assert done.stdout.splitlines() == [f"{data}/x", "/tmp/x", f"/run/user/{os.getuid()}/x"]
    assert (data / "x").exists()
    assert data.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(("permitted", "expected"), [((), "1"), (("network",), "0")])
def test_the_network_is_there_with_its_permission_only(
    tmp_path: Path, permitted: tuple[str, ...], expected: str
) -> None:
    deployed = installed(tmp_path, permissions=dict.fromkeys(permitted, True))
    mine = os.readlink("/proc/self/ns/net")  # noqa: PTH115 - no path, a name
    done = started(deployed, f'test "$(readlink /proc/self/ns/net)" = "{mine}"; echo $?')
    assert done.stdout.strip() == expected


def test_no_capability_and_no_new_namespace(tmp_path: Path) -> None:
    script = (
        "grep -E 'Cap(Eff|Prm|Bnd)|NoNewPrivs|Seccomp:' /proc/self/status; unshare -U true; echo $?"
    )
    done = started(installed(tmp_path), script)
    fields = dict(line.split(":\t") for line in done.stdout.splitlines()[:-1])
    assert {fields[name] for name in ("CapEff", "CapPrm", "CapBnd")} == {"0" * 16}
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
    assert done.stdout.splitlines()[-1] == "1"


_TYPE_INTO_TERMINAL = """
import ctypes, errno, os, pty, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ioctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_char_p]
seen = []
for request in (0x5412, 0x5412 | 1 << 32, 0x541C, 0x541C | 7 << 32):
    seen.append(libc.ioctl(0, request, b"x") < 0 and ctypes.get_errno() == errno.EPERM)
print(seen, os.isatty(0), os.tcgetpgrp(0) == os.getpgrp())
"""


def test_an_app_on_a_terminal_keeps_job_control_but_cannot_type(
    tmp_path: Path, require: Require
) -> None:
    """CVE-2017-5226, CVE-2019-10063, CVE-2023-28100."""
    manifest = msgspec.convert(app("/usr/bin/python3 /app/bin/type"), Manifest)
    deployed = deploy(tmp_path / "s", manifest, {"bin/type": _TYPE_INTO_TERMINAL.encode()})
    argv: list[str | Path] = [require("script"), "-qec", str(deployed.stub), "/dev/null"]
    done = run(argv, environment=os.environ)
    assert done.stdout.strip() == "[True, True, True, True] True True"


def test_a_running_app_holds_a_lease_that_others_see(tmp_path: Path) -> None:
    deployed = installed(tmp_path)
    lease = str(deployed.path / "lease")
    assert not is_leased(lease)
    with left_running(deployed):
        assert is_leased(lease)
        # the shell that said so becomes it
        assert eventually(
            lambda: [one.command for one in running(str(tmp_path))] == [("sleep", "60")]
        )
        (one,) = running(str(tmp_path))
        assert (one.ref, one.digest) == (f"{APP}/x86_64/stable", "a" * 64)
        assert one.deployment == str(deployed.path)
    assert eventually(lambda: not is_leased(lease))
    assert running(str(tmp_path)) == []


def test_a_version_removed_while_it_runs_is_still_listed(tmp_path: Path) -> None:
    deployed = installed(tmp_path)
    manifest = {"id": APP, "arch": "x86_64"}
    (deployed.path / "release").write_bytes(msgspec.json.encode({"manifest": manifest}))
    with left_running(deployed):
        (tmp_path / "trash").mkdir()
        deployed.path.rename(tmp_path / "trash/gone")
        (one,) = running(str(tmp_path))
        assert one.ref == f"{APP}/x86_64/stable"


def test_an_ordinary_user_runs_apps_with_nothing_but_their_own_rights(
    ordinary_user: OrdinaryUser,
) -> None:
    store = ordinary_user.home / "it's a store"
    deployed = installed(store)
    ordinary_user.give(store)
    script = 'id -u; test -r ~ && touch ~/x && ls ~; ls "$1" 2>&1 | wc -l; exit 9'
    done = ordinary_user.run(deployed.stub, "-c", script, "x", store, expect=9)
    assert done.stdout.split()[:2] == [str(ordinary_user.uid), "x"]


# Both services can be started and fail at it, so an answer says who was let through to the daemon.
_BUS_SCRIPT = """
send() {
dbus-send --print-reply --dest="$1" "$2" "$3" 2>&1 | grep -oE 'string|Error[.A-Za-z]+' | head -n 1
}
send org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus.GetId
send org.example.Allowed / org.freedesktop.DBus.Peer.Ping
send org.example.Denied / org.freedesktop.DBus.Peer.Ping
"""
_FAILED, _DENIED = "Error.Spawn.ChildExited", "Error.ServiceUnknown"
_BUS_CONFIG = """
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path={folder}/socket</listen>
<servicedir>{folder}</servicedir>
<policy context="default"><allow send_destination="*" eavesdrop="true"/>
<allow eavesdrop="true"/><allow own="*"/></policy></busconfig>
"""


@pytest.fixture
def session_bus(tmp_path: Path, require: Require) -> Iterator[str]:
    """The address of a real message bus that knows two services."""
    folder = tmp_path / "bus"
    folder.mkdir()
    (folder / "bus.conf").write_text(_BUS_CONFIG.format(folder=folder))
    for name in ("org.example.Allowed", "org.example.Denied"):
        text = f"[D-BUS Service]\nName={name}\nExec=/bin/false\n"
        (folder / f"{name}.service").write_text(text)
    argv = [str(require("dbus-daemon")), f"--config-file={folder}/bus.conf", "--nofork"]
    daemon = subprocess.Popen([*argv, "--print-address=1"], stdout=subprocess.PIPE, text=True)
    assert daemon.stdout is not None
    yield daemon.stdout.readline().strip()
    daemon.kill()
    daemon.wait()
    daemon.stdout.close()


def test_only_named_services_answer_on_the_session_bus(tmp_path: Path, session_bus: str) -> None:
    deployed = installed(tmp_path / "s", permissions={"session-bus": ["org.example.Allowed"]})
    run_dir = Path(os.environ["XDG_RUNTIME_DIR"])
    done = started(deployed, _BUS_SCRIPT, DBUS_SESSION_BUS_ADDRESS=session_bus)
    assert done.stdout.split() == ["string", _FAILED, _DENIED]
    assert eventually(lambda: not list(run_dir.iterdir()))


def test_no_session_bus_without_a_name(tmp_path: Path, session_bus: str) -> None:
    done = started(installed(tmp_path / "s"), _BUS_SCRIPT, DBUS_SESSION_BUS_ADDRESS=session_bus)
    assert not {"string", _FAILED} & set(done.stdout.split())


def test_the_bus_s_proxy_ends_with_an_app_that_is_killed(tmp_path: Path, session_bus: str) -> None:
    deployed = installed(tmp_path / "s", permissions={"session-bus": ["org.example.Allowed"]})
    run_dir = Path(os.environ["XDG_RUNTIME_DIR"])
    with left_running(deployed, DBUS_SESSION_BUS_ADDRESS=session_bus) as process:
        assert list(run_dir.iterdir())
        process.kill()
    assert eventually(lambda: not list(run_dir.iterdir()))


def test_a_window_opens_with_the_permission_only(tmp_path: Path, require: Require) -> None:
    display = subprocess.Popen(
        [require("Xvfb"), "-displayfd", "1", "-screen", "0", "320x240x24", "-nolisten", "tcp"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert display.stdout is not None
    try:
        name = f":{display.stdout.readline().strip()}"
        for permissions, expected in (({"x11": True}, name), ({}, "")):
            deployed = installed(tmp_path, permissions=permissions)
            done = started(deployed, "echo $DISPLAY; ls /tmp/.X11-unix", DISPLAY=name)
            assert done.stdout.partition("\n")[0] == expected
            assert (done.stdout.split()[1:] == [f"X{name[1:]}"]) == bool(expected)
    finally:
        display.kill()
        display.wait()
        display.stdout.close()


def test_a_link_in_the_app_s_own_folder_leads_no_grant_astray(
    tmp_path: Path, isolated_home: Path
) -> None:
    """CVE-2024-42472: the app swaps a folder of its own for a link while it is started."""
    data = Path(os.environ["XDG_DATA_HOME"]) / f"holdall/data/{APP}"
    data.mkdir(parents=True)
    (isolated_home / "Documents").mkdir()
    (data / "Documents").symlink_to("../../../../..")
    (data / ".config").symlink_to("/etc")
    permissions = {"filesystem": ["xdg-documents"]}
    deployed = installed(tmp_path / "s", permissions=permissions)
    mounts = [
        word
        for word in described(str(deployed.path), (), os.environ)[-1]
        if word.startswith(f"{data}/") and not word.startswith(f"{data}/.")
    ]
    assert mounts == []
    script = 'cd "$1" && touch written; ls ~/Documents/; true'
    argv: list[str | Path] = [deployed.stub, "-c", script, "x", isolated_home / "Documents"]
    done = run(argv, environment=os.environ)
    assert (isolated_home / "Documents/written").exists()
    assert "secret" not in done.stdout


def test_a_data_folder_that_is_a_file_ends_the_start_with_a_sentence(tmp_path: Path) -> None:
    data = Path(os.environ["XDG_DATA_HOME"]) / "holdall/data"
    data.mkdir(parents=True)
    (data / APP).touch()
    done = started(installed(tmp_path), "echo started")
    assert done.returncode == 6
    assert done.stdout == ""


@pytest.mark.slow
def test_starting_costs_at_most_10_ms_over_bare_bwrap(tmp_path: Path) -> None:
    """50 interleaved pairs; the same arguments to bwrap, by the stub and by themselves.

    The time that counts is that of the fastest of each, which waited for nobody else's work.
    """
    deployed = installed(tmp_path, permissions={"filesystem": ["home"], "x11": True})
    environment = dict(os.environ)
    argv = described(str(deployed.path), ("-c", "true"), environment)[-1]
    at = argv.index("--seccomp")
    bare = argv[:at] + argv[at + 2 :]
    for name in ("/etc/passwd", "/etc/group"):
        at = bare.index(name)
        bare[at - 2 : at + 1] = []

    def took(command: list[str], environment: Mapping[str, str]) -> float:
        begin = time.perf_counter()
        subprocess.run(command, env=environment, check=True)
        return time.perf_counter() - begin

    stub = [str(deployed.stub), "-c", "true"]
    times = [(took(stub, environment), took(bare, environment)) for _ in range(50)]
    cost = min(one for one, _ in times) - min(other for _, other in times)
    sys.stderr.write(f"launch file: {cost * 1000:.2f} ms over bare bwrap\n")
    assert cost <= 0.010
