"""Exported files come and go whole, and nobody else's file is touched."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdall.desktop import presence
from holdall.desktop.exports import ExportedFile
from holdall.desktop.presence import Applied, ExportTarget, apply
from holdall.errors import CorruptError, DeniedError

APP = "org.example.Editor"
DESKTOP = f"applications/{APP}.desktop"
OLD = (
    ExportedFile("data", DESKTOP, b"old entry"),
    ExportedFile("data", f"icons/hicolor/16x16/apps/{APP}.png", b"icon"),
    ExportedFile("bin", "editor", b"#!/bin/sh\n", 0o755),
)
NEW = (
    ExportedFile("data", DESKTOP, b"new entry"),
    ExportedFile("data", f"mime/packages/{APP}.xml", b"<mime-info/>"),
    ExportedFile("bin", "editor", b"#!/bin/sh\n", 0o755),
)


class Desk:
    """A home with its record, as one value to look at."""

    def __init__(self, folder: Path) -> None:
        self.share, self.bin = folder / "share", folder / "bin"
        self.record = folder / f"state/{APP}.json"

    def apply(self, *files: ExportedFile) -> Applied:
        return apply(ExportTarget(str(self.share), str(self.bin)), str(self.record), files)

    def files(self) -> dict[str, bytes]:
        """Everything that stands, but for folders."""
        tops = [top for top in (self.share, self.bin) if top.exists()]
        return {
            str(path.relative_to(top)): path.read_bytes()
            for top in tops
            for path in top.rglob("*")
            if path.is_file()
        }


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("PATH", "/nowhere")  # the caches' programs have a test of their own
    return Desk(tmp_path / "desk")


def contents(files: tuple[ExportedFile, ...]) -> dict[str, bytes]:
    return {file.path: file.data for file in files}


def test_files_come_are_exchanged_and_go_without_a_trace(desk: Desk) -> None:
    assert len(desk.apply(*OLD).written) == 3
    assert desk.files() == contents(OLD)
    assert (desk.bin / "editor").stat().st_mode & 0o777 == 0o755
    changed = desk.apply(*NEW)
    assert (len(changed.written), len(changed.removed), changed.kept) == (2, 1, ())
    assert desk.files() == contents(NEW)
    assert not (desk.share / "icons").exists()
    desk.apply()
    assert not desk.share.exists()
    assert not desk.bin.exists()
    assert not desk.record.exists()


def test_the_same_again_does_nothing(desk: Desk) -> None:
    desk.apply(*OLD)
    assert desk.apply(*OLD) == Applied((), (), ())


def test_folders_that_were_there_stay(desk: Desk) -> None:
    (desk.share / "applications").mkdir(parents=True)
    desk.apply(*OLD)
    desk.apply()
    assert list(desk.share.rglob("*")) == [desk.share / "applications"]


def foreign(kind: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "file":
        path.write_bytes(b"somebody's")
    elif kind == "same file":
        path.write_bytes(OLD[0].data)
    elif kind == "link":
        (path.parent / "target").write_bytes(OLD[0].data)
        path.symlink_to("target")
    elif kind == "dangling link":
        path.symlink_to("/nowhere")
    else:
        path.mkdir()


@pytest.mark.parametrize("kind", ["file", "same file", "link", "dangling link", "folder"])
def test_what_somebody_else_has_there_is_left_alone(desk: Desk, kind: str) -> None:
    place = desk.share / DESKTOP
    foreign(kind, place)
    before = place.lstat()
    applied = desk.apply(*OLD)
    assert applied.kept == (str(place),)
    assert applied.warnings == (f"{place} is not holdall's; it was left as it is.",)
    assert desk.apply(*NEW).kept == (str(place),)
    desk.apply()
    assert place.lstat() == before
    assert not desk.bin.exists()


def test_a_file_of_ours_that_was_changed_since_is_left_alone(desk: Desk) -> None:
    desk.apply(*OLD)
    (desk.share / DESKTOP).write_bytes(b"edited by the user")
    assert desk.apply(*NEW).kept == (str(desk.share / DESKTOP),)
    assert (desk.share / DESKTOP).read_bytes() == b"edited by the user"
    desk.apply()
    assert desk.files() == {DESKTOP: b"edited by the user"}


def test_a_file_of_ours_that_is_gone_or_empty_comes_back(desk: Desk) -> None:
    desk.apply(*OLD)
    (desk.share / DESKTOP).unlink()
    (desk.bin / "editor").write_bytes(b"")  # as after a loss of power
    desk.apply(*OLD)
    assert desk.files() == contents(OLD)


def test_folders_that_two_apps_share_go_with_the_last(desk: Desk) -> None:
    target = ExportTarget(str(desk.share), str(desk.bin))
    other = str(desk.record.with_name("org.example.Other.json"))
    desk.apply(*OLD)
    apply(target, other, [ExportedFile("data", "applications/org.example.Other.desktop", b"x")])
    desk.apply()
    assert desk.share.exists()
    apply(target, other, ())
    assert not desk.share.exists()


class KilledError(Exception):
    """Stands for the end of the process."""


_STEPS = ("mkdir", "link", "unlink", "rename", "replace", "rmdir", "open", "chmod")


@pytest.fixture
def kill_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], list[str]]]:
    """Make the n-th change of a file system (0: none) the last; returns those that were made."""

    def arrange(number: int) -> list[str]:
        made: list[str] = []

        def counted(name: str, real: Callable[..., object]) -> Callable[..., object]:
            def step(*args: object, **options: object) -> object:
                made.append(name)
                if len(made) == number:
                    raise KilledError
                return real(*args, **options)

            return step

        for name in _STEPS:
            monkeypatch.setattr(os, name, counted(name, getattr(os, name)))
        return made

    yield arrange
    monkeypatch.undo()


@pytest.mark.slow
@pytest.mark.parametrize(("before", "after"), [((), OLD), (OLD, NEW), (NEW, ())])
def test_killed_at_any_step_the_next_call_ends_whole_and_owns_all(
    tmp_path: Path,
    kill_at: Callable[[int], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    before: tuple[ExportedFile, ...],
    after: tuple[ExportedFile, ...],
) -> None:
    monkeypatch.setattr(presence, "_refresh", lambda *_: None)
    number = 1
    while True:
        desk = Desk(tmp_path / str(number))
        desk.apply(*before)
        with monkeypatch.context() as patch:
            made = kill_at(number)
            try:
                desk.apply(*after)
            except KilledError:
                finished = False
            else:
                finished = len(made) < number
            patch.undo()
        monkeypatch.undo()
        monkeypatch.setattr(presence, "_refresh", lambda *_: None)
        assert desk.apply(*after).kept == ()
        assert desk.files() == contents(after)
        desk.apply()
        assert not desk.share.exists()
        assert not desk.bin.exists()
        if finished:
            break
        number += 1
    assert number > 5


def test_a_damaged_record_is_named(desk: Desk) -> None:
    desk.record.parent.mkdir(parents=True)
    desk.record.write_bytes(b'{"files": 3}')
    with pytest.raises(CorruptError, match="damaged"):
        desk.apply(*OLD)


def test_a_refusal_of_the_system_is_a_sentence(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(desk.share))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(DeniedError, match="cannot be brought to the desktop"):
        desk.apply(*OLD)


@pytest.mark.integration
def test_caches_of_the_desktop_s_tools_go_with_the_last_file(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "desk")
    xml = (
        b'<?xml version="1.0"?><mime-info xmlns="http://www.freedesktop.org/standards/shared-mime-'
        b'info"><mime-type type="text/x-e"><glob pattern="*.e"/></mime-type></mime-info>'
    )
    entry = b"[Desktop Entry]\nType=Application\nName=E\nExec=e\nMimeType=text/x-e;\n"
    desk.apply(
        ExportedFile("data", DESKTOP, entry),
        ExportedFile("data", f"mime/packages/{APP}.xml", xml),
    )
    assert b"text/x-e" in (desk.share / "applications/mimeinfo.cache").read_bytes()
    assert b"text/x-e" in (desk.share / "mime/globs2").read_bytes()
    desk.apply()
    assert not desk.share.exists()
