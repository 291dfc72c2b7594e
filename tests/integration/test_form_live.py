"""The form live, as root and as an ordinary user: installed, run, updated, removed, spoiled."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from looking import NOISE, OUTPUT, Looker, build, flip, looking, make_looker
from mounted_app import APP, PROGRAM, Person, without_fuse, write_app
from mounts import answering, eventually, fuse_for_everybody, mounted_below
from surroundings import Require

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("sandbox")]


@pytest.fixture(autouse=True)
def everybodys_fuse(tmp_path: Path) -> Iterator[None]:
    """FUSE for every user."""
    with fuse_for_everybody(tmp_path):
        yield


@pytest.fixture(params=["root", "user"])
def person(request: pytest.FixtureRequest) -> Person:
    """Either of the two, with a bundle of the app in small frames, and one of a second version."""
    return make_looker(request, str(request.param))


@pytest.fixture
def live(person: Person) -> Person:
    """The same, with the first version installed."""
    person.install("--form", "live", app="noisy")
    return person


@pytest.fixture
def looker(live: Person) -> Iterator[Looker]:
    """The app, looking."""
    with looking(live) as looker:
        assert looker("data") == len(OUTPUT)
        yield looker


def record(person: Person) -> dict[str, object]:
    found = json.loads((person.deployment / "form").read_text())
    assert isinstance(found, dict)
    return found


def test_the_bundle_is_kept_as_it_is(live: Person) -> None:
    bundle = live.deployment / "bundle"
    assert bundle.read_bytes() == (live.home / "noisy.holdall").read_bytes()
    assert {path.name for path in (live.deployment / "files").iterdir()} == {".not-mounted"}


def test_how_large_the_file_is_that_has_it_is_told(person: Person) -> None:
    bundle = person.home / "noisy.holdall"
    said = person.cli("install", bundle, "--form", "live").stdout
    size = bundle.stat().st_size / 1e6
    assert f", in one file of {size:.1f} MB." in said
    rows = person.cli.json("convert", APP, "--form", "local-image")
    assert isinstance(rows, list)
    assert rows[0]["stored"] == (person.deployment / "image").stat().st_size


def test_a_stream_is_kept_as_well(person: Person) -> None:
    bundle = person.home / "noisy.holdall"
    command = 'exec "$@" <noisy.holdall'
    install = (person.cli.python, "-m", "holdall", "install", "-", "--form", "live")
    assert person.run("/bin/sh", "-c", command, "sh", *install).returncode == 0
    assert (person.deployment / "bundle").read_bytes() == bundle.read_bytes()


def test_the_app_runs_and_leaves_nothing(live: Person) -> None:
    done = live.run(live.stub)
    assert (done.stdout.splitlines()[0] + "\n", done.returncode) == (OUTPUT, 5)
    assert eventually(live.nothing_is_left)


def test_it_runs_without_standard_streams(live: Person) -> None:
    done = live.run("/bin/sh", "-c", '"$1" >&- <&- 2>&-; echo $?', "sh", live.stub)
    assert done.stdout != "4\n"
    assert eventually(live.nothing_is_left)


def test_it_is_whole(live: Person) -> None:
    live.cli("verify")
    assert eventually(live.nothing_is_left)


def test_a_tree_that_went_missing_does_not_keep_from_updating(live: Person) -> None:
    (live.deployment / "tree").unlink()
    live.cli("update", live.home / "two.holdall")
    assert live.run(live.stub).stdout.startswith("data of the app\nmore\n")


def test_what_a_start_reads_is_known_at_the_next(live: Person) -> None:
    looker = Looker(live)
    assert looker("noise") == len(NOISE)
    looker.close()
    habit = live.deployment / "habit"
    assert eventually(lambda: habit.stat().st_size > 0)
    habit.write_bytes(os.urandom(habit.stat().st_size))
    assert live.run(live.stub).stdout.startswith(OUTPUT)
    live.cli("verify")


@pytest.mark.parametrize("update", ["two.inc", "two.holdall"])
def test_the_first_start_after_an_update_is_foreseen(live: Person, update: str) -> None:
    looker = Looker(live)
    assert looker("noise") == len(NOISE)
    looker.close()
    known = live.deployment / "habit"
    assert eventually(lambda: known.stat().st_size > 0)
    live.cli("update", live.home / update)
    habit = live.deployment / "habit"
    assert habit != known
    assert habit.stat().st_size == known.stat().st_size
    assert live.run(live.stub).stdout.startswith("data of the app\nmore\n")
    live.cli("verify")


def test_a_running_app_survives_its_removal(live: Person) -> None:
    with live.running() as app:
        live.cli("remove", APP)
        assert not live.deployment.exists()
        assert live.end(app) == OUTPUT
    assert eventually(live.nothing_is_left)


def test_a_running_app_survives_the_loss_of_its_file(live: Person, looker: Looker) -> None:
    (live.deployment / "bundle").unlink()
    assert looker("noise") == len(NOISE)


def test_a_killed_server_ends_no_more_than_reading(live: Person, looker: Looker) -> None:
    (server,) = answering(live.home)
    os.kill(server, signal.SIGKILL)
    assert eventually(lambda: not answering(live.home))
    assert looker("noise") in {
        "Transport endpoint is not connected",
        "Software caused connection abort",
    }
    again = Looker(live)
    assert again("noise") == len(NOISE)
    again.close()
    assert looker("look.py") is not None


def test_a_flipped_byte_fails_just_what_needs_it(live: Person) -> None:
    flip(live.deployment / "bundle", int(str(record(live)["packing"][2])) + 200_000)  # type: ignore[index]  # JSON
    looker = Looker(live)
    assert looker("noise") == "Input/output error"
    assert looker("data") == len(OUTPUT)
    complaint = looker.close()
    assert "noise cannot be read at" in complaint
    assert "is not what the publisher signed" in complaint
    assert "noise" in live.cli("verify", expect=4).stdout


@pytest.mark.parametrize("part", [0, 100, 0.5, 0.99])
def test_a_flipped_byte_before_the_frames_is_refused(live: Person, part: float) -> None:
    first = int(str(record(live)["packing"][2]))  # type: ignore[index]  # JSON
    flip(live.deployment / "bundle", int(part * first if part < 1 else part))
    done = live.run(live.stub)
    assert (done.returncode, done.stdout) == (4, "")
    assert "is not what was installed" in done.stderr
    assert "bundle" in live.cli("verify", expect=4).stdout


def test_repairing_brings_it_back(live: Person) -> None:
    flip(live.deployment / "bundle", -1000 + (live.deployment / "bundle").stat().st_size)
    live.cli("repair", live.home / "noisy.holdall")
    live.cli("verify")
    told = live.cli.json("history", APP)
    assert isinstance(told, list)
    assert told[-1]["action"] == "repair"
    assert (live.deployment / "bundle").read_bytes() == (live.home / "noisy.holdall").read_bytes()


def test_a_bundle_with_a_damaged_frame_is_not_installed(person: Person) -> None:
    bundle = person.home / "noisy.holdall"
    flip(bundle, bundle.stat().st_size - 200_000)
    person.cli("install", bundle, "--form", "live", expect=4)
    assert person.cli.json("list") == []


def test_an_increment_makes_a_bundle_here(live: Person) -> None:
    live.cli("update", live.home / "two.inc")
    assert record(live)["local"] is True
    assert live.run(live.stub).stdout.startswith("data of the app\nmore\n")
    live.cli("verify")


def test_a_full_update_is_kept_and_rolled_back(live: Person) -> None:
    live.install(app="two")
    assert record(live)["local"] is False
    live.cli("rollback", APP)
    assert live.run(live.stub).stdout.startswith(OUTPUT)


def test_long_frames_are_cut_anew(person: Person) -> None:
    files = {"bin/mounted": PROGRAM.encode(), "data": b"data of the app\n", "noise": NOISE * 2}
    write_app(person.home / "long", APP, files, command="mounted")
    build(person, "long")
    person.install("--form", "live", app="long")
    assert record(person)["local"] is True
    assert person.run(person.stub).stdout.startswith(OUTPUT)


@pytest.mark.parametrize("form", ["tree", "local-image", "pool"])
def test_it_becomes_another_form_and_comes_back(live: Person, form: str) -> None:
    live.cli("convert", APP, "--form", form)
    live.cli("verify")
    live.cli("convert", APP, "--form", "live")
    live.cli("verify")
    assert live.run(live.stub).stdout.startswith(OUTPUT)


def test_it_can_be_shown_at_a_folder(live: Person, require: Require) -> None:
    require("fusermount3")
    folder = live.home / "shown here"
    live.cli("mount", APP, folder)
    assert live.run("cat", folder / "data").stdout == OUTPUT
    assert live.run("cmp", folder / "noise", live.home / "noisy/files/noise").returncode == 0
    live.cli("unmount", folder)
    assert not mounted_below(live.home)
    assert eventually(live.nothing_is_left)


def test_without_fuse_it_says_so(live: Person) -> None:
    said = without_fuse(live, "run", APP, expect=7).stderr
    assert "/dev/fuse may not be opened" in said
    assert f"convert {APP} --form tree" in said


@pytest.mark.parametrize("words", [("convert", APP), ("install", "noisy.holdall")])
def test_without_fuse_what_lies_so_stays_so(live: Person, words: tuple[str, ...]) -> None:
    said = without_fuse(live, *words, "--form", "live").stdout
    assert "already" in said
    assert (live.deployment / "bundle").read_bytes() == (live.home / "noisy.holdall").read_bytes()


def test_a_tree_becomes_the_bundle_that_is_given(person: Person) -> None:
    person.install(app="noisy")
    person.install("--form", "live", app="noisy")
    assert (person.deployment / "bundle").read_bytes() == (
        person.home / "noisy.holdall"
    ).read_bytes()


def test_versions_that_become_trees_share_what_is_the_same(live: Person) -> None:
    live.cli("update", live.home / "two.holdall")
    live.cli("convert", APP, "--form", "tree", "--all")
    versions = [*live.deployment.parent.glob("*/files/noise")]
    assert len(versions) == 2
    assert len({path.stat().st_ino for path in versions}) == 1
    live.cli("verify")


@pytest.mark.parametrize("spans", ["index", "both"])
def test_an_older_version_whose_record_is_wrong_does_not_keep_from_updating(
    live: Person, spans: str
) -> None:
    looker = Looker(live)
    assert looker("noise") == len(NOISE)
    looker.close()
    assert eventually(lambda: (live.deployment / "habit").stat().st_size > 0)
    path = live.deployment / "form"
    known = json.loads(path.read_text())
    tree, index = known["packing"][:2]
    known["packing"][:2] = [index, tree] if spans == "both" else [tree, [index[0] + 9, index[1]]]
    path.write_text(json.dumps(known))
    live.cli("update", live.home / "two.holdall")
    assert live.run(live.stub).stdout.startswith("data of the app\nmore\n")
