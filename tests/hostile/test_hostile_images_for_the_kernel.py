"""The kernel parses only what was made here: nothing of another user's, nothing that was changed.

Nobody here has a program that serves EROFS, so what the kernel is not given is not read at all.
"""

import json
import os
import shutil
from pathlib import Path

import pytest

from holdall.store.guard import is_roots
from mounted_app import APP, Person, make_person
from mounts import loops_of, make_image

pytestmark = pytest.mark.root

IMAGES = {"erofs": "image", "composefs": "meta.erofs"}


@pytest.fixture(params=IMAGES)
def form(request: pytest.FixtureRequest) -> str:
    """What only the kernel reads."""
    return str(request.param)


@pytest.fixture
def person(request: pytest.FixtureRequest, form: str, monkeypatch: pytest.MonkeyPatch) -> Person:
    """Root, with the app in that form, and no program that would serve it."""
    person = make_person(request, "root")
    if form == "composefs":
        person.install("--form", "composefs")
    else:
        person.install_as(form)
    path = [one for one in os.environ["PATH"].split(":") if not Path(one, "erofsfuse").exists()]
    monkeypatch.setenv("PATH", ":".join(path))
    return person


def faults_of(person: Person) -> list[list[str]]:
    finished = person.cli("--json", "verify", expect=None)
    assert finished.returncode in {0, 4}, finished.stderr
    (row,) = json.loads(finished.stdout)
    return list(row["faults"])


def test_what_is_root_s_alone_is_read_by_the_kernel(person: Person) -> None:
    assert faults_of(person) == []


@pytest.mark.parametrize("spoil", ["folder", "file", "group", "above", "store"])
def test_what_another_user_may_have_written_is_not(person: Person, form: str, spoil: str) -> None:
    image = person.deployment / IMAGES[form]
    assert is_roots(str(person.store), str(image))
    match spoil:
        case "folder":
            os.chown(person.deployment, 65534, 65534)
        case "file":
            os.chown(image, 65534, 65534)
        case "group":
            image.chmod(0o664)
        case "above":
            os.chown(person.deployment.parent, 65534, 65534)
        case _:
            os.chown(person.store, 65534, 65534)
    assert not is_roots(str(person.store), str(image))
    (row,) = json.loads(person.cli("--json", "verify", expect=7).stdout)
    assert row["faults"] == []
    sentence = row["unchecked"]
    assert "cannot be read here" in sentence or "parses nothing of theirs" in sentence
    person.cli("run", APP, expect=7)


def test_a_link_on_the_way_is_not_root_s(person: Person, form: str, tmp_path: Path) -> None:
    deployment = person.deployment
    shutil.move(deployment, tmp_path / "copy")
    deployment.symlink_to(tmp_path / "copy")
    assert not is_roots(str(person.store), str(deployment / IMAGES[form]))
    assert not is_roots(str(person.store), str(person.store / "../elsewhere"))


def test_what_is_known_to_be_changed_is_not(person: Person, form: str, tmp_path: Path) -> None:
    image = person.deployment / IMAGES[form]
    other = tmp_path / "other"
    other.mkdir()
    (other / "of another").write_text("content\n")
    image.unlink()
    make_image("erofs", other, image)
    ((path, _),) = faults_of(person)
    assert path == ""
    assert not loops_of(person.home)


def test_what_is_known_to_be_changed_is_made_anew(person: Person, form: str) -> None:
    image = person.deployment / IMAGES[form]
    with image.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x55")
    assert len(faults_of(person)) == 1
    person.cli("repair", person.home / "app.holdall")
    assert faults_of(person) == []
