"""Apps whose files have to be mounted: started, watched and ended."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from mounted_app import APP, IMAGES, PROGRAM, REF, Person, make_person, write_app
from mounts import eventually, fuse_for_everybody, mounted_below, servers_of
from surroundings import OrdinaryUser, Require

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("sandbox")]

RUNTIME = "org.example.Base"


@pytest.fixture(autouse=True)
def everybodys_fuse(tmp_path: Path) -> Iterator[None]:
    """FUSE for every user."""
    with fuse_for_everybody(tmp_path):
        yield


@pytest.fixture(params=["root", "user"])
def person(request: pytest.FixtureRequest) -> Person:
    """Either of the two, with a bundle of the app."""
    return make_person(request, str(request.param))


@pytest.fixture(params=IMAGES, ids="-".join)
def mounted(request: pytest.FixtureRequest) -> Person:
    """The app, installed by somebody as an image of some kind."""
    who, form = request.param
    person = make_person(request, who)
    person.install_as(form)
    assert names_in(person.deployment / "files") == [".not-mounted"]
    return person


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


OUTPUT = "data of the app\n<one><two three><>HOLDALL_APP_ID=org.example.Mounted\n"


def test_the_stub_mounts_first_and_the_app_sees_its_files_only(mounted: Person) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    done = mounted.run(mounted.stub, "one", "two three", "")
    assert (done.stdout, done.stderr, done.returncode) == (OUTPUT, "", 5)
    assert Path("/proc/self/mountinfo").read_text() == before
    assert eventually(mounted.nothing_is_left)


def test_run_does_the_same(mounted: Person) -> None:
    done = mounted.cli("run", APP, "--", "one", "two three", "", expect=5)
    assert (done.stdout, done.stderr) == (OUTPUT, "")
    assert eventually(mounted.nothing_is_left)


def test_another_command_is_passed_on_through_the_mount(mounted: Person) -> None:
    done = mounted.run(mounted.stub, "/app/data", HOLDALL_COMMAND="cat")
    assert (done.stdout, done.returncode) == ("data of the app\n", 0)
    assert mounted.cli("run", APP, "--command", "cat", "--", "/app/data").stdout == done.stdout


def test_a_dry_run_mounts_nothing_and_says_the_same_as_ever(mounted: Person) -> None:
    told = mounted.cli("run", "--dry-run", APP).stdout
    assert f"--ro-bind {mounted.deployment}/files /app" in told


def test_what_runs_is_listed_and_outlives_its_image_and_its_version(mounted: Person) -> None:
    with mounted.running() as process:
        (row,) = mounted.told_by_ps()
        assert (row["ref"], row["version"]) == (REF, "1.0")
        assert not mounted_below(mounted.home)
        (mounted.deployment / "image").unlink()
        mounted.cli("remove", APP)
        assert mounted.end(process) == "data of the app\n"
    assert mounted.told_by_ps() == []
    assert eventually(lambda: not names_in(mounted.store / "trash"))
    assert eventually(mounted.nothing_is_left)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_everything_ends_with_the_process_that_started_it(
    mounted: Person, number: signal.Signals
) -> None:
    with mounted.running() as process:
        # what ends with it is there
        assert eventually(lambda: len(mounted.told_by_ps()) == 1)
        process.send_signal(number)
        assert process.wait(60) == -number
    assert eventually(lambda: mounted.told_by_ps() == [])
    assert eventually(mounted.nothing_is_left)


def test_an_interrupt_at_the_terminal_is_the_app_s_and_ends_the_rest_after_it(
    mounted: Person,
) -> None:
    with mounted.running() as process:
        assert eventually(lambda: len(mounted.told_by_ps()) == 1)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) in {9, -signal.SIGINT}
    assert eventually(lambda: mounted.told_by_ps() == [])
    assert eventually(mounted.nothing_is_left)


def test_two_at_once_and_the_end_of_one_leave_the_other_whole(mounted: Person) -> None:
    with mounted.running() as one, mounted.running() as other:
        assert len(mounted.told_by_ps()) == 2
        one.kill()
        one.wait(60)
        assert mounted.end(other) == "data of the app\n"
    assert eventually(mounted.nothing_is_left)


def test_a_working_directory_of_others_is_no_place_for_modules(mounted: Person) -> None:
    for name in ("holdall", "argparse"):
        (mounted.home / f"{name}.py").write_text("raise SystemExit('a trap')\n")
    assert mounted.run(mounted.stub, "one", "two three", "").stdout == OUTPUT


def test_a_damaged_image_is_told_in_a_sentence_and_starts_nothing(mounted: Person) -> None:
    image = mounted.deployment / "image"
    with image.open("r+b") as file:
        file.write(bytes(8192))
    done = mounted.run(mounted.stub)
    assert done.stdout == ""
    assert done.stderr.startswith("holdall: ")
    assert len(done.stderr.splitlines()) == 1
    assert done.returncode in {1, 4}
    assert eventually(mounted.nothing_is_left)


def test_an_image_that_is_gone_is_told_in_a_sentence(mounted: Person) -> None:
    (mounted.deployment / "image").unlink()
    done = mounted.run(mounted.stub)
    assert (done.stdout, done.returncode) == ("", 3)
    assert "image is missing" in done.stderr


def test_a_version_that_was_removed_meanwhile_is_told_in_a_sentence(mounted: Person) -> None:
    digest = mounted.deployment.name
    mounted.cli("remove", APP)
    done = mounted.cli("run", APP, "--version", digest, expect=3)
    assert len(done.stderr.splitlines()) == 1


def base_runtime(person: Person, busybox: Path, *options: str) -> None:
    """A runtime of busybox and little else, and the app rebuilt to run on it."""
    files = {"bin/busybox": busybox.read_bytes(), "etc/issue": b"the base\n"}
    folder = write_app(person.home / "base", RUNTIME, files, kind="runtime")
    for name in ("sh", "cat", "printf", "env", "grep", "sleep"):
        (folder / "files/bin" / name).symlink_to("busybox")
    person.build("base")
    files = {"bin/mounted": PROGRAM.encode(), "data": b"data of the app\n"}
    shutil.rmtree(person.home / "app")
    runtime = f"{RUNTIME}/x86_64/stable"
    write_app(person.home / "app", APP, files, command="mounted", runtime=runtime)
    person.build("app")
    person.install(*options, app="base")


@pytest.mark.parametrize("form", ["tree", "local-image"])
def test_a_runtime_is_mounted_too(person: Person, form: str, require: Require) -> None:
    image = ("--form", "local-image", "--image", "squashfs")
    base_runtime(person, require("busybox"), *image)
    person.install(*(image if form == "local-image" else ("--form", form)))
    for start in ([person.stub], [person.cli.python, "-m", "holdall", "run", APP, "--"]):
        done = person.run(*start, "one", "two three", "")
        assert (done.stdout, done.stderr, done.returncode) == (OUTPUT, "", 5)
    done = person.run(person.stub, "/usr/etc/issue", HOLDALL_COMMAND="cat")
    assert done.stdout == "the base\n"
    assert eventually(person.nothing_is_left)


def test_a_mounted_app_runs_on_a_runtime_in_a_folder(person: Person, require: Require) -> None:
    base_runtime(person, require("busybox"), "--form", "tree")
    person.install("--form", "local-image", "--image", "squashfs")
    done = person.run(person.stub, "one", "two three", "")
    assert (done.stdout, done.stderr, done.returncode) == (OUTPUT, "", 5)


def test_a_user_starts_what_root_installed(
    request: pytest.FixtureRequest, ordinary_user: OrdinaryUser
) -> None:
    root = make_person(request, "root")
    key = root.cli.json("key", "generate")
    assert isinstance(key, dict)
    store = ordinary_user.home / "of root"
    words = ["--trust-key", key["fingerprint"], "--form", "local-image", "--image", "squashfs"]
    root.cli("--root", store, "install", root.home / "app.holdall", *words)
    data = store / "data"
    data.mkdir(exist_ok=True)
    ordinary_user.give(data)
    done = ordinary_user.run(store / "run" / REF, "one", "two three", "", expect=5)
    assert (done.stdout, done.stderr) == (OUTPUT, "")
    assert eventually(lambda: not servers_of(store))
