"""Wheels are unpacked where they belong, and hostile ones nowhere."""

import stat
import zipfile
from pathlib import Path

import pytest

from holdall.errors import CorruptError
from holdall.publish.wheel_files import EntryPoint, unpack_wheel, write_entry_point
from holdall.publish.wheels import Wheel, pypi_id

ENTRY_POINTS = "[console_scripts]\nHello = hello:main\n[gui_scripts]\nhi=hello.gui:App.run [x]\n"


def wheel(folder: Path, **members: str) -> Path:
    path = folder / "hello-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_each_scheme_goes_to_its_folder(tmp_path: Path) -> None:
    members = {
        "hello.py": "",
        "hello-1.0.dist-info/entry_points.txt": ENTRY_POINTS,
        "hello-1.0.data/scripts/tool": "#!python -s\nprint()\n",
        "hello-1.0.data/data/share/applications/hello.desktop": "",
        "hello-1.0.data/platlib/_hello.so": "",
        "hello-1.0.data/headers/hello.h": "",
    }
    files = tmp_path / "files"
    brought = unpack_wheel(wheel(tmp_path, **members), files, "lib/python", None)
    assert set(brought.paths) == {
        "lib/python/hello.py",
        "lib/python/hello-1.0.dist-info/entry_points.txt",
        "bin/tool",
        "share/applications/hello.desktop",
        "lib/python/_hello.so",
    }
    assert brought.entry_points == (
        EntryPoint("Hello", "hello", "main"),
        EntryPoint("hi", "hello.gui", "App.run"),
    )
    assert (files / "bin/tool").read_text() == "#!/usr/bin/env python3\nprint()\n"
    assert stat.S_IMODE((files / "bin/tool").stat().st_mode) == 0o755
    assert stat.S_IMODE((files / "lib/python/hello.py").stat().st_mode) == 0o644


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/etc/evil",
        "a/../../evil",
        "a//b",
        "a/./b",
        "bad\nname",
        "hello-1.0.data/data/../x",
    ],
)
def test_a_member_that_leaves_the_tree_is_refused(tmp_path: Path, name: str) -> None:
    hostile = wheel(tmp_path, **{name: "x"})
    with pytest.raises(CorruptError, match="leaves it"):
        unpack_wheel(hostile, tmp_path / "files", "lib/python", None)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [hostile.name]


def test_a_symbolic_link_in_a_wheel_is_refused(tmp_path: Path) -> None:
    path = wheel(tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(CorruptError, match="neither a file nor a folder"):
        unpack_wheel(path, tmp_path / "files", "lib/python", None)


def test_what_is_no_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "hello-1.0-py3-none-any.whl"
    path.write_bytes(b"PK nothing")
    with pytest.raises(CorruptError, match=r"hello-1\.0-py3-none-any\.whl cannot be read"):
        unpack_wheel(path, tmp_path / "files", "lib/python", None)


@pytest.mark.parametrize("line", ["../x = a:b", "x = a;import os:b", "x = a:b;c", ".x = a:b"])
def test_an_entry_point_that_is_no_name_is_refused(tmp_path: Path, line: str) -> None:
    members = {"x-1.dist-info/entry_points.txt": f"[console_scripts]\n{line}\n"}
    with pytest.raises(CorruptError, match="entry point"):
        unpack_wheel(wheel(tmp_path, **members), tmp_path / "files", "lib/python", None)


def test_a_program_finds_its_library_beside_itself(tmp_path: Path) -> None:
    write_entry_point(tmp_path, "lib/python", EntryPoint("hi", "hello", "App.run"), "3.12")
    text = (tmp_path / "bin/hi").read_text()
    assert text.startswith("#!/usr/bin/env python3.12\n")
    assert "from hello import App\n" in text
    assert "sys.exit(App.run())" in text
    compile(text, "hi", "exec")


@pytest.mark.parametrize(
    ("tags", "arch", "python"),
    [
        ("py3-none-any", "noarch", None),
        ("py2.py3-none-any", "noarch", None),
        ("cp39-abi3-manylinux_2_28_x86_64", "x86_64", None),
        ("cp311-cp311-manylinux2014_aarch64.manylinux_2_17_aarch64", "aarch64", "3.11"),
        ("py3-none-manylinux1_x86_64", "x86_64", None),
    ],
)
def test_a_wheels_name_says_where_it_runs(tags: str, arch: str, python: str | None) -> None:
    wheel = Wheel("hello", "1.0", f"hello-1.0-{tags}.whl", "0" * 64)
    assert (wheel.arch, wheel.python) == (arch, python)


def test_a_project_gets_an_id() -> None:
    assert pypi_id("Zope.Interface_x") == "org.pypi.zope-interface-x"
    assert pypi_id("2to3") == "org.pypi._2to3"
