"""Where one way to a release fails, another is taken: from another version, or the full bundle."""

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bundles import APP, make_bundle
from hostility import Victim, call, differences
from increments import Pieces, Versions, make_increment
from surroundings import HoldallCli
from updates import HARM, files, is_whole

GONE, CORRUPT = 3, 4
INSTEAD = "The full bundle is used instead."


def update(store: Victim, *given: Path) -> tuple[dict[str, Any], str]:
    """The one plan of an update that must succeed, and what was said beside it."""
    status, printed, complaints = call("--json", "--root", store.root, "update", *given)
    assert status == 0, complaints
    (plan,) = json.loads(printed)
    assert '{"error"' not in complaints
    return plan, complaints


# ------------------------------------------------------------------------------ from elsewhere


@pytest.fixture
def steps(versions: Versions, tmp_path: Path) -> list[Path]:
    """Ways to 3.0 from 1.0 and from 2.0, which cost about the same."""
    made = make_increment(tmp_path / "1-3", [versions.full("1.0")], versions.full("3.0"))
    return [made, versions.sliced]


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("harmed", ["1.0", "2.0"])
def test_a_damaged_version_does_not_stand_in_the_way_of_a_whole_one(
    user: Victim, versions: Versions, steps: list[Path], harm: str, harmed: str
) -> None:
    whole = {"1.0": "2.0", "2.0": "1.0"}[harmed]
    user.accepts("install", versions.full("2.0"))
    HARM[harm][0](files(user, harmed) / "large")
    plan, said = update(user, *steps)
    (step,) = plan["steps"]
    assert step["before"] == whole
    assert ("It is made from 1.0 instead." in said) == (harmed == "2.0")
    user.accepts("remove", APP, "--version", harmed)
    assert is_whole(user, versions, "3.0")


def test_where_all_versions_are_damaged_nothing_is_changed(
    user: Victim, versions: Versions, steps: list[Path]
) -> None:
    user.accepts("install", versions.full("2.0"))
    for version in ("1.0", "2.0"):
        (files(user, version) / "large").unlink()
    refusal = user.refuses("update", *steps, code=GONE)
    assert "'large'" in refusal.message


@pytest.mark.parametrize("size", [1_000, 20_000])
def test_the_active_version_is_built_on_where_others_save_next_to_nothing(
    user: Victim, tmp_path: Path, size: int
) -> None:
    chance = random.Random(3)
    new, extra = {"new": chance.randbytes(100_000)}, {"extra": chance.randbytes(size)}
    old = make_bundle(tmp_path / "4", {"bin/editor": b"x"}, version="4.0")
    middle = make_bundle(tmp_path / "5", {"bin/editor": b"x", **extra}, version="5.0")
    last = make_bundle(tmp_path / "6", {"bin/editor": b"x", **extra, **new}, version="6.0")
    step = make_increment(tmp_path / "step", [old, middle], last)
    user.accepts("install", old)
    user.accepts("install", middle)
    user.accepts("rollback", APP, "--to", "4.0")
    plan, _ = update(user, step)
    assert plan["steps"][0]["before"] == {1_000: "4.0", 20_000: "5.0"}[size]


@pytest.mark.parametrize("harm", HARM)
def test_the_full_bundle_of_the_end_helps_a_chain(
    user: Victim, versions: Versions, harm: str
) -> None:
    for name in ("large", "lib/03.py"):
        HARM[harm][0](files(user, "1.0") / name)
    plan, said = update(user, versions.first, versions.sliced, versions.full("3.0"))
    assert (plan["version"], plan["steps"]) == ("3.0", [])
    assert said.count(INSTEAD) == 1
    user.accepts("remove", APP, "--version", "1.0")
    assert is_whole(user, versions, "3.0")


# ------------------------------------------------------------------------------ damaged increments


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 0x40,)) + data[at + 1 :]


@pytest.fixture
def damaged(versions: Versions, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """The increment from 1.0 to 2.0 with some harm done to it."""
    data = versions.first.read_bytes()
    pieces, how = Pieces.of(data), request.param
    made = {
        "cut in the units": data[:-9],
        "cut in the index": data[: pieces.borders[4] - 5],
        "cut in the envelope": data[: pieces.borders[2] - 5],
        "longer": data + b"\0",
        "other tree": replace(pieces, tree=flipped(pieces.tree, 60)).bytes,
        "other index": replace(pieces, index=flipped(pieces.index, 60)).bytes,
        "other statement": replace(pieces, statement=flipped(pieces.statement, 60)).bytes,
        "other units": replace(pieces, units=flipped(pieces.units, 60)).bytes,
        "other envelope": replace(pieces, envelope=flipped(pieces.envelope, 60)).bytes,
    }
    path = tmp_path / "damaged.holdall"
    path.write_bytes(made[how])
    return path


DAMAGE = [
    *("cut in the units", "cut in the index", "cut in the envelope", "longer"),
    *("other tree", "other index", "other statement", "other units", "other envelope"),
]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("damaged", DAMAGE, indirect=True)
def test_the_full_bundle_stands_in_for_a_damaged_increment(
    user: Victim, versions: Versions, damaged: Path, *, backwards: bool
) -> None:
    given = (damaged, versions.full("2.0"))
    before = user.seen()
    user.accepts("update", "--dry-run", *given)
    assert differences(before, user.seen()) == []
    plan, said = update(user, *(reversed(given) if backwards else given))
    assert plan["version"] == "2.0"
    assert said.count(INSTEAD) == 1
    assert is_whole(user, versions, "2.0")


@pytest.mark.parametrize("damaged", DAMAGE, indirect=True)
def test_another_full_bundle_does_not_stand_in(
    user: Victim, versions: Versions, damaged: Path
) -> None:
    """Without the new release nothing older is installed in its place."""
    assert user.refuses("update", damaged).kind == "CorruptError"
    if damaged.read_bytes() == versions.first.read_bytes()[: damaged.stat().st_size]:
        user.accepts("install", versions.full("3.0"))
        update(user, damaged, versions.full("3.0"))


@pytest.mark.parametrize("length", [300, -2_000, -1])
def test_a_pipe_that_ends_early_is_replaced_by_the_full_bundle(
    user: Victim, versions: Versions, holdall_cli: HoldallCli, length: int
) -> None:
    data = versions.first.read_bytes()[:length]
    done = holdall_cli(
        *("--json", "--root", user.root, "update", "-", versions.full("2.0")),
        typed=data.decode("utf-8", "surrogateescape"),
    )
    (plan,) = json.loads(done.stdout)
    assert (plan["version"], done.stderr.count(INSTEAD)) == ("2.0", 1)
    assert is_whole(user, versions, "2.0")


def test_a_pipe_that_ends_early_on_the_way_is_replaced_by_the_full_bundle(
    user: Victim, versions: Versions, holdall_cli: HoldallCli
) -> None:
    given = ("-", versions.sliced, versions.full("3.0"))
    data = versions.first.read_bytes()[:-1]
    done = holdall_cli(
        *("--root", user.root, "update", *given), typed=data.decode("utf-8", "surrogateescape")
    )
    assert done.stderr.count(INSTEAD) == 1
    assert is_whole(user, versions, "3.0")


def test_a_damaged_increment_of_nobody_knows_which_app_is_refused_among_several(
    user: Victim, versions: Versions, tmp_path: Path
) -> None:
    other = make_bundle(tmp_path / "other", id="org.example.Other")
    nameless = tmp_path / "nameless"
    nameless.write_bytes(versions.first.read_bytes()[:200])
    given = (nameless, versions.full("2.0"), other)
    status, printed, complaints = call("--json", "--root", user.root, "install", *given)
    assert (status, complaints.count('{"error"')) == (CORRUPT, 1)
    assert len(json.loads(printed)) == 2


@pytest.mark.parametrize("name", ["missing.holdall", "./missing"])
def test_nothing_is_done_where_a_file_is_missing(
    user: Victim, versions: Versions, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refusal = user.refuses("update", versions.full("2.0"), name, code=GONE)
    assert "There is no bundle" in refusal.message


# ------------------------------------------------------------------------------ what is said


def test_a_step_that_is_missing_is_named(user: Victim, versions: Versions, tmp_path: Path) -> None:
    last = make_bundle(tmp_path / "4", {"bin/editor": b"4"}, version="4.0")
    step = make_increment(tmp_path / "3-4", [versions.full("3.0")], last)
    user.accepts("install", versions.full("3.0"))
    user.accepts("rollback", APP)
    user.accepts("remove", APP, "--version", "3.0")
    message = user.refuses("update", versions.first, step, code=GONE).message
    assert "is made from 3.0 here" in message
    assert "there is no increment from 2.0 to 3.0" in message


@pytest.mark.parametrize("harm", HARM)
def test_a_changed_base_is_called_so_and_what_helps_is_named(
    user: Victim, versions: Versions, harm: str
) -> None:
    do, code = HARM[harm]
    do(files(user, "1.0") / "large")
    message = user.refuses("update", versions.first, code=code).message
    assert "changed" in message
    assert "`holdall verify`" in message


def test_going_to_an_installed_version_says_so(user: Victim, versions: Versions) -> None:
    user.accepts("update", versions.first)
    user.accepts("rollback", APP)
    words = ("--root", user.root, "update", versions.first)
    assert "Would go from 1.0 to " in call(*words, "--dry-run")[1]
    _, printed, _ = call(*words)
    assert "Went from 1.0 to " in printed
    assert " 2.0, which was installed already." in printed
    assert "is installed already and active" in call(*words)[1]


def test_what_was_cut_off_is_counted_when_it_is_dropped(
    user: Victim, versions: Versions, holdall_cli: HoldallCli
) -> None:
    data = versions.first.read_bytes()[:-1].decode("utf-8", "surrogateescape")
    holdall_cli("--root", user.root, "update", "-", typed=data, expect=CORRUPT)
    assert "Would drop" in call("--root", user.root, "gc", "--dry-run")[1]
    assert "made or fetched of 1 update that was cut off" in call("--root", user.root, "gc")[1]
    assert "Nothing is left to free." in call("--root", user.root, "gc")[1]
