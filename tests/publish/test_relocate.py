"""Compiled-in paths: what is moved to /app, and what is left alone."""

import pytest

from holdall.publish.relocate import Ground

OWN = frozenset(
    {
        "etc",
        "etc/editor",
        "etc/editor/editor.conf",
        "usr",
        "usr/bin",
        "usr/bin/editor",
        "usr/lib",
        "usr/lib/editor",
        "usr/share",
        "usr/share/editor",
        "usr/share/editor/ui",
        "usr/share/icons",
        "usr/share/locale",
        "usr/share/pixmaps",
        "usr/share/pixmaps/editor-big.png",
    }
)
RUNTIME = frozenset(
    {
        "etc",
        "usr",
        "usr/bin",
        "usr/bin/python3",
        "usr/lib",
        "usr/share",
        "usr/share/icons",
        "usr/share/locale",
        "usr/share/pixmaps",
    }
)
GROUND = Ground(OWN, RUNTIME)


def program(text: bytes) -> bytes:
    return b"\x7fELF\0" + text + b"\0rest"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"/usr/share/editor", b"/app/share/editor"),
        (b"/usr/share/editor/ui/%s.ui", b"/app/share/editor/ui/%s.ui"),
        (b"/usr/share/editor/made-later", b"/app/share/editor/made-later"),
        (b"/usr/share/pixmaps/editor-%d.png", b"/app/share/pixmaps/editor-%d.png"),
        (b"/usr/share/locale", b"/app/share/locale"),
        (b"/usr/share/locale/", b"/app/share/locale/"),
        (b"/usr/lib", b"/app/lib"),
        (b"/etc/editor/editor.conf", b"/app/editor/editor.conf"),
        (b"/usr/lib/editor:/usr/share/editor", b"/app/lib/editor:/app/share/editor"),
        (b"file:///usr/share/editor/help", b"file:///app/share/editor/help"),
    ],
)
def test_a_program_finds_what_the_app_brings(before: bytes, after: bytes) -> None:
    assert GROUND.relocated(program(before))[0] == program(after)


@pytest.mark.parametrize(
    "text",
    [
        b"/usr/bin/python3",
        b"/usr/share/zoneinfo",
        b"/usr/bin",
        b"/usr/share/icons",
        b"/usr/lib:/lib",
        b"%s:/usr/share",
        b"/usr/share/editorial",
        b"/opt/usr/share/editor",
        b"$DESTDIR/usr/share/editor",
        b"/usr/share/pixmaps/else-%d.png",
        b"/etc/fonts",
    ],
)
def test_a_program_goes_on_finding_what_the_runtime_has(text: bytes) -> None:
    content = program(text)
    assert GROUND.relocated(content) == (content, frozenset())


def test_a_script_is_moved_by_its_own_paths_and_by_a_quoted_locale_folder_only() -> None:
    script = (
        b"#!/usr/bin/python3\nbind('/usr/share/locale')\nopen('/usr/share')\nrun /usr/bin/editor\n"
    )
    moved, paths = GROUND.relocated(script)
    assert moved == script.replace(b"('/usr/share/locale", b"('/app/share/locale").replace(
        b"/usr/bin/editor", b"/app/bin/editor"
    )
    assert paths == {"usr/share/locale", "usr/bin/editor"}


def test_data_that_is_neither_program_nor_text_is_left_alone() -> None:
    content = b"\x89PNG\0\0/usr/share/editor\0"
    assert GROUND.relocated(content) == (content, frozenset())


def test_a_moved_program_keeps_its_length_and_is_not_moved_twice() -> None:
    once, _ = GROUND.relocated(program(b"/usr/share/editor/ui"))
    assert len(once) == len(program(b"/usr/share/editor/ui"))
    assert GROUND.relocated(once) == (once, frozenset())
