"""``mount`` and ``unmount``: the files of any form at a folder, and nothing else touched."""

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mounted_app import APP, IMAGES, REF, Person, make_person, write_app
from mounts import command_lines, eventually, fuse_for_everybody, mounted_below
from surroundings import OrdinaryUser

pytestmark = pytest.mark.root

MOUNTED = [*IMAGES, ("root", "tree")]
ROOT_S = [one for one in MOUNTED if one[0] == "root"]
LINKED = ("user", "tree")


@pytest.fixture(autouse=True)
def everybodys_fuse(tmp_path: Path) -> Iterator[None]:
    """FUSE for every user."""
    with fuse_for_everybody(tmp_path):
        yield


@pytest.fixture(params=[*MOUNTED, LINKED], ids="-".join)
def person(request: pytest.FixtureRequest) -> Person:
    """Somebody with the app in some form."""
    who, form = request.param
    person = make_person(request, who)
    person.install_as(form)
    return person


@pytest.fixture
def folder(person: Person) -> Iterator[Path]:
    """Where the files are to be shown; whatever a test leaves there is taken away."""
    yield person.home / "shown here"
    for _ in mounted_below(person.home):
        subprocess.run(["umount", "-l", person.home / "shown here"], check=False)


@pytest.fixture
def shown(person: Person, folder: Path) -> dict[str, str]:
    """What is told of the app's files, once they are shown."""
    told = person.cli.json("mount", APP, folder)
    assert isinstance(told, dict)
    return told


def is_plain_user_s(person: Person) -> bool:
    """Whether nothing can be mounted for it: a user's app in a plain folder."""
    return person.cli.user is not None and not (person.deployment / "image").exists()


def refused(person: Person, *words: str | Path, status: int = 2) -> str:
    """The one sentence a command is refused with."""
    finished = person.cli(*words, expect=status)
    assert finished.stdout == ""
    (line,) = finished.stderr.splitlines()
    return line


def test_the_files_appear_and_go_again(person: Person, folder: Path, shown: dict[str, str]) -> None:
    how = "link" if is_plain_user_s(person) else "mount"
    assert shown == {"ref": REF, "version": "1.0", "path": str(folder), "how": how}
    assert person.run("cat", folder / "data").stdout == "data of the app\n"
    assert person.cli.json("unmount", folder) == {"path": str(folder)}
    assert not mounted_below(person.home)
    assert not folder.exists() if how == "link" else not list(folder.iterdir())
    assert eventually(person.nothing_is_left)


@pytest.mark.usefixtures("shown")
@pytest.mark.parametrize("person", MOUNTED, ids="-".join, indirect=True)
def test_what_is_mounted_cannot_be_written(person: Person, folder: Path) -> None:
    done = person.run("sh", "-c", f"echo x >>'{folder}/data'")
    assert "Read-only" in done.stderr
    person.cli("unmount", folder)


def test_an_empty_folder_is_one_again_afterwards(person: Person, folder: Path) -> None:
    assert person.run("mkdir", folder).returncode == 0
    person.cli("mount", APP, folder)
    assert person.run("cat", folder / "data").stdout == "data of the app\n"
    person.cli("unmount", folder)
    assert folder.is_dir()
    assert not folder.is_symlink()
    assert not list(folder.iterdir())


@pytest.mark.usefixtures("shown")
@pytest.mark.parametrize("person", MOUNTED, ids="-".join, indirect=True)
def test_what_is_mounted_is_kept_until_it_is_unmounted(person: Person, folder: Path) -> None:
    person.cli("remove", APP)
    told = freed(person)
    assert (told["waiting"], told["mounted"]) == (1, [str(folder)])
    assert person.run("cat", folder / "data").stdout == "data of the app\n"
    assert person.cli.json("ps") == []
    person.cli("unmount", folder)
    assert eventually(lambda: not list((person.store / "trash").iterdir()))


@pytest.mark.usefixtures("shown")
@pytest.mark.parametrize("person", [LINKED], ids="-".join, indirect=True)
def test_a_link_keeps_nothing_and_can_still_be_taken_away(person: Person, folder: Path) -> None:
    person.cli("remove", APP)
    assert freed(person)["waiting"] == 0
    assert person.run("cat", folder / "data").returncode == 1
    person.cli("unmount", folder)
    assert not folder.is_symlink()


def freed(person: Person) -> dict[str, object]:
    told = person.cli.json("gc")
    assert isinstance(told, dict)
    return told


def test_what_is_unmounted_by_other_means_is_let_go_as_well(
    person: Person, folder: Path, shown: dict[str, str]
) -> None:
    if shown["how"] == "link":
        folder.unlink()
    else:
        subprocess.run(["umount", "-l", folder], check=True)
    person.cli("remove", APP)
    assert eventually(lambda: not list((person.store / "trash").iterdir()))
    assert "is mounted at" in refused(person, "unmount", folder)


@pytest.mark.usefixtures("shown")
@pytest.mark.parametrize("person", MOUNTED, ids="-".join, indirect=True)
def test_what_is_in_use_stays(person: Person, folder: Path) -> None:
    uid, gid = person.cli.user or (None, None)
    with subprocess.Popen(
        ["sh", "-c", f"cd '{folder}' && echo in && exec sleep 60"],
        stdout=subprocess.PIPE,
        user=uid,
        group=gid,
        extra_groups=[] if person.cli.user else None,
    ) as other:
        assert other.stdout is not None
        try:
            assert other.stdout.readline() == b"in\n"
            assert "is in use" in refused(person, "unmount", folder, status=5)
        finally:
            other.kill()
    person.cli("unmount", folder)


@pytest.mark.parametrize("person", MOUNTED, ids="-".join, indirect=True)
def test_the_command_keeps_no_folder_in_use(person: Person, folder: Path) -> None:
    person.cli("mount", APP, folder, directory=folder.parent)

    def folders_of_what_is_left() -> set[Path]:
        found = set()
        for process, words in command_lines():
            if str(folder) in words:
                with suppress(FileNotFoundError):  # it ends
                    found.add(Path(f"/proc/{process}/cwd").readlink())
        return found

    assert eventually(lambda: folders_of_what_is_left() == {Path("/")})
    person.cli("unmount", folder)


def test_other_folders_are_refused_and_left_alone(person: Person, folder: Path) -> None:
    person.run("mkdir", folder)
    person.run("touch", folder / "mine")
    assert "is not empty" in refused(person, "mount", APP, folder)
    assert "is not empty" in refused(person, "mount", APP, f"{folder}/../shown here")
    assert "lies in the store" in refused(person, "mount", APP, person.store / "new")
    assert "is mounted at /proc already" in refused(person, "mount", APP, "/proc")
    assert "is no folder" in refused(person, "mount", APP, folder / "mine")
    person.run("ln", "-s", folder, person.home / "link")
    assert "is a link" in refused(person, "mount", APP, person.home / "link")
    assert "cannot be used" in refused(person, "mount", APP, folder / "no/where", status=3)
    assert [path.name for path in folder.iterdir()] == ["mine"]
    assert eventually(person.nothing_is_left)


def test_nothing_of_others_is_unmounted(person: Person, folder: Path) -> None:
    assert "not of holdall's making" in refused(person, "unmount", "/proc")
    assert "Nothing of holdall's" in refused(person, "unmount", folder)
    person.run("ln", "-s", "/etc", person.home / "link")
    assert "did not make" in refused(person, "unmount", person.home / "link")
    person.run("ln", "-sfn", person.store / "state", person.home / "link")
    assert "did not make" in refused(person, "unmount", person.home / "link")
    assert (person.home / "link").is_symlink()


def test_a_second_time_is_refused(person: Person, folder: Path, shown: dict[str, str]) -> None:
    told = refused(person, "mount", APP, folder)
    assert ("is a link" if shown["how"] == "link" else "is mounted at") in told
    person.cli("unmount", folder)


def test_a_version_may_be_named(person: Person, folder: Path) -> None:
    assert "has no version 3" in refused(person, "mount", APP, folder, "--version", "3", status=3)
    assert not folder.exists()
    write_app(person.home / "app", APP, {"data": b"newer\n"}, command="mounted", version="2.0")
    person.build("app")
    person.cli("update", person.home / "app.holdall")
    told = person.cli("mount", APP, folder, "--version", "1.0").stdout
    assert f"{REF} 1.0" in told
    assert person.run("cat", folder / "data").stdout == "data of the app\n"
    person.cli("unmount", folder)


@pytest.mark.parametrize("person", IMAGES, ids="-".join, indirect=True)
def test_an_image_that_is_gone_leaves_no_folder_behind(person: Person, folder: Path) -> None:
    (person.deployment / "image").unlink()
    assert "image is missing" in refused(person, "mount", APP, folder, status=3)
    assert not folder.exists()


@pytest.mark.parametrize("person", IMAGES, ids="-".join, indirect=True)
def test_an_image_that_is_damaged_leaves_no_folder_behind(person: Person, folder: Path) -> None:
    with (person.deployment / "image").open("r+b") as file:
        file.write(bytes(8192))
    finished = person.cli("mount", APP, folder, expect=None)
    assert finished.returncode in {1, 4}
    assert len(finished.stderr.splitlines()) == 1
    assert not folder.exists()
    assert eventually(person.nothing_is_left)


@pytest.mark.usefixtures("shown")
@pytest.mark.parametrize("person", ROOT_S, ids="-".join, indirect=True)
def test_what_root_mounts_others_may_read(
    person: Person, folder: Path, ordinary_user: OrdinaryUser
) -> None:
    # the folders above are closed to others: the mount itself is what is looked at
    place = ordinary_user.home / "bound"
    place.mkdir()
    subprocess.run(["mount", "--bind", folder, place], check=True)
    try:
        assert ordinary_user.run("cat", place / "data").stdout == "data of the app\n"
    finally:
        subprocess.run(["umount", place], check=True)
    person.cli("unmount", folder)
