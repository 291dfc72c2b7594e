"""``mount`` where the folder above belongs to somebody else, who swaps what is in it meanwhile."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from holdall.errors import HoldallError, UntrustedError, UsageError
from holdall.journeys.exposing import hide, show
from holdall.journeys.host import Host, root_host
from holdall.model.ref import Ref
from holdall.store.catalog import Deployment
from holdall.system.spot import at_spot, lies_in, mount_number
from mounted_app import APP, REF, Person, make_person
from mounts import eventually, fuse_for_everybody, mounted_below
from surroundings import PYTHON, OrdinaryUser

pytestmark = pytest.mark.root

TRIES = 60
SWAPPER = """
import ctypes, os, sys
swap = ctypes.CDLL(None).renameat2
os.chdir(sys.argv[1])
print("up", flush=True)
while True:
    swap(-100, b"place", -100, b"link", 2)
"""


@pytest.fixture(autouse=True)
def everybodys_fuse(tmp_path: Path) -> Iterator[None]:
    """FUSE for every user."""
    with fuse_for_everybody(tmp_path):
        yield


@pytest.fixture(params=["erofs", "squashfs", "served", "composefs", "tree"])
def person(request: pytest.FixtureRequest) -> Person:
    """Root, with the app in some form."""
    person = make_person(request, "root")
    if request.param == "composefs":
        person.install("--form", "composefs")
    else:
        person.install_as(request.param)
    return person


@pytest.fixture
def host(person: Person) -> Host:
    """The store of root."""
    return root_host(str(person.store))


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """An empty folder of root's."""
    folder = tmp_path / "victim"
    folder.mkdir()
    return folder


@pytest.fixture
def yard(ordinary_user: OrdinaryUser, victim: Path) -> Iterator[Path]:
    """A folder of a user with an empty one in it, and a link to the victim."""
    folder = ordinary_user.home / "yard"
    (folder / "place").mkdir(parents=True)
    (folder / "link").symlink_to(victim)
    ordinary_user.give(folder)
    ordinary_user.give(folder / "place")
    os.chown(folder / "link", ordinary_user.uid, ordinary_user.gid, follow_symlinks=False)
    yield folder
    clear(folder)
    clear(victim)


def clear(folder: Path) -> None:
    """Take away what is mounted below a folder."""
    for line in reversed(mounted_below(folder)):
        subprocess.run(["umount", "-l", line.split()[4]], check=True)


@contextmanager
def swapping(user: OrdinaryUser, folder: Path) -> Iterator[None]:
    """A process of the user that swaps folder and link all the time."""
    with subprocess.Popen(
        [user.python, "-c", SWAPPER, folder],
        env=dict(user.environment),
        user=user.uid,
        group=user.gid,
        extra_groups=[],
        stdout=subprocess.PIPE,
        cwd="/",
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        try:
            yield
        finally:
            process.kill()


def deployment_of(host: Host) -> Deployment:
    found = host.catalog.active(Ref.parse(REF))
    assert found is not None
    return found


def test_a_folder_that_is_swapped_for_a_link_leads_nobody_elsewhere(
    host: Host, yard: Path, victim: Path, ordinary_user: OrdinaryUser
) -> None:
    deployment, mounted = deployment_of(host), 0
    with swapping(ordinary_user, yard):
        for _ in range(TRIES):
            with suppress(HoldallError):
                show(host, deployment, str(yard / "place"))
            assert not mounted_below(victim)
            mounted += len(mounted_below(yard))
            with suppress(HoldallError):
                hide(host, str(yard / "place"))
            assert not mounted_below(victim)
            clear(yard)
    assert victim.is_dir()
    assert not list(victim.iterdir())
    assert mounted


def test_what_is_mounted_is_where_it_was_asked_for_and_goes_by_the_same_name(
    host: Host, yard: Path
) -> None:
    place = yard / "place"
    assert show(host, deployment_of(host), str(place)).path == str(place)
    assert (place / "data").read_text() == "data of the app\n"
    assert hide(host, str(place)) == str(place)
    assert not mounted_below(yard)


@pytest.mark.parametrize("person", ["tree"], indirect=True)
def test_a_link_of_another_user_above_is_not_followed(host: Host, yard: Path, victim: Path) -> None:
    (victim / "inner").mkdir()
    with pytest.raises(UntrustedError, match="a link of another user"):
        show(host, deployment_of(host), str(yard / "link/inner"))
    with pytest.raises(UntrustedError, match="a link of another user"):
        hide(host, str(yard / "link/inner"))
    with pytest.raises(UsageError, match="is a link"):
        show(host, deployment_of(host), str(yard / "link"))
    assert not mounted_below(victim)


def test_links_of_root_are_followed_to_their_end(tmp_path: Path) -> None:
    (tmp_path / "real/folder").mkdir(parents=True)
    (tmp_path / "far").symlink_to(tmp_path / "real")
    (tmp_path / "near").symlink_to("far/./folder/..")
    (tmp_path / "round").symlink_to("round")
    with at_spot(f"{tmp_path}/near/folder/new") as spot:
        assert spot.path == f"{tmp_path}/real/folder/new"
        assert lies_in(spot.above, f"{tmp_path}/far")
        assert not lies_in(spot.above, "/proc")
    with pytest.raises(OSError, match="Too many levels"), at_spot(f"{tmp_path}/round/x"):
        pass
    with at_spot("/") as spot:
        assert spot.path == "/"
        assert mount_number(spot.above) == mount_number(spot.open())


@pytest.mark.parametrize("person", ["served"], indirect=True)
def test_a_program_that_serves_keeps_nothing_of_its_caller_s(
    person: Person, tmp_path: Path
) -> None:
    reads, writes = os.pipe()
    script = (
        "import os, sys; from holdall.cli.main import main;"
        "os.dup2(int(sys.argv[1]), 1500); sys.exit(main(sys.argv[2:]))"
    )
    place = tmp_path / "place"
    subprocess.run(
        [
            *("sh", "-c", 'ulimit -n 4096; exec "$@"', "sh"),
            *(PYTHON, "-c", script, str(writes), "mount", APP, place),
        ],
        env=dict(person.cli.environment),
        pass_fds=(writes,),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    os.close(writes)
    try:
        # at its end: no process that could still write has it open
        assert os.read(reads, 1) == b""
    finally:
        os.close(reads)
        subprocess.run(["umount", place], check=True)


@pytest.mark.parametrize("person", ["served", "tree", "squashfs"], indirect=True)
def test_a_namespace_that_everybody_left_ends_and_the_version_is_free(
    person: Person, host: Host, tmp_path: Path
) -> None:
    place = tmp_path / "place"
    other = tmp_path / "other"
    command = f"{PYTHON} -m holdall mount {APP} "
    subprocess.run(
        ["unshare", "--mount", "sh", "-c", f"{command} {place} && {command} {other}"],
        env=dict(person.cli.environment),
        check=True,
        stdout=subprocess.DEVNULL,
    )
    assert eventually(person.nothing_is_left)
    person.cli("remove", APP)
    assert eventually(lambda: not list((person.store / "trash").iterdir()))
    assert host.catalog.refs() == []
