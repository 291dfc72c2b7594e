"""The form image, as root and as an ordinary user: installed, run, updated, removed, spoiled."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mounted_app import APP, PROGRAM, Person, make_person, write_app
from mounts import eventually, fuse_for_everybody

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("sandbox")]

OUTPUT = "data of the app\n"


@pytest.fixture(autouse=True)
def everybodys_fuse(tmp_path: Path) -> Iterator[None]:
    """FUSE for every user."""
    with fuse_for_everybody(tmp_path):
        yield


@pytest.fixture(params=["root", "user"])
def person(request: pytest.FixtureRequest) -> Person:
    """Either of the two, with a bundle of the app that has an image, and one of a second version.

    The second has no image.
    """
    person = make_person(request, str(request.param))
    build(person, "app", "--image", "squashfs")
    files = {"bin/mounted": PROGRAM.encode(), "data": b"data of the app\nmore\n"}
    write_app(person.home / "two", APP, files, command="mounted", version="2.0")
    build(person, "two")
    return person


def build(person: Person, name: str, *options: str) -> None:
    person.cli("build", name, "-o", f"{name}.holdall", *options, directory=person.home)


@pytest.fixture
def kept(person: Person) -> Person:
    """The same, with the first version installed."""
    person.install("--form", "image")
    return person


def test_the_bundle_is_kept_as_it_is(kept: Person) -> None:
    bundle = kept.deployment / "bundle"
    assert bundle.read_bytes() == (kept.home / "app.holdall").read_bytes()


def test_the_app_runs(kept: Person) -> None:
    done = kept.run(kept.stub)
    assert (done.stdout.splitlines()[0] + "\n", done.returncode) == (OUTPUT, 5)
    assert eventually(kept.nothing_is_left)


def test_it_is_whole(kept: Person) -> None:
    kept.cli("verify")


def test_a_running_app_survives_its_removal(kept: Person) -> None:
    with kept.running() as app:
        kept.cli("remove", APP)
        assert not kept.deployment.exists()
        assert kept.end(app) == OUTPUT
    assert eventually(kept.nothing_is_left)


def test_a_running_app_survives_the_loss_of_its_file(kept: Person) -> None:
    with kept.running() as app:
        (kept.deployment / "bundle").unlink()
        assert kept.end(app) == OUTPUT


def test_a_lost_file_is_told(kept: Person) -> None:
    (kept.deployment / "bundle").unlink()
    assert "bundle is missing" in kept.cli("verify", expect=4).stdout


@pytest.mark.parametrize("fast", [(), ("--fast",)], ids=["all", "fast"])
def test_a_flipped_byte_is_found(kept: Person, fast: tuple[str, ...]) -> None:
    bundle = kept.deployment / "bundle"
    data = bytearray(bundle.read_bytes())
    data[-4000] ^= 1
    bundle.write_bytes(data)
    assert "bundle was changed" in kept.cli("verify", *fast, expect=4).stdout


def test_repairing_brings_it_back(kept: Person) -> None:
    bundle = kept.deployment / "bundle"
    data = bytearray(bundle.read_bytes())
    data[-4000] ^= 1
    bundle.write_bytes(data)
    kept.cli("repair", kept.home / "app.holdall")
    kept.cli("verify")


def test_an_update_without_an_image_makes_one(kept: Person) -> None:
    kept.install(app="two")
    found = {path.name for path in kept.deployment.iterdir()}
    assert found & {"bundle", "image"} == {"image"}
    assert kept.run(kept.stub).stdout.startswith("data of the app\nmore\n")


def test_an_update_can_be_rolled_back(kept: Person) -> None:
    kept.install(app="two")
    kept.cli("rollback", APP)
    assert kept.run(kept.stub).stdout.startswith(OUTPUT)


@pytest.mark.parametrize("form", ["tree", "local-image"])
def test_it_becomes_another_form(kept: Person, form: str) -> None:
    kept.cli("convert", APP, "--form", form)
    kept.cli("verify")
    assert kept.run(kept.stub).stdout.startswith(OUTPUT)


def test_another_form_becomes_it(person: Person) -> None:
    person.install()
    person.cli("convert", APP, "--form", "image")
    person.cli("verify")
    assert person.run(person.stub).stdout.startswith(OUTPUT)


def test_what_cannot_be_read_here_is_not_installed(person: Person) -> None:
    build(person, "app", "--image", "erofs")
    done = person.cli("install", person.home / "app.holdall", "--form", "image", expect=7)
    assert "erofsfuse" in done.stderr
    assert person.cli.json("list") == []
