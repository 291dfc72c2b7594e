"""The form live where a pool has the contents: the kernel reads them from there.

As root and as an ordinary user.
"""

import ctypes
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from looking import NOISE, OUTPUT, Looker, flip, looking
from mounted_app import APP, PROGRAM, Person, make_person, write_app
from mounts import answering, eventually, fuse_for_everybody
from surroundings import Require, not_here

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("sandbox")]

OTHER = "org.example.Other"
PAGES = -(-len(NOISE) // 4096)
LOOKER = """\
import ctypes, json, os, sys
held = None
def cached(fd):
    found, whole = (ctypes.c_uint64 * 5)(), (ctypes.c_uint64 * 2)(0, 0)
    call = ctypes.CDLL(None).syscall
    failed = call(ctypes.c_long(451), ctypes.c_long(fd), whole, found, ctypes.c_long(0))
    return None if failed else found[0]
def read(file):
    return sum(len(piece) for piece in iter(lambda: file.read(1 << 16), b""))
for line in sys.stdin:
    verb, _, path = line.strip().partition(" ")
    try:
        if verb == "read":
            with open("/app/" + path, "rb", buffering=0) as file:
                said = read(file)
        elif verb == "hold":
            held = open("/app/" + path, "rb", buffering=0)
            said = len(held.read(1))
        elif verb == "more":
            said = read(held)
        elif verb == "cached":
            with open("/app/" + path, "rb") as file:
                said = cached(file.fileno())
        elif verb == "list":
            said = sorted(os.listdir("/app/" + path))
        else:
            with open("/proc/self/mountinfo") as mounts:
                said = [line.partition(" - ")[2].split()[0] for line in mounts]
    except OSError as error:
        said = os.strerror(error.errno)
    print(json.dumps(said), flush=True)
"""


@pytest.fixture(autouse=True)
def everybodys_fuse(tmp_path: Path) -> Iterator[None]:
    """FUSE for every user."""
    with fuse_for_everybody(tmp_path):
        yield


@pytest.fixture(params=["root", "user"])
def person(request: pytest.FixtureRequest) -> Person:
    """Either of the two, with two versions of an app and another app that has as much of it."""
    person = make_person(request, str(request.param))
    if tuple(int(number) for number in os.uname().release.split(".")[:2]) < (6, 16):
        not_here("needs a kernel that mounts data-only overlays for every user")
    files = {"bin/mounted": PROGRAM.encode(), "data": OUTPUT.encode()}
    files |= {"noise": NOISE, "look.py": LOOKER.encode()}
    write_app(person.home / "one", APP, files, command="mounted")
    write_app(person.home / "other", OTHER, files, command="mounted")
    files["data"] = b"data of the app\nmore\n"
    write_app(person.home / "two", APP, files, command="mounted", version="2.0")
    for name in ("one", "other", "two"):
        build(person, name, f"{name}.holdall")
    return person


def build(person: Person, name: str, target: str, *options: str) -> None:
    command = ("build", name, "-o", target, "--frame-size", "64K", *options)
    person.cli(*command, directory=person.home)


@pytest.fixture
def shared(person: Person) -> Person:
    """The same, where the first version lies in its bundle and over the pool of the other app."""
    person.install("--form", "pool", app="other")
    person.install("--form", "live", app="one")
    return person


def is_over_pool(looker: Looker) -> bool:
    """Whether the app sees an overlay and not what the bundle alone is shown as."""
    kinds = looker("mounts")
    assert isinstance(kinds, list)
    assert any(kind in {"overlay", "fuse.holdall"} for kind in kinds)
    return "fuse.holdall" not in kinds


def record(person: Person) -> dict[str, object]:
    found = json.loads((person.deployment / "form").read_text())
    assert isinstance(found, dict)
    return found


def objects(person: Person) -> dict[bytes, Path]:
    """The contents beside the bundle, and where they are."""
    folder = person.deployment / "objects"
    return {path.read_bytes(): path for path in folder.iterdir()} if folder.exists() else {}


def others_noise(person: Person) -> Path:
    return (person.store / f"active/{OTHER}/x86_64/stable").resolve() / "files/noise"


def spoil(path: Path) -> None:
    """Change a bit, and nothing else that could be seen."""
    status = path.stat()
    flip(path, 1_000_000)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def cached(path: Path) -> int:
    """How many pages of a file are in memory (cachestat(2))."""
    fd = os.open(path, os.O_RDONLY)
    try:
        found = (ctypes.c_uint64 * 5)()
        whole = (ctypes.c_uint64 * 2)(0, 0)
        call = ctypes.CDLL(None, use_errno=True).syscall
        if call(ctypes.c_long(451), ctypes.c_long(fd), whole, found, ctypes.c_long(0)):
            raise OSError(ctypes.get_errno(), "cachestat")
        return int(found[0])
    finally:
        os.close(fd)


def forgotten(path: Path) -> bool:
    """Have no page of a file in memory; whether that is so."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)
    return cached(path) == 0


def test_what_the_pool_has_is_its_own_inode_and_read_by_the_kernel(shared: Person) -> None:
    held = objects(shared)
    assert held[NOISE].stat().st_ino == others_noise(shared).stat().st_ino
    assert record(shared)["objects"] == len(held)
    with looking(shared) as looker:
        assert is_over_pool(looker)
        assert looker("read", "noise") == len(NOISE)
        assert looker("read", "data") == len(OUTPUT)
        assert looker("list") == ["bin", "data", "look.py", "noise"]
    shared.cli("verify")
    assert shared.run(shared.stub).stdout.startswith(OUTPUT)
    assert eventually(shared.nothing_is_left)


def test_two_versions_have_it_in_memory_once(shared: Person) -> None:
    noise = others_noise(shared)
    with looking(shared) as first:
        assert first("mounts")
        shared.install(app="two")
        assert objects(shared)[NOISE].stat().st_ino == noise.stat().st_ino
        with looking(shared) as second:
            assert second("mounts")
            found = []
            for looker in (first, second) * 4:  # more than once, as kernels take pages away, too
                assert eventually(lambda: forgotten(noise))
                assert looker("read", "noise") == len(NOISE)
                found.append(cached(noise))
                assert looker("cached", "noise") == 0
            assert PAGES in found[::2]
            assert PAGES in found[1::2]


def test_an_increment_keeps_what_is_shared(shared: Person) -> None:
    build(shared, "two", "two.inc", "--against", "one.holdall")
    shared.cli("update", shared.home / "two.inc")
    assert objects(shared)[NOISE].stat().st_ino == others_noise(shared).stat().st_ino
    with looking(shared) as looker:
        assert is_over_pool(looker)
        assert looker("read", "data") == len(OUTPUT) + len("more\n")
        assert looker("read", "noise") == len(NOISE)
    shared.cli("verify")


def test_without_a_pool_nothing_is_made_but_the_bundle(person: Person) -> None:
    person.install("--form", "live", app="one")
    assert record(person)["objects"] == 0
    assert not (person.deployment / "objects").exists()
    with looking(person) as looker:
        assert not is_over_pool(looker)


def test_a_pool_that_has_less_than_half_is_let_be(person: Person) -> None:
    files = {"bin/mounted": PROGRAM.encode(), "data": OUTPUT.encode()}
    write_app(person.home / "few", OTHER, files, command="mounted")
    build(person, "few", "few.holdall")
    person.install("--form", "pool", app="few")
    person.install("--form", "live", app="one")
    assert not (person.deployment / "objects").exists()


@pytest.mark.parametrize("form", ["tree", "pool"])
def test_what_is_converted_keeps_what_others_have(person: Person, form: str) -> None:
    person.install("--form", "pool", app="other")
    person.install("--form", form, app="one")
    person.cli("convert", APP, "--form", "live")
    assert objects(person)[NOISE].stat().st_ino == others_noise(person).stat().st_ino
    person.cli("convert", APP, "--form", form)
    person.cli("verify")


def test_a_tree_that_nobody_shares_becomes_one_file(person: Person) -> None:
    person.install("--form", "tree", app="one")
    person.cli("convert", APP, "--form", "live")
    assert not (person.deployment / "objects").exists()


def test_a_version_in_the_pool_gives_the_next_one_its_files(person: Person) -> None:
    person.install("--form", "pool", app="one")
    held = (person.deployment / "files/noise").stat()
    person.install("--form", "live", app="two")
    assert objects(person)[NOISE].stat().st_ino == held.st_ino
    with looking(person) as looker:
        assert looker("read", "data") == len(OUTPUT) + len("more\n")


def test_a_tree_that_nobody_shares_gives_the_next_version_nothing(person: Person) -> None:
    person.install("--form", "tree", app="one")
    person.install("--form", "live", app="two")
    assert not (person.deployment / "objects").exists()


def test_objects_are_kept_while_they_are_needed(shared: Person) -> None:
    shared.cli("remove", OTHER)
    shared.cli("gc")
    with looking(shared) as looker:
        assert is_over_pool(looker)
        assert looker("read", "noise") == len(NOISE)
    shared.cli("remove", APP)
    shared.cli("gc")
    assert not list((shared.store / "pool").rglob("*"))


def test_a_killed_server_does_not_take_away_what_is_open(shared: Person) -> None:
    with looking(shared) as looker:
        assert looker("hold", "noise") == 1
        assert eventually(lambda: forgotten(others_noise(shared)))
        (server,) = answering(shared.home)
        os.kill(server, signal.SIGKILL)
        assert eventually(lambda: not answering(shared.home))
        assert looker("more") == len(NOISE) - 1
        assert looker("read", "bin/mounted") in {
            "Transport endpoint is not connected",
            "Software caused connection abort",
        }
    with looking(shared) as again:
        assert again("read", "noise") == len(NOISE)


def test_a_missing_object_is_missed_only_by_its_file_and_until_the_next_start(
    shared: Person,
) -> None:
    with looking(shared) as looker:
        assert looker("read", "data") == len(OUTPUT)
        objects(shared)[NOISE].unlink()
        assert looker("read", "noise") in {"No such file or directory", "Input/output error"}
        assert looker("read", "bin/mounted") == len(PROGRAM)
    with looking(shared) as again:
        assert is_over_pool(again)
        assert again("read", "noise") == len(NOISE)
    assert "with others are missing: 1" in shared.cli("verify", APP, expect=4).stdout
    shared.cli("repair", shared.home / "one.holdall")
    shared.cli("verify")
    assert objects(shared)[NOISE].stat().st_ino == others_noise(shared).stat().st_ino


def test_a_changed_object_is_found_and_mended(shared: Person) -> None:
    spoil(objects(shared)[NOISE])
    assert "noise: what it shares" in shared.cli("verify", APP, expect=4).stdout
    shared.cli("repair", shared.home / "one.holdall")
    shared.cli("verify", APP)
    assert record(shared)["form"] == "live"
    assert "noise" in shared.cli("verify", OTHER, expect=4).stdout


def test_a_changed_frame_is_found_though_the_pool_has_its_content(shared: Person) -> None:
    bundle = shared.deployment / "bundle"
    spoil(bundle)
    assert "noise" in shared.cli("verify", APP, expect=4).stdout
    with looking(shared) as looker:
        assert looker("read", "noise") == len(NOISE)


def test_where_no_overlay_is_to_be_had_all_comes_from_the_bundle(
    shared: Person, stacked: Callable[[Path], None]
) -> None:
    shared.run(shared.stub)
    stacked(shared.store)
    with looking(shared) as looker:
        assert not is_over_pool(looker)
        assert looker("read", "noise") == len(NOISE)
    done = shared.run(shared.stub)
    assert (done.stdout.splitlines()[0] + "\n", done.returncode) == (OUTPUT, 5)


@pytest.fixture
def stacked() -> Iterator[Callable[[Path], None]]:
    """Have a folder lie on so many overlays that the kernel makes no more over it."""
    done: list[Path] = []

    def stack(folder: Path) -> None:
        for number in (1, 2):
            empty = folder.parent / f"empty{number}"
            empty.mkdir()
            options = f"lowerdir={folder}:{empty}"
            subprocess.run(["mount", "-t", "overlay", "-o", options, "x", folder], check=True)
            done.append(folder)

    yield stack
    for folder in done:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_it_can_be_shown_at_a_folder(shared: Person, require: Require) -> None:
    require("fusermount3")
    folder = shared.home / "shown here"
    shared.cli("mount", APP, folder)
    assert shared.run("cat", folder / "data").stdout == OUTPUT
    assert shared.run("cmp", folder / "noise", shared.home / "one/files/noise").returncode == 0
    shared.cli("unmount", folder)
    assert eventually(shared.nothing_is_left)
