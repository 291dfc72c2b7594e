"""Imports of small real packages: what comes out is whole, starts, and is the same each time."""

from pathlib import Path

import pytest

from holdall.errors import NotFoundError, UsageError
from holdall.forms import erofs
from holdall.model.digest import digest_of
from holdall.model.manifest import parse_toml
from holdall.publish.debian import DebRequest, import_deb, plan_deb
from holdall.publish.debian_finish import Tree
from holdall.publish.scan import scan
from holdall.publish.source_folder import Advanced, Event
from holdall.publish.wheels import WheelRequest, import_wheel, plan_wheel
from surroundings import OrdinaryUser

pytestmark = [pytest.mark.integration, pytest.mark.network]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Path:
    plan = plan_deb(DebRequest(("libc6",), kind="runtime", id="org.example.Base", branch="1"))
    return import_deb(plan, tmp_path_factory.mktemp("runtime") / "base", cache=cache)


def contents(folder: Path) -> dict[str, tuple[int, bytes | str]]:
    found: dict[str, tuple[int, bytes | str]] = {}
    for path in folder.rglob("*"):
        name, mode = str(path.relative_to(folder)), path.lstat().st_mode
        if path.is_symlink():
            found[name] = mode, str(path.readlink())
        else:
            found[name] = mode, path.read_bytes() if path.is_file() else b""
    return found


@pytest.mark.usefixtures("sandbox")
def test_a_runtime_runs_its_own_programs_with_nothing_of_the_hosts(runtime: Path) -> None:
    files = runtime / "files"
    shell = ["/usr/bin/bash", "-c", "awk 'BEGIN { print 1 + 1 }' | cat && ls /app /home 2>&1; true"]
    answer = Tree(files).run(*shell).decode()
    assert answer.startswith("2\n")
    assert "No such file" in answer
    assert (files / "etc/ld.so.cache").stat().st_size > 0
    assert (files / "etc/nsswitch.conf").is_file()
    assert not any(path.is_symlink() for path in (files / "etc").iterdir())


@pytest.mark.usefixtures("sandbox")
def test_the_same_packages_make_the_same_runtime(
    runtime: Path, cache: Path, tmp_path: Path
) -> None:
    plan = plan_deb(DebRequest(("libc6",), kind="runtime", id="org.example.Base", branch="1"))
    again = import_deb(plan, tmp_path / "again", cache=cache)
    assert contents(again) == contents(runtime)


@pytest.mark.usefixtures("sandbox")
def test_an_app_brings_only_what_its_runtime_lacks(
    runtime: Path, cache: Path, tmp_path: Path
) -> None:
    plan = plan_deb(DebRequest(("hello",), runtime_folder=runtime))
    assert [package.name for package in plan.packages] == ["hello"]
    assert plan.runtime.startswith("org.example.Base/")
    app = import_deb(plan, tmp_path / "hello", cache=cache)
    manifest = parse_toml((app / "holdall.toml").read_text())
    assert (manifest.id, manifest.command) == ("org.debian.hello", "hello")
    assert manifest.runtime == plan.runtime
    assert manifest.about.summary
    tree = Tree(app / "files", runtime / "files")
    assert tree.run("/app/bin/hello") == b"Hello, world!\n"
    program = (app / "files/bin/hello").read_bytes()
    assert b"\0/app/share/locale\0" in program


def test_events_have_exact_totals(cache: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    plan = plan_deb(DebRequest(("hello",)))
    import_deb(plan, tmp_path / "hello", cache=cache, report=events.append)
    fetched = [event for event in events if isinstance(event, Advanced) and event.step == "fetch"]
    assert fetched[-1].done == fetched[-1].total == plan.download_bytes


def test_an_unknown_package_is_named() -> None:
    with pytest.raises(NotFoundError, match="no-such-package-anywhere"):
        plan_deb(DebRequest(("no-such-package-anywhere",)))


@pytest.mark.parametrize("name", ["--help", "Hello", "../x", "a b", ""])
def test_what_is_no_package_name_never_reaches_apt(name: str) -> None:
    with pytest.raises(UsageError):
        plan_deb(DebRequest((name,)))


def test_a_pure_wheel_becomes_an_app_for_every_architecture(cache: Path, tmp_path: Path) -> None:
    plan = plan_wheel(WheelRequest(("cowsay==6.1",)))
    app = import_wheel(plan, tmp_path / "cowsay", cache=cache)
    manifest = parse_toml((app / "holdall.toml").read_text())
    assert (manifest.id, manifest.arch, manifest.version) == ("org.pypi.cowsay", "noarch", "6.1")
    assert manifest.command == "cowsay"
    assert manifest.exports.commands == ("cowsay",)
    assert (app / "files/lib/python/cowsay/__init__.py").is_file()


def test_the_metadata_image_of_a_wheels_files_is_what_it_was(cache: Path, tmp_path: Path) -> None:
    plan = plan_wheel(WheelRequest(("cowsay==6.1",)))
    app = import_wheel(plan, tmp_path / "cowsay", cache=cache)
    image = erofs.image(scan(f"{app}/files/lib").tree)
    expected = "2bb9f7257cae32643fa3a69e67852ddad79f1d9336d403fed4804381603a1e36"
    assert digest_of(image).hex() == expected


def test_a_wheel_is_fetched_once(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_wheel(WheelRequest(("cowsay==6.1",)))
    first = import_wheel(plan, tmp_path / "first", cache=cache)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    second = import_wheel(plan, tmp_path / "second", cache=cache)
    assert contents(first) == contents(second)


@pytest.mark.parametrize("requirement", ["--editable", "./here", "x @ file:///etc", "", "-r x"])
def test_what_is_no_project_name_never_reaches_pip(requirement: str) -> None:
    with pytest.raises(UsageError):
        plan_wheel(WheelRequest((requirement,)))


IMPORT_HELLO = """
import pathlib
from holdall.publish.debian import DebRequest, import_deb, plan_deb

home = pathlib.Path.home()
print(import_deb(plan_deb(DebRequest(("hello",))), home / "hello", cache=home / "debs"))
"""


@pytest.mark.root
def test_an_ordinary_user_imports_as_well(ordinary_user: OrdinaryUser) -> None:
    finished = ordinary_user.run(ordinary_user.python, "-c", IMPORT_HELLO)
    folder = Path(finished.stdout.strip())
    assert (folder / "holdall.toml").stat().st_uid == ordinary_user.uid
    assert (folder / "files/bin/hello").stat().st_mode & 0o777 == 0o755


def test_a_second_import_needs_no_downloads(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_deb(DebRequest(("hello",)))
    first = import_deb(plan, tmp_path / "first", cache=cache)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    second = import_deb(plan, tmp_path / "second", cache=cache)
    assert contents(first) == contents(second)


def test_a_damaged_cache_is_fetched_again(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    plan = plan_deb(DebRequest(("hello",)))
    first = import_deb(plan, tmp_path / "first", cache=cache)
    (damaged,) = cache.glob("*.deb")
    damaged.write_bytes(b"\0" + damaged.read_bytes()[1:])
    assert contents(import_deb(plan, tmp_path / "second", cache=cache)) == contents(first)
