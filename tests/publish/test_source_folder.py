"""The folder an importer makes: whole or not there, with a manifest that reads back."""

from pathlib import Path

import pytest

from holdall.errors import UsageError
from holdall.model.manifest import About, Exports, Manifest, Permissions, parse_toml
from holdall.publish.source_folder import (
    manifest_toml,
    new_source_folder,
    permissions_with,
    printable,
)


def test_a_manifest_reads_back_as_it_was() -> None:
    manifest = Manifest(
        id="org.example.Editor",
        version="1:2.0~rc1+dfsg-1",
        kind="app",
        arch="x86_64",
        runtime="org.example.Base/x86_64/1",
        command=("editor", 'a "quoted" word', "back\\slash"),
        serial=7,
        environment={"GREETING": "grüß Gott"},
        permissions=Permissions(network=True, filesystem=("home:ro",)),
        exports=Exports(desktop=("share/applications/org.example.Editor.desktop",)),
        about=About(summary="Edits"),
    )
    assert parse_toml(manifest_toml(manifest)) == manifest


def test_what_is_default_is_not_written() -> None:
    manifest = Manifest(id="org.example.Base", version="1", kind="runtime")
    assert manifest_toml(manifest) == 'id = "org.example.Base"\nversion = "1"\nkind = "runtime"\n'


def fill(target: Path, *, failing: bool = False) -> None:
    with new_source_folder(target) as draft:
        (draft / "files/one").write_text("1")
        if failing:
            raise OSError("full")


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    parent = tmp_path / "parent"
    parent.mkdir()
    return parent


def test_an_empty_folder_is_filled(parent: Path) -> None:
    target = parent / "made"
    target.mkdir()
    fill(target)
    assert (target / "files/one").read_text() == "1"
    assert list(parent.iterdir()) == [target]


def test_a_filled_folder_is_refused(parent: Path) -> None:
    (parent / "precious").write_text("1")
    with pytest.raises(UsageError, match="not empty"):
        fill(parent)


def test_a_failure_leaves_nothing(parent: Path) -> None:
    with pytest.raises(OSError, match="full"):
        fill(parent / "made", failing=True)
    assert list(parent.iterdir()) == []


def test_what_is_filled_meanwhile_is_not_overwritten(parent: Path) -> None:
    target = parent / "made"
    making = new_source_folder(target)
    making.__enter__()
    target.mkdir()
    (target / "precious").write_text("1")
    with pytest.raises(UsageError, match="somebody else"):
        making.__exit__(None, None, None)
    assert [path.name for path in parent.iterdir()] == ["made"]
    assert [path.name for path in target.iterdir()] == ["precious"]


def test_permissions_are_added_and_taken_away() -> None:
    granted = Permissions(x11=True, ipc=True)
    wanted = ("network", "no-x11", "filesystem=home:ro", "filesystem=/srv", "session-bus=org.a.B")
    assert permissions_with(granted, wanted) == Permissions(
        ipc=True, network=True, filesystem=("home:ro", "/srv"), session_bus=("org.a.B",)
    )


@pytest.mark.parametrize("word", ["root", "filesystem", "network=yes", "no-filesystem", ""])
def test_an_unknown_permission_is_named(word: str) -> None:
    with pytest.raises(UsageError, match="is not a permission"):
        permissions_with(Permissions(), (word,))


def test_words_for_people_lose_what_a_manifest_refuses() -> None:
    assert printable("one\n two\x1b[31m\u202ethree") == "one two [31m three"
