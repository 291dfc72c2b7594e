"""Versions that run stay whole while they are updated or removed, and are freed when they end."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sample_app import APP, VERSIONS, Bundles, installed_versions
from surroundings import HoldallCli, OrdinaryUser

pytestmark = pytest.mark.usefixtures("sandbox")


@dataclass(frozen=True, slots=True)
class Place:
    """Somebody's store, the command on it, and the folder where the app keeps its data."""

    holdall: HoldallCli
    bundles: Bundles

    @property
    def store(self) -> Path:
        return Path(self.holdall.environment["XDG_DATA_HOME"]) / "holdall"

    def install(self, version: str) -> None:
        self.holdall("install", *self.bundles.trust, self.bundles.bundle(version))

    def rows(self, command: str) -> list[dict[str, str]]:
        rows = self.holdall.json(command)
        assert isinstance(rows, list)
        return rows


@dataclass(frozen=True, slots=True)
class Running:
    """An app in its sandbox, which reads its files again and again."""

    process: "subprocess.Popen[bytes]"
    data: Path

    def says(self) -> str:
        """What it has read of its own files since now; it would end if it could not."""
        said, text = self.data / "said", ""
        said.unlink(missing_ok=True)

        def has_said() -> bool:
            nonlocal text
            text = said.read_text() if said.exists() else ""
            return text.endswith("\n")

        wait_until(has_said)
        assert self.process.poll() is None
        return text.strip()

    def end(self) -> None:
        (self.data / "end").touch()
        assert self.process.wait(60) == 0


def wait_until(what: Callable[[], bool], patience: float = 60) -> None:
    end = time.monotonic() + patience
    while not what():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)


def waiting_for(trashed: Path) -> int:
    """How many processes wait for what runs from a removed version, as the kernel lists them."""
    inode = (trashed / "lease").stat().st_ino
    lines = Path("/proc/locks").read_text().splitlines()
    return sum(" -> " in line and f":{inode} " in line for line in lines)


@contextmanager
def started(place: Place) -> Iterator[Running]:
    """The active version, started by `holdall run` as a user does."""
    data = place.store / "data" / APP
    (data / "end").unlink(missing_ok=True)
    uid, gid = place.holdall.user or (None, None)
    with subprocess.Popen(
        [place.holdall.python, "-m", "holdall", "run", APP],
        env=dict(place.holdall.environment),
        user=uid,
        group=gid,
        extra_groups=None if uid is None else [],
        cwd="/",
        start_new_session=True,
    ) as process:
        running = Running(process, data)
        try:
            running.says()
            yield running
        finally:
            if process.poll() is None:
                process.terminate()


@pytest.fixture(params=["this user", "an ordinary user"])
def place(request: pytest.FixtureRequest, bundles: Bundles) -> Place:
    """A store with nothing in it: of whoever runs the tests, and of a user without privileges."""
    if request.param == "this user":
        holdall: HoldallCli = request.getfixturevalue("holdall_cli")
        return Place(holdall, bundles)
    user: OrdinaryUser = request.getfixturevalue("ordinary_user")
    for version in VERSIONS:
        copied = user.home / bundles.bundle(version).name
        copied.write_bytes(bundles.bundle(version).read_bytes())
        user.give(copied)
    return Place(user.holdall, replace(bundles, folder=user.home))


def test_an_update_leaves_what_runs_whole(place: Place) -> None:
    place.install("1.0")
    with started(place) as app:
        place.holdall("update", place.bundles.bundle("2.0"))
        assert app.says() == "1.0"
        (row,) = place.rows("ps")
        assert row["ref"].split("/")[0] == APP
        assert installed_versions(place.store)[row["digest"]] == "1.0"
        app.end()
    assert place.rows("ps") == []
    with started(place) as app:
        assert app.says() == "2.0"
        app.end()


def test_a_removed_version_runs_on_and_is_freed_by_itself(place: Place) -> None:
    place.install("1.0")
    with started(place) as app:
        place.holdall("remove", APP)
        assert place.rows("list") == []
        assert app.says() == "1.0"
        assert [row["ref"].split("/")[0] for row in place.rows("ps")] == [APP]
        (trashed,) = (place.store / "trash").iterdir()
        for _ in range(3):
            cleaned = place.holdall.json("gc")
            assert isinstance(cleaned, dict)
            assert cleaned["waiting"] == 1
        wait_until(lambda: waiting_for(trashed) == 1)
        assert app.says() == "1.0"
        app.end()
    wait_until(lambda: not trashed.exists())


def test_old_versions_that_run_are_kept_by_gc_until_they_end(place: Place) -> None:
    place.install("1.0")
    with started(place) as app:
        place.holdall("update", place.bundles.bundle("2.0"))
        told = place.holdall("gc", "--keep", "0").stdout
        assert "1 removed version still runs or is mounted" in told
        assert app.says() == "1.0"
        app.end()
    wait_until(lambda: not list((place.store / "trash").iterdir()))
    assert list(installed_versions(place.store).values()) == ["2.0"]


def test_a_version_that_runs_can_be_installed_anew(place: Place) -> None:
    place.install("1.0")
    with started(place) as app:
        place.holdall("remove", APP)
        place.install("1.0")
        assert app.says() == "1.0"
        app.end()
    assert [row["version"] for row in place.rows("list")] == ["1.0"]
    assert '"faults": []' in place.holdall("--json", "verify").stdout
