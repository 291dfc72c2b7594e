"""The store as its users meet it: one writer, many readers, several versions, damage and repair."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sample_app import APP, VERSIONS, Bundles, installed_versions, tree_on_disk
from surroundings import PYTHON, HoldallCli, OrdinaryUser, environment_for, expected, run
from workbench import Workbench, workbench

CORRUPT, GONE, BUSY, DENIED = 4, 3, 5, 6


@pytest.fixture
def bench(tmp_path: Path, isolated_home: Path) -> Iterator[Workbench]:
    """Commands on an empty store in the folder ``store``."""
    environment = environment_for(isolated_home)
    with workbench(PYTHON, environment, tmp_path / "bench", "--root", tmp_path / "store") as made:
        yield made


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def install(bench: Workbench, bundles: Bundles, *versions: str) -> None:
    for version in versions:
        bench.expect(0, "install", *bundles.trust, bundles.bundle(version))


def files(bench: Workbench, version: str | None = None) -> Path:
    choice = ("--version", version) if version else ()
    return Path(bench.expect(0, "path", APP, *choice).output.rstrip("\n"))


def faults(bench: Workbench) -> dict[str, set[str]]:
    """The paths `verify` finds fault with, by version."""
    ended = bench("--json", "verify")
    rows = ended.json()
    assert isinstance(rows, list)
    found = {row["version"]: {path for path, _ in row["faults"]} for row in rows}
    assert ended.status == (CORRUPT if any(found.values()) else 0)
    return found


@contextmanager
def held_lock(store: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that is changing the store, until told to end by a line of input."""
    script = (
        "import sys; from holdall.store.catalog import writing; "
        "from holdall.store.layout import Layout\n"
        "with writing(Layout(sys.argv[1])): print('held', flush=True); sys.stdin.readline()"
    )
    with subprocess.Popen(
        [PYTHON, "-c", script, store],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield holder
        finally:
            holder.kill()


def test_a_second_writer_is_told_who_the_first_is(
    bench: Workbench, store: Path, bundles: Bundles
) -> None:
    install(bench, bundles, "1.0")
    with held_lock(store) as holder:
        refused = bench.expect(BUSY, "update", bundles.bundle("2.0"))
        assert f"Process {holder.pid} is changing the store {store}" in refused.errors
        assert bench.expect(0, "list").output
        assert bench.expect(0, "path", APP).output


def test_a_second_writer_waits_when_asked_to(
    bench: Workbench, store: Path, bundles: Bundles, holdall_cli: HoldallCli
) -> None:
    install(bench, bundles, "1.0")
    words = (PYTHON, "-m", "holdall", "--root", store, "update", bundles.bundle("2.0"), "--wait")
    environment = dict(holdall_cli.environment)
    with held_lock(store) as holder, subprocess.Popen(words, env=environment) as waiting:
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(1.5)
        holder.communicate("end\n")
        assert waiting.wait(60) == 0
    assert sorted(installed_versions(store).values()) == ["1.0", "2.0"]
    with held_lock(store):
        begun = time.monotonic()
        bench.expect(BUSY, "--wait", "2", "gc")
        assert time.monotonic() - begun > 1.9


READER = """
import json, os, sys
from holdall.cli.main import main
store, stop, enough, words = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
count = 0
while not os.path.exists(stop) or not count:
    read, write = os.pipe()
    saved = os.dup(1)
    os.dup2(write, 1)
    code = main(["--root", store, *words])
    sys.stdout.flush()
    os.dup2(saved, 1)
    os.close(saved)
    os.close(write)
    answer = os.fdopen(read).read()
    assert code == 0, (code, answer)
    if words[0] == "path":
        assert os.path.basename(answer.strip()) == "files", answer
    else:
        (row,) = json.loads(answer)
        assert row["version"] in {"1.0", "2.0", "3.0"}, row
    count += 1
    if count == 51:
        os.close(os.open(enough, os.O_CREAT))
"""


def test_readers_never_meet_a_half_state(
    bench: Workbench, store: Path, bundles: Bundles, tmp_path: Path, holdall_cli: HoldallCli
) -> None:
    install(bench, bundles, "1.0", "2.0")
    stop = tmp_path / "stop"
    enough = {"list": tmp_path / "listed", "path": tmp_path / "shown"}
    readers = [
        subprocess.Popen(
            [PYTHON, "-c", READER, store, stop, enough[words[0]], *words],
            env=dict(holdall_cli.environment) | {"PYTHONWARNINGS": "ignore"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        for words in (("list", "--json"), ("path", APP))
    ]
    end = time.monotonic() + 6
    while time.monotonic() < end or not all(path.exists() for path in enough.values()):
        assert all(reader.poll() is None for reader in readers)
        bench.expect(0, "update", "--allow-downgrade", bundles.bundle("3.0"))
        bench.expect(0, "rollback", APP, "--to", "2.0")
        bench.expect(0, "remove", APP, "--version", "2.0")
        bench.expect(0, "update", "--allow-downgrade", bundles.bundle("2.0"))
        bench.expect(0, "gc", "--keep", "1")
    stop.touch()
    for reader in readers:
        _, errors = reader.communicate(timeout=60)
        assert reader.returncode == 0, errors


def test_versions_stand_side_by_side(bench: Workbench, bundles: Bundles) -> None:
    install(bench, bundles, *VERSIONS)
    for version in VERSIONS:
        assert tree_on_disk(files(bench, version)) == tree_on_disk(bundles.files(version))
    assert files(bench) == files(bench, "3.0")
    assert faults(bench) == {version: set() for version in VERSIONS}


def test_rollback_goes_to_the_version_before_or_to_any(bench: Workbench, bundles: Bundles) -> None:
    install(bench, bundles, *VERSIONS)
    bench.expect(0, "rollback", APP)
    assert files(bench) == files(bench, "2.0")
    bench.expect(0, "rollback", APP, "--to", "1.0")
    assert files(bench) == files(bench, "1.0")
    assert "has no version 4" in bench.expect(GONE, "rollback", APP, "--to", "4").errors
    rows = bench.expect(0, "--json", "history", APP).json()
    assert isinstance(rows, list)
    told = [(row["action"], row["version"]) for row in rows]
    assert told == [
        ("install", "1.0"),
        ("update", "2.0"),
        ("update", "3.0"),
        ("rollback", "2.0"),
        ("rollback", "1.0"),
    ]
    assert [row["active"] for row in rows].count(True) == 2
    assert rows[-1]["active"]


def test_a_version_that_was_removed_is_not_told_of_as_active(
    bench: Workbench, bundles: Bundles
) -> None:
    install(bench, bundles, *VERSIONS)
    bench.expect(0, "remove", APP, "--version", "1.0")
    rows = bench.expect(0, "--json", "history", APP).json()
    assert isinstance(rows, list)
    assert [(row["version"], row["installed"], row["active"]) for row in rows] == [
        ("1.0", False, False),
        ("2.0", True, False),
        ("3.0", True, True),
        ("1.0", False, False),
    ]


def test_du_says_what_du_says(bench: Workbench, store: Path, bundles: Bundles) -> None:
    install(bench, bundles, *VERSIONS)
    rows = bench.expect(0, "--json", "du").json()
    assert isinstance(rows, list)
    measured = subprocess.run(
        ["du", "--block-size=1", "-s", *(store / "deployments").glob("*/*/*/*")],
        stdout=subprocess.PIPE,
        check=True,
        encoding="utf-8",
    )
    unique = sum(int(line.split()[0]) for line in measured.stdout.splitlines())
    assert rows[0]["unique"] == unique
    assert rows[0]["versions"] == 3
    apparent = sum(
        len(data)
        for version in VERSIONS
        for data in tree_on_disk(bundles.files(version)).values()
        if isinstance(data, bytes)
    )
    assert rows[0]["apparent"] == apparent


def flip(top: Path) -> set[str]:
    path = top / "large"
    times = (path.stat().st_atime_ns, path.stat().st_mtime_ns)
    with path.open("r+b") as file:
        file.seek(4097)
        file.write(b"!")
    os.utime(path, ns=times)
    return {"large"}


def truncate(top: Path) -> set[str]:
    os.truncate(top / "large", 1000)
    return {"large"}


def change_mode(top: Path) -> set[str]:
    (top / "version").chmod(0o4755)
    return {"version"}


def change_mode_of_folder(top: Path) -> set[str]:
    (top / "lib").chmod(0o700)
    return {"lib"}


def add(top: Path) -> set[str]:
    (top / "lib/extra.py").write_text("boo")
    (top / "more/below").mkdir(parents=True)
    (top / "more/below/file").write_text("boo")
    return {"lib/extra.py", "more", "more/below", "more/below/file"}


def take_away(top: Path) -> set[str]:
    (top / "version").unlink()
    (top / "empty").rmdir()
    return {"version", "empty"}


def turn_link(top: Path) -> set[str]:
    (top / "current").unlink()
    (top / "current").symlink_to("/etc")
    return {"current"}


def swap_parent(top: Path) -> set[str]:
    """Make a folder a link to a copy of it that stands elsewhere."""
    elsewhere = top.parent.parent / "elsewhere"
    shutil.copytree(top / "bin", elsewhere)
    shutil.rmtree(top / "bin")
    (top / "bin").symlink_to(elsewhere)
    return {"bin", "bin/sample"}


def file_to_folder(top: Path) -> set[str]:
    (top / "version").unlink()
    (top / "version").mkdir()
    (top / "version/inside").write_text("boo")
    return {"version", "version/inside"}


def link_to_folder(top: Path) -> set[str]:
    """Where a link belongs, a folder with a name that also stands where the link should lead."""
    (top / "current").unlink()
    (top / "current").mkdir()
    name = next(path.name for path in sorted((top / "lib").glob("*.py")))
    (top / "current" / name).write_text("boo")
    return {"current", f"current/{name}"}


DAMAGES = (
    flip, truncate, change_mode, change_mode_of_folder, add, take_away, turn_link, swap_parent,
    file_to_folder, link_to_folder,
)  # fmt: skip


@pytest.mark.parametrize("umask", [0o022, 0o077])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_and_mended(
    tmp_path: Path, bundles: Bundles, damage: Callable[[Path], set[str]], umask: int
) -> None:
    before = os.umask(umask)
    try:
        environment = environment_for(tmp_path / "home")
        options = ("--root", tmp_path / "store")
        with workbench(PYTHON, environment, tmp_path / "bench", *options) as bench:
            install(bench, bundles, "1.0")
            broken = damage(files(bench))
            assert faults(bench) == {"1.0": broken}
            mended = bench.expect(0, "--json", "repair", bundles.bundle("1.0")).json()
            assert isinstance(mended, list)
            assert set(mended[0]["paths"]) == broken
            assert faults(bench) == {"1.0": set()}
            assert tree_on_disk(files(bench)) == tree_on_disk(bundles.files("1.0"))
    finally:
        os.umask(before)


@pytest.mark.parametrize("name", ["release", "envelope", "tree"])
def test_signed_files_beside_the_app_are_checked_and_mended(
    bench: Workbench, bundles: Bundles, name: str
) -> None:
    install(bench, bundles, "1.0", "2.0")
    signed = files(bench, "1.0").parent / name
    signed.write_bytes(signed.read_bytes()[:-9] + b" " * 9)
    ended = bench.expect(CORRUPT, "--json", "verify")
    assert ended.output.count('"faults": []') == 1
    bench.expect(0, "repair", bundles.bundle("1.0"))
    assert faults(bench) == {"1.0": set(), "2.0": set()}


def test_a_seed_that_was_written_to_is_not_linked(bench: Workbench, bundles: Bundles) -> None:
    install(bench, bundles, "1.0")
    old = files(bench)
    (old / "empty").chmod(0o755)
    same = next(path for path in sorted((old / "lib").glob("*.py")) if unchanged(path, bundles))
    others = [path for path in sorted((old / "lib").glob("*.py")) if unchanged(path, bundles)]
    with same.open("r+b") as file:
        file.write(b"!")
    others[1].chmod(0o777)
    install(bench, bundles, "2.0")
    assert faults(bench)["2.0"] == set()
    assert tree_on_disk(files(bench)) == tree_on_disk(bundles.files("2.0"))
    assert (files(bench) / "lib" / others[2].name).stat().st_ino == others[2].stat().st_ino


def unchanged(path: Path, bundles: Bundles) -> bool:
    other = bundles.files("2.0") / "lib" / path.name
    return other.exists() and other.read_bytes() == path.read_bytes()


def test_a_bundle_from_a_pipe_installs_the_same(
    bench: Workbench, store: Path, bundles: Bundles, holdall_cli: HoldallCli, tmp_path: Path
) -> None:
    install(bench, bundles, "1.0")
    other = tmp_path / "other"
    for version in ("1.0", "2.0"):
        with subprocess.Popen(["cat", bundles.bundle(version)], stdout=subprocess.PIPE) as cat:
            subprocess.run(
                [PYTHON, "-m", "holdall", "--root", other, "install", *bundles.trust, "-"],
                env=dict(holdall_cli.environment),
                stdin=cat.stdout,
                check=True,
            )
    install(bench, bundles, "2.0")
    assert installed_versions(other) == installed_versions(store)
    for digest in installed_versions(store):
        one, two = (next(top.glob(f"deployments/*/*/*/{digest}")) for top in (store, other))
        assert tree_on_disk(one / "files") == tree_on_disk(two / "files")
        for name in ("release", "envelope", "tree"):
            assert (one / name).read_bytes() == (two / name).read_bytes()


@pytest.mark.root
@pytest.mark.parametrize("umask", ["022", "077"])
def test_an_ordinary_user_needs_no_help(
    ordinary_user: OrdinaryUser, bundles: Bundles, umask: str
) -> None:
    for version in VERSIONS:
        copied = ordinary_user.home / f"{version}.holdall"
        copied.write_bytes(bundles.bundle(version).read_bytes())
        ordinary_user.give(copied)
    holdall = f"{ordinary_user.python} -m holdall"
    app = APP
    commands = f"""
        set -e
        umask {umask}
        {holdall} install {" ".join(bundles.trust)} 1.0.holdall
        {holdall} update 2.0.holdall
        {holdall} update 3.0.holdall
        {holdall} rollback {app}
        {holdall} verify
        echo boo >"$({holdall} path {app})/version"
        if {holdall} verify; then exit 1; fi
        {holdall} repair 2.0.holdall
        {holdall} verify
        {holdall} remove {app} --version 2.0
        {holdall} gc --keep 0
        {holdall} verify
        {holdall} remove {app}
        {holdall} gc
    """
    ordinary_user.run("sh", "-c", commands)
    share = ordinary_user.home / ".local/share"
    assert not list((share / "holdall/deployments").iterdir())
    assert not (share / "applications").exists()


@pytest.mark.root
@pytest.mark.parametrize("state", ["foreign", "read-only"])
def test_a_store_that_may_not_be_written_is_refused_in_a_sentence(
    ordinary_user: OrdinaryUser, bundles: Bundles, state: str, tmp_path: Path
) -> None:
    store = ordinary_user.home / "store"
    environment = environment_for(tmp_path / "home")
    with workbench(PYTHON, environment, tmp_path / "bench", "--root", store) as bench:
        install(bench, bundles, "1.0")
        (store / "trash/rubbish").mkdir(parents=True)
        if state == "read-only":
            ordinary_user.give(store)
            for path in (store, *store.iterdir()):
                path.chmod(0o555 if path.is_dir() else 0o444)
    holdall = ordinary_user.holdall
    copied = ordinary_user.home / "2.0.holdall"
    copied.write_bytes(bundles.bundle("2.0").read_bytes())
    ordinary_user.give(copied)
    for words in (("install", copied), ("rollback", APP), ("remove", APP), ("gc",)):
        refused = holdall("--root", store, *words, expect=None)
        assert refused.returncode in {DENIED, CORRUPT}, refused
        assert refused.stderr.startswith("holdall: ")
        assert refused.stderr.count("\n") == 1
    for words in (("list",), ("path", APP), ("verify",), ("du",), ("history", APP), ("ps",)):
        answered = holdall("--root", store, *words)
        assert "holdall:" not in answered.stderr


FEW_LINKS = """
import errno, os, sys
from holdall.cli.main import main
real, counts = os.link, {}

def link(source, *words, src_dir_fd=None, **rest):
    found = os.stat(source, dir_fd=src_dir_fd, follow_symlinks=False)
    if found.st_nlink >= 2:
        raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))
    real(source, *words, src_dir_fd=src_dir_fd, **rest)

os.link = link
sys.exit(main(sys.argv[1:]))
"""


def test_a_file_with_too_many_links_is_written_anew(
    bench: Workbench, store: Path, bundles: Bundles, holdall_cli: HoldallCli
) -> None:
    install(bench, bundles, "1.0", "2.0")
    command: list[str | Path] = [PYTHON, "-c", FEW_LINKS, "--root", store, "install"]
    expected(run([*command, bundles.bundle("3.0")], environment=holdall_cli.environment), 0)
    assert faults(bench) == {version: set() for version in VERSIONS}
    assert tree_on_disk(files(bench)) == tree_on_disk(bundles.files("3.0"))
