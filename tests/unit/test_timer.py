"""The units of automatic updates as text, and who may write over them."""

import os
from pathlib import Path

import pytest

from bundles import snapshot
from holdall.cli.timer import own_program
from holdall.desktop.units import (
    MARK,
    SERVICE,
    TIMER,
    Wish,
    command_line,
    noted_calendar,
    noted_command,
    quoted,
    units,
)
from holdall.errors import HoldallError, UsageError
from holdall.journeys.timer import Manager, disable, enable, status
from surroundings import HoldallCli

WISH = Wish(("/usr/bin/holdall", "update"))


@pytest.fixture
def manager(isolated_home: Path) -> Manager:
    """A user's units where no manager runs."""
    return Manager(str(isolated_home / ".config/systemd/user"))


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("/usr/bin/holdall", "/usr/bin/holdall"),
        ("", '""'),
        ("a b", '"a b"'),
        ("100%h", '"100%%h"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("two\nlines", '"two\\x0alines"'),
        ("caf\udce9", '"caf\\xe9"'),
        ("süß", '"süß"'),
        ("it's", '"it\'s"'),
    ],
)
def test_a_word_is_written_as_systemd_reads_it(word: str, written: str) -> None:
    assert quoted(word) == written


def test_a_word_with_a_nul_is_refused() -> None:
    with pytest.raises(UsageError):
        quoted("a\0b")


def test_a_program_systemd_would_not_start_is_started_by_a_shell() -> None:
    assert command_line(["/a b/holdall", "update"]) == '":/a b/holdall" update'
    odd = command_line(['/a"b/holdall', "update"])
    assert odd.startswith(":/bin/sh -c ")
    assert odd.endswith('"/a\\"b/holdall" update')


@pytest.mark.parametrize("path", ["/usr/bin/holdall", '/o "d" %\n\\/h\udcff', "/süß/x"])
def test_the_command_is_read_back_from_a_unit(path: str) -> None:
    assert noted_command(units(Wish((path, "update")))[SERVICE]) == (path, "update")


@pytest.mark.parametrize("text", ["", "X-Holdall-Command=", "X-Holdall-Command=7", "[Service]\n"])
def test_a_unit_that_names_no_command_has_none(text: str) -> None:
    assert noted_command(text) == ()


@pytest.mark.parametrize(
    ("hours", "written"), [(24, "daily"), (1, "hourly"), (6, "*-*-* 00/6:00:00")]
)
def test_hours_become_a_calendar(hours: int, written: str) -> None:
    assert noted_calendar(units(WISH._replace(hours=hours))[TIMER]) == written


def test_only_the_machine_s_service_waits_for_the_network() -> None:
    assert "network-online" not in units(WISH)[SERVICE]
    assert "After=network-online.target" in units(WISH._replace(system=True))[SERVICE]


def test_without_a_manager_the_timer_is_linked_for_the_next_login(manager: Manager) -> None:
    done = enable(manager, WISH)
    assert not done.running
    assert Path(manager.link).resolve() == Path(manager.path(TIMER)).resolve()
    assert {Path(path).name for path in done.written} == {SERVICE, TIMER}
    found = status(manager)
    assert (found.enabled, found.units, found.schedule) == (True, "ours", "daily")
    assert not found.active


def test_disabling_leaves_what_was_there_before(manager: Manager, isolated_home: Path) -> None:
    before = snapshot(isolated_home)
    enable(manager, WISH)
    disable(manager)
    config = {path for path in snapshot(isolated_home) if path not in before}
    assert config <= {str(isolated_home / ".config")}
    assert not status(manager).enabled


def test_disabling_leaves_other_units_alone(manager: Manager) -> None:
    other = Path(manager.folder, "timers.target.wants/other.timer")
    other.parent.mkdir(parents=True)
    other.symlink_to("/nowhere")
    before = snapshot(Path(manager.folder))
    enable(manager, WISH)
    done = disable(manager)
    assert snapshot(Path(manager.folder)) == before
    assert len(done.removed) == 3


def test_disabling_what_is_not_on_does_nothing(manager: Manager, isolated_home: Path) -> None:
    before = snapshot(isolated_home)
    assert disable(manager).removed == ()
    assert snapshot(isolated_home) == before


def test_a_dry_run_changes_nothing(manager: Manager, isolated_home: Path) -> None:
    before = snapshot(isolated_home)
    assert len(enable(manager, WISH, dry_run=True).written) == 3
    assert snapshot(isolated_home) == before
    enable(manager, WISH)
    before = snapshot(isolated_home)
    assert len(disable(manager, dry_run=True).removed) == 3
    assert snapshot(isolated_home) == before


def test_enabling_again_changes_when(manager: Manager) -> None:
    enable(manager, WISH)
    enable(manager, WISH._replace(hours=6))
    assert status(manager).schedule == "*-*-* 00/6:00:00"


@pytest.mark.parametrize("name", [SERVICE, TIMER])
@pytest.mark.parametrize("kind", ["text", "mask", "folder"])
def test_a_unit_that_is_not_ours_is_neither_written_nor_removed(
    manager: Manager, name: str, kind: str
) -> None:
    path = Path(manager.path(name))
    path.parent.mkdir(parents=True)
    if kind == "text":
        path.write_text("[Unit]\nDescription=Mine\n")
    elif kind == "mask":
        path.symlink_to(os.devnull)
    else:
        path.mkdir()
    before = snapshot(Path(manager.folder))
    with pytest.raises(UsageError, match="changed by hand"):
        enable(manager, WISH)
    disable(manager)
    assert snapshot(Path(manager.folder)) == before


def test_a_unit_changed_by_hand_is_written_anew_by_force(manager: Manager) -> None:
    enable(manager, WISH)
    path = Path(manager.path(TIMER))
    path.write_text(path.read_text().removeprefix(MARK))
    assert status(manager).units == "changed"
    enable(manager, WISH, force=True)
    assert status(manager).units == "ours"


def test_a_unit_changed_by_hand_stays_and_is_not_started(manager: Manager) -> None:
    enable(manager, WISH)
    path = Path(manager.path(TIMER))
    path.write_text("[Timer]\nOnCalendar=monthly\n")
    done = disable(manager)
    assert done.kept == (str(path),)
    assert path.read_text() == "[Timer]\nOnCalendar=monthly\n"
    assert not os.path.lexists(manager.link)
    assert not Path(manager.path(SERVICE)).exists()


def test_a_folder_where_the_timer_should_be_is_a_sentence(manager: Manager) -> None:
    Path(manager.path(TIMER)).mkdir(parents=True)
    with pytest.raises(HoldallError, match="cannot be set up"):
        enable(manager, WISH, force=True)


def test_the_status_says_when_the_program_is_gone(manager: Manager, tmp_path: Path) -> None:
    program = tmp_path / "holdall"
    program.touch(mode=0o755)
    enable(manager, WISH._replace(command=(str(program), "update")))
    assert status(manager).startable
    program.rename(tmp_path / "moved")
    assert not status(manager).startable


def test_this_very_program_is_named_by_the_path_it_was_called_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "holdall").touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    assert own_program("./holdall") == (str(tmp_path / "holdall"),)
    assert own_program(str(tmp_path / "__main__.py"))[1:] == ("-m", "holdall")
    assert own_program("-c")[1:] == ("-m", "holdall")


@pytest.mark.parametrize(
    "words",
    [
        ["--every", "0"],
        ["--every", "25"],
        ["--every", "²"],
        ["--every", "1.5"],
        ["--daily", "--every", "2"],
    ],
)
def test_impossible_hours_are_refused(holdall_cli: HoldallCli, words: list[str]) -> None:
    holdall_cli("timer", "enable", *words, expect=2)


def test_a_store_under_a_root_has_no_timer(holdall_cli: HoldallCli, tmp_path: Path) -> None:
    assert "--root" in holdall_cli("--root", tmp_path, "timer", "enable", expect=2).stderr
