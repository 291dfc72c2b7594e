"""What `holdall forms` says: probed form by form, and never for want of one of them."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from bundles import trusting_store
from holdall.cli.main import main
from holdall.errors import UsageError
from holdall.forms import table as known
from holdall.forms.port import REQUIREMENTS, Cell, Traits
from holdall.journeys import forms
from holdall.journeys.host import Host, root_host
from holdall.store import settings
from holdall.system.means import Means

Cells = Callable[[Means], dict[str, Cell]]
ALL = dict.fromkeys(REQUIREMENTS, Cell("yes", "as it should be"))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return trusting_store(tmp_path / "store")


@pytest.fixture
def add(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Cells], None]:
    """Have a form more, with these cells."""

    def have(name: str, cells: Cells) -> None:
        module = ModuleType(f"holdall.forms.{name}")
        module.TRAITS = Traits(name, "made up", folder=True)  # type: ignore[attr-defined]  # a form
        module.cells = cells  # type: ignore[attr-defined]  # the same
        monkeypatch.setitem(sys.modules, f"holdall.forms.{name}", module)
        monkeypatch.setitem(known.FORMS, name, name)

    return have


def failing(means: Means) -> dict[str, Cell]:
    raise ZeroDivisionError(means.store)


def test_every_form_has_a_cell_with_a_reason_for_each_requirement(host: Host) -> None:
    for column in forms.table(host):
        assert list(column.cells) == list(REQUIREMENTS)
        for cell in column.cells.values():
            assert cell.holds in {"yes", "no", "partly"}
            assert cell.reason
            assert "could not be found out" not in cell.reason


def test_a_form_that_fails_hides_no_other(host: Host, add: Callable[[str, Cells], None]) -> None:
    add("broken", failing)
    broken, tree = forms.table(host, ("broken", "tree"))
    assert not broken.usable
    assert "ZeroDivisionError" in broken.cells["R2"].reason
    assert tree.usable


def test_a_form_whose_module_is_missing_hides_no_other(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(known.FORMS, "absent", "absent")
    absent, tree = forms.table(host, ("absent", "tree"))
    assert not absent.usable
    assert tree.usable


def test_a_form_that_cannot_be_used_claims_nothing_else(
    host: Host, add: Callable[[str, Cells], None]
) -> None:
    add("foreign", lambda _means: ALL | {"R2": Cell("no", "not here")})
    (foreign,) = forms.table(host, ("foreign",))
    assert {cell.holds for cell in foreign.cells.values()} == {"no"}
    assert foreign.cells["R2"].reason == "not here"


def test_there_must_be_such_a_form(host: Host) -> None:
    with pytest.raises(UsageError, match="no form 'nothing'"):
        forms.table(host, ("nothing",))


def test_a_store_that_is_not_there_yet_is_not_made(tmp_path: Path) -> None:
    host = root_host(str(tmp_path / "to/be"))
    assert forms.table(host, ("tree",))[0].usable
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_the_form_that_is_set_is_taken(host: Host) -> None:
    assert forms.pick(host).form == "tree"
    settings.change(host.layout, "form", "pool")
    assert forms.pick(host).form == "pool"


def test_a_form_that_is_set_and_cannot_be_used_is_said(
    host: Host, add: Callable[[str, Cells], None]
) -> None:
    add("foreign", lambda _means: ALL | {"R2": Cell("no", "not here")})
    settings.change(host.layout, "form", "foreign")
    assert "cannot be used here: not here" in forms.pick(host).reason


def test_the_reasons_of_one_form_are_shown(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--root", host.layout.root, "forms", "tree"]) == 0
    shown = capsys.readouterr().out
    assert all(words in shown for words in REQUIREMENTS.values())
    assert "hard links" in shown
