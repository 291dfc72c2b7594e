"""Files out of a folder: a stick may hold anything."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from holdall.delivery.remote.folder import FolderTransport
from holdall.delivery.remote.transport import Transport, open_transport
from holdall.errors import CorruptError, NetworkError, NotFoundError, UsageError

DATA = bytes(range(256)) * 10_000


@pytest.fixture
def stick(tmp_path: Path) -> Path:
    folder = tmp_path / "a stick, 50% full"
    (folder / "content").mkdir(parents=True)
    (folder / "content/file").write_bytes(DATA)
    (tmp_path / "secret").write_text("secret")
    return folder


@pytest.fixture
def transport(stick: Path) -> Transport:
    return open_transport(stick.as_uri())


def test_a_file_is_read(transport: Transport) -> None:
    assert transport.read("content/file", len(DATA)) == DATA


def test_a_range_is_read_and_counted(transport: Transport) -> None:
    assert b"".join(transport.pieces("content/file", 5, 1_500_000)) == DATA[5:1_500_000]
    assert transport.received == 1_499_995


def test_a_file_longer_than_allowed_is_refused(transport: Transport) -> None:
    with pytest.raises(CorruptError):
        transport.read("content/file", len(DATA) - 1)


def test_a_range_beyond_the_end_is_refused(transport: Transport) -> None:
    with pytest.raises(CorruptError):
        list(transport.pieces("content/file", 5, len(DATA) + 1))


@pytest.mark.parametrize("name", ["absent", "content/file/below", "content/absent"])
def test_what_is_not_there_is_said(transport: Transport, name: str) -> None:
    with pytest.raises(NotFoundError):
        transport.read(name, 5)


MAKERS: dict[str, Callable[[Path], object]] = {
    "a FIFO": os.mkfifo,
    "a folder": lambda path: path.mkdir(),
    "a link": lambda path: path.symlink_to("content/file"),
    "a link out": lambda path: path.symlink_to("../secret"),
    "a loop": lambda path: path.symlink_to(path.name),
    "a device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_what_is_no_regular_file_is_refused_without_waiting(
    transport: Transport, stick: Path, make: Callable[[Path], object]
) -> None:
    make(stick / "odd")
    with pytest.raises(CorruptError):
        transport.read("odd", 100)
    with pytest.raises(CorruptError):
        list(transport.pieces("odd", 0, 5))


@pytest.mark.root
def test_a_device_is_refused(transport: Transport, stick: Path) -> None:
    os.mknod(stick / "zero", 0o020666, os.makedev(1, 5))
    with pytest.raises(CorruptError):
        transport.read("zero", 100)


def test_a_link_to_a_folder_is_not_followed(transport: Transport, stick: Path) -> None:
    (stick / "away").symlink_to("..")
    with pytest.raises(CorruptError):
        transport.read("away/secret", 100)


@pytest.mark.parametrize("name", ["../secret", "content/../../secret", "/etc/hostname", "", "a\0b"])
def test_a_name_that_leads_elsewhere_is_refused(transport: Transport, name: str) -> None:
    with pytest.raises(CorruptError):
        transport.read(name, 100)


def test_a_stick_that_is_not_there_is_no_empty_one(tmp_path: Path) -> None:
    transport = FolderTransport(f"file://{tmp_path}/absent")
    with pytest.raises(NetworkError, match="is what it is on there"):
        transport.read("file", 5)


@pytest.mark.parametrize("form", ["file://{}", "file:{}", "file://localhost{}", "file://{}/"])
def test_an_address_has_several_forms(stick: Path, form: str) -> None:
    address = form.format(stick.as_uri().removeprefix("file://"))
    assert open_transport(address).read("content/file", len(DATA)) == DATA


@pytest.mark.parametrize("address", ["file://other/x", "file:x", "file:", "file:///a%00b"])
def test_what_is_no_folder_of_this_machine_is_refused(address: str) -> None:
    with pytest.raises(UsageError):
        open_transport(address)


@pytest.mark.parametrize("address", ["", "x", "ssh://h/x", "/media/stick", "httpx://h"])
def test_other_addresses_are_refused(address: str) -> None:
    with pytest.raises(UsageError):
        open_transport(address)
