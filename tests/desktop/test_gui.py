"""A real program with a window, from Debian, on an imported runtime: it draws, and sees no host.

As folders, and both read out of their bundles.
"""

import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from holdall.desktop.entries import parse, parse_exec
from mounts import answering, eventually, fuse_for_everybody
from surroundings import OrdinaryUser, Require, expected, run

pytestmark = [
    pytest.mark.integration,
    pytest.mark.network,
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.usefixtures("sandbox"),
    pytest.mark.timeout(400),
]

RUNTIME = "org.example.Gtk3"
APP = "org.debian.galculator"
T = TypeVar("T")
PACKAGES = ("libgtk-3-0", "adwaita-icon-theme", "librsvg2-common", "fonts-dejavu-core")


@dataclass(frozen=True, slots=True)
class Screen:
    """A display of its own, which only the bearer of a cookie may use."""

    name: str
    cookie: Path

    @property
    def environment(self) -> dict[str, str]:
        """That of a program that looks at the display."""
        return {**os.environ, "DISPLAY": self.name, "XAUTHORITY": str(self.cookie)}

    def run(self, *argv: str | Path) -> str:
        """What such a program prints."""
        return expected(run(argv, environment=self.environment), 0).stdout

    def shot(self, window: str, path: Path) -> bytes:
        """A picture of a window as red, green and blue of every pixel; none while it changes."""
        taken = run(["import", "-window", window, path], environment=self.environment)
        if taken.returncode != 0:
            return b""
        done = subprocess.run(["convert", path, "rgb:-"], capture_output=True, check=True)
        return done.stdout


@pytest.fixture
def screen(ordinary_user: OrdinaryUser, require: Require) -> Iterator[Screen]:
    """An X server of the ordinary user."""
    for program in ("xdotool", "import", "convert", "xauth"):
        require(program)
    cookie = ordinary_user.home / "the cookie"
    cookie.touch(mode=0o600)
    ordinary_user.give(cookie)
    sockets = Path("/tmp/.X11-unix")
    if not sockets.exists():
        sockets.mkdir()
        sockets.chmod(0o1777)
    ordinary_user.run("xauth", "-q", "-f", cookie, "add", ":0", ".", secrets.token_hex(16))
    server = subprocess.Popen(
        [
            *(require("Xvfb"), "-displayfd", "1", "-screen", "0", "640x480x24"),
            *("-nolisten", "tcp", "-auth", cookie),
        ],
        user=ordinary_user.uid,
        group=ordinary_user.gid,
        extra_groups=[],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdout is not None
    name = f":{server.stdout.readline().strip()}"
    secret = ordinary_user.run("xauth", "-f", cookie, "list").stdout.split()[-1]
    ordinary_user.run("xauth", "-q", "-f", cookie, "add", name, ".", secret)
    yield Screen(name, cookie)
    server.kill()
    server.wait()
    server.stdout.close()


@pytest.fixture
def packages(ordinary_user: OrdinaryUser, request: pytest.FixtureRequest) -> Iterator[None]:
    """Debian packages that an earlier run downloaded; this run's are kept for the next."""
    assert request.config.cache is not None
    kept = request.config.cache.mkdir("holdall-debs")
    cache = ordinary_user.home / ".cache/holdall/deb"
    shutil.copytree(kept, cache)
    ordinary_user.give(ordinary_user.home / ".cache")
    yield
    for package in cache.glob("*.deb"):
        if not (kept / package.name).exists():
            shutil.copy(package, kept)


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one test made for the others: the bundles, and the store that trusts their key."""
    return tmp_path_factory.mktemp("shelf")


@pytest.fixture(params=["tree", "live"])
def form(
    request: pytest.FixtureRequest,
    ordinary_user: OrdinaryUser,
    packages: None,  # noqa: ARG001 - they have to be there
    shelf: Path,
    tmp_path: Path,
) -> Iterator[str]:
    """A form that app and runtime are installed in, in the user's own store, without root."""
    form = str(request.param)
    made = [shelf / "runtime.holdall", shelf / "app.holdall"]
    store = ordinary_user.home / ".local/share/holdall"
    if made[-1].exists():
        shutil.copytree(shelf / "store", store, symlinks=True)
        ordinary_user.give(ordinary_user.home / ".local")
    else:
        publish(ordinary_user)
        shutil.copytree(store, shelf / "store", symlinks=True)
        for bundle in made:
            shutil.copy(ordinary_user.home / bundle.name, bundle)
    with fuse_for_everybody(tmp_path):
        for bundle in made:
            shutil.copy(bundle, ordinary_user.home)
            ordinary_user.holdall("install", ordinary_user.home / bundle.name, "--form", form)
        yield form


def publish(user: OrdinaryUser) -> None:
    """Bundles of the app and its runtime, from Debian's archive, in frames as `live` wants them."""
    made = {
        "runtime": ("--kind", "runtime", "--id", RUNTIME, "--branch", "test", *PACKAGES),
        "app": ("--runtime-dir", user.home / "runtime", "galculator"),
    }
    user.holdall("key", "generate")
    for name, arguments in made.items():
        folder, bundle = user.home / name, user.home / f"{name}.holdall"
        user.holdall("import", "deb", "-o", folder, *arguments, directory=user.home, timeout=300)
        options = ("--level", "1", "--frame-size", "640K")
        user.holdall("build", folder, "-o", bundle, *options, timeout=300)


def menu_command(user: OrdinaryUser) -> list[str]:
    """What a menu starts, by the desktop entry that stands on the host."""
    path = user.home / f".local/share/applications/{APP}.desktop"
    main = parse(path.read_bytes(), path.name).groups["Desktop Entry"]
    assert main["Icon"] == APP
    icons = user.home / ".local/share/icons/hicolor"
    assert list(icons.glob(f"*/apps/{APP}.*"))
    return [word for word in parse_exec(main["Exec"], path.name) if not word.startswith("%")]


def awaited(look: Callable[[], T], seconds: float = 100) -> T:
    """What `look` finds, as soon as it finds something."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, "nothing appeared in time"
        time.sleep(0.1)
    return found


def test_a_program_with_a_window_draws_and_answers_and_sees_no_host(
    ordinary_user: OrdinaryUser, screen: Screen, form: str, tmp_path: Path
) -> None:
    environment = {
        **ordinary_user.environment,
        "DISPLAY": screen.name,
        "XAUTHORITY": str(screen.cookie),
    }
    process = subprocess.Popen(
        menu_command(ordinary_user),
        env=environment,
        cwd=ordinary_user.home,
        user=ordinary_user.uid,
        group=ordinary_user.gid,
        extra_groups=[],
        stderr=subprocess.DEVNULL,
    )
    try:
        window = drawn_window(screen, tmp_path)
        before = awaited(lambda: numbers(screen.shot(window, tmp_path / "before.png")))
        # as a keyboard does: a key sent to a window is not taken by all programs
        screen.run("xdotool", "windowfocus", "--sync", window, "key", "7")
        shown = tmp_path / "after.png"
        awaited(lambda: numbers(screen.shot(window, shown)) not in {b"", before})
        assert process.poll() is None
        listed = ordinary_user.holdall("ps").stdout
        assert APP in listed
        # one process each for the app and its runtime, both where nothing is unpacked
        assert len(answering(ordinary_user.home)) == (2 if form == "live" else 0)
    finally:
        process.terminate()
        process.wait()
    assert eventually(lambda: not answering(ordinary_user.home))
    assert_no_host_visible(ordinary_user, form)


def drawn_window(screen: Screen, folder: Path) -> str:
    """The id of the app's window, once it is mapped under its title and has something in it."""

    def look() -> str:
        search = ["xdotool", "search", "--onlyvisible", "--name", "^galculator$"]
        found = run(search, environment=screen.environment).stdout.split()
        for window in found:
            pixels = screen.shot(window, folder / "window.png")
            colours = {pixels[at : at + 3] for at in range(0, len(pixels), 3)}
            bright = sum(pixels) / max(1, len(pixels))
            # buttons, letters and shades of a light theme: neither one colour nor noise
            if len(pixels) > 100 * 100 * 3 and 30 < len(colours) < 5000 and 100 < bright < 250:
                return window
        return ""

    return awaited(look)


def numbers(pixels: bytes) -> bytes:
    """The upper quarter of the window, where a calculator shows its numbers."""
    return pixels[: len(pixels) // 4]


def assert_no_host_visible(user: OrdinaryUser, form: str) -> None:
    """/usr is the runtime and nothing else; of the home only the app's own folder is there."""
    if form == "live":
        user.holdall("convert", RUNTIME, "--form", "tree")
    runtime = Path(user.holdall("path", RUNTIME).stdout.strip())
    script = 'for folder do echo "=$folder"; ls -A "$folder"; done'
    folders = ("/usr", "/usr/bin", "/usr/lib", str(user.home), "/root", "/etc/apt", "/var/lib")
    done = user.holdall(
        "run", APP, "--command", "sh", "--", "-c", script, "sh", *folders, expect=None
    )
    seen = {part.split()[0]: set(part.split("\n")[1:-1]) for part in done.stdout.split("=")[1:]}
    for folder in ("", "bin", "lib"):
        found = {path.name for path in (runtime / folder).iterdir()}
        assert seen[f"/usr/{folder}".rstrip("/")] == found
    assert not {"bwrap", "Xvfb", "xdotool", "dpkg"} & seen["/usr/bin"]
    assert seen[str(user.home)] == {".local"}
    for folder in ("/root", "/etc/apt", "/var/lib"):
        assert seen[folder] == set()
