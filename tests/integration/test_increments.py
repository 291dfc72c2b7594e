"""Updating by increments: one or several, over whatever the store holds, resumed, mended."""

import json
from pathlib import Path

import pytest

from bundles import APP, make_bundle, trusting_store
from holdall.errors import UsageError
from holdall.journeys.host import root_host
from holdall.journeys.install import install
from hostility import Victim, call, differences
from increments import Pieces, Versions, make_increment
from sample_app import APP as SAMPLE
from sample_app import Bundles, installed_versions, tree_on_disk
from surroundings import PYTHON, HoldallCli, environment_for
from updates import HARM, edit, files, is_whole

GONE, CORRUPT, USAGE = 3, 4, 2


def plan_of(printed: str) -> dict[str, object]:
    """The one plan a command printed."""
    (plan,) = json.loads(printed)
    assert isinstance(plan, dict)
    return plan


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


def test_the_same_files_under_a_new_version_need_no_unit(
    user: Victim, versions: Versions, tmp_path: Path
) -> None:
    again = make_bundle(
        tmp_path / "again",
        tree_of_bundle(versions, "2.0"),
        links={"link": "large"},
        version="2.1",
    )
    step = make_increment(tmp_path / "step", [versions.full("2.0")], again)
    user.accepts("update", step, versions.full("2.0"))
    assert json.loads(user.accepts("list"))[0]["version"] == "2.1"
    user.accepts("verify")
    user.accepts("remove", APP)
    plan = plan_of(user.accepts("install", versions.full("2.0"), step))
    assert plan["version"] == "2.1"
    user.accepts("verify")


def tree_of_bundle(versions: Versions, version: str) -> dict[str, bytes]:
    top = versions.files(version)
    found = [path for path in top.rglob("*") if path.is_file() and not path.is_symlink()]
    return {str(path.relative_to(top)): path.read_bytes() for path in found}


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
