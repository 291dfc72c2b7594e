"""Debian packages as one tree: where paths go, what is left out, what links mean."""

import os
import stat
from pathlib import Path

import pytest

from holdall.errors import CorruptError
from holdall.publish.debian_apt import Installed, control_fields
from holdall.publish.debian_manifest import debian_id, stated_license
from holdall.publish.debian_unpack import (
    Alternative,
    Extracted,
    Layout,
    Unpacked,
    alternatives_in,
    extract,
    link_alternatives,
    merge,
    settle_links,
)
from holdall.system.process import run

RUNTIME = Layout("/usr")
APP = Layout("/app")


@pytest.mark.parametrize(
    ("path", "runtime", "app"),
    [
        ("usr/bin/x", "bin/x", "bin/x"),
        ("bin/x", "bin/x", "bin/x"),
        ("lib/x86_64-linux-gnu/libx.so", *["lib/x86_64-linux-gnu/libx.so"] * 2),
        ("lib64/ld-linux.so.2", "lib64/ld-linux.so.2", "lib64/ld-linux.so.2"),
        ("usr/lib64/ld-linux.so.2", "lib64/ld-linux.so.2", "lib64/ld-linux.so.2"),
        ("etc/fonts/fonts.conf", "etc/fonts/fonts.conf", "etc/fonts/fonts.conf"),
        ("etc/init.d/x", None, None),
        ("opt/x/y", None, "x/y"),
        ("var/lib/x", None, None),
        ("usr/share/doc/x/copyright", "share/doc/x/copyright", "share/doc/x/copyright"),
        ("usr/share/doc/x/README.gz", None, None),
        ("usr/share/man/man1/x.1.gz", None, None),
        ("usr", None, None),
        ("bin", None, None),
        ("usr/../../x", None, None),
    ],
)
def test_every_path_has_its_place(path: str, runtime: str | None, app: str | None) -> None:
    if ".." in path:
        path = os.path.normpath(path)
    assert (RUNTIME.place(path), APP.place(path)) == (runtime, app)


def test_documentation_is_kept_when_asked() -> None:
    place = Layout("/app", keep_documentation=True).place
    assert place("usr/share/doc/x/README.gz") == "share/doc/x/README.gz"
    assert place("usr/share/man/man1/x.1.gz") == "share/man/man1/x.1.gz"


def raw_package(folder: Path, name: str) -> Extracted:
    raw = folder / name
    raw.mkdir()
    return Extracted(raw, "")


def put(raw: Path, path: str, content: str = "", mode: int = 0o644) -> None:
    goal = raw / path
    goal.parent.mkdir(parents=True, exist_ok=True)
    goal.write_text(content)
    goal.chmod(mode)


def link(raw: Path, path: str, target: str) -> None:
    (raw / path).parent.mkdir(parents=True, exist_ok=True)
    (raw / path).symlink_to(target)


def target(path: Path) -> str:
    return str(path.readlink())


@pytest.fixture
def files(tmp_path: Path) -> Path:
    files = tmp_path / "files"
    files.mkdir()
    return files


def test_modes_are_plain_and_setuid_is_dropped(tmp_path: Path, files: Path) -> None:
    package = raw_package(tmp_path, "p")
    put(package.folder, "usr/bin/su", mode=0o4755)
    put(package.folder, "usr/share/secret", mode=0o600)
    os.mkfifo(package.folder / "usr/share/fifo")
    merge(package, files, RUNTIME)
    assert stat.S_IMODE((files / "bin/su").stat().st_mode) == 0o755
    assert stat.S_IMODE((files / "share/secret").stat().st_mode) == 0o644
    assert not (files / "share/fifo").exists()


def test_a_package_cannot_write_through_another_ones_link(tmp_path: Path, files: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    first, second = raw_package(tmp_path, "a"), raw_package(tmp_path, "b")
    link(first.folder, "usr/share/evil", str(outside))
    put(second.folder, "usr/share/evil/file")
    merge(first, files, RUNTIME)
    with pytest.raises(CorruptError, match="disagree about share/evil"):
        merge(second, files, RUNTIME)
    assert list(outside.iterdir()) == []


def settled(files: Path, layout: Layout, package: Extracted) -> None:
    settle_links(files, layout, merge(package, files, layout).origins)


def test_links_mean_in_a_runtime_what_they_meant_in_the_package(
    tmp_path: Path, files: Path
) -> None:
    package = raw_package(tmp_path, "p")
    put(package.folder, "lib/triplet/libx.so.1")
    put(package.folder, "etc/x/conf")
    link(package.folder, "usr/lib/triplet/libx.so", "/lib/triplet/libx.so.1")
    link(package.folder, "lib/x", "../usr/share/x")
    link(package.folder, "usr/share/x/conf", "../../../etc/x/conf")
    link(package.folder, "etc/x/data", "../../usr/share/x")
    settled(files, RUNTIME, package)
    assert target(files / "lib/triplet/libx.so") == "libx.so.1"
    assert target(files / "lib/x") == "../share/x"
    assert target(files / "share/x/conf") == "../../../etc/x/conf"
    assert target(files / "etc/x/data") == "../../usr/share/x"


def test_links_of_an_app_lead_to_its_own_files_or_to_the_runtime(
    tmp_path: Path, files: Path
) -> None:
    package = raw_package(tmp_path, "p")
    put(package.folder, "usr/share/x/real")
    put(package.folder, "etc/x.conf")
    link(package.folder, "usr/bin/own", "/usr/share/x/real")
    link(package.folder, "usr/bin/near", "../share/x/real")
    link(package.folder, "usr/bin/shell", "/bin/sh")
    link(package.folder, "usr/bin/far", "../lib/runtime-thing")
    link(package.folder, "usr/share/x/conf", "/etc/x.conf")
    settled(files, APP, package)
    targets = {path.name: target(path) for path in files.rglob("*") if path.is_symlink()}
    assert targets == {
        "own": "../share/x/real",
        "near": "../share/x/real",
        "shell": "/bin/sh",
        "far": "/usr/lib/runtime-thing",
        "conf": "../../etc/x.conf",
    }


MAINTAINER_SCRIPT = r"""
if [ "$1" = "configure" ]; then
        update-alternatives --install /usr/bin/awk awk /usr/bin/mawk 5 \
            --slave /usr/share/man/man1/awk.1.gz awk.1.gz /usr/share/man/man1/mawk.1.gz \
            --slave /usr/bin/nawk nawk /usr/bin/mawk
fi
update-alternatives --install /usr/bin/$x $x /usr/bin/y 50
update-alternatives --remove awk /usr/bin/mawk
"""


def test_alternatives_are_read_from_a_maintainer_script() -> None:
    assert [each.link for each in alternatives_in(MAINTAINER_SCRIPT)] == [
        "/usr/bin/awk",
        "/usr/share/man/man1/awk.1.gz",
        "/usr/bin/nawk",
    ]


def test_the_highest_priority_wins_and_existing_files_stay(files: Path) -> None:
    (files / "bin").mkdir()
    for name in ("mawk", "gawk", "vi"):
        (files / "bin" / name).touch()
    offers = [
        Alternative("/usr/bin/awk", "/usr/bin/mawk", 5),
        Alternative("/usr/bin/awk", "/usr/bin/gawk", 10),
        Alternative("/usr/bin/awk", "/usr/bin/missing", 99),
        Alternative("/usr/bin/vi", "/usr/bin/mawk", 1),
    ]
    assert link_alternatives(files, RUNTIME, offers) == {"bin/awk": "usr/bin/awk"}
    assert target(files / "bin/awk") == "gawk"


def test_a_status_entry_states_no_dependencies() -> None:
    stanza = Installed("x", "1:2", "amd64", provides="y (= 1)").stanza
    assert control_fields(stanza)["Provides"] == "y (= 1)"
    assert "Depends" not in stanza


def test_a_copyright_file_states_the_licence_of_the_whole() -> None:
    text = (
        "Format: x\n\nFiles: debian/*\nLicense: MIT\n\nFiles: *\nCopyright: me\nLicense: GPL-2+\n"
    )
    assert stated_license(text) == "GPL-2.0-or-later"
    assert stated_license("This is free software.") == ""


def test_a_package_gets_an_id() -> None:
    assert debian_id("libstdc++6") == "org.debian.libstdc__6"
    assert debian_id("4ti2") == "org.debian._4ti2"


@pytest.mark.integration
def test_a_real_package_is_unpacked(tmp_path: Path, files: Path) -> None:
    source = tmp_path / "source"
    put(source, "usr/games/x", "#!/bin/sh\n", mode=0o2755)
    put(source, "usr/share/doc/x/changelog.gz")
    control = (
        "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: m <m@localhost>\nDescription: x\n"
    )
    put(source, "DEBIAN/control", control)
    put(source, "DEBIAN/postinst", f"#!/bin/sh\n{MAINTAINER_SCRIPT}", mode=0o755)
    run(["dpkg-deb", "--root-owner-group", "--build", str(source), str(tmp_path / "x.deb")])
    unpacked = merge(extract(tmp_path / "x.deb", tmp_path / "raw"), files, APP)
    assert isinstance(unpacked, Unpacked)
    assert unpacked.origins["games/x"] == "usr/games/x"
    assert len(unpacked.alternatives) == 3
    assert stat.S_IMODE((files / "games/x").stat().st_mode) == 0o755
    assert not (files / "share/doc/x/changelog.gz").exists()
