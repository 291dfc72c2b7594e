"""What no app may be made of: refused when it is built, in one sentence that names it."""

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from bundles import APP, FILES, KEY, snapshot, write_source
from holdall.model.tree import File
from holdall.publish import scan as scanning
from hostility import Refusal, call, differences, read_refusal
from surroundings import HoldallCli

Spoil = Callable[[Path], object]


def refused(folder: Path, out: Path, *more: str) -> Refusal:
    """Build; it must be refused with exit code 2, and make and change nothing."""
    key = out.with_name("key.pem")
    key.write_bytes(KEY.pem)
    before = snapshot(out.parent)
    status, _, complaints = call("--json", "build", folder, "-o", out, "--key", key, *more)
    assert status == 2, complaints
    assert differences(before, snapshot(out.parent)) == []
    return read_refusal(complaints)


def setuid(files: Path) -> None:
    (files / "bin/editor").chmod(0o4755)


def setgid(files: Path) -> None:
    (files / "bin/editor").chmod(0o2755)


def writable_file(files: Path) -> None:
    (files / "share/words.txt").chmod(0o666)


def writable_folder(files: Path) -> None:
    (files / "share").chmod(0o777)


def fifo(files: Path) -> None:
    os.mkfifo(files / "share/pipe")


def unix_socket(files: Path) -> None:
    before = Path.cwd()
    os.chdir(files)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
    os.chdir(before)


def hard_link_out(files: Path) -> None:
    outside = files.parent / "outside"
    outside.write_text("shared")
    (files / "share/linked").hardlink_to(outside)


def device(files: Path) -> None:
    os.mknod(files / "share/null", stat.S_IFCHR | 0o644, os.makedev(1, 3))


def named(name: bytes) -> Spoil:
    def spoil(files: Path) -> None:
        Path(os.fsdecode(os.fsencode(files) + b"/" + name)).write_bytes(b"")

    return spoil


def linked(target: bytes) -> Spoil:
    def spoil(files: Path) -> None:
        (files / "share/link").symlink_to(os.fsdecode(target))

    return spoil


SPOILS: dict[str, Spoil] = {
    "setuid": setuid,
    "setgid": setgid,
    "writable file": writable_file,
    "writable folder": writable_folder,
    "FIFO": fifo,
    "socket": unix_socket,
    "hard link out of the folder": hard_link_out,
    "newline": named(b"a\nb"),
    "escape": named(b"a\x1b[2Jb"),
    "right-to-left override": named("a\u202eb".encode()),
    "no UTF-8": named(b"a\xff\xfeb"),
    "a surrogate's bytes": named(b"a\xed\xa0\x80b"),
    "link with newline": linked(b"a\nb"),
    "link of no UTF-8": linked(b"a\xffb"),
}


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS.keys())
@pytest.mark.parametrize("more", [[], ["--dry-run"]], ids=["build", "dry run"])
def test_files_that_no_app_may_have_are_refused(
    tmp_path: Path, spoil: Spoil, more: list[str]
) -> None:
    folder = write_source(tmp_path / "app")
    spoil(folder / "files")
    assert refused(folder, tmp_path / "app.holdall", *more).kind == "UsageError"


@pytest.mark.root
def test_a_device_is_refused(tmp_path: Path) -> None:
    folder = write_source(tmp_path / "app")
    device(folder / "files")
    assert "device" in refused(folder, tmp_path / "app.holdall").message


def test_hard_links_within_the_folder_are_plain_duplicates(tmp_path: Path) -> None:
    folder = write_source(tmp_path / "app")
    (folder / "files/share/twin").hardlink_to(folder / "files/share/words.txt")
    out = tmp_path / "app.holdall"
    assert call("build", folder, "-o", out, "--unsigned")[0] == 0


MANIFESTS = {
    "nothing": b"",
    "no TOML": b"id = ",
    "no UTF-8": b'id = "\xff"',
    "NUL": b'id = "org.example.A\0"',
    "nested": b"a = " + b"[" * 100_000,
    "a field twice": b'id = "org.example.A"\nid = "org.example.B"\n',
    "an unknown field": b'id = "org.example.A"\nversion = "1"\nkind = "app"\nx = 1\n',
    "an id above": b'id = "../../etc"\nversion = "1"\nkind = "app"\ncommand = "a"\n',
    "no command": b'id = "org.example.A"\nversion = "1"\nkind = "app"\n',
    "a command with a dash": b'id = "org.example.A"\nversion = "1"\nkind = "app"\ncommand = "-c"\n',
    "a number for a version": b'id = "org.example.A"\nversion = 1\nkind = "app"\ncommand = "a"\n',
}


@pytest.mark.parametrize("text", MANIFESTS.values(), ids=MANIFESTS.keys())
def test_a_manifest_that_breaks_a_rule_is_refused(tmp_path: Path, text: bytes) -> None:
    folder = write_source(tmp_path / "app")
    (folder / "holdall.toml").write_bytes(text)
    assert refused(folder, tmp_path / "app.holdall").kind == "UsageError"


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../etc/passwd", "other.desktop"])
def test_an_export_that_is_a_link_is_refused(tmp_path: Path, target: str) -> None:
    path = f"share/applications/{APP}.desktop"
    folder = write_source(tmp_path / "app", links={path: target}, exports={"desktop": [path]})
    assert path in refused(folder, tmp_path / "app.holdall").message


@pytest.mark.parametrize(
    "argv",
    [
        ["--frame-size", "0"],
        ["--frame-size", "1K"],
        ["--frame-size", "2G"],
        ["--frame-size", "-1"],
        ["--frame-size", "many"],
        ["--level", "0"],
        ["--level", "23"],
        ["--serial", "-1"],
        ["--serial", "9999999999999999999999"],
        ["--serial", "x"],
        ["--created", "yesterday"],
        ["--expires", "0001-01-01T00:00:00+23:59"],
        ["--no-such-option"],
    ],
    ids=" ".join,
)
def test_options_without_meaning_are_usage_errors(tmp_path: Path, argv: list[str]) -> None:
    folder = write_source(tmp_path / "app")
    assert refused(folder, tmp_path / "app.holdall", *argv).kind == "UsageError"


def test_a_file_that_grows_while_it_is_packed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_source(tmp_path / "app")
    read = scanning.Scan.read

    def growing(self: scanning.Scan, file: File) -> object:
        if file.path == "share/words.txt":
            with (folder / "files/share/words.txt").open("ab") as stream:
                stream.write(b"more")
        return read(self, file)

    monkeypatch.setattr(scanning.Scan, "read", growing)
    out = tmp_path / "app.holdall"
    status, _, complaints = call("--json", "build", folder, "-o", out, "--unsigned")
    assert status == 2
    assert (
        "changed while it was packed"
        in read_refusal(
            "\n".join(line for line in complaints.splitlines() if line.startswith("{"))
        ).message
    )
    assert not out.exists()


def test_a_file_that_changes_while_it_is_packed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_source(tmp_path / "app")
    read = scanning.Scan.read

    def changing(self: scanning.Scan, file: File) -> object:
        if file.path == "share/words.txt":
            (folder / "files/share/words.txt").write_bytes(FILES["share/words.txt"][::-1])
        return read(self, file)

    monkeypatch.setattr(scanning.Scan, "read", changing)
    out = tmp_path / "app.holdall"
    status, _, complaints = call("--json", "build", folder, "-o", out, "--unsigned")
    assert status == 2
    assert "changed while it was packed" in complaints
    assert list(tmp_path.glob("app.holdall*")) == []


def test_folders_below_each_other_beyond_every_path_are_refused(tmp_path: Path) -> None:
    folder = write_source(tmp_path / "app")
    before = Path.cwd()
    os.chdir(folder / "files")
    for _ in range(20):
        os.mkdir("d" * 250)  # noqa: PTH102 - a whole path would be too long
        os.chdir("d" * 250)
    os.chdir(before)
    status, _, complaints = call(
        "--json", "build", folder, "-o", tmp_path / "app.holdall", "--unsigned"
    )
    assert status == 2, complaints


@pytest.mark.integration
def test_names_of_no_utf8_on_the_command_line_are_no_tracebacks(
    tmp_path: Path, holdall_cli: HoldallCli
) -> None:
    write_source(tmp_path / "app")
    odd = os.fsdecode(b"odd\xff\x9b")
    for argv in (
        ["build", "app", "-o", odd, "--unsigned"],
        ["--json", "build", "app", "-o", odd, "--unsigned"],
        ["install", odd + "absent"],
        ["--root", odd, "install", "--insecure-unsigned", odd],
        ["--root", odd, "path", APP],
        ["--json", "--root", odd, "info", APP],
    ):
        done = holdall_cli(*argv, directory=tmp_path, expect=None)
        assert "Traceback" not in done.stderr, argv
