"""What is set for a store: kept, checked, and told in one sentence when it cannot be read."""

import json
from pathlib import Path

import pytest

from bundles import APP, make_bundle, trusting_store
from holdall.errors import BusyError, CorruptError, UsageError
from holdall.forms.table import FORMS
from holdall.journeys.host import Host
from holdall.journeys.install import install
from holdall.journeys.settings import change_setting, setting, settings
from holdall.model.ref import RefPattern
from holdall.store import settings as kept
from holdall.store.catalog import writing
from hostility import call, read_refusal


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return trusting_store(tmp_path / "store")


def test_everything_has_a_default_and_a_meaning(host: Host) -> None:
    found = settings(host)
    assert [item.name for item in found] == list(kept.Settings._fields) == list(kept.VALUES)
    for item in found:
        assert item.value == item.default
        assert item.default in item.values
        assert item.meaning


@pytest.mark.parametrize("name", kept.VALUES)
def test_every_value_can_be_set_and_taken_back(host: Host, name: str) -> None:
    for value in setting(host, name).values:
        assert change_setting(host, name, value).value == value
        assert setting(host, name).value == value
    assert change_setting(host, name, None).value == setting(host, name).default
    assert kept.read(host.layout) == kept.Settings()


def test_a_setting_leaves_the_others_alone(host: Host) -> None:
    change_setting(host, "pool", "app")
    change_setting(host, "compress", "no")
    assert kept.read(host.layout) == kept.Settings(pool="app", compress=False)
    change_setting(host, "pool", None)
    assert kept.read(host.layout) == kept.Settings(compress=False)


def test_only_what_was_set_is_kept(host: Host) -> None:
    change_setting(host, "share", "reflink")
    change_setting(host, "pool", "store")
    table = json.loads(Path(host.layout.settings).read_bytes())
    assert table == {"format": kept.FORMAT, "share": "reflink"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pool", "none"),
        ("pool", ""),
        ("share", "copy"),
        ("image", "ext4"),
        ("compress", "1"),
        ("form", "heap"),
        ("forms", "tree"),
    ],
)
def test_what_there_is_not_is_refused(host: Host, name: str, value: str) -> None:
    with pytest.raises(UsageError):
        change_setting(host, name, value)
    assert not Path(host.layout.settings).exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"format": 2}',
        b'{"format": 1, "pool": "moon"}',
        b'{"format": 1, "pool": ["app"]}',
        b'{"format": 1, "compress": true}',
        b'{"format": 1, "moon": "app"}',
        b"[" * 100_000,
        b"\xff",
    ],
)
def test_a_file_that_cannot_be_read_is_told_in_a_sentence(host: Host, data: bytes) -> None:
    Path(host.layout.settings).write_bytes(data)
    with pytest.raises(CorruptError, match=r"settings\.json cannot be read; remove it"):
        settings(host)
    status, _, complaints = call("--json", "--root", host.layout.root, "settings", "pool", "app")
    assert status == 4
    assert read_refusal(complaints).kind == "CorruptError"
    assert Path(host.layout.settings).read_bytes() == data


def test_a_link_in_the_place_of_the_file_is_not_followed(host: Host, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text('{"format": 1, "pool": "app"}')
    Path(host.layout.settings).symlink_to(other)
    with pytest.raises(CorruptError):
        settings(host)


def test_nothing_is_set_while_another_process_writes(host: Host) -> None:
    with writing(host.layout), pytest.raises(BusyError):
        change_setting(host, "pool", "app")


@pytest.mark.parametrize("form", ["", "tree", "pool"])
def test_new_apps_get_the_form_that_is_set(host: Host, tmp_path: Path, form: str) -> None:
    assert form in {"", *FORMS}
    change_setting(host, "form", form)
    install(str(make_bundle(tmp_path / "bundle")), host)
    assert host.catalog.current(RefPattern.parse(APP)).form == (form or "tree")


def test_the_command_shows_one_or_all_and_changes_one(tmp_path: Path) -> None:
    store = ("--root", tmp_path / "store")
    assert call(*store, "settings", "pool")[1] == "store\n"
    assert call(*store, "settings", "pool", "app")[:2] == (0, "pool is app from now on.\n")
    assert call(*store, "settings", "pool")[1] == "app\n"
    rows = json.loads(call("--json", *store, "settings")[1])
    assert {row["name"]: row["value"] for row in rows} == {
        "form": "",
        "pool": "app",
        "share": "link",
        "image": "",
        "compress": "yes",
    }
    assert call(*store, "settings", "pool", "--default")[1] == "pool is store from now on.\n"
    assert call(*store, "settings", "form", "")[1] == 'form is "" from now on.\n'


@pytest.mark.parametrize(
    "words", [("moon",), ("pool", "moon"), ("pool", "app", "--default"), ("--default",)]
)
def test_words_without_a_meaning_are_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    status, _, complaints = call("--root", tmp_path / "store", "settings", *words)
    assert status == 2
    assert complaints.startswith("holdall: ")
