"""Apps that share contents: on real disks, as any user, whatever ends a command on the way."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from holdall.model.digest import digest_of
from holdall.model.tree import File
from holdall.store.pool import pool_of, sweep
from sample_app import contents
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

APPS = ("org.example.One", "org.example.Two")
MOST_LINKS = 65_000  # of an inode of ext4


@dataclass(frozen=True, slots=True)
class Pair:
    """Two apps that differ in a single file, as bundles, and the option that trusts them."""

    bundles: tuple[Path, Path]
    trust: tuple[str, str]

    @property
    def size(self) -> int:
        """The bytes of all files of one of them."""
        return sum(len(data) for data in contents("1.0").values())


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("pair")
    holdall = HoldallCli(PYTHON, environment_for(make_home(folder / "home")))
    key = holdall.json("key", "generate")
    assert isinstance(key, dict)
    made = []
    for app in APPS:
        for path, data in {**contents("1.0"), "own": app.encode()}.items():
            place = folder / app / "files" / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
            place.chmod(0o755 if path.startswith("bin/") else 0o644)
        (folder / app / "holdall.toml").write_text(
            f'id = "{app}"\nversion = "1.0"\nkind = "app"\ncommand = "sample"\n'
        )
        made.append(folder / f"{app}.holdall")
        holdall("build", folder / app, "-o", made[-1], "--level", "3")
    return Pair((made[0], made[1]), ("--trust-key", key["fingerprint"]))


def given_to(user: OrdinaryUser, pair: Pair) -> Pair:
    """The same where the user may read it."""
    copies = [Path(shutil.copy(bundle, user.home)) for bundle in pair.bundles]
    user.give(*copies)
    return replace(pair, bundles=(copies[0], copies[1]))


def install(holdall: HoldallCli, store: Path, pair: Pair, at: int, form: str = "pool") -> None:
    holdall("--root", store, "install", "--form", form, *pair.trust, pair.bundles[at])


def folders(store: Path) -> list[Path]:
    """The files of each app, the first one's first."""
    return [next(store.glob(f"deployments/{app}/*/*/*/files")) for app in APPS]


def regular(*tops: Path) -> list[Path]:
    found = (path for top in tops for path in top.rglob("*"))
    return [path for path in found if path.is_file() and not path.is_symlink()]


def blocks(paths: list[Path]) -> int:
    """The bytes on the disk of all these, each inode once."""
    return sum({path.lstat().st_ino: path.lstat().st_blocks * 512 for path in paths}.values())


def inodes(top: Path) -> set[int]:
    return {path.stat().st_ino for path in regular(top)}


def used(disk: Path) -> int:
    os.sync()
    status = os.statvfs(disk)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def check_objects(store: Path) -> None:
    """Every object is whole, and what its name says."""
    for path in regular(store / "pool"):
        assert digest_of(path.read_bytes()).hex() == path.name.removesuffix(".x")
        mode = 0o755 if path.suffix == ".x" else 0o644
        assert (path.stat().st_mode & 0o7777, path.stat().st_mtime_ns) == (mode, 0)


def no_faults(holdall: HoldallCli, store: Path) -> int:
    """How many versions there are, all of them whole."""
    verified = holdall.json("--root", store, "verify")
    assert isinstance(verified, list)
    assert all(not item["faults"] for item in verified)
    return len(verified)


# ------------------------------------------------------------------------------ disks


def check_sharing(holdall: HoldallCli, store: Path, pair: Pair) -> None:
    install(holdall, store, pair, 0)
    one = blocks(regular(*folders_of_first(store)))
    install(holdall, store, pair, 1)
    first, second = folders(store)
    assert blocks(regular(first, second)) <= one + 8192
    for path in regular(first):
        name = path.relative_to(first)
        assert path.samefile(second / name) is (str(name) != "own"), name
    assert no_faults(holdall, store) == 2
    holdall("--root", store, "remove", APPS[0])
    holdall("--root", store, "gc")
    assert inodes(store / "pool") == inodes(second)
    assert no_faults(holdall, store) == 1
    holdall("--root", store, "remove", APPS[1])
    holdall("--root", store, "gc")
    assert not (store / "pool").exists()


def folders_of_first(store: Path) -> list[Path]:
    return list(store.glob(f"deployments/{APPS[0]}/*/*/*/files"))


@pytest.mark.root
def test_two_apps_take_the_disk_of_one(
    ext4_loop: Path, pair: Pair, holdall_cli: HoldallCli
) -> None:
    store = ext4_loop / "store"
    install(holdall_cli, store, pair, 0)
    before = used(ext4_loop)
    install(holdall_cli, store, pair, 1)
    # folders, and what is signed
    assert used(ext4_loop) - before < pair.size // 4
    shutil.rmtree(store)
    check_sharing(holdall_cli, store, pair)


def test_whoever_installs_shares(tmp_path: Path, pair: Pair, holdall_cli: HoldallCli) -> None:
    check_sharing(holdall_cli, tmp_path / "store", pair)


@pytest.mark.root
def test_an_ordinary_user_shares(ordinary_user: OrdinaryUser, pair: Pair) -> None:
    mine = given_to(ordinary_user, pair)
    check_sharing(ordinary_user.holdall, ordinary_user.home / "store", mine)


@pytest.mark.root
def test_an_inode_with_all_the_names_it_may_have_is_followed_by_another(ext4_loop: Path) -> None:
    data = b"everywhere"
    file = File("file", digest_of(data), len(data), executable=False)
    store = ext4_loop / "store"
    objects = pool_of(str(store), "store", "")
    for name in ("one", "two", "three"):
        (store / name).mkdir(parents=True)
    (store / "one/file").write_bytes(data)
    (store / "one/file").chmod(0o644)
    objects.enter([file], str(store / "one"))
    place = Path(objects.path(file.digest, executable=False))
    while place.stat().st_nlink < MOST_LINKS:
        os.link(place, store / f"one/{place.stat().st_nlink}")
    root = os.open(store / "two", os.O_RDONLY)
    assert not objects.give(file, root)
    os.close(root)
    assert not place.exists()
    (store / "two/file").write_bytes(data)
    (store / "two/file").chmod(0o644)
    objects.enter([file], str(store / "two"))
    root = os.open(store / "three", os.O_RDONLY)
    assert objects.give(file, root, data)
    os.close(root)
    assert (store / "three/file").samefile(store / "two/file")


# ------------------------------------------------------------------------------ reflinks


@pytest.fixture(params=["btrfs", "xfs"])
def cloning(request: pytest.FixtureRequest, memory: Path, require: Require) -> Iterator[Path]:
    """A file system that has reflinks, in a loop file in memory, open to every user."""
    if os.geteuid() != 0:
        not_here("needs root")
    kind = str(request.param)
    # pytest's own temporary folders are closed to other users
    image, point = memory / "image", Path(tempfile.mkdtemp(prefix="holdall-cloning-"))
    with image.open("wb") as file:
        file.truncate(512 << 20)
    subprocess.run([require(f"mkfs.{kind}"), "-q", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, point], check=True)
    point.chmod(0o1777)
    yield point
    # what `remove` leaves behind may still be at work there
    subprocess.run(["umount", "--lazy", point], check=True)
    point.rmdir()


@pytest.mark.root
def test_reflinks_share_the_disk_and_nothing_else(
    cloning: Path, pair: Pair, holdall_cli: HoldallCli
) -> None:
    store = cloning / "store"
    holdall_cli("--root", store, "settings", "share", "reflink")
    install(holdall_cli, store, pair, 0)
    before = used(cloning)
    install(holdall_cli, store, pair, 1)
    first, second = folders(store)
    record = json.loads((first.parent / "form").read_text())
    assert record == {"form": "pool", "pool": "store", "share": "reflink"}
    assert {path.stat().st_nlink for path in regular(first, second)} == {1}
    large = max(regular(first), key=lambda path: path.stat().st_size)
    assert _extents(large) == _extents(second / large.relative_to(first))
    # an inode, and what is too small to be shared; not the large contents again
    assert used(cloning) - before < pair.size

    name = large.relative_to(first)
    with large.open("r+b") as file:
        file.write(b"X")
    assert (second / name).read_bytes() == contents("1.0")[str(name)]
    (verified,) = [item for item in _verified(holdall_cli, store) if item["faults"]]
    assert verified["ref"].startswith(APPS[0])


@pytest.mark.root
def test_du_leaves_out_what_may_not_be_looked_into_and_says_so(
    cloning: Path, pair: Pair, holdall_cli: HoldallCli, ordinary_user: OrdinaryUser
) -> None:
    store = cloning / "store"
    install(holdall_cli, store, pair, 0)
    told = ordinary_user.holdall("--root", store, "--json", "du")
    whole = holdall_cli.json("--root", store, "du")
    assert isinstance(whole, list)
    assert json.loads(told.stdout)[0] == whole[0]
    assert f"You may not look into {store}/pool" in told.stderr
    assert "left out" in told.stderr


@pytest.mark.root
def test_reflinked_versions_go_and_take_their_objects_along(
    cloning: Path, pair: Pair, holdall_cli: HoldallCli
) -> None:
    store = cloning / "store"
    holdall_cli("--root", store, "settings", "share", "reflink")
    for at in (0, 1):
        install(holdall_cli, store, pair, at)
    _, second = folders(store)
    assert sweep(str(store)) == 0
    check_objects(store)
    holdall_cli("--root", store, "remove", APPS[0])
    holdall_cli("--root", store, "gc")
    assert inodes(store / "pool") == inodes(second.parent / "objects")
    assert no_faults(holdall_cli, store) == 1
    holdall_cli("--root", store, "remove", APPS[1])
    holdall_cli("--root", store, "gc")
    assert not (store / "pool").exists()


@pytest.mark.root
def test_an_ordinary_user_has_reflinks(
    cloning: Path, pair: Pair, ordinary_user: OrdinaryUser
) -> None:
    store = cloning / "own"
    ordinary_user.holdall("--root", store, "settings", "share", "reflink")
    for at in (0, 1):
        install(ordinary_user.holdall, store, given_to(ordinary_user, pair), at)
    assert {path.stat().st_nlink for path in regular(*folders(store))} == {1}
    assert no_faults(ordinary_user.holdall, store) == 2


@pytest.mark.root
def test_without_reflinks_files_are_links_and_the_record_says_so(
    ext4_loop: Path, pair: Pair, holdall_cli: HoldallCli
) -> None:
    store = ext4_loop / "store"
    holdall_cli("--root", store, "settings", "share", "reflink")
    for at in (0, 1):
        install(holdall_cli, store, pair, at)
    first, second = folders(store)
    assert json.loads((first.parent / "form").read_text())["share"] == "link"
    assert (first / "large").samefile(second / "large")


def _verified(holdall: HoldallCli, store: Path) -> list[dict[str, str]]:
    found = json.loads(holdall("--json", "--root", store, "verify", expect=None).stdout)
    assert isinstance(found, list)
    return found


def _extents(path: Path) -> str:
    """Where on the disk a file's bytes are."""
    os.sync()
    shown = run(["filefrag", "-v", path], environment=os.environ).stdout
    return "".join(line.split(":")[2] for line in shown.splitlines()[3:-1])


# ------------------------------------------------------------------------------ ends on the way

KILLED = {
    "install": ("linkat", "utimensat", "syncfs", "mkdir", "rename"),
    "gc": ("unlink", "unlinkat", "rmdir"),
}
POINTS = 6  # of each call, spread over the command


class World:
    """A store with the first app in the pool; the second one comes, or goes."""

    def __init__(self, folder: Path, pair: Pair, strace: Path) -> None:
        self.store = folder / "store"
        self.pair = pair
        self.holdall = HoldallCli(PYTHON, environment_for(make_home(folder / "killed-home")))
        self._strace = strace
        self._calls = folder / "calls"

    def start(self, command: str) -> None:
        """The store as it is before the command."""
        shutil.rmtree(self.store, ignore_errors=True)
        key = ("--from", self.pair.bundles[0], "--app", "*", self.pair.trust[1])
        self.holdall("--root", self.store, "key", "trust", *key)
        install(self.holdall, self.store, self.pair, 0)
        if command == "gc":
            # removed, with nobody but gc to free it
            install(self.holdall, self.store, self.pair, 1)
            folder = folders(self.store)[1].parent
            shutil.rmtree(self.store / "active" / APPS[1])
            (self.store / "trash").mkdir(exist_ok=True)
            folder.rename(self.store / "trash/removed")

    def traced(self, command: str, *options: str) -> int:
        """Do the command under strace; returns how it ended."""
        words: dict[str, tuple[str | Path, ...]] = {
            "install": ("install", "--form", "pool", *self.pair.trust, self.pair.bundles[1]),
            "gc": ("gc",),
        }
        traced: tuple[str | Path, ...] = (PYTHON, "-m", "holdall", "--root", self.store)
        return run(
            [self._strace, "-f", "-qq", "-o", self._calls, *options, *traced, *words[command]],
            environment=self.holdall.environment,
        ).returncode

    def count(self, command: str, call: str) -> int:
        """How often the command makes a system call, by any of its processes."""
        self.start(command)
        assert self.traced(command, "-e", f"trace={call}") == 0
        return sum(f" {call}(" in line for line in self._calls.read_text().splitlines())

    def check(self, command: str) -> None:
        """What is there is whole, now and after the next commands."""
        check_objects(self.store)
        assert no_faults(self.holdall, self.store) in {1, 2}
        if command == "install":
            install(self.holdall, self.store, self.pair, 1)
            assert no_faults(self.holdall, self.store) == 2
            first, second = folders(self.store)
            assert all((first / name).samefile(second / name) for name in ("large", "version"))
        self.holdall("--root", self.store, "gc")
        check_objects(self.store)
        assert sweep(str(self.store)) == 0
        expected = 2 if command == "install" else 1
        assert no_faults(self.holdall, self.store) == expected
        for folder in ("staging", "journal", "trash"):
            assert not list((self.store / folder).glob("*"))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("command", "call"), [(command, call) for command in KILLED for call in KILLED[command]]
)
def test_a_kill_leaves_no_half_object(
    memory: Path, pair: Pair, require: Require, command: str, call: str
) -> None:
    world = World(memory, pair, require("strace"))
    made = world.count(command, call)
    assert made, f"{command} makes no {call}"
    points = sorted({1 + at * made // POINTS for at in range(POINTS)})
    ended = []
    for number in points:
        world.start(command)
        inject = f"inject={call}:signal=SIGKILL:when={number}"
        ended.append(world.traced(command, "-e", f"trace={call}", "-e", inject))
        world.check(command)
    assert any(ended)


# ------------------------------------------------------------------------------ at the same time

ALWAYS = "import sys; from holdall.store.pool import sweep\nwhile True: sweep(sys.argv[1])"


def test_sweeps_beside_installs_cost_no_file(
    memory: Path, pair: Pair, holdall_cli: HoldallCli
) -> None:
    store = memory / "store"
    with subprocess.Popen([PYTHON, "-c", ALWAYS, store]) as sweeping:
        try:
            install(holdall_cli, store, pair, 0)
            for _ in range(5):
                install(holdall_cli, store, pair, 1)
                assert no_faults(holdall_cli, store) == 2
                holdall_cli("--root", store, "remove", APPS[1])
                holdall_cli("--root", store, "gc")
            assert sweeping.poll() is None
        finally:
            sweeping.kill()
    install(holdall_cli, store, pair, 1)
    check_objects(store)
    first, second = folders(store)
    assert (first / "large").samefile(second / "large")
