"""Increments that are interrupted go on where they were; streams, kills, full disks."""

import json
import random
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from bundles import APP, make_bundle, trusting_store
from hostility import Victim
from increments import Pieces, Versions, make_increment, read_index
from sample_app import tree_on_disk
from surroundings import PYTHON, HoldallCli, environment_for
from updates import HARM, files, is_whole
from workbench import workbench

CORRUPT = 4

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
    try:
        names = {path.name for path in store.root.glob("partial/*/*/unit-*")}
    except FileNotFoundError:  # a folder of them is taken away meanwhile
        return set()
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


def bring_back(begin: Path, root: Path) -> None:
    """Have a store be as it was in the beginning."""
    shutil.rmtree(root)
    subprocess.run(["cp", "-a", begin, root], check=True)


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
            bring_back(begin, root)
            moment = chance.uniform(0, seconds)
            killed = bench("update", heavy.first, kill_after=moment).killed
            landed += killed
            finished = kept(user)
            if not killed or not finished:  # the machine is less or more busy than it was
                seconds = moment if not killed else seconds * 1.1
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


def test_an_update_that_is_interrupted_by_hand_keeps_what_it_made(
    memory: Path, isolated_home: Path, heavy: Versions
) -> None:
    trusting_store(memory / "store")
    user = Victim(memory / "store", isolated_home)
    user.accepts("install", heavy.full("1.0"))
    words = (PYTHON, "-m", "holdall", "--root", user.root, "update", heavy.first)
    environment = environment_for(isolated_home)
    begin = memory / "begin"
    subprocess.run(["cp", "-a", user.root, begin], check=True)
    status = 0
    for _ in range(10):  # on a busy machine, an update may be over when it is interrupted
        with subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL) as running:
            while len(kept(user)) < 3 and running.poll() is None:
                pass
            running.send_signal(signal.SIGINT)
            status = running.wait(60)
        if status and kept(user):
            break
        bring_back(begin, user.root)
    assert status == 130
    assert len(kept(user)) >= 3
    assert not list((user.root / "staging").iterdir())
    user.accepts("update", heavy.first)
    assert is_whole(user, heavy, "2.0")


@pytest.mark.root
def test_a_full_disk_leaves_nothing_of_an_increment(
    small_disk: Path, isolated_home: Path, tmp_path: Path
) -> None:
    made = Versions(tmp_path)
    data = random.Random(SEED).randbytes(3_000_000)
    make_bundle(made.full("1.0"), {"large": data}, version="1.0")
    make_bundle(made.full("2.0"), {"large": data + b"more", "bin/x": b"x"}, version="2.0")
    make_increment(made.first, [made.full("1.0")], made.full("2.0"), slice_size=1_048_576)
    trusting_store(small_disk / "store")
    user = Victim(small_disk / "store", isolated_home)
    user.accepts("install", made.full("1.0"))
    (small_disk / "filler").write_bytes(bytes(shutil.disk_usage(small_disk).free - 1_500_000))
    refusal = user.refuses("update", made.first, code=6)
    assert "free some space" in refusal.message
    (small_disk / "filler").unlink()
    user.accepts("update", made.first)
    assert is_whole(user, made, "2.0")
