"""What an app shows on the host, and what of a hostile package is refused."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from deployed import APP, app, tree_of
from holdall.desktop.entries import parse, parse_exec
from holdall.desktop.exports import MAX_ICON, check, discover, rendered
from holdall.errors import HoldallError, UsageError
from holdall.model.manifest import Manifest
from holdall.model.tree import Symlink, Tree
from surroundings import Require

DESKTOP = f"share/applications/{APP}.desktop"
ICON = f"share/icons/hicolor/16x16/apps/{APP}.png"
MIME = f"share/mime/packages/{APP}.xml"
METAINFO = f"share/metainfo/{APP}.metainfo.xml"
SERVICE = f"share/dbus-1/services/{APP}.service"
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(20)
ENTRY = b"""[Desktop Entry]
Type=Application
Name=Editor
Name[de]=Bearbeiter
Exec=/usr/bin/editor --new "a b" 50%% %U
TryExec=editor
Path=/secret
Icon=editor
Terminal=false
Categories=Utility;
X-KDE-SubstituteUID=true
X-Unknown=1
Actions=Window;

[Desktop Action Window]
Name=New window
Exec=other-tool --window %f

[Unlisted Group]
Exec=evil
"""
FILES = {
    DESKTOP: ENTRY,
    ICON: PNG,
    f"share/icons/hicolor/scalable/apps/{APP}-symbolic.svg": b"<svg/>",
    MIME: b'<?xml version="1.0"?><mime-info xmlns="http://www.freedesktop.org/standards/'
    b'shared-mime-info"><mime-type type="text/x-e"><glob pattern="*.e"/></mime-type></mime-info>',
    METAINFO: b"<component><id>x</id></component>",
    SERVICE: f"[D-BUS Service]\nName={APP}\nExec=/usr/bin/editor --serve\n".encode(),
}
STUBS = ["/stub", "/a store/run", '/it\'s "$x" `y` \\ 100%/run', "/süß/run"]


def manifest(**exports: object) -> Manifest:
    return msgspec.convert(app("editor", exports=exports), Manifest)


def shown(files: dict[str, bytes], stub: str = "/stub") -> dict[str, bytes]:
    found = discover(manifest(), tree_of(files))
    whole = msgspec.structs.replace(manifest(), exports=found)
    return {file.path: file.data for file in rendered(whole, files.__getitem__, stub)}


Groups = dict[str, dict[str, str]]


def entry(text: bytes, stub: str = "/stub", files: Mapping[str, bytes] = {}) -> Groups:
    """The rendered desktop entry of an app that also has an icon."""
    data = shown({DESKTOP: text, ICON: PNG, **files}, stub)[f"applications/{APP}.desktop"]
    return parse(data, "rendered").groups


def test_what_bears_the_app_s_id_is_found_and_nothing_else() -> None:
    others = ["share/applications/firefox.desktop", f"share/applications/{APP}2.desktop"]
    others += [f"share/doc/{APP}.png", f"bin/{APP}.desktop", f"share/applications/x/{APP}.desktop"]
    tree = tree_of({**FILES, **dict.fromkeys(others, b"")})
    found = discover(manifest(), tree)
    assert sorted(found.paths) == sorted(FILES)


def test_links_are_not_found() -> None:
    """snapd b66fee81: an icon that is a link out of the package."""
    tree = Tree((Symlink(DESKTOP, "/etc/passwd"), Symlink(ICON, "../../../../../etc/shadow")))
    assert discover(manifest(), tree).paths == ()


def test_a_list_that_is_given_is_kept_even_when_it_is_empty() -> None:
    found = discover(manifest(desktop=(), icons=(ICON,)), tree_of(FILES))
    assert (found.desktop, found.icons) == ((), (ICON,))
    assert found.mime == (MIME,)


def test_everything_lands_below_the_data_home_by_its_kind() -> None:
    assert sorted(shown(FILES)) == sorted(path.removeprefix("share/") for path in FILES)
    old = {f"share/appdata/{APP}.appdata.xml": FILES[METAINFO]}
    assert list(shown(old)) == [f"metainfo/{APP}.appdata.xml"]


@pytest.mark.parametrize("stub", STUBS)
def test_exec_starts_the_stub_with_the_entry_s_own_arguments(stub: str) -> None:
    groups = entry(ENTRY, stub)
    literal = stub.replace("%", "%%")
    main = parse_exec(f"env {groups['Desktop Entry']['Exec']}", "x")
    assert main == ["env", literal, "--new", "a b", "50%%", "%U"]
    action = parse_exec(groups["Desktop Action Window"]["Exec"], "x")
    assert action == ["env", "HOLDALL_COMMAND=other-tool", literal, "--window", "%f"]


def test_only_keys_that_mean_the_same_on_the_host_are_kept() -> None:
    groups = entry(ENTRY)
    main = groups["Desktop Entry"]
    assert main["Name[de]"] == "Bearbeiter"
    assert main["X-Holdall"] == f"{APP}/x86_64/stable"
    assert not {"TryExec", "Path", "X-KDE-SubstituteUID", "X-Unknown"} & main.keys()
    assert set(groups) == {"Desktop Entry", "Desktop Action Window"}


@pytest.mark.parametrize(
    ("icon", "expected"),
    [
        (APP, APP),
        ("editor", APP),
        ("/usr/share/pixmaps/editor.xpm", APP),
        (f"{APP}-other", APP),
    ],
)
def test_the_icon_is_one_that_will_be_there(icon: str, expected: str) -> None:
    text = ENTRY.replace(b"Icon=editor", f"Icon={icon}".encode())
    assert entry(text)["Desktop Entry"]["Icon"] == expected


def test_without_an_exported_icon_only_a_theme_s_name_is_kept() -> None:
    for icon, expected in (("accessories-text", "accessories-text"), ("/x/y.png", None)):
        text = ENTRY.replace(b"Icon=editor", f"Icon={icon}".encode())
        data = shown({DESKTOP: text})[f"applications/{APP}.desktop"]
        assert parse(data, "x").groups["Desktop Entry"].get("Icon") == expected


def test_bus_activation_is_offered_with_the_service_only() -> None:
    text = ENTRY.replace(b"Terminal=false", b"DBusActivatable=true")
    assert "DBusActivatable" not in entry(text)["Desktop Entry"]
    assert "DBusActivatable" in entry(text, files={SERVICE: FILES[SERVICE]})["Desktop Entry"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Exec=/usr/bin/editor", b"Exec=editor @@u %U @@ "),  # CVE-2021-21381
        (b"Exec=/usr/bin/editor", b"Exec=editor --x=@@ "),
        (b"Exec=/usr/bin/editor", b"Exec=--command=sh "),  # CVE-2024-32462
        (b"Exec=/usr/bin/editor", b"Exec=../../bin/sh "),
        (b"Exec=/usr/bin/editor", b"Exec=/app/../bin/sh "),
        (b"Exec=/usr/bin/editor", b"Exec=editor %y "),
        (b"Exec=/usr/bin/editor", b"Exec=editor; sh "),
        (b"Exec=other-tool", b"Exec=sh @@ "),
        (b"Name=Editor", b"Name=Edi\x1b[2Jtor"),  # CVE-2023-28101
        (b"Name=Editor", "Name=Edi\u202etor".encode()),
        (b"Name=Editor", b"Name=Editor\nName=Other"),  # CVE-2021-43860
        (b"Name=Editor", b"Name=Ed\0itor"),
        (b"Name=Editor", b""),
        (b"Type=Application", b"Type=Link"),
        (b"[Desktop Entry]", b"[Other]\nA=1\n[Desktop Entry]"),
        (b"[Unlisted Group]", b"[Desktop Entry]"),
        (b"Actions=Window;", b"Actions=Missing;"),
        (b"Exec=/usr/bin/editor", b"X-Exec=editor"),
    ],
)
def test_hostile_desktop_entries_are_refused(old: bytes, new: bytes) -> None:
    assert old in ENTRY
    with pytest.raises(UsageError, match=APP):
        entry(ENTRY.replace(old, new, 1))


@pytest.mark.parametrize(
    "text",
    [
        "[D-BUS Service]\nName=/../../x\nExec=editor\n",  # CVE-2020-25265
        "[D-BUS Service]\nName=org.freedesktop.Notifications\nExec=editor\n",
        f"[D-BUS Service]\nName={APP}2\nExec=editor\n",
        f"[D-BUS Service]\nName={APP}\nExec=\n",
        f"[D-BUS Service]\nName={APP}\nExec='editor\n",
        f"[D-BUS Service]\nName={APP}\nExec=editor @@\n",
        f"[D-BUS Service]\nName={APP}\nExec=-c\n",
        f"[Other]\nName={APP}\nExec=editor\n",
    ],
)
def test_hostile_services_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=APP):
        shown({SERVICE: text.encode()})


def test_a_service_starts_the_stub_and_can_neither_name_a_user_nor_a_unit() -> None:
    text = FILES[SERVICE] + b"User=root\nSystemdService=x.service\n"
    data = shown({SERVICE: text}, "/a store/$run")[f"dbus-1/services/{APP}.service"]
    assert data == f"[D-BUS Service]\nName={APP}\nExec='/a store/$run' --serve\n".encode()


@pytest.mark.parametrize(
    ("path", "data"),
    [
        (ICON, b"GIF89a"),
        (ICON, b"\x89PNG\r\n\x1a\n"),
        (ICON, PNG + bytes(MAX_ICON)),
        (ICON.replace(".png", ".svg"), b"\x7fELF"),
        (
            ICON.replace(".png", ".svg"),
            b'<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>',
        ),
        (MIME, b"<other/>"),
        (MIME, b"<mime-info>"),
        (MIME, b'<!DOCTYPE x [<!ENTITY a "aa">]><mime-info>&a;</mime-info>'),
        (MIME, b""),
        (METAINFO, b"<mime-info/>"),
    ],
)
def test_files_that_are_not_what_their_names_say_are_refused(path: str, data: bytes) -> None:
    with pytest.raises(UsageError, match=APP):
        shown({path: data})


@pytest.mark.parametrize(
    "path",
    [
        f"share/applications/../{APP}.desktop",
        f"etc/xdg/autostart/{APP}.desktop",
        f"share/icons/hicolor/16x16/../apps/{APP}.png",
        f"share/icons/{APP}.png",
        f"share/applications/sub/{APP}.desktop",
    ],
)
def test_an_export_from_anywhere_else_is_refused(path: str) -> None:
    for kind in ("desktop", "icons"):
        with pytest.raises(HoldallError):
            check(manifest(**{kind: (path,)}), lambda _: ENTRY)


@pytest.mark.parametrize("stub", STUBS)
def test_a_short_command_becomes_the_stub(tmp_path: Path, stub: str) -> None:
    target = tmp_path / stub.strip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text('#!/bin/sh\nprintf "%s|" "$HOLDALL_COMMAND" "$@"\n')
    target.chmod(0o755)
    whole = manifest(commands=("editor", "editor-cli"))
    for file, command in zip(
        rendered(whole, lambda _: b"", str(target)), ("", "editor-cli"), strict=True
    ):
        assert (file.root, file.mode) == ("bin", 0o755)
        made = tmp_path / file.path
        made.write_bytes(file.data)
        made.chmod(file.mode)
        printed = subprocess.run([made, "a b", "$x"], capture_output=True, check=True).stdout
        assert printed.decode() == f"{command}|a b|$x|"


@pytest.mark.integration
@pytest.mark.parametrize("stub", STUBS)
def test_desktop_file_validate_has_nothing_to_say(
    tmp_path: Path, require: Require, stub: str
) -> None:
    path = tmp_path / f"{APP}.desktop"
    path.write_bytes(shown(FILES, stub)[f"applications/{APP}.desktop"])
    done = subprocess.run(
        [require("desktop-file-validate"), path], capture_output=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_nothing_is_rendered_that_cannot_be_read() -> None:
    def read(path: str) -> bytes:
        raise UsageError(f"{path} is no regular file.")

    with pytest.raises(UsageError, match="no regular file"):
        check(manifest(desktop=(DESKTOP,)), read)
