"""Apps that run on in an old version are told so: inside their sandbox, and by `ps`."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from bundles import APP, KEY, REF, make_bundle
from surroundings import HoldallCli, OrdinaryUser, Require

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("sandbox")]

RUNTIME = "org.example.Base/x86_64/stable"
FOLDER = "/run/holdall/notice"
# Does each line it is sent as a command, and says when that is done.
_PROGRAM = b'#!/bin/sh\nwhile read -r line; do eval "$line"; printf "\\0\\n"; done\n'
# Waits for what appears in the folder: IN_MOVED_TO and IN_CREATE.
_WATCHER = b"""#!/usr/bin/python3
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
fd = libc.inotify_init()
assert libc.inotify_add_watch(fd, b"/run/holdall/notice", 0x80 | 0x100) > 0
print("watching", flush=True)
print(os.read(fd, 4096)[16:].rstrip(b"\\0").decode(), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Place:
    """Somebody's store with the command on it, and the bundles by name and version."""

    holdall: HoldallCli
    folder: Path

    @property
    def store(self) -> Path:
        return Path(self.holdall.environment["XDG_DATA_HOME"]) / "holdall"

    def install(self, version: str, name: str = "app") -> str:
        trust = ("--trust-key", KEY.public.fingerprint)
        return self.holdall("install", *trust, self.folder / f"{name}-{version}").stdout

    def update(self, version: str) -> str:
        return self.holdall("update", self.folder / f"app-{version}").stdout

    def ps(self) -> list[tuple[str, str | None, str]]:
        """Version, active version and note of all that runs."""
        rows = self.holdall.json("ps")
        assert isinstance(rows, list)
        return [(row["version"], row["active"], row["note"]) for row in rows]

    @contextmanager
    def started(self, *arguments: str) -> Iterator["Running"]:
        """The app, up by the time this returns."""
        uid, gid = self.holdall.user or (None, None)
        with subprocess.Popen(
            [self.holdall.python, "-m", "holdall", "run", APP, *arguments],
            env=dict(self.holdall.environment),
            user=uid,
            group=gid,
            extra_groups=None if uid is None else [],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                app = Running(process)
                if not arguments:
                    app("true")
                yield app
            finally:
                process.kill()


@dataclass(frozen=True, slots=True)
class Running:
    """An app that does what it is told."""

    process: "subprocess.Popen[str]"

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def __call__(self, command: str) -> str:
        """What a command inside the sandbox prints."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        lines = []
        while not (line := self.line()).endswith("\0\n"):
            assert line, "the app has ended"
            lines.append(line)
        return "".join(lines)

    @property
    def told(self) -> dict[str, str]:
        """The notices it sees: each file with its content."""
        names = self(f"ls -A {FOLDER}").split()
        return {name: self(f"cat {FOLDER}/{name}") for name in names}

    @property
    def version(self) -> str:
        """What its own files say."""
        return self("cat /app/version").strip()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundles."""
    folder = tmp_path_factory.mktemp("bundles")
    for version in ("1.0", "2.0", "3.0"):
        files = {"version": f"{version}\n".encode(), "bin/editor": _PROGRAM, "bin/watch": _WATCHER}
        make_bundle(folder / f"app-{version}", files, version=version)
    return folder


@pytest.fixture(params=["this user", "an ordinary user"])
def place(request: pytest.FixtureRequest, made: Path) -> Place:
    """An empty store: of whoever runs the tests, and of a user without privileges."""
    if request.param == "this user":
        return Place(request.getfixturevalue("holdall_cli"), made)
    user: OrdinaryUser = request.getfixturevalue("ordinary_user")
    for bundle in made.glob("*-?.?"):
        copied = user.home / bundle.name
        copied.write_bytes(bundle.read_bytes())
        user.give(copied)
    return Place(user.holdall, user.home)


def test_an_app_that_runs_is_told_of_an_update_and_keeps_its_files(place: Place) -> None:
    place.install("1.0")
    with place.started() as app:
        assert app.told == {}
        said = place.update("2.0")
        assert app.told == {"updated": "2.0\n"}
        assert app.version == "1.0"
        assert f"{REF} 1.0 still runs" in said
        assert place.ps() == [("1.0", "2.0", "2.0 is active now; restart it")]
        with place.started() as fresh:
            assert (fresh.version, fresh.told) == ("2.0", {})
            assert ("2.0", "2.0", "") in place.ps()


def test_each_further_update_is_told(place: Place) -> None:
    place.install("1.0")
    with place.started() as first:
        place.update("2.0")
        with place.started() as second:
            place.update("3.0")
            assert first.told == {"updated": "3.0\n"}
            assert second.told == {"updated": "3.0\n"}


def test_going_back_takes_the_notice_back_and_gives_it_to_the_other(place: Place) -> None:
    place.install("1.0")
    with place.started() as first:
        place.update("2.0")
        with place.started() as second:
            place.holdall("rollback", APP)
            assert first.told == {}
            assert second.told == {"updated": "1.0\n"}
            notes = {version: note for version, _, note in place.ps()}
            assert notes == {"1.0": "", "2.0": "1.0 is active now; restart it"}


def test_an_app_sees_its_removal_and_what_is_installed_after_it(place: Place) -> None:
    place.install("1.0")
    with place.started() as app:
        place.holdall("remove", APP)
        assert app.told == {"removed": ""}
        assert place.ps() == [("1.0", None, "removed")]
        place.install("2.0")
        assert app.told == {"updated": "2.0\n"}
        place.holdall("rollback", APP, expect=3)
        place.holdall("remove", APP)
        assert app.told == {"removed": ""}


def test_the_same_version_installed_again_is_nothing_to_tell(place: Place) -> None:
    place.install("1.0")
    with place.started() as app:
        place.holdall("remove", APP)
        place.install("1.0")
        assert app.told == {}
        assert place.ps() == [("1.0", "1.0", "")]


def test_a_version_that_gc_has_taken_is_told_of_what_comes_after(place: Place) -> None:
    place.install("1.0")
    with place.started() as app:
        place.update("2.0")
        place.holdall("gc", "--keep", "0")
        assert app.told == {"updated": "2.0\n"}
        place.update("3.0")
        assert app.told == {"updated": "3.0\n"}
        assert app.version == "1.0"


def test_a_program_can_wait_for_the_notice(place: Place) -> None:
    place.install("1.0")
    with place.started("--command", "/app/bin/watch") as app:
        assert app.line() == "watching\n"
        place.update("2.0")
        assert app.line() == "updated\n"


def test_an_app_cannot_change_what_it_is_told(place: Place) -> None:
    place.install("1.0")
    with place.started() as app:
        place.update("2.0")
        said = app(f"rm {FOLDER}/updated 2>&1; touch {FOLDER}/x 2>&1; mv {FOLDER} /tmp 2>&1")
        assert said.count("\n") >= 3
        assert app.told == {"updated": "2.0\n"}


def test_a_version_installed_before_there_were_notices_still_starts(place: Place) -> None:
    place.install("1.0")
    (folder,) = place.store.glob("deployments/*/*/*/*/notice")
    folder.rmdir()
    with place.started() as app:
        assert app(f"test -e {FOLDER} || echo none") == "none\n"
        place.update("2.0")
        assert app.version == "1.0"
        assert place.ps()[0][2] == "2.0 is active now; restart it"
    assert not folder.exists()


def test_nothing_is_written_where_a_link_leads(place: Place, tmp_path: Path) -> None:
    place.install("1.0")
    (folder,) = place.store.glob("deployments/*/*/*/*/notice")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    elsewhere.chmod(0o777)
    folder.rmdir()
    folder.symlink_to(elsewhere)
    place.update("2.0")
    assert list(elsewhere.iterdir()) == []


def test_notices_leave_nothing_behind_in_the_store(place: Place) -> None:
    place.install("1.0")
    place.update("2.0")
    place.update("3.0")
    assert list((place.store / "staging").iterdir()) == []
    told = {
        path.parent.parent.name: path.read_text()
        for path in place.store.glob("deployments/*/*/*/*/notice/*")
    }
    assert sorted(told.values()) == ["3.0\n", "3.0\n"]
    assert os.path.basename(os.readlink(place.store / "active" / REF)) not in told  # noqa: PTH115, PTH119 - a name


def test_an_app_is_told_of_its_runtime_s_update_apart(
    holdall_cli: HoldallCli, require: Require, tmp_path: Path
) -> None:
    busybox = require("busybox").read_bytes()
    for version in ("1.0", "2.0"):
        make_bundle(
            tmp_path / f"runtime-{version}",
            {"bin/busybox": busybox, "version": f"{version}\n".encode()},
            links={"bin/sh": "busybox", "bin/cat": "busybox", "bin/ls": "busybox"},
            version=version,
            id=RUNTIME.partition("/")[0],
            kind="runtime",
            command="",
        )
    make_bundle(tmp_path / "app-1.0", {"bin/editor": _PROGRAM}, runtime=RUNTIME)
    place = Place(holdall_cli, tmp_path)
    place.install("1.0", "runtime")
    place.install("1.0")
    with place.started() as app:
        said = place.install("2.0", "runtime")
        assert app("cat /run/holdall/runtime-notice/updated") == "2.0\n"
        assert app.told == {}
        assert app("cat /usr/version") == "1.0\n"
        assert place.ps() == [("1.0", "1.0", "its runtime: 2.0 is active now; restart it")]
        assert f"{REF} 1.0 still runs" in said
