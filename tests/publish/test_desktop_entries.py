"""Entries on the host get names that begin with the app's id."""

import struct
from pathlib import Path

import pytest

from holdall.errors import UsageError
from holdall.publish.desktop_entries import declared_id, default_command, renamed_entry, show_as

DESKTOP = """\
[Desktop Entry]
Type=Application
Name=Paint
Exec=/usr/bin/paint %U
TryExec=paint
Icon=paint
DBusActivatable=true

[Desktop Action new]
Exec=paint --new
Icon=paint-new
"""
METAINFO = """\
<component type="desktop"><id>paint.desktop</id><name>Paint It</name>
<summary>Paints
  well</summary><project_license>MIT</project_license>
<launchable type="desktop-id">paint.desktop</launchable></component>
"""


def filled(files: Path, **content: str | bytes) -> list[str]:
    written = {
        name.replace("__", "/").replace("_dot_", "."): text for name, text in content.items()
    }
    for name, text in written.items():
        path = files / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return sorted(written)


@pytest.fixture
def paint(tmp_path: Path) -> list[str]:
    return filled(
        tmp_path,
        bin__paint="",
        share__applications__paint_dot_desktop=DESKTOP,
        share__icons__hicolor__scalable__apps__paint_dot_svg="<svg/>",
        share__metainfo__paint_dot_appdata_dot_xml=METAINFO,
        share__mime__packages__paint_dot_xml="<mime-info/>",
    )


def test_every_entry_is_named_by_the_id(tmp_path: Path, paint: list[str]) -> None:
    shown = show_as(tmp_path, paint, "org.example.Paint", "paint")
    assert shown.exports.paths == (
        "share/applications/org.example.Paint.desktop",
        "share/icons/hicolor/scalable/apps/org.example.Paint.svg",
        "share/mime/packages/org.example.Paint.paint.xml",
        "share/metainfo/org.example.Paint.metainfo.xml",
    )
    assert all((tmp_path / path).is_file() for path in shown.exports.paths)
    assert shown.exports.commands == ("paint",)
    assert (shown.name, shown.summary, shown.license) == ("Paint It", "Paints well", "MIT")
    assert shown.graphical


def test_the_appstream_file_names_the_app_and_its_desktop_file(
    tmp_path: Path, paint: list[str]
) -> None:
    show_as(tmp_path, paint, "org.example.Paint", "paint")
    text = (tmp_path / "share/metainfo/org.example.Paint.metainfo.xml").read_text()
    assert "<id>org.example.Paint</id>" in text
    assert '<launchable type="desktop-id">org.example.Paint.desktop</launchable>' in text


def test_the_app_keeps_its_icon_under_the_old_name_too(tmp_path: Path, paint: list[str]) -> None:
    show_as(tmp_path, paint, "org.example.Paint", "paint")
    assert (tmp_path / "share/icons/hicolor/scalable/apps/paint.svg").is_file()


def test_a_renamed_desktop_file_is_still_tied_to_its_windows() -> None:
    text = renamed_entry(DESKTOP, "paint", "org.example.Paint", {"paint": "org.example.Paint"})
    assert text.startswith("[Desktop Entry]\nStartupWMClass=paint\n")
    assert "Icon=org.example.Paint\n" in text
    assert "Icon=paint-new\n" in text
    assert "TryExec" not in text
    assert "DBusActivatable" not in text


def test_direction_marks_of_translations_are_taken_out() -> None:
    text = "[Desktop Entry]\nName=Chess\nName[he]=\u200f\u05e9\u05d7\n"
    assert (
        renamed_entry(text, "x", "x", {}) == "[Desktop Entry]\nName=Chess\nName[he]=\u05e9\u05d7\n"
    )


def test_a_lone_picture_becomes_an_icon_of_its_size(tmp_path: Path) -> None:
    picture = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", 48, 48)
    entry = "[Desktop Entry]\nExec=x\nIcon=/usr/share/pixmaps/x.png\n"
    paths = filled(
        tmp_path,
        share__applications__x_dot_desktop=entry,
        share__pixmaps__x_dot_png=picture,
    )
    shown = show_as(tmp_path, paths, "org.example.X", "x")
    assert shown.exports.icons == ("share/icons/hicolor/48x48/apps/org.example.X.png",)
    desktop = (tmp_path / "share/applications/org.example.X.desktop").read_text()
    assert "Icon=org.example.X\n" in desktop


def test_entries_that_have_the_id_already_stay(tmp_path: Path) -> None:
    paths = filled(
        tmp_path,
        share__applications__org_dot_example_dot_X_dot_desktop="[Desktop Entry]\nExec=x\n",
        share__icons__hicolor__symbolic__apps__org_dot_example_dot_X_symbolic_dot_svg="<svg/>",
    )
    shown = show_as(tmp_path, paths, "org.example.X", "x")
    assert shown.exports.desktop == ("share/applications/org.example.X.desktop",)


def test_only_a_full_id_is_taken_from_appstream(tmp_path: Path) -> None:
    short = filled(tmp_path, share__metainfo__a_dot_xml="<component><id>paint</id></component>")
    assert declared_id(tmp_path, short) is None
    full = filled(
        tmp_path, share__metainfo__b_dot_xml="<component><id>org.a.Paint.desktop</id></component>"
    )
    assert declared_id(tmp_path, [*short, *full]) == "org.a.Paint"


def test_the_command_is_the_desktop_files_the_namesake_or_the_only_program(tmp_path: Path) -> None:
    entry = filled(
        tmp_path, share__applications__a_dot_desktop="[Desktop Entry]\nExec=/usr/bin/b %F\n"
    )
    assert default_command(tmp_path, [*entry, "bin/a", "bin/b"], "a") == "b"
    assert default_command(tmp_path, ["bin/a", "bin/b"], "a") == "a"
    assert default_command(tmp_path, ["games/only"], "a") == "only"
    with pytest.raises(UsageError, match="--command, with one of b, c"):
        default_command(tmp_path, ["bin/b", "bin/c"], "a")
