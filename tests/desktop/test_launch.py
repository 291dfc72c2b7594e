"""Launch files as they decide, without starting the sandbox."""

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from deployed import APP, Deployed, app, deploy
from holdall.desktop.start import described
from holdall.errors import ProgramError
from holdall.model.manifest import Manifest
from surroundings import run

NAMES = ["store", "a store", 'it\'s "$HOME" `x` \\ ;&', "new\nline", "süß ☃", "--bind", "%s*?[a]"]

Listen = Callable[[Path], str]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Make a socket that exists."""
    with ExitStack() as stack:

        def make(path: Path) -> str:
            path.parent.mkdir(parents=True, exist_ok=True)
            made = stack.enter_context(socket.socket(socket.AF_UNIX))
            made.bind(str(path))
            return str(path)

        yield make


def installed(store: Path, **fields: object) -> Deployed:
    return deploy(store, msgspec.convert(app() | fields, Manifest))


def bwrap(deployed: Deployed, *arguments: str, **environment: str) -> list[str]:
    """The command of bwrap for a starter with `environment` over the test's own."""
    return described(str(deployed.path), arguments, {**os.environ, **environment})[-1]


def pairs(argv: list[str], option: str) -> dict[str, str]:
    """What an option with two arguments is given."""
    return {argv[at + 1]: argv[at + 2] for at, word in enumerate(argv) if word == option}


@pytest.mark.parametrize("name", NAMES)
def test_any_path_of_the_store_reaches_bwrap_as_it_is(tmp_path: Path, name: str) -> None:
    deployed = installed(tmp_path / name, permissions={"filesystem": ["/mnt"]})
    argv = bwrap(deployed, "an argument", "$(x)", "")
    assert argv[0] == "bwrap"
    assert pairs(argv, "--ro-bind")[str(deployed.path / "files")] == "/app"
    assert argv[argv.index("--") + 1 :] == ["sh", "an argument", "$(x)", ""]


@pytest.mark.parametrize("name", NAMES)
def test_any_home_and_any_variable_reach_bwrap_as_they_are(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    home.mkdir()
    deployed = installed(tmp_path / "apps", permissions={"filesystem": ["home", "~/x$y"]})
    (home / "x$y").mkdir()
    argv = bwrap(deployed, HOME=str(home), XDG_DATA_HOME="", LANG=name, TERM="")
    assert pairs(argv, "--bind")[f"{home}/x$y"] == f"{home}/x$y"
    assert pairs(argv, "--setenv")["LANG"] == name
    assert "TERM" not in pairs(argv, "--setenv")


def test_the_environment_is_cleared_but_for_a_list(tmp_path: Path) -> None:
    argv = bwrap(
        installed(tmp_path), SESSION_ID="x", LD_PRELOAD="/x.so", data="/etc", place0="/etc"
    )
    assert "--clearenv" in argv
    assert not {"SESSION_ID", "LD_PRELOAD", "data", "place0"} & pairs(argv, "--setenv").keys()
    assert "/etc" not in pairs(argv, "--bind")


def test_a_dry_run_leaves_nothing_behind(tmp_path: Path, isolated_home: Path) -> None:
    before = sorted(isolated_home.rglob("*"))
    permissions = {"session-bus": ["org.x.Y"]}
    deployed = installed(tmp_path / "s", permissions=permissions)
    commands = described(
        str(deployed.path), (), {**os.environ, "DBUS_SESSION_BUS_ADDRESS": "unix:path=/x,guid=1"}
    )
    assert [command[0] for command in commands] == ["xdg-dbus-proxy", "bwrap"]
    assert {"unix:path=/x,guid=1", "--filter", "--talk=org.x.Y"} < set(commands[0])
    assert sorted(isolated_home.rglob("*")) == before


def test_another_command_takes_the_place_of_the_app_s_own(tmp_path: Path) -> None:
    deployed = installed(tmp_path, command="app --with this")
    stale = {**os.environ, "HOLDALL_COMMAND": "stale"}
    assert described(str(deployed.path), ("x",), stale)[-1][-5:] == [
        "--",
        "app",
        "--with",
        "this",
        "x",
    ]
    other = described(str(deployed.path), ("x",), stale, command="my shell")[-1]
    assert other[-3:] == ["--", "my shell", "x"]


def test_sockets_are_bound_where_they_are_there(tmp_path: Path, listen: Listen) -> None:
    permissions = {"wayland": True, "pulseaudio": True, "x11": True}
    deployed = installed(tmp_path / "s", permissions=permissions)
    bare = bwrap(deployed, DISPLAY=":4711")
    assert not {"DISPLAY", "WAYLAND_DISPLAY", "PULSE_SERVER"} & pairs(bare, "--setenv").keys()
    run_dir = Path(os.environ["XDG_RUNTIME_DIR"])
    wayland = listen(run_dir / "way-1")
    pulse = listen(run_dir / "pulse/native")
    cookie = tmp_path / "cookie"
    cookie.touch()
    argv = bwrap(deployed, WAYLAND_DISPLAY="way-1", XAUTHORITY=str(cookie))
    binds = pairs(argv, "--ro-bind")
    inside = f"/run/user/{os.getuid()}"
    assert binds[wayland] == f"{inside}/wayland-0"
    assert binds[pulse] == f"{inside}/pulse/native"
    assert binds[str(cookie)] == "/run/holdall/xauthority"
    assert str(run_dir) not in binds


def test_no_socket_without_its_permission(tmp_path: Path, listen: Listen) -> None:
    listen(Path(os.environ["XDG_RUNTIME_DIR"]) / "wayland-0")
    argv = bwrap(installed(tmp_path / "s"), DISPLAY=":0", DBUS_SESSION_BUS_ADDRESS="unix:path=/x")
    assert "WAYLAND_DISPLAY" not in argv
    assert "DISPLAY" not in argv
    assert not [word for word in argv if "bus" in word]


@pytest.mark.parametrize("through", ["home", "link", "holdall", "store", "config"])
def test_no_grant_reaches_holdall_s_own_folders(isolated_home: Path, through: str) -> None:
    share = isolated_home / ".local/share"
    store, config = share / "holdall", isolated_home / ".config/holdall"
    config.mkdir(parents=True)
    (isolated_home / "link").symlink_to(share)
    entry = {
        "home": "home",
        "link": "~/link",
        "holdall": "xdg-data/holdall",
        "store": str(store / "deployments"),
        "config": "~/.config/holdall:ro",
    }[through]
    deployed = installed(store, permissions={"filesystem": [entry]})
    argv = bwrap(deployed)
    granted = {**pairs(argv, "--bind"), **pairs(argv, "--ro-bind")}
    outside = {
        source: place
        for source, place in granted.items()
        if Path(source).is_relative_to(isolated_home)
    }
    data = str(store / f"data/{APP}")
    covered = [argv[at + 1] for at, word in enumerate(argv) if word == "--tmpfs"]
    if through == "home":
        assert outside.pop(str(isolated_home)) == str(isolated_home)
        assert covered[-3:-1] == [str(store), str(config)]
    if through == "link":
        assert outside.pop(str(share)) == str(isolated_home / "link")
        assert str(isolated_home / "link/holdall") in covered
    assert {source for source in outside if not source.startswith(str(deployed.path))} == {data}


def test_the_working_directory_is_kept_where_it_is_visible(tmp_path: Path) -> None:
    granted = tmp_path / "granted"
    (granted / "below").mkdir(parents=True)
    deployed = installed(tmp_path / "s", permissions={"filesystem": [f"{granted}:ro"]})
    data = str(Path(os.environ["XDG_DATA_HOME"]) / f"holdall/data/{APP}")
    for folder, expected in ((granted / "below", str(granted / "below")), (tmp_path, data)):
        argv = bwrap_in(folder, deployed, {})
        assert argv[argv.index("--chdir") + 1] == expected


def bwrap_in(folder: Path, deployed: Deployed, environment: Mapping[str, str]) -> list[str]:
    done = run(
        ["/bin/sh", deployed.stub],
        environment={**os.environ, **environment, "HOLDALL_DRY_RUN": "1"},
        directory=folder,
    )
    return done.stdout.split("\0")[:-1]


def test_user_folders_are_granted_where_the_user_has_them(
    tmp_path: Path, isolated_home: Path
) -> None:
    (isolated_home / "My Down").mkdir()
    (isolated_home / "Music").mkdir()
    (isolated_home / ".config").mkdir()
    (isolated_home / ".config/user-dirs.dirs").write_text('XDG_DOWNLOAD_DIR="$HOME/My Down"\n')
    entries = ["xdg-download:ro", "xdg-music", "xdg-videos"]
    deployed = installed(tmp_path / "s", permissions={"filesystem": entries})
    argv = bwrap(deployed)
    assert pairs(argv, "--ro-bind")[f"{isolated_home}/My Down"] == f"{isolated_home}/My Down"
    assert pairs(argv, "--bind")[f"{isolated_home}/Music"] == f"{isolated_home}/Music"
    assert not [word for word in argv if "Videos" in word]


def test_a_store_under_root_keeps_its_data_in_itself(tmp_path: Path) -> None:
    manifest = msgspec.convert(app(), Manifest)
    deployed = deploy(tmp_path / "s", manifest, data=tmp_path / "s/data")
    argv = bwrap(deployed, HOME="")
    assert pairs(argv, "--setenv")["HOME"] == str(tmp_path / f"s/data/{APP}")


def test_without_anywhere_for_data_a_sentence_says_so(tmp_path: Path) -> None:
    deployed = installed(tmp_path)
    with pytest.raises(ProgramError, match=r"status 6: .*HOME names no folder"):
        bwrap(deployed, HOME="relative", XDG_DATA_HOME="")


def test_a_missing_runtime_is_a_sentence_and_status_3(tmp_path: Path) -> None:
    deployed = installed(tmp_path, runtime="org.example.Runtime/x86_64/stable")
    done = run(["/bin/sh", deployed.stub], environment=os.environ)
    assert done.returncode == 3
    assert done.stderr == (
        f"holdall: {APP} runs on org.example.Runtime/x86_64/stable,"
        " which is not installed; install that first.\n"
    )


def test_the_active_runtime_is_used_whichever_it_is(tmp_path: Path) -> None:
    deployed = installed(tmp_path, runtime="org.example.Runtime/x86_64/stable")
    fields = {"id": "org.example.Runtime", "version": "1", "kind": "runtime", "arch": "x86_64"}
    for release in "bc":
        runtime = deploy(
            tmp_path, msgspec.convert(fields, Manifest), {"etc/fonts/x": b""}, release=release
        )
        argv = bwrap(deployed)
        assert pairs(argv, "--ro-bind")[str(runtime.path / "files")] == "/usr"
        assert pairs(argv, "--symlink")["/usr/etc/fonts"] == "/etc/fonts"
        assert "/usr" not in pairs(argv, "--ro-bind")


def test_a_removed_app_is_a_sentence_and_status_3(tmp_path: Path) -> None:
    deployed = installed(tmp_path)
    (tmp_path / f"active/{APP}/x86_64/stable").unlink()
    done = run([deployed.stub], environment=os.environ)
    assert done.returncode == 3
    assert done.stderr == (
        f"holdall: {APP}/x86_64/stable is not installed;"
        f" install it with: holdall install {APP}/x86_64/stable\n"
    )


def test_without_bwrap_a_sentence_names_the_package_and_the_status_is_7(tmp_path: Path) -> None:
    deployed = installed(tmp_path)
    done = run(["/bin/sh", deployed.stub], environment={**os.environ, "PATH": "/nowhere"})
    assert done.returncode == 7
    assert done.stderr.endswith("install the package bubblewrap.\n")


def test_the_launch_file_names_no_program_but_those_it_needs(tmp_path: Path) -> None:
    deployed = installed(tmp_path, permissions={"filesystem": ["home", "/mnt"], "x11": True})
    done = run(
        ["/bin/sh", "-x", deployed.path / "launch"],
        environment={**os.environ, "HOLDALL_DRY_RUN": "1", "PATH": "/usr/bin"},
    )
    called = {line.split()[1] for line in done.stderr.splitlines() if line.startswith("+ ")}
    assert not called & {"mkdir", "cat", "id", "readlink", "mktemp", "sed"}
