"""The pool: who shares what, what an object must be to be given out, and when it goes."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bundles import FILES, make_bundle, trusting_store
from holdall.errors import CorruptError
from holdall.forms import pool as form
from holdall.forms.port import REQUIREMENTS
from holdall.journeys.build import BuildOptions
from holdall.journeys.cleanup import collect
from holdall.journeys.forming import Wanted
from holdall.journeys.host import Host
from holdall.journeys.install import install
from holdall.journeys.measuring import Usage, usage
from holdall.journeys.repair import repair
from holdall.journeys.settings import change_setting
from holdall.journeys.switch import remove
from holdall.journeys.verify import verify
from holdall.model.digest import digest_of
from holdall.model.ref import Ref, RefPattern
from holdall.model.tree import File
from holdall.store import pool
from holdall.system.means import Means

ONE, TWO = "org.example.One", "org.example.Two"
POOL = Wanted(form="pool")
SHARED = {**FILES, "share/large": bytes(range(256)) * 600, "bin/large": bytes(130_000)}
PIECES = BuildOptions(level=1, frame_size=2**16)  # large contents come in several


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return trusting_store(tmp_path / "store")


def put(host: Host, app: str, *, version: str = "1.0", branch: str = "stable", **own: str) -> Path:
    """Install an app with the shared files and some of its own; returns its bundle."""
    files = {**SHARED, "own": app.encode(), **{name: own[name].encode() for name in own}}
    path = Path(host.layout.root).parent / f"{app}-{version}-{branch}"
    make_bundle(path, files, options=PIECES, id=app, version=version, branch=branch)
    install(str(path), host, wanted=POOL)
    return path


def folder(host: Host, app: str, *, version: str = "1.0", branch: str = "stable") -> Path:
    return Path(host.catalog.version(Ref(app, "x86_64", branch), version).files)


def stored(host: Host, data: bytes, *, executable: bool = False, app: str = "") -> Path:
    """Where the object of a content is, in the store's pool or an app's."""
    one = pool.pool_of(host.layout.root, "app" if app else "store", app)
    return Path(one.path(digest_of(data), executable=executable))


def objects(host: Host) -> list[Path]:
    return sorted(path for path in Path(host.layout.pool).rglob("*") if path.is_file())


def faults(host: Host) -> dict[tuple[str, str], list[str]]:
    """The damaged paths of each version that has any."""
    return {
        (item.ref.partition("/")[0], item.version): [path for path, _ in item.faults]
        for item in verify(host)
        if item.faults
    }


def take(host: Host, app: str) -> None:
    """Remove an app, and free it now."""
    remove(RefPattern.parse(app), host)
    collect(host)


@contextmanager
def timeless(path: Path) -> Iterator[None]:
    """Leave no trace in a file's times of what is done to it."""
    status = path.stat()
    yield
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


# ------------------------------------------------------------------------------ who shares what


def test_two_apps_share_one_inode_of_each_content(host: Host) -> None:
    put(host, ONE)
    put(host, TWO)
    for name in SHARED:
        assert (folder(host, ONE) / name).samefile(folder(host, TWO) / name), name
    assert not (folder(host, ONE) / "own").samefile(folder(host, TWO) / "own")
    assert faults(host) == {}


def test_a_content_of_both_modes_has_an_object_for_each(host: Host) -> None:
    put(host, ONE, other=SHARED["bin/editor"].decode())
    program, plain = (
        stored(host, SHARED["bin/editor"], executable=executable) for executable in (True, False)
    )
    assert program.samefile(folder(host, ONE) / "bin/editor")
    assert plain.samefile(folder(host, ONE) / "other")
    assert [path.stat().st_mode & 0o777 for path in (program, plain)] == [0o755, 0o644]


def test_objects_have_no_time(host: Host) -> None:
    put(host, ONE)
    assert {path.stat().st_mtime_ns for path in objects(host)} == {0}
    assert len(objects(host)) == len(SHARED) + 1


def test_nobody_but_the_stores_owner_may_look_into_the_pool(host: Host) -> None:
    put(host, ONE)
    assert Path(host.layout.pool).stat().st_mode & 0o777 == 0o700


def test_apps_that_share_only_with_themselves_have_nothing_in_common(host: Host) -> None:
    change_setting(host, "pool", "app")
    put(host, ONE)
    put(host, TWO)
    for name in SHARED:
        assert not (folder(host, ONE) / name).samefile(folder(host, TWO) / name), name
    assert not [path for path in objects(host) if "by-app" not in path.parts]


def test_branches_of_an_app_share_in_its_own_pool(host: Host) -> None:
    change_setting(host, "pool", "app")
    put(host, ONE)
    put(host, ONE, branch="beta")
    for name in SHARED:
        assert (folder(host, ONE) / name).samefile(folder(host, ONE, branch="beta") / name)


def test_versions_share_without_producing_anything_again(host: Host) -> None:
    put(host, ONE)
    path = make_bundle(
        Path(host.layout.root).parent / "next", {**SHARED, "own": b"x"}, id=ONE, version="2.0"
    )
    plan = install(str(path), host)
    assert plan.produced == 1
    assert (folder(host, ONE) / "share/large").samefile(
        folder(host, ONE, version="2.0") / "share/large"
    )


def test_the_record_says_what_was_chosen(host: Host) -> None:
    change_setting(host, "pool", "app")
    put(host, ONE)
    record = host.catalog.current(RefPattern.parse(ONE)).record
    assert record == {"form": "pool", "pool": "app", "share": "link"}


def rows_of(host: Host) -> dict[str, Usage]:
    return {row.ref.partition("/")[0]: row for row in usage(host).rows}


def blocks_of(paths: Iterable[Path]) -> int:
    """What inodes take, each once."""
    held = {path.lstat().st_ino: path.lstat().st_blocks * 512 for path in paths}
    return sum(held.values())


def test_what_apps_share_is_counted(host: Host) -> None:
    put(host, ONE, own="one")
    put(host, TWO, own="two")
    rows = rows_of(host)
    common = {path for path in objects(host) if path.stat().st_nlink > 2}
    assert rows[ONE].shared == rows[TWO].shared == blocks_of(common) > 0
    assert rows[ONE].unique > rows[ONE].shared


def test_of_the_pool_only_what_no_app_has_is_counted(host: Host) -> None:
    put(host, ONE)
    before = rows_of(host)["pool"]
    stray = objects(host)[0].parent / "stray"
    stray.write_bytes(bytes(10_000))
    after = rows_of(host)["pool"]
    assert before.versions == before.apparent == before.shared == 0
    assert before.unique < blocks_of(objects(host))
    assert after.unique - before.unique == stray.stat().st_blocks * 512


def test_in_all_each_inode_is_counted_once(host: Host) -> None:
    put(host, ONE)
    put(host, TWO)
    root = Path(host.layout.root)
    (root / "data").mkdir()
    (root / "data/kept").write_bytes(bytes(10_000))
    everything = (path for path in root.rglob("*") if root / "data" not in (path, path.parent))
    assert rows_of(host)["total"].unique == blocks_of((root, *everything))


def test_the_form_answers_for_every_requirement(tmp_path: Path) -> None:
    cells = form.cells(Means(str(tmp_path)))
    assert cells.keys() == REQUIREMENTS.keys()
    assert all(cell.reason for cell in cells.values())


# ------------------------------------------------------------------------------ what is given out


@pytest.mark.parametrize("name", ["share/words.txt", "share/large", "bin/large", "bin/editor"])
def test_an_object_that_was_written_to_is_not_given_out(host: Host, name: str) -> None:
    put(host, ONE)
    path = folder(host, ONE) / name
    with path.open("r+b") as file:
        file.write(b"X")
    put(host, TWO)
    assert (folder(host, TWO) / name).read_bytes() == SHARED[name]
    assert stored(host, SHARED[name], executable=name.startswith("bin/")).samefile(
        folder(host, TWO) / name
    )
    assert faults(host) == {(ONE, "1.0"): [name]}


@pytest.mark.parametrize("name", ["share/words.txt", "share/large", "bin/large", "bin/editor"])
def test_an_object_that_rotted_is_not_given_out(host: Host, name: str) -> None:
    """Nothing but reading it shows that."""
    put(host, ONE)
    path = folder(host, ONE) / name
    with timeless(path), path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"X")
    put(host, TWO)
    assert (folder(host, TWO) / name).read_bytes() == SHARED[name]
    assert faults(host) == {(ONE, "1.0"): [name]}


def test_an_object_of_another_mode_is_not_given_out(host: Host) -> None:
    put(host, ONE)
    (folder(host, ONE) / "share/words.txt").chmod(0o666)
    put(host, TWO)
    assert (folder(host, TWO) / "share/words.txt").stat().st_mode & 0o777 == 0o644


def test_a_link_in_the_pool_is_not_followed(host: Host, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(SHARED["share/words.txt"])
    os.utime(secret, ns=(0, 0))
    place = stored(host, SHARED["share/words.txt"])
    place.parent.mkdir(parents=True)
    place.symlink_to(secret)
    put(host, ONE)
    assert not (folder(host, ONE) / "share/words.txt").is_symlink()
    assert secret.stat().st_nlink == 1
    assert faults(host) == {}


def test_damage_is_told_of_every_version_that_shares_it_and_mended(host: Host) -> None:
    first = put(host, ONE)
    put(host, ONE, version="2.0", more="1")
    other = put(host, TWO)
    path = folder(host, TWO) / "share/words.txt"
    with timeless(path), path.open("r+b") as file:
        file.write(b"X")
    damaged = ["share/words.txt"]
    assert faults(host) == {(ONE, "1.0"): damaged, (ONE, "2.0"): damaged, (TWO, "1.0"): damaged}
    repair(str(first), host)
    assert faults(host) == {(TWO, "1.0"): damaged}
    assert not stored(host, SHARED["share/words.txt"]).exists()
    put(host, "org.example.Three")
    assert faults(host) == {(TWO, "1.0"): damaged}
    repair(str(other), host)
    assert faults(host) == {}


# ------------------------------------------------------------------------------ what goes


def test_an_object_goes_with_the_last_version_that_has_it(host: Host) -> None:
    put(host, ONE)
    put(host, TWO)
    take(host, ONE)
    assert not stored(host, ONE.encode()).exists()
    assert stored(host, SHARED["share/large"]).samefile(folder(host, TWO) / "share/large")
    assert faults(host) == {}
    take(host, TWO)
    assert not Path(host.layout.pool).exists()


def test_an_old_version_takes_only_its_own_along(host: Host) -> None:
    put(host, ONE, old="old")
    put(host, ONE, version="2.0", new="new")
    collect(host, keep=0)
    assert not stored(host, b"old").exists()
    assert stored(host, b"new").exists()
    assert faults(host) == {}


def test_sweeping_says_what_became_free(host: Host) -> None:
    put(host, ONE)
    size = sum(path.stat().st_blocks * 512 for path in objects(host))
    path = folder(host, ONE)
    path.rename(path.with_name("elsewhere"))
    assert pool.sweep(host.layout.root) == 0
    for file in path.with_name("elsewhere").rglob("*"):
        if file.is_file():
            file.unlink()
    assert form.sweep(host.layout.root) == size
    assert objects(host) == []


def test_gc_frees_what_a_killed_command_left(host: Host) -> None:
    put(host, ONE)
    stray = stored(host, b"stray")
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"stray")
    collect(host)
    assert not stray.exists()
    assert not stray.parent.exists()


def test_objects_of_two_scopes_go_too(host: Host) -> None:
    """They have a name in two pools, which keep each other company."""
    put(host, ONE)
    change_setting(host, "pool", "app")
    work = pool.pool_of(host.layout.root, "app", ONE)
    data = SHARED["share/words.txt"]
    file = File("share/words.txt", digest_of(data), len(data), executable=False)
    work.enter([file], str(folder(host, ONE)))
    assert stored(host, data).samefile(stored(host, data, app=ONE))
    take(host, ONE)
    assert not Path(host.layout.pool).exists()


def test_a_name_that_a_sweep_took_comes_back_with_the_next_version(host: Host) -> None:
    put(host, ONE)
    path = stored(host, SHARED["share/large"])
    path.unlink()
    put(host, ONE, version="2.0", more="1")
    assert path.samefile(folder(host, ONE) / "share/large")


@pytest.mark.parametrize("place", ["00", "by-app", "by-app/org.example.One/00"])
def test_a_link_in_the_place_of_a_folder_of_the_pool_leads_nowhere(
    host: Host, tmp_path: Path, place: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    shelf = elsewhere / "00" if place == "by-app" else elsewhere
    shelf.mkdir(parents=True)
    (shelf / ("0" * 64)).write_text("somebody's")
    link = Path(host.layout.pool) / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(elsewhere)

    with pytest.raises(CorruptError, match="should be a folder of the pool"):
        pool.sweep(host.layout.root)

    assert (shelf / ("0" * 64)).read_text() == "somebody's"


def test_what_is_no_object_stays_on_its_shelf(host: Host) -> None:
    shelf = Path(host.layout.pool) / "00"
    shelf.mkdir(parents=True)
    (shelf / "notes").write_text("somebody's")
    (shelf / ("f" * 64)).write_text("of another shelf")

    assert pool.sweep(host.layout.root) == 0

    assert {path.name for path in shelf.iterdir()} == {"notes", "f" * 64}
