"""Building increments by the command line's journey: from what to what, and when it is refused."""

import random
from hashlib import sha256
from pathlib import Path

import pytest

from bundles import FILES, KEY, OTHER, QUICK, make_bundle, trusting_store, write_source
from holdall.errors import NoGainError, UsageError
from holdall.journeys.build import build
from holdall.journeys.host import Event, root_host
from holdall.journeys.incremental import build_increment, plan_increment
from holdall.journeys.install import install
from hostility import call


def program(version: int, seed: int = 1) -> bytes:
    """Bytes that do not compress, a few of which differ from version to version."""
    data = bytearray(random.Random(seed).randbytes(200_000))
    for at in range(version):
        data[1000 * at + 500] ^= 0xFF
    return bytes(data)


def listing(files: dict[str, bytes]) -> bytes:
    """A file that quotes the digests of others."""
    return "".join(f"{name},{sha256(data).hexdigest()}\n" for name, data in files.items()).encode()


def files_of(version: int) -> dict[str, bytes]:
    files = {**FILES, "lib/program": program(version), "share/version": b"%d\n" % version}
    inner = listing(files)
    return {**files, "inner": inner, "outer": listing({"inner": inner})}


@pytest.fixture
def versions(tmp_path: Path) -> dict[int, Path]:
    """Three versions as full bundles."""
    return {
        version: make_bundle(
            tmp_path / f"{version}.holdall", files_of(version), version=f"{version}.0"
        )
        for version in (1, 2, 3)
    }


def bases(versions: dict[int, Path], *chosen: int) -> tuple[str, ...]:
    return tuple(str(versions[version]) for version in chosen)


def test_a_folder_and_its_full_bundle_give_the_same_increment(
    versions: dict[int, Path], tmp_path: Path
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    against = bases(versions, 1)
    build_increment(str(versions[2]), str(one), against, keys=(KEY,))
    folder = f"{versions[2]}.d"
    build_increment(folder, str(other), against, keys=(KEY,), options=QUICK)
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("old", [1, 2])
def test_one_increment_starts_from_several_versions(
    versions: dict[int, Path], tmp_path: Path, old: int
) -> None:
    made = build_increment(
        str(versions[3]), str(tmp_path / "3.inc"), bases(versions, 1, 2), keys=(KEY,)
    )
    assert [base.version for base in made.bases] == ["1.0", "2.0"]
    trusting_store(tmp_path / "store")
    host = root_host(str(tmp_path / "store"))
    install(str(versions[old]), host)
    plan = install(made.path, host)
    assert (plan.before, plan.version) == (f"{old}.0", "3.0")


def test_an_increment_is_much_smaller_and_says_how_much(
    versions: dict[int, Path], tmp_path: Path
) -> None:
    made = build_increment(
        str(versions[2]), str(tmp_path / "2.inc"), bases(versions, 1), keys=(KEY,)
    )
    (base,) = made.bases
    assert base.full > 150_000
    assert base.stored < 2_000
    assert {share.path for share in made.files} == {
        "inner",
        "outer",
        "lib/program",
        "share/version",
    }
    assert made.bundle == (tmp_path / "2.inc").stat().st_size


def test_progress_counts_every_byte_that_is_compared(
    versions: dict[int, Path], tmp_path: Path
) -> None:
    told: list[Event] = []
    build_increment(
        str(versions[2]), str(tmp_path / "inc"), bases(versions, 1), keys=(KEY,), report=told.append
    )
    assert told[-1].done == told[-1].total > 200_000
    assert [event.done for event in told] == sorted(event.done for event in told)


def test_what_would_be_compared_can_be_asked_before(versions: dict[int, Path]) -> None:
    for source in (str(versions[2]), f"{versions[2]}.d"):
        plan = plan_increment(source, bases(versions, 1))
        ((version, count, size),) = plan.bases
        assert (version, count) == ("1.0", 4)
        assert size > 200_000


def test_an_increment_that_saves_hardly_anything_is_not_shipped(tmp_path: Path) -> None:
    old = make_bundle(tmp_path / "old", {"data": program(1, seed=1)}, version="1.0")
    new = make_bundle(tmp_path / "new", {"data": program(1, seed=2)}, version="2.0")
    with pytest.raises(NoGainError, match="publish the full bundle alone"):
        build_increment(str(new), str(tmp_path / "inc"), (str(old),), keys=(KEY,))
    assert not (tmp_path / "inc").exists()
    assert not list(tmp_path.glob("tmp*"))


def test_an_increment_of_another_app_is_refused(versions: dict[int, Path], tmp_path: Path) -> None:
    other = make_bundle(tmp_path / "other", FILES, id="org.example.Other")
    with pytest.raises(UsageError, match="cannot start from"):
        build_increment(str(versions[2]), str(tmp_path / "inc"), (str(other),), keys=(KEY,))


def test_an_increment_to_itself_is_refused(versions: dict[int, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="other releases than its own"):
        build_increment(str(versions[2]), str(tmp_path / "inc"), bases(versions, 2), keys=(KEY,))


def test_who_did_not_sign_the_release_cannot_speak_for_it(
    versions: dict[int, Path], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="None of the keys"):
        build_increment(str(versions[2]), str(tmp_path / "inc"), bases(versions, 1), keys=(OTHER,))
    assert not (tmp_path / "inc").exists()


def test_an_increment_is_no_base_and_no_source(versions: dict[int, Path], tmp_path: Path) -> None:
    made = tmp_path / "2.inc"
    build_increment(str(versions[2]), str(made), bases(versions, 1), keys=(KEY,))
    with pytest.raises(UsageError, match="is an increment"):
        build_increment(str(made), str(tmp_path / "inc"), bases(versions, 1), keys=(KEY,))
    with pytest.raises(UsageError, match="is an increment"):
        build_increment(str(versions[3]), str(tmp_path / "inc"), (str(made),), keys=(KEY,))


def test_a_release_with_nothing_new_makes_an_increment(tmp_path: Path) -> None:
    old = make_bundle(tmp_path / "old", FILES, version="1.0")
    source = write_source(tmp_path / "source", FILES, version="2.0")
    build(str(source), str(tmp_path / "new"), keys=(KEY,), options=QUICK)
    made = tmp_path / "inc"
    build_increment(str(tmp_path / "new"), str(made), (str(old),), keys=(KEY,))
    trusting_store(tmp_path / "store")
    host = root_host(str(tmp_path / "store"))
    install(str(old), host)
    assert install(str(made), host).version == "2.0"


# ------------------------------------------------------------------------------ on the command line


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("which", ["source", "base", "another name", "a link"])
def test_what_is_read_is_not_written_over(
    versions: dict[int, Path], tmp_path: Path, which: str, *, dry_run: bool
) -> None:
    out = {"source": versions[2], "base": versions[1]}.get(which, tmp_path / "other")
    if which == "another name":
        out.hardlink_to(versions[1])
    elif which == "a link":
        out.symlink_to(versions[2])
    before = [versions[number].read_bytes() for number in (1, 2)]
    words = ("--dry-run",) if dry_run else ()
    status, _, complaints = call(
        "build", "--unsigned", versions[2], "-o", out, "--against", versions[1], *words
    )
    assert (status, "is read for this build" in complaints) == (2, True)
    assert [versions[number].read_bytes() for number in (1, 2)] == before


@pytest.mark.parametrize(
    "option",
    [
        "--serial=3",
        "--level=19",
        "--frame-size=64K",
        "--created=2026-01-31T12:00:00Z",
        "--expires=2036-01-31T12:00:00Z",
    ],
)
def test_what_a_bundle_says_is_not_said_anew(
    versions: dict[int, Path], tmp_path: Path, option: str
) -> None:
    out = tmp_path / "inc"
    words = ("-o", out, "--against", versions[1], option)
    status, _, complaints = call("build", "--unsigned", versions[2], *words)
    assert (status, out.exists()) == (2, False)
    assert f"{option.partition('=')[0]} cannot be said" in complaints
    assert call("build", "--dry-run", f"{versions[2]}.d", *words)[0] == 0


def test_a_place_that_cannot_be_written_is_named_as_it_was_given(
    versions: dict[int, Path], tmp_path: Path
) -> None:
    for source, words in ((versions[2], ("--against", versions[1])), (f"{versions[2]}.d", ())):
        status, _, complaints = call("build", "--unsigned", source, "-o", tmp_path, *words)
        assert (status, f"{tmp_path} is a folder" in complaints) == (2, True)
        nowhere = tmp_path / "nowhere/x"
        status, _, complaints = call("build", "--unsigned", source, "-o", nowhere, *words)
        assert (status, f"{nowhere} cannot be written" in complaints) == (2, True)
        assert ".tmp" not in complaints


def test_a_bundle_without_an_older_one_gets_a_hint(
    versions: dict[int, Path], tmp_path: Path
) -> None:
    status, _, complaints = call("build", "--unsigned", versions[2], "-o", tmp_path / "x")
    assert (status, "--against OLD" in complaints) == (2, True)
