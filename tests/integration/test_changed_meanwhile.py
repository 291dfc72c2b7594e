"""Commands that read a version while another command converts or removes it."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bundles import APP, make_bundle, trusting_store
from holdall.errors import BusyError, CorruptError, NotFoundError
from holdall.journeys.convert import convert
from holdall.journeys.forming import Wanted
from holdall.journeys.host import Event, Host
from holdall.journeys.install import install
from holdall.journeys.verify import verify
from holdall.model.ref import RefPattern
from holdall.store.catalog import Deployment
from holdall.store.steady import TRIES, steadily
from holdall.system.files import remove_tree
from holdall.system.kernel import exchange
from mounted_app import REF, Person, make_person
from surroundings import PYTHON, OrdinaryUser

PATTERN = RefPattern.parse(APP)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A store with two versions of an app."""
    host = trusting_store(tmp_path / "store")
    for version in ("1", "2"):
        install(str(make_bundle(tmp_path / version, version=version)), host)
    return host


@pytest.fixture
def item(host: Host) -> Deployment:
    return host.catalog.current(PATTERN)


def swap(item: Deployment) -> None:
    """Put another folder in the place of a version's."""
    Path(f"{item.path}.new").mkdir()
    exchange(f"{item.path}.new", item.path)
    remove_tree(f"{item.path}.new")


def changing(item: Deployment, times: int) -> Callable[[], str]:
    """What fails each time that it is called while the version is swapped."""
    left = iter(range(times))

    def act() -> str:
        if next(left, None) is not None:
            swap(item)
            raise CorruptError("It is of two versions.")
        return "read"

    return act


def test_what_was_swapped_meanwhile_is_read_anew(item: Deployment) -> None:
    assert steadily(item, changing(item, 3)) == "read"


def test_what_is_swapped_again_and_again_is_told(item: Deployment) -> None:
    with pytest.raises(BusyError):
        steadily(item, changing(item, TRIES))


def test_what_fails_by_itself_fails_at_once(item: Deployment) -> None:
    calls: Iterator[int] = iter(range(9))

    def act() -> None:
        next(calls)
        raise CorruptError("It is damaged.")

    with pytest.raises(CorruptError):
        steadily(item, act)
    assert next(calls) == 1


def test_a_result_that_is_settled_is_taken(item: Deployment) -> None:
    calls: Iterator[int] = iter(range(9))

    def act() -> int:
        swap(item)
        return next(calls)

    assert steadily(item, act, settled=lambda found: found == 0) == 0


def test_what_was_removed_meanwhile_is_not_found(item: Deployment) -> None:
    def act() -> None:
        remove_tree(item.path)
        raise CorruptError("Half of it is missing.")

    with pytest.raises(NotFoundError):
        steadily(item, act)


def test_verify_leaves_out_what_was_removed_meanwhile(host: Host, item: Deployment) -> None:
    def remove(_event: Event) -> None:
        remove_tree(item.path)

    assert [found.version for found in verify(host, report=remove)] == ["1"]


@pytest.mark.slow
@pytest.mark.root
def test_verify_finds_nothing_while_forms_change(host: Host) -> None:
    # another process: a thread's forks would inherit the locks of this one
    command = f"{PYTHON} -m holdall --root {host.layout.root} convert {APP} --form"
    script = "\n".join(f"{command} {form}" for form in ("local-image", "pool", "tree") * 4)
    found = []
    with subprocess.Popen(["sh", "-e", "-c", script], stdout=subprocess.DEVNULL) as changer:
        while changer.poll() is None:
            found += [fault for one in verify(host) for fault in one.faults]
    assert (found, changer.returncode) == ([], 0)


@pytest.mark.root
@pytest.mark.usefixtures("sandbox")
def test_a_version_that_was_brought_to_an_image_while_it_started_starts_anew(
    request: pytest.FixtureRequest,
) -> None:
    person: Person = make_person(request, "root")
    person.install_as("squashfs")
    # as if its files had been there, or mounted, when the launch file looked first
    entered = os.path.realpath(person.deployment)
    done = person.run(person.stub, "one", HOLDALL_ENTERED=entered)
    assert (done.stdout.splitlines()[0], done.stderr, done.returncode) == ("data of the app", "", 5)


@pytest.mark.root
@pytest.mark.usefixtures("sandbox")
def test_a_version_that_was_removed_while_it_started_is_told_in_a_sentence(
    request: pytest.FixtureRequest,
) -> None:
    person = make_person(request, "root")
    person.install_as("tree")
    launch = (person.deployment / "launch").read_bytes()
    (person.home / "launch").write_bytes(launch)
    person.cli("remove", REF)
    done = person.run("/bin/sh", person.home / "launch")
    assert (done.stdout, done.returncode) == ("", 3)
    assert done.stderr == "holdall: org.example.Mounted 1.0 was removed in this moment.\n"


@pytest.mark.root
def test_what_cannot_be_read_here_is_not_checked_and_no_fault(
    host: Host, ordinary_user: OrdinaryUser
) -> None:
    convert(PATTERN, host, Wanted(form="composefs"))
    store = ordinary_user.home / "copy"
    # what converting left in the trash is being freed meanwhile
    shutil.copytree(host.layout.root, store, symlinks=True, ignore=shutil.ignore_patterns("trash"))
    ordinary_user.give(store)
    done = ordinary_user.holdall("--root", store, "verify", expect=7)
    assert "stable 2: not checked. This app lies in the form composefs" in done.stdout
    assert "stable 1: 3 files, whole." in done.stdout
    (one,) = store.glob("deployments/*/*/*/*/files/share/words.txt")
    one.write_text("changed")
    told = ordinary_user.holdall("--root", store, "verify", expect=4).stdout
    assert "stable 1: 3 files, 1 fault." in told
