"""Mounts in a namespace of one's own: what is seen in it, and that nothing of it stays."""

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from disks import unmount
from holdall.errors import CorruptError, ProgramError, UnsupportedError
from holdall.system import serving
from holdall.system.means import Means
from holdall.system.mounting import Bound, Composed, KernelImage, Mount, ServedImage
from holdall.system.room import Room
from mounts import (
    eventually,
    fuse_for_everybody,
    loops_of,
    make_image,
    mounted_below,
    servers_of,
)
from surroundings import OrdinaryUser, Require

pytestmark = pytest.mark.root

OFFSET = 3 * 4096


@pytest.fixture(autouse=True)
def everybodys_fuse(tmp_path: Path) -> Iterator[None]:
    """FUSE for every user."""
    with fuse_for_everybody(tmp_path):
        yield


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The files to mount."""
    folder = tmp_path / "source"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep/large").write_bytes(bytes(range(256)) * 4000)
    (folder / "one").write_bytes(b"content of one\n")
    (folder / "link").symlink_to("one")
    return folder


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where it is mounted: a folder with something of its own."""
    folder = tmp_path / 'it\'s a "place",\nwith süß names\\ '
    folder.mkdir()
    (folder / ".not-mounted").touch()
    return folder


@pytest.fixture
def squashfuse(require: Require) -> str:
    """The program that serves squashfs."""
    return str(require("squashfuse_ll"))


def names_in(folder: Path | str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


Make = Callable[[Path, Path, str], Mount]


def kernel_image(kind: str, offset: int) -> Make:
    def make(files: Path, folder: Path, program: str) -> Mount:  # noqa: ARG001 - one shape
        image = folder / "an image, of a kind"
        return KernelImage(kind, str(image), offset, make_image(kind, files, image, offset=offset))

    return make


def served(offset: int) -> Make:
    def make(files: Path, folder: Path, program: str) -> Mount:
        image = folder / "an image, of a kind"
        make_image("squashfs", files, image, offset=offset)
        return ServedImage("squashfs", program, str(image), offset)

    return make


def bound(files: Path, folder: Path, program: str) -> Mount:  # noqa: ARG001 - one shape
    return Bound(str(files))


MOUNTS = {
    "EROFS": kernel_image("erofs", 0),
    "EROFS in a file": kernel_image("erofs", OFFSET),
    "squashfs": kernel_image("squashfs", 0),
    "squashfs in a file": kernel_image("squashfs", OFFSET),
    "served squashfs": served(0),
    "served squashfs in a file": served(OFFSET),
    "a bound folder": bound,
}


@pytest.mark.parametrize("make", MOUNTS.values(), ids=MOUNTS)
def test_a_room_shows_the_files_and_leaves_nothing(
    make: Make, files: Path, target: Path, squashfuse: str, tmp_path: Path
) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    room = Room(make(files, tmp_path, squashfuse), str(target))
    try:
        seen = Path(room.folder)
        assert (seen / "deep/large").read_bytes() == (files / "deep/large").read_bytes()
        assert (seen / "link").readlink() == Path("one")
        assert not (seen / ".not-mounted").exists()
        with pytest.raises(OSError, match="Read-only"):
            (seen / "new").touch()
        assert Path("/proc/self/mountinfo").read_text() == before
        assert (target / ".not-mounted").exists()
    finally:
        room.close()
    assert not seen.exists()
    assert eventually(lambda: not servers_of(tmp_path) and not loops_of(tmp_path))


@pytest.mark.parametrize("make", MOUNTS.values(), ids=MOUNTS)
def test_what_is_mounted_outlives_the_name_of_its_file(
    make: Make, files: Path, target: Path, squashfuse: str, tmp_path: Path
) -> None:
    room = Room(make(files, tmp_path, squashfuse), str(target))
    try:
        (tmp_path / "an image, of a kind").unlink(missing_ok=True)
        data = (Path(room.folder) / "deep/large").read_bytes()
        assert data == (files / "deep/large").read_bytes()
    finally:
        room.close()


def composed(files: Path, folder: Path, *, redirect: str = "/001") -> Composed:
    """A metadata image with one file, whose content is another's, by hand."""
    stubs, data = folder / "stubs", folder / "data"
    stubs.mkdir()
    data.mkdir()
    (data / "001").write_bytes((files / "one").read_bytes())
    stub = stubs / "one"
    stub.write_bytes(bytes((files / "one").stat().st_size))
    os.setxattr(stub, "trusted.overlay.metacopy", b"")
    os.setxattr(stub, "trusted.overlay.redirect", redirect.encode())
    make_image("erofs", stubs, folder / "metadata")
    return Composed(str(folder / "metadata"), str(data), verity=False)


def test_a_composed_mount_shows_contents_under_names(
    files: Path, target: Path, tmp_path: Path
) -> None:
    room = Room(composed(files, tmp_path), str(target))
    try:
        assert names_in(room.folder) == ["one"]
        assert Path(room.folder, "one").read_bytes() == b"content of one\n"
        with pytest.raises(OSError, match="Read-only"):
            Path(room.folder, "one").write_bytes(b"")
    finally:
        room.close()


def test_a_composed_mount_that_asks_for_verity_shows_nothing_without(
    files: Path, target: Path, tmp_path: Path
) -> None:
    room = Room(composed(files, tmp_path)._replace(verity=True), str(target))
    try:
        with pytest.raises(OSError, match="Input/output error"):
            Path(room.folder, "one").read_bytes()
    finally:
        room.close()


def test_two_rooms_of_one_process_are_apart(files: Path, target: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "two").touch()
    first, second = Room(Bound(str(files)), str(target)), Room(Bound(str(other)), str(target))
    try:
        assert Path(first.folder, "one").exists()
        assert names_in(second.folder) == ["two"]
    finally:
        first.close()
        second.close()


@pytest.mark.parametrize("kind", ["squashfs", "erofs"])
def test_the_kernel_refuses_what_is_no_image_in_a_sentence(
    kind: str, target: Path, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    image.write_bytes(os.urandom(2**16))
    with pytest.raises(CorruptError, match=r"cannot read .*/image as an image"):
        Room(KernelImage(kind, str(image), 0, 2**16), str(target))
    assert not loops_of(tmp_path)


def test_a_server_s_own_complaint_is_told(target: Path, squashfuse: str, tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(os.urandom(2**16))
    with pytest.raises(ProgramError, match=r"does not show .*/image: This doesn't look like"):
        Room(ServedImage("squashfs", squashfuse, str(image), 0), str(target))
    assert names_in(target) == [".not-mounted"]


def test_a_server_that_says_nothing_and_ends_is_an_error(target: Path, tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match=r"false does not show .*: it ended and said nothing"):
        Room(ServedImage("squashfs", "/bin/false", str(tmp_path), 0), str(target))


def test_a_server_that_cannot_be_started_is_an_error(target: Path, tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match=r"gone does not show .*: No such file or directory"):
        Room(ServedImage("squashfs", "/gone", str(tmp_path), 0), str(target))


SCRIPT = """
import json, os, sys
from holdall.errors import HoldallError
from holdall.system import mounting
from holdall.system.room import Room

kind, target, *what = json.loads(sys.argv[1])
mount = getattr(mounting, kind)(*what)
try:
    if len(sys.argv) == 2:
        room = Room(mount, target)
        with open(f"{room.folder}/one") as file:
            print(file.read(), end="")
    else:
        mounting.enter([(mount, target)])
        os.execv(sys.argv[2], sys.argv[2:])
except HoldallError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


def as_user(
    user: OrdinaryUser, mount: Mount, target: Path, *argv: str | Path, expect: int = 0
) -> str:
    """Make a mount as an ordinary user, and read in it or become a program in it."""
    given = json.dumps([type(mount).__name__, str(target), *mount])
    finished = user.run(user.python, "-c", SCRIPT, given, *argv, expect=expect)
    return finished.stdout + finished.stderr


@contextmanager
def left_running(
    user: OrdinaryUser, mount: Mount, target: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    """A shell of a user that has entered a namespace with a mount."""
    given = json.dumps([type(mount).__name__, str(target), *mount])
    with subprocess.Popen(
        [user.python, "-c", SCRIPT, given, "/bin/sh", "-c", "echo up; exec sleep 60"],
        env=dict(user.environment),
        user=user.uid,
        group=user.gid,
        extra_groups=[],
        stdout=subprocess.PIPE,
        cwd=user.home,
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"up\n"
            yield process
        finally:
            process.kill()


@pytest.fixture
def users_target(ordinary_user: OrdinaryUser) -> Path:
    """A folder of the user's own."""
    folder = ordinary_user.home / "place"
    folder.mkdir()
    ordinary_user.give(folder)
    return folder


@pytest.fixture
def users_image(ordinary_user: OrdinaryUser, files: Path) -> Path:
    """An image of squashfs that belongs to a user."""
    image = ordinary_user.home / "image"
    make_image("squashfs", files, image, offset=OFFSET)
    ordinary_user.give(image)
    return image


def test_an_ordinary_user_has_images_served_in_a_room(
    ordinary_user: OrdinaryUser, users_target: Path, users_image: Path, squashfuse: str
) -> None:
    mount = ServedImage("squashfs", squashfuse, str(users_image), OFFSET)
    assert as_user(ordinary_user, mount, users_target) == "content of one\n"
    assert not mounted_below(ordinary_user.home)
    assert eventually(lambda: not servers_of(ordinary_user.home))


def test_what_an_ordinary_user_starts_sees_the_mount_and_has_no_right_left(
    ordinary_user: OrdinaryUser, users_target: Path, users_image: Path, squashfuse: str
) -> None:
    mount = ServedImage("squashfs", squashfuse, str(users_image), OFFSET)
    script = f"grep -E '^(Cap[IPEA]|Uid|Gid)' /proc/self/status; cat {users_target}/one"
    told = as_user(ordinary_user, mount, users_target, "/bin/sh", "-c", script)
    said = dict(line.split(":\t", 1) for line in told.splitlines() if ":\t" in line)
    assert [said[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == ["0" * 16] * 4
    assert said["Uid"].split() == [str(ordinary_user.uid)] * 4
    assert said["Gid"].split() == [str(ordinary_user.gid)] * 4
    assert told.endswith("content of one\n")


def test_a_server_has_no_right_but_to_mount_and_can_gain_none(
    ordinary_user: OrdinaryUser, users_target: Path, users_image: Path, squashfuse: str
) -> None:
    mount = ServedImage("squashfs", squashfuse, str(users_image), OFFSET)
    with left_running(ordinary_user, mount, users_target):
        (server,) = servers_of(ordinary_user.home)
        status = Path(f"/proc/{server}/status").read_text()
    said = dict(line.split(":\t", 1) for line in status.splitlines())
    assert int(said["CapPrm"], 16) == int(said["CapEff"], 16) == 1 << 21
    assert said["NoNewPrivs"] == "1"


def test_what_takes_root_is_refused_to_an_ordinary_user_in_a_sentence(
    ordinary_user: OrdinaryUser, users_target: Path, users_image: Path
) -> None:
    size = users_image.stat().st_size
    for mount in (
        KernelImage("squashfs", str(users_image), 0, size),
        KernelImage("erofs", str(users_image), 0, size),
        Composed(str(users_image), str(ordinary_user.home), verity=False),
    ):
        told = as_user(ordinary_user, mount, users_target, expect=1)
        assert told.startswith("UnsupportedError: The kernel does not mount ")
        assert "takes root" in told
        assert len(told.splitlines()) == 1


def test_without_dev_fuse_the_sentence_names_it(
    ordinary_user: OrdinaryUser, users_target: Path, users_image: Path, squashfuse: str
) -> None:
    closed = Path("/dev/fuse").stat().st_mode
    Path("/dev/fuse").chmod(0o600)  # the copy that only this process and its children see
    try:
        mount = ServedImage("squashfs", squashfuse, str(users_image), OFFSET)
        told = as_user(ordinary_user, mount, users_target, expect=1)
    finally:
        Path("/dev/fuse").chmod(closed)
    assert told.startswith("UnsupportedError: /dev/fuse may not be opened (permission denied)")


def test_where_user_namespaces_are_forbidden_the_sentence_says_what_allows_them(
    ordinary_user: OrdinaryUser, users_target: Path, files: Path
) -> None:
    user = ordinary_user
    given = json.dumps(["Bound", str(users_target), str(files)])
    # in a user namespace without room for more: what sysctl does for a whole machine
    inside = 'echo 0 >/proc/sys/user/max_user_namespaces; exec setpriv "$@"'
    words = ["--reuid", str(user.uid), "--regid", str(user.gid), "--clear-groups"]
    program = [str(user.python), "-c", SCRIPT, given]
    wait = 'echo up; read go; exec "$@"'
    with subprocess.Popen(
        ["unshare", "--user", "sh", "-c", wait, "sh", "sh", "-c", inside, "sh", *words, *program],
        env=dict(user.environment),
        cwd=user.home,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{process.pid}/{name}").write_text("0 0 65536")
        told = process.communicate("go\n", 60)[1]
    assert "UnsupportedError: This user may not mount for itself here (ENOSPC" in told
    assert "user.max_user_namespaces" in told


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_server_ends_with_the_program_its_starter_became(
    ordinary_user: OrdinaryUser,
    users_target: Path,
    users_image: Path,
    squashfuse: str,
    number: signal.Signals,
) -> None:
    mount = ServedImage("squashfs", squashfuse, str(users_image), OFFSET)
    with left_running(ordinary_user, mount, users_target) as process:
        assert len(servers_of(ordinary_user.home)) == 1
        process.send_signal(number)
        process.wait(60)
        assert eventually(lambda: not servers_of(ordinary_user.home))


def test_a_room_ends_with_a_reader_that_is_killed(
    ordinary_user: OrdinaryUser, users_target: Path, users_image: Path, squashfuse: str
) -> None:
    user = ordinary_user
    mount = ServedImage("squashfs", squashfuse, str(users_image), OFFSET)
    given = json.dumps([type(mount).__name__, str(users_target), *mount])
    script = f"{SCRIPT}\nsys.stdout.flush()\nimport time\ntime.sleep(60)"
    with subprocess.Popen(
        [user.python, "-c", script, given],
        env=dict(user.environment),
        user=user.uid,
        group=user.gid,
        extra_groups=[],
        stdout=subprocess.PIPE,
        cwd=user.home,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"content of one\n"
        process.kill()
        process.wait(60)
        assert eventually(lambda: not servers_of(user.home))


def test_the_means_are_those_of_who_asks(ordinary_user: OrdinaryUser) -> None:
    facts = ("root", "privileged", "loop", "kernel_erofs", "kernel_squashfs", "data_only_overlay")
    script = (
        "import sys; from holdall.system.means import Means; m = Means('.');"
        f"print(*(getattr(m, name) for name in {facts}), m.fuse, m.user_namespaces)"
    )
    told = ordinary_user.run(ordinary_user.python, "-c", script).stdout.split()
    assert told == [*["False"] * len(facts), "True", "True"]


def test_the_means_hold_what_mounting_shows(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    means = Means(str(store))
    assert means.lacking("privileged", "kernel_erofs", "kernel_squashfs", "data_only_overlay") == ""
    assert means.lacking("squashfuse", "mksquashfs", "mkfs.erofs", "fuse", "loop") == ""
    assert not names_in(store)


def test_the_file_system_is_known(ext4_loop: Path, tmp_path: Path, require: Require) -> None:
    assert Means(str(ext4_loop)).fs_type == "ext4"
    lacking = Means(str(ext4_loop)).lacking("root", "reflink", "subvolumes")
    assert lacking == "the store's file system shares no blocks between files"
    image, point = tmp_path / "btrfs.img", tmp_path / "bt\trfs"
    with image.open("wb") as file:
        file.truncate(256 << 20)
    subprocess.run([require("mkfs.btrfs"), "-q", image], check=True)
    point.mkdir()
    subprocess.run(["mount", "-o", "loop,user_subvol_rm_allowed", image, point], check=True)
    try:
        means = Means(str(point))
        assert (means.fs_type, means.reflink, means.subvolumes) == ("btrfs", True, True)
        subprocess.run(["btrfs", "-q", "subvolume", "create", point / "store"], check=True)
        below = Means(str(point / "store"))
        assert (below.fs_type, below.subvolume_removal) == ("btrfs", True)
    finally:
        unmount(point)


def test_a_file_system_the_kernel_lacks_is_named_as_the_reason(
    target: Path, tmp_path: Path
) -> None:
    (tmp_path / "image").write_bytes(bytes(4096))
    with pytest.raises(UnsupportedError, match="lacks the file system"):
        Room(KernelImage("nofs", str(tmp_path / "image"), 0, 4096), str(target))


def test_a_server_that_does_nothing_is_given_up_and_ended(
    target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle = tmp_path / "idle squashfuse"
    idle.write_text('#!/bin/bash\nexec -a "$0" sleep 1000\n')
    idle.chmod(0o755)
    monkeypatch.setattr(serving, "PATIENCE", 0.2)
    with pytest.raises(ProgramError, match=r"idle squashfuse does not show .*: not within 0\.2"):
        Room(ServedImage("squashfs", str(idle), f"{tmp_path}/image", 0), str(target))
    assert eventually(lambda: not servers_of(tmp_path))
