"""Updates of apps in the form live: the new bundle has the old one's frames and little more."""

import json
import os
import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from disks import disk
from mounted_app import APP, PROGRAM, Person, make_person, write_app
from mounts import eventually, fuse_for_everybody
from surroundings import Require

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("sandbox")]

FILES, SIZE = 120, 25_000
CORRUPT, FULL = 4, 6


@pytest.fixture(autouse=True)
def everybodys_fuse(tmp_path: Path) -> Iterator[None]:
    """FUSE for every user."""
    with fuse_for_everybody(tmp_path):
        yield


def data_of(number: int) -> bytes:
    return random.Random(number).randbytes(SIZE)


def files_of(version: int) -> dict[str, bytes]:
    """Of 120 files each version changes three, and loses one; "gone" is only in the first."""
    files = {f"f{n:03}": data_of(n) for n in range(FILES)}
    for one in range(2, version + 1):
        for n in range(3):
            name = f"f{one * 10 + n * 30:03}"
            files[name] = files[name][:9000] + f"version {one}\n".encode() + files[name][9100:]
        del files[f"f{one:03}"]
    if version == 1:
        files["gone"] = random.Random(-1).randbytes(400_000)
    files["data"] = f"data of {version}\n".encode()
    return files | {"bin/mounted": PROGRAM.encode()}


@pytest.fixture(params=["root", "user"])
def person(request: pytest.FixtureRequest) -> Person:
    """Either of the two, with three versions, increments between them, and the first one live."""
    person = make_person(request, str(request.param))
    for version in (1, 2, 3):
        write_app(
            person.home / f"v{version}",
            APP,
            files_of(version),
            command="mounted",
            version=f"{version}.0",
        )
        build(person, version)
        if version > 1:
            build(person, version, "--against", f"v{version - 1}.holdall")
    person.install("--form", "live", app="v1")
    return person


def build(person: Person, version: int, *options: str) -> None:
    target = f"v{version}.inc" if "--against" in options else f"v{version}.holdall"
    words = ("build", f"v{version}", "-o", target, "--frame-size", "64K", *options)
    person.cli(*words, directory=person.home)


def update(person: Person, *names: str, expect: int = 0) -> str:
    done = person.cli("update", *(person.home / name for name in names), expect=expect)
    return done.stdout + done.stderr


def bundle_of(person: Person) -> Path:
    return person.deployment / "bundle"


def record(person: Person) -> dict[str, object]:
    found = json.loads((person.deployment / "form").read_text())
    assert isinstance(found, dict)
    return found


def shared(old: bytes, new: bytes) -> float:
    """The part of the old file's bytes that is in the new one, by samples."""
    samples = [old[at : at + 48] for at in range(20_000, len(old) - 48, 10_000)]
    return sum(sample in new for sample in samples) / len(samples)


def is_whole(person: Person, version: int) -> bool:
    """Whether this is the active version, every byte of it and of the others is right."""
    said = person.run(person.stub).stdout
    person.cli("verify")
    return said.startswith(f"data of {version}\n") and is_tidy(person)


def is_tidy(person: Person) -> bool:
    return not any(
        list((person.store / name).glob("*")) for name in ("staging", "partial", "journal")
    )


def active(person: Person) -> str:
    rows = person.cli.json("list")
    assert isinstance(rows, list)
    return str(rows[0]["version"])


def damage(person: Person, needle: bytes) -> None:
    """Change a byte of what is stored as it is in the bundle, as noise is."""
    bundle = bundle_of(person)
    at = bundle.read_bytes().index(needle)
    with bundle.open("r+b") as file:
        file.seek(at)
        file.write(bytes([needle[0] ^ 1]))


def test_an_increment_carries_what_it_does_not_make(person: Person) -> None:
    old = bundle_of(person).read_bytes()
    update(person, "v2.inc")
    new = bundle_of(person).read_bytes()
    assert record(person)["local"] is True
    assert shared(old, new) > 0.75
    assert len(new) < 1.15 * (person.home / "v2.holdall").stat().st_size
    assert is_whole(person, 2)
    assert eventually(person.nothing_is_left)


def test_versions_follow_each_other_and_go_back(person: Person) -> None:
    update(person, "v2.inc")
    update(person, "v3.inc")
    assert is_whole(person, 3)
    assert bundle_of(person).stat().st_size < 1.3 * (person.home / "v3.holdall").stat().st_size
    person.cli("rollback", APP)
    assert is_whole(person, 2)


def test_two_increments_in_one_step_carry_too(person: Person) -> None:
    old = bundle_of(person).read_bytes()
    update(person, "v3.inc", "v2.inc")
    assert shared(old, bundle_of(person).read_bytes()) > 0.6
    assert is_whole(person, 3)


def test_it_becomes_a_tree_and_comes_back_of_another_versions_frames(person: Person) -> None:
    update(person, "v2.inc")
    person.cli("convert", APP, "--form", "tree", "--version", "1.0")
    person.cli("convert", APP, "--form", "live", "--version", "1.0")
    assert is_whole(person, 2)
    person.cli("rollback", APP)
    assert is_whole(person, 1)
    assert shared((person.home / "v1.holdall").read_bytes(), bundle_of(person).read_bytes()) > 0.7


def test_what_runs_keeps_its_files(person: Person) -> None:
    with person.running() as app:
        update(person, "v2.inc")
        person.cli("remove", APP, "--version", "1.0")
        assert person.end(app) == "data of 1\n"
    assert is_whole(person, 2)


def test_what_will_be_made_is_told_before_and_counted_exactly(person: Person) -> None:
    told = person.cli("update", "--dry-run", person.home / "v2.inc").stdout
    plan = person.cli.json("update", "--dry-run", person.home / "v2.inc")
    assert isinstance(plan, list)
    made = sum(len(files_of(2)[name]) for name in files_of(2) if changed(name))
    assert plan[0]["produced"] == made
    assert "kB new" in told
    progress = re.findall(r": (\S+ \S+) of (\S+ \S+)$", update(person, "v2.inc"), re.MULTILINE)
    assert progress[-1][0] == progress[-1][1]


def changed(name: str) -> bool:
    return files_of(1).get(name) != files_of(2)[name]


def test_a_bundle_in_long_frames_is_packed_behind_the_old_ones(person: Person) -> None:
    person.cli("build", "v2", "-o", "long.holdall", directory=person.home)
    old = bundle_of(person).read_bytes()
    damage(person, data_of(50)[:64])
    update(person, "long.holdall")
    assert record(person)["local"] is True
    assert shared(old, bundle_of(person).read_bytes()) > 0.7
    assert person.run(person.stub).stdout.startswith("data of 2\n")
    said = person.cli("--json", "verify", expect=CORRUPT).stdout
    faulty = {row["version"]: bool(row["faults"]) for row in json.loads(said)}
    assert faulty == {"1.0": True, "2.0": False}


def test_damage_to_what_is_not_needed_any_more_is_nothing(person: Person) -> None:
    damage(person, files_of(1)["gone"][200_000:200_064])
    update(person, "v2.inc")
    person.cli("remove", APP, "--version", "1.0")
    assert is_whole(person, 2)


@pytest.mark.parametrize(("number", "status"), [(55, 3), (20, CORRUPT)])
def test_damage_to_what_is_needed_is_told_and_healed(
    person: Person, number: int, status: int
) -> None:
    """One that would be carried, and one that the increment builds on."""
    damage(person, data_of(number)[12_000:12_064])
    said = update(person, "v2.inc", expect=status)
    assert re.search(r"have, 'f05[4-6]'|\('data', 'f020'", said), said
    assert "give the full bundle" in said
    assert active(person) == "1.0"
    assert is_tidy(person)
    update(person, "v2.inc", "v2.holdall")
    person.cli("remove", APP, "--version", "1.0")
    assert is_whole(person, 2)


def test_a_spoiled_index_is_not_gone_by(person: Person) -> None:
    bundle = bundle_of(person)
    with bundle.open("r+b") as file:
        file.seek(int(str(record(person)["packing"][2])) - 40)  # type: ignore[index]  # JSON
        file.write(b"spoiled")
    assert "is installed and cannot be read here" in update(person, "v2.inc", expect=3)
    update(person, "v2.inc", "v2.holdall")
    person.cli("remove", APP, "--version", "1.0")
    assert is_whole(person, 2)


def test_repairing_takes_nothing_of_what_is_damaged(person: Person) -> None:
    update(person, "v2.inc")
    damage(person, data_of(50)[100:164])
    person.cli("repair", person.home / "v2.holdall")
    found = person.cli.json("verify")
    assert isinstance(found, list)
    assert not any(row["faults"] for row in found)


def test_only_the_store_that_packed_it_takes_it(person: Person) -> None:
    update(person, "v2.inc")
    bundle = bundle_of(person)
    assert "packed by this store" in person.cli("inspect", bundle).stdout
    other = ("--root", person.home / "other")
    trust = ("--trust-key", signer(person))
    for words in (("inspect", bundle), ("install", bundle, *trust)):
        done = person.cli(*other, *words, expect=CORRUPT)
        assert "was packed by a store, for itself" in done.stderr
        assert "as its publisher made it" in done.stderr
    assert person.cli(*other, "--json", "list").stdout.strip() == "[]"


def signer(person: Person) -> str:
    facts = person.cli.json("inspect", person.home / "v1.holdall")
    assert isinstance(facts, dict)
    return str(facts["signed_by"][0])


def test_without_fuse_an_increment_makes_a_tree(person: Person) -> None:
    if person.cli.user is None:
        return
    Path("/dev/fuse").chmod(0o600)  # the copy that only this process and its children see
    try:
        said = update(person, "v2.inc")
        assert "is laid down as tree" in said
        assert person.run(person.stub).stdout.startswith("data of 2\n")
        person.cli("verify")
    finally:
        Path("/dev/fuse").chmod(0o666)


POINTS = [
    ("copy_file_range", 1),
    ("copy_file_range", 2),
    ("copy_file_range", 3),
    ("syncfs", 1),
    ("rename", 1),
    ("rename", 2),
    ("rename", 3),
]


def traced(person: Person, strace: Path, inject: str) -> int:
    """Update with something done at a system call; returns the exit status."""
    call = inject.split(":", maxsplit=1)[0]
    words = (person.cli.python, "-m", "holdall", "update", person.home / "v2.inc")
    options = ("-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={inject}")
    return person.run(strace, *options, *words).returncode


@pytest.mark.parametrize(("call", "number"), POINTS)
def test_a_kill_leaves_the_old_or_the_new_one(
    person: Person, require: Require, call: str, number: int
) -> None:
    status = traced(person, require("strace"), f"{call}:signal=SIGKILL:when={number}")
    assert status == -9 or (call == "rename" and number > 1), "there may be fewer such calls"
    version = active(person)
    assert version in {"1.0", "2.0"}
    assert person.run(person.stub).stdout.startswith(f"data of {version[0]}\n")
    person.cli("verify")
    update(person, "v2.inc")
    person.cli("gc", "--keep", "9")
    assert is_whole(person, 2)


@pytest.mark.parametrize(("call", "number"), [("copy_file_range", 1), ("copy_file_range", 3)])
def test_a_full_disk_leaves_the_old_one(
    person: Person, require: Require, call: str, number: int
) -> None:
    before = bundle_of(person).read_bytes()
    status = traced(person, require("strace"), f"{call}:error=ENOSPC:when={number}+")
    assert status == FULL
    assert active(person) == "1.0"
    assert is_tidy(person)
    assert bundle_of(person).read_bytes() == before
    update(person, "v2.inc")
    assert is_whole(person, 2)


def test_blocks_are_shared_where_the_file_system_can(
    request: pytest.FixtureRequest, require: Require
) -> None:
    filefrag = require("filefrag")
    person = make_person(request, "root")
    noise = {f"n{n:03}": random.Random(n).randbytes(100_000) for n in range(200)}
    with disk("btrfs", 512 << 20) as point:
        for version in (1, 2):
            noise["n077"] = noise["n077"][:50_000] + bytes([version]) * 9 + noise["n077"][50_009:]
            fields = {"command": "mounted", "version": f"{version}.0"}
            files = {"bin/mounted": PROGRAM.encode(), **noise}
            write_app(person.home / f"v{version}", APP, files, **fields)
            build(person, version)
        build(person, 2, "--against", "v1.holdall")
        store = ("--root", point / "store")
        trust = ("--trust-key", signer(person))
        person.cli(*store, "install", person.home / "v1.holdall", "--form", "live", *trust)
        os.sync()
        before = os.statvfs(point).f_bfree
        person.cli(*store, "update", person.home / "v2.inc")
        os.sync()
        taken = (before - os.statvfs(point).f_bfree) * os.statvfs(point).f_frsize
        assert taken < 4_000_000, "of twenty million"
        new = max((point / "store").rglob("bundle"), key=lambda path: path.stat().st_mtime_ns)
        listed = subprocess.run([filefrag, "-v", new], capture_output=True, text=True, check=True)
        assert "shared" in listed.stdout
        person.cli(*store, "verify")
