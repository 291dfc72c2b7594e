"""Updating by increments: one or several, over whatever the store holds, resumed, mended."""

import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bundles import APP, make_bundle, trusting_store
from holdall.errors import UsageError
from holdall.journeys.host import root_host
from holdall.journeys.install import install
from hostility import Victim, call, differences
from increments import Pieces, Versions, make_increment, make_versions
from sample_app import APP as SAMPLE
from sample_app import Bundles, installed_versions, tree_on_disk
from surroundings import PYTHON, HoldallCli, environment_for
from workbench import workbench

GONE, CORRUPT, USAGE = 3, 4, 2


@pytest.fixture(scope="session")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    """The versions and the increments between them."""
    return make_versions(tmp_path_factory.mktemp("versions"))


@pytest.fixture
def store(tmp_path: Path, isolated_home: Path) -> Victim:
    """An empty store that trusts the publisher."""
    trusting_store(tmp_path / "store")
    return Victim(tmp_path / "store", isolated_home)


@pytest.fixture
def user(store: Victim, versions: Versions) -> Victim:
    """A store with version 1.0."""
    store.accepts("install", versions.full("1.0"))
    return store


def plan_of(printed: str) -> dict[str, object]:
    """The one plan a command printed."""
    (plan,) = json.loads(printed)
    assert isinstance(plan, dict)
    return plan


def files(store: Victim, version: str) -> Path:
    """The installed files of a version."""
    printed = store.accepts("path", APP, "--version", version)
    return Path(json.loads(printed)["path"])


def is_whole(store: Victim, versions: Versions, active: str) -> bool:
    """Whether the active version is this one, every file is right, and nothing else is left."""
    assert tree_on_disk(files(store, active)) == tree_on_disk(versions.files(active))
    store.accepts("verify")
    assert not (store.root / "partial").exists()
    for folder in ("staging", "journal"):
        assert not list((store.root / folder).glob("*"))
    return bool(json.loads(store.accepts("list"))[0]["version"] == active)


def installed(store: Victim) -> list[str]:
    return sorted(installed_versions(store.root).values())


# ------------------------------------------------------------------------------ applying


def test_an_increment_makes_what_the_full_bundle_gives(
    user: Victim, versions: Versions, tmp_path: Path
) -> None:
    assert plan_of(user.accepts("update", versions.first))["before"] == "1.0"
    assert is_whole(user, versions, "2.0")
    trusting_store(tmp_path / "other")
    other = Victim(tmp_path / "other", user.home)
    other.accepts("install", versions.full("2.0"))
    deployment = next(user.root.glob("deployments/*/*/*/*/"))
    assert installed(user) == ["1.0", "2.0"]
    ours, theirs = files(user, "2.0").parent, files(other, "2.0").parent
    assert ours.name == theirs.name
    for name in ("release", "envelope"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes()
    assert {path.name for path in ours.iterdir()} == {path.name for path in theirs.iterdir()}
    assert deployment.exists()


def test_what_did_not_change_is_linked_and_what_did_is_alone(
    user: Victim, versions: Versions
) -> None:
    user.accepts("update", versions.first)
    old, new = files(user, "1.0"), files(user, "2.0")
    assert (old / "lib/01.py").samefile(new / "lib/01.py")
    assert not (old / "large").samefile(new / "large")
    assert {(new / name).stat().st_nlink for name in ("large", "lib/03.py", "lib/new.py")} == {1}


@pytest.mark.parametrize("backwards", [False, True])
def test_increments_are_applied_one_after_the_other(
    user: Victim, versions: Versions, *, backwards: bool
) -> None:
    given = [versions.first, versions.sliced]
    plan = plan_of(user.accepts("install", *(reversed(given) if backwards else given)))
    assert [(step["before"], step["version"]) for step in plan["steps"]] == [  # type: ignore[attr-defined]  # JSON
        ("1.0", "2.0"),
        ("2.0", "3.0"),
    ]
    assert is_whole(user, versions, "3.0")
    assert installed(user) == ["1.0", "3.0"]
    modes = {name: (files(user, "3.0") / name).stat() for name in ("bin/both", "both")}
    assert [status.st_mode & 0o777 for status in modes.values()] == [0o755, 0o644]


def test_the_way_that_reads_least_is_taken(user: Victim, versions: Versions) -> None:
    given = [versions.first, versions.sliced, versions.either]
    plan = plan_of(user.accepts("install", "--dry-run", *given))
    assert [step["version"] for step in plan["steps"]] == ["2.0", "3.0"]  # type: ignore[attr-defined]  # JSON
    user.accepts("install", versions.full("2.0"))
    plan = plan_of(user.accepts("install", *given))
    assert [step["before"] for step in plan["steps"]] == ["2.0"]  # type: ignore[attr-defined]  # JSON
    assert is_whole(user, versions, "3.0")


def test_a_version_that_is_not_active_will_do(user: Victim, versions: Versions) -> None:
    user.accepts("install", versions.full("2.0"))
    user.accepts("rollback", APP)
    user.accepts("install", versions.sliced)
    assert is_whole(user, versions, "3.0")


def test_an_old_bundle_will_do_where_nothing_is_installed(
    store: Victim, versions: Versions
) -> None:
    plan = plan_of(store.accepts("install", versions.full("1.0"), versions.first, versions.sliced))
    assert plan["before"] is None
    assert is_whole(store, versions, "3.0")
    assert installed(store) == ["3.0"]


def test_the_full_bundle_alone_is_used_where_it_costs_less(
    store: Victim, versions: Versions
) -> None:
    plan = plan_of(store.accepts("install", versions.full("3.0"), versions.either))
    assert plan["steps"] == []
    assert is_whole(store, versions, "3.0")


def test_what_is_planned_is_what_is_done(user: Victim, versions: Versions) -> None:
    given = (versions.sliced, versions.first)
    before = user.seen()
    planned = plan_of(user.accepts("install", "--dry-run", *given))
    assert differences(before, user.seen()) == []
    done = plan_of(user.accepts("install", *given))
    assert planned | {"dry_run": False} == done
    steps = done["steps"]
    assert isinstance(steps, list)
    assert done["read"] == sum(step["read"] for step in steps)
    assert done["produced"] == sum(step["produced"] for step in steps)
    units = sum(len(Pieces.of(path.read_bytes()).units) for path in given)
    assert done["read"] == units


def test_an_increment_is_planned_as_the_full_bundle_is(user: Victim, versions: Versions) -> None:
    full = plan_of(user.accepts("install", "--dry-run", versions.full("3.0")))
    for given in ((versions.either,), (versions.either, versions.full("1.0"))):
        plan = plan_of(user.accepts("install", "--dry-run", *given))
        for name in ("ref", "version", "digest", "before", "files", "size", "linked", "produced"):
            assert plan[name] == full[name]


def test_progress_ends_where_it_should(store: Victim, user: Victim, versions: Versions) -> None:
    status, printed, complaints = call(
        "--root", user.root, "install", versions.first, versions.sliced
    )
    assert status == 0
    assert "1.0 to 2.0" in printed
    lines = [line for line in complaints.splitlines() if line.startswith("Installing")]
    said, _, total = lines[-1].partition(" of ")
    assert said.endswith(f": {total}")
    store.accepts("remove", APP)
    given = (versions.full("1.0"), versions.first)
    status, _, complaints = call("--root", store.root, "install", "--allow-downgrade", *given)
    lines = [line for line in complaints.splitlines() if line.startswith("Installing")]
    said, _, total = lines[-1].partition(" of ")
    assert (status, said.endswith(f": {total}")) == (0, True)


def test_what_is_installed_already_becomes_active(user: Victim, versions: Versions) -> None:
    user.accepts("update", versions.first)
    user.accepts("rollback", APP)
    assert plan_of(user.accepts("install", versions.first))["already"]
    assert is_whole(user, versions, "2.0")


def test_going_back_works_as_ever(user: Victim, versions: Versions) -> None:
    user.accepts("update", versions.first)
    user.accepts("rollback", APP)
    assert is_whole(user, versions, "1.0")
    user.accepts("remove", APP, "--version", "1.0")
    assert is_whole(user, versions, "2.0")


def test_without_a_base_the_error_says_what_helps(
    store: Victim, user: Victim, versions: Versions
) -> None:
    refusal = user.refuses("install", versions.sliced, code=GONE)
    assert "3.0 is made from release " in refusal.message
    assert "1.0 of it is installed" in refusal.message
    assert "full bundle" in refusal.message
    store.accepts("remove", APP)
    assert "from 1.0 here" in store.refuses("install", versions.first, code=GONE).message


def test_an_update_by_increment_takes_an_installed_app(store: Victim, versions: Versions) -> None:
    assert "is not installed" in store.refuses("update", versions.first, code=GONE).message


def test_several_apps_are_installed_each(user: Victim, versions: Versions, tmp_path: Path) -> None:
    other = make_bundle(tmp_path / "other", id="org.example.Other")
    plans = json.loads(user.accepts("install", versions.sliced, other, versions.first))
    assert [(plan["version"], len(plan["steps"])) for plan in plans] == [("3.0", 2), ("1.0", 0)]


def test_two_releases_of_one_version_are_not_mixed(
    user: Victim, versions: Versions, tmp_path: Path
) -> None:
    other = make_bundle(tmp_path / "other", {"bin/editor": b"other"}, version="2.0")
    refusal = user.refuses("install", versions.first, other, code=USAGE)
    assert "different releases" in refusal.message


def test_one_installation_is_of_one_app(user: Victim, versions: Versions, tmp_path: Path) -> None:
    other = make_bundle(tmp_path / "other", id="org.example.Other")
    with pytest.raises(UsageError, match="one after the other"):
        install([str(versions.first), str(other)], root_host(str(user.root)))


def test_standard_input_comes_once(user: Victim) -> None:
    assert "standard input" in user.refuses("install", "-", "-", code=USAGE).message


# ------------------------------------------------------------------------------ as built


@pytest.fixture(scope="module")
def built(bundles: Bundles, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Increments of the sample app as the program builds them, by where they lead from and to."""
    folder = tmp_path_factory.mktemp("built")
    publisher = HoldallCli(PYTHON, environment_for(bundles.folder / "home"))
    made = {}
    for name, new, olds in (
        ("1-2", "2.0", ("1.0",)),
        ("2-3", "3.0", ("2.0",)),
        ("any-3", "3.0", ("1.0", "2.0")),
    ):
        made[name] = folder / f"{name}.holdall"
        against = [word for old in olds for word in ("--against", bundles.bundle(old))]
        publisher("build", bundles.bundle(new), "-o", made[name], *against)
    return made


@pytest.mark.parametrize("names", ["1-2", "1-2 2-3", "any-3", "any-3 2-3 1-2"])
def test_what_the_program_builds_it_installs(
    tmp_path: Path, holdall_cli: HoldallCli, bundles: Bundles, built: dict[str, Path], names: str
) -> None:
    store = ("--root", tmp_path / "store")
    holdall_cli(*store, "install", *bundles.trust, bundles.bundle("1.0"))
    given = [built[name] for name in names.split()]
    assert sum(path.stat().st_size for path in given) < bundles.bundle("3.0").stat().st_size / 5
    holdall_cli(*store, "update", *given)
    version = "2.0" if names == "1-2" else "3.0"
    path = Path(holdall_cli(*store, "path", SAMPLE).stdout.rstrip())
    assert tree_on_disk(path) == tree_on_disk(bundles.files(version))
    assert set(installed_versions(tmp_path / "store").values()) == {"1.0", version}
    holdall_cli(*store, "verify")


def test_what_the_program_builds_follows_an_old_bundle(
    tmp_path: Path, holdall_cli: HoldallCli, bundles: Bundles, built: dict[str, Path]
) -> None:
    store = ("--root", tmp_path / "store")
    files = (built["2-3"], bundles.bundle("1.0"), built["1-2"])
    holdall_cli(*store, "install", *bundles.trust, *files)
    path = Path(holdall_cli(*store, "path", SAMPLE).stdout.rstrip())
    assert tree_on_disk(path) == tree_on_disk(bundles.files("3.0"))


# ------------------------------------------------------------------------------ mending


def spoil(path: Path) -> None:
    """Change a file and hide it: the time is as it was."""
    status = path.stat()
    path.write_bytes(bytes(status.st_size))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def edit(path: Path) -> None:
    path.write_bytes(b"edited")


HARM: dict[str, tuple[Callable[[Path], None], int]] = {
    "deleted": (Path.unlink, GONE),
    "edited": (edit, GONE),
    "spoiled": (spoil, CORRUPT),
}


@pytest.mark.parametrize("harm", HARM)
def test_a_base_that_is_not_what_it_was_is_named(
    user: Victim, versions: Versions, harm: str
) -> None:
    do, code = HARM[harm]
    do(files(user, "1.0") / "large")
    refusal = user.refuses("update", versions.first, code=code)
    assert "'large'" in refusal.message
    assert "give the full bundle of 2.0" in refusal.message


@pytest.mark.parametrize("help_", ["1.0", "2.0"])
@pytest.mark.parametrize("harm", HARM)
def test_a_full_bundle_helps_where_a_base_is_not_what_it_was(
    user: Victim, versions: Versions, harm: str, help_: str
) -> None:
    for name in ("large", "lib/03.py"):
        HARM[harm][0](files(user, "1.0") / name)
    plan = plan_of(user.accepts("update", versions.first, versions.full(help_)))
    assert plan["version"] == "2.0"
    assert tree_on_disk(files(user, "2.0")) == tree_on_disk(versions.files("2.0"))
    assert not (user.root / "partial").exists()


@pytest.mark.parametrize("harm", ["deleted", "edited"])
def test_what_only_the_old_version_had_is_asked_for(
    user: Victim, versions: Versions, harm: str
) -> None:
    HARM[harm][0](files(user, "1.0") / "lib/01.py")
    refusal = user.refuses("update", versions.first, code=GONE)
    assert "'lib/01.py'" in refusal.message
    user.accepts("update", versions.first, versions.full("1.0"))
    assert tree_on_disk(files(user, "2.0")) == tree_on_disk(versions.files("2.0"))


def test_one_chain_takes_contents_from_everywhere(user: Victim, versions: Versions) -> None:
    (files(user, "1.0") / "large").unlink()
    (files(user, "1.0") / "lib/09.py").unlink()
    user.accepts("update", versions.first, versions.sliced, versions.full("1.0"))
    assert tree_on_disk(files(user, "3.0")) == tree_on_disk(versions.files("3.0"))


def test_a_version_whose_tree_was_spoiled_is_no_base(user: Victim, versions: Versions) -> None:
    (files(user, "1.0").parent / "tree").write_bytes(b"spoiled")
    user.refuses("update", versions.first, code=GONE)
    user.accepts("update", versions.first, versions.full("1.0"))
    assert tree_on_disk(files(user, "2.0")) == tree_on_disk(versions.files("2.0"))


def test_what_an_increment_made_is_mended_from_the_full_bundle(
    user: Victim, versions: Versions
) -> None:
    user.accepts("update", versions.first)
    assert json.loads(user.accepts("repair", versions.full("2.0"))) == []
    edit(files(user, "2.0") / "large")
    (files(user, "2.0").parent / "tree").unlink()
    (repaired,) = json.loads(user.accepts("repair", versions.full("2.0")))
    assert repaired["paths"] == ["tree", "large"]
    assert is_whole(user, versions, "2.0")
    refusal = user.refuses("repair", versions.first, code=USAGE)
    assert "takes the full bundle" in refusal.message


# ------------------------------------------------------------------------------ interrupted


def piped(store: Victim, cli: HoldallCli, data: bytes, *others: Path) -> tuple[int, str]:
    """Install from a stream; returns the exit code and what was complained of."""
    done = subprocess.run(
        [PYTHON, "-m", "holdall", "--root", store.root, "install", "-", *others],
        input=data,
        env=dict(cli.environment),
        capture_output=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stderr.decode()


def kept(store: Victim) -> set[int]:
    """The units that are kept of increments."""
    names = {path.name for path in store.root.glob("partial/*/*/unit-*")}
    return {int(name.removeprefix("unit-")) for name in names if not name.endswith(".new")}


def test_an_increment_can_be_piped(
    user: Victim, versions: Versions, holdall_cli: HoldallCli
) -> None:
    assert piped(user, holdall_cli, versions.first.read_bytes())[0] == 0
    assert is_whole(user, versions, "2.0")


def test_a_piped_increment_and_files_go_together(
    store: Victim, versions: Versions, holdall_cli: HoldallCli
) -> None:
    data = versions.sliced.read_bytes()
    assert piped(store, holdall_cli, data, versions.full("1.0"), versions.first)[0] == 0
    assert is_whole(store, versions, "3.0")


@pytest.mark.parametrize("harm", HARM)
def test_a_base_is_replaced_for_a_piped_increment_too(
    user: Victim, versions: Versions, holdall_cli: HoldallCli, harm: str
) -> None:
    HARM[harm][0](files(user, "1.0") / "large")
    assert piped(user, holdall_cli, versions.first.read_bytes(), versions.full("1.0"))[0] == 0
    assert tree_on_disk(files(user, "2.0")) == tree_on_disk(versions.files("2.0"))


def test_a_stream_that_is_cut_short_loses_one_unit(
    user: Victim, versions: Versions, holdall_cli: HoldallCli
) -> None:
    user.accepts("install", versions.full("2.0"))
    data = versions.sliced.read_bytes()
    lengths = [len(unit) for unit in stored_units(versions.sliced)]
    assert len(lengths) > 6
    for units in (2, 5):
        status, complaint = piped(
            user, holdall_cli, data[: len(data) - sum(lengths[units:]) + lengths[units] // 2]
        )
        assert status == CORRUPT
        assert "cut short; what was finished of it is kept" in complaint
        assert kept(user) == set(range(units))
        assert json.loads(user.accepts("list"))[0]["version"] == "2.0"
    row = next(row for row in json.loads(user.accepts("du")) if row["ref"] == "partial")
    assert row["unique"] > 0
    # what is finished is not read again: it may be anything now
    start = len(data) - sum(lengths)
    damaged = data[:start] + bytes(sum(lengths[:5])) + data[start + sum(lengths[:5]) :]
    broken = user.root.parent / "broken.holdall"
    broken.write_bytes(damaged)
    user.accepts("install", broken)
    assert is_whole(user, versions, "3.0")


def stored_units(path: Path) -> list[bytes]:
    """The stored units of an increment."""
    from increments import read_index

    pieces = Pieces.of(path.read_bytes())
    found, at = [], 0
    for unit in read_index(pieces.index).units:
        found.append(pieces.units[at : at + unit.stored])
        at += unit.stored
    return found


@pytest.mark.parametrize("command", ["gc", f"remove {APP}"])
def test_what_is_kept_can_be_freed(
    user: Victim, versions: Versions, holdall_cli: HoldallCli, command: str
) -> None:
    data = versions.first.read_bytes()
    assert piped(user, holdall_cli, data[:-10])[0] == CORRUPT
    assert kept(user)
    user.accepts(*command.split())
    assert not (user.root / "partial").exists()


def test_a_kept_unit_that_was_spoiled_is_made_again(
    user: Victim, versions: Versions, holdall_cli: HoldallCli
) -> None:
    data = versions.first.read_bytes()
    assert piped(user, holdall_cli, data[:-1])[0] == CORRUPT
    spoiled = [path for path in user.root.glob("partial/*/*/*") if len(path.name) == 64]
    assert spoiled
    for path in spoiled:
        path.write_bytes(b"spoiled")
    user.accepts("install", versions.first)
    assert is_whole(user, versions, "2.0")


def test_two_of_the_same_are_not_confused(
    user: Victim, versions: Versions, tmp_path: Path, holdall_cli: HoldallCli
) -> None:
    """What was kept of one increment is not taken for another to the same release."""
    other = make_increment(
        tmp_path / "other", [versions.full("1.0")], versions.full("2.0"), slice_size=4096
    )
    assert piped(user, holdall_cli, versions.first.read_bytes()[:-1])[0] == CORRUPT
    user.accepts("install", other)
    shutil.rmtree(user.root / "partial")
    assert is_whole(user, versions, "2.0")


# ------------------------------------------------------------------------------ looking


def test_an_increment_tells_what_it_costs(user: Victim, versions: Versions) -> None:
    facts = json.loads(user.accepts("inspect", versions.either, "--against", versions.full("2.0")))
    assert (facts["increment"], facts["full"]) == (True, None)
    assert [base["version"] for base in facts["from"]] == ["1.0", "2.0"]
    assert [base["installed"] for base in facts["from"]] == [True, False]
    for base in facts["from"]:
        changed = {file["path"] for file in base["files"]}
        assert {"large", "lib/03.py", "lib/04.py", "bin/both"} <= changed
        assert sum(file["stored"] for file in base["files"]) == pytest.approx(base["read"], abs=9)
    facts = json.loads(user.accepts("inspect", versions.sliced, "--against", versions.full("3.0")))
    assert facts["full"] == versions.full("3.0").stat().st_size
    assert [base["files"] for base in facts["from"]] == [None]
    status, printed, _ = call("--root", user.root, "inspect", versions.first)
    assert status == 0
    assert "made from version 1.0" in printed
    assert "large (raw)" in printed


# ------------------------------------------------------------------------------ killed

KILLS = 20
SEED = 20_261_123


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    """Two versions and an increment whose units take their time."""
    made = Versions(tmp_path_factory.mktemp("heavy"))
    chance = random.Random(SEED)
    one = {f"part-{number}": chance.randbytes(400_000) for number in range(40)}
    two = {path: data[:200_000] + b"new" + data[200_000:] for path, data in one.items()}
    make_bundle(made.full("1.0"), one | {"bin/editor": b"1"}, version="1.0")
    make_bundle(made.full("2.0"), two | {"bin/editor": b"1"}, version="2.0")
    make_increment(made.first, [made.full("1.0")], made.full("2.0"), slice_size=135_168)
    return made


def test_an_interrupted_update_goes_on_where_it_was_killed(
    memory: Path, tmp_path: Path, isolated_home: Path, heavy: Versions
) -> None:
    chance = random.Random(SEED)
    root = memory / "store"
    trusting_store(root)
    user = Victim(root, isolated_home)
    user.accepts("install", heavy.full("1.0"))
    begin = memory / "begin"
    subprocess.run(["cp", "-a", root, begin], check=True)
    landed = resumed = 0
    environment = environment_for(isolated_home)
    with workbench(PYTHON, environment, tmp_path / "bench", "--root", root) as bench:
        seconds = bench.expect(0, "update", heavy.first).seconds
        for _ in range(4 * KILLS):
            shutil.rmtree(root)
            subprocess.run(["cp", "-a", begin, root], check=True)
            moment = chance.uniform(0, seconds)
            landed += bench("update", heavy.first, kill_after=moment).killed
            finished = kept(user)
            assert json.loads(bench.expect(0, "--json", "list").output)[0]["version"] in {
                "1.0",
                "2.0",
            }
            bench.expect(0, "verify")
            assert kept(user) == finished
            bench.expect(0, "update", heavy.first)
            assert is_whole(user, heavy, "2.0")
            resumed += bool(finished)
            if landed >= KILLS and resumed >= KILLS // 4:
                break
    assert landed >= KILLS
    assert resumed >= KILLS // 4
