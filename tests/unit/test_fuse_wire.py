"""The FUSE protocol: bytes as linux/fuse.h has them, and an answer to whatever comes."""

import errno
import os
import random
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdall.system.fuse import wire
from holdall.system.fuse.answers import Answers
from shown import answered, keep, request

FILES = {
    "bin/run": b"#!/bin/sh\n",
    "data": random.Random(1).randbytes(300_000),
    "empty": b"",
    **{f"many/{number:03}": b"x" * number for number in range(200)},
}
INIT = struct.pack("=IIII", 7, 45, 131072, 0xFFFFFFFF) + bytes(48)
SEED = 2024


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    kept = keep(tmp_path_factory.mktemp("fuse"), FILES, links={"link": "data"})
    return Answers(kept.shown())


def inode_of(answers: Answers, name: bytes, folder: int = wire.ROOT) -> int:
    error, body = answered(answers, request(wire.LOOKUP, folder, name + b"\0"))
    assert not error
    return int(struct.unpack_from("=Q", body)[0])


def span(offset: int, size: int) -> bytes:
    return struct.pack("=QQIIQII", 0, offset, size, 0, 0, 0, 0)


def test_attributes_are_a_fuse_attr() -> None:
    assert wire.attributes(5, 0o100755, 513, (1000, 1001)) == bytes.fromhex(
        f"""0500000000000000 0102000000000000 0200000000000000 {"00" * 24} {"00" * 12}
        ed810000 01000000 e8030000 e9030000 00000000 00100000 00000000"""
    )


def test_an_entry_has_its_inode_and_how_long_it_holds() -> None:
    found = wire.attributes(5, 0o100644, 0, (0, 0))
    entry = wire.entry(5, found)
    assert (len(entry), entry[40:]) == (128, found)
    assert struct.unpack_from("=QQQQII", entry) == (5, 0, wire.FOREVER, wire.FOREVER, 0, 0)


def test_a_listed_name_is_padded_to_eight_bytes() -> None:
    record = wire.listed(9, 3, stat.S_IFLNK, b"name")
    assert record == struct.pack("=QQII", 9, 3, 4, 10) + b"name" + bytes(4)


def test_a_reply_says_how_long_it_is() -> None:
    pieces = wire.reply(77, (b"abc", memoryview(b"de")))
    assert b"".join(pieces) == struct.pack("=IiQ", 21, 0, 77) + b"abcde"


def test_a_reply_of_very_many_pieces_can_be_written_at_once(tmp_path: Path) -> None:
    with (tmp_path / "written").open("wb") as file:
        assert os.writev(file.fileno(), wire.reply(77, [b"a"] * 5000)) == 5016


def test_a_failure_has_the_negative_number() -> None:
    assert wire.failure(77, errno.EIO) == [struct.pack("=IiQ", 16, -5, 77)]


def test_what_is_wanted_of_the_kernel_is_what_it_can(answers: Answers) -> None:
    few = struct.pack("=IIII", 7, 33, 65536, 1 << 13 | 1 << 2) + bytes(48)
    error, body = answered(answers, request(wire.INIT, 0, few))
    assert (error, len(body)) == (0, 64)
    assert struct.unpack_from("=IIII", body) == (7, 33, 65536, 1 << 13)


def test_opening_costs_nothing_where_the_kernel_can(answers: Answers) -> None:
    _, body = answered(answers, request(wire.INIT, 0, INIT))
    flags = struct.unpack_from("=IIII", body)[3]
    for bit in (13, 17, 18, 22, 23, 24):  # readdirplus, no open, parallel, pages, links, no opendir
        assert flags >> bit & 1
    assert answered(answers, request(wire.OPEN, 3, bytes(8)))[0] == errno.ENOSYS


def test_a_kernel_that_is_too_old_is_refused(answers: Answers) -> None:
    old = struct.pack("=IIII", 7, 12, 65536, 0)
    assert answered(answers, request(wire.INIT, 0, old))[0] == errno.EPROTO


def test_a_file_is_read_as_it_was_packed(answers: Answers) -> None:
    inode = inode_of(answers, b"data")
    error, body = answered(answers, request(wire.READ, inode, span(65_000, 131_072)))
    assert (error, body) == (0, FILES["data"][65_000:196_072])


def test_nothing_is_read_beyond_the_end(answers: Answers) -> None:
    inode = inode_of(answers, b"data")
    assert answered(answers, request(wire.READ, inode, span(299_999, 4096))) == (
        0,
        FILES["data"][-1:],
    )
    assert answered(answers, request(wire.READ, inode, span(2**63, 4096))) == (0, b"")


def test_a_name_there_is_not_is_kept_too(answers: Answers) -> None:
    error, body = answered(answers, request(wire.LOOKUP, wire.ROOT, b"nothing\0"))
    assert (error, body) == (0, wire.NO_ENTRY)
    assert struct.unpack_from("=QQQ", body) == (0, 0, wire.FOREVER)


def test_a_link_leads_where_it_did(answers: Answers) -> None:
    inode = inode_of(answers, b"link")
    assert answered(answers, request(wire.READLINK, inode)) == (0, b"data")


@pytest.mark.parametrize(
    ("opcode", "name", "body", "expected"),
    [
        (wire.READ, b"bin", span(0, 1), errno.EISDIR),
        (wire.READ, b"link", span(0, 1), errno.EINVAL),
        (wire.READDIR, b"data", span(0, 4096), errno.ENOTDIR),
        (wire.READLINK, b"data", b"", errno.EINVAL),
        (wire.LOOKUP, b"data", b"x\0", errno.ENOTDIR),
        (wire.LOOKUP, b"bin", b"x", errno.EINVAL),
        (wire.READ, b"data", bytes(8), errno.EINVAL),
        (wire.WRITE, b"data", bytes(40), errno.EROFS),
        (wire.UNLINK, b"bin", b"run\0", errno.EROFS),
        (wire.GETXATTR, b"data", bytes(8) + b"user.x\0", errno.ENOSYS),
        (4096, b"data", b"", errno.ENOSYS),
    ],
)
def test_what_makes_no_sense_is_refused(
    answers: Answers, opcode: int, name: bytes, body: bytes, expected: int
) -> None:
    inode = inode_of(answers, name)
    assert answered(answers, request(opcode, inode, body)) == (expected, b"")


@pytest.mark.parametrize("inode", [0, 10**6, 2**64 - 1])
@pytest.mark.parametrize("opcode", [wire.GETATTR, wire.READ, wire.READDIRPLUS, wire.LOOKUP])
def test_an_inode_there_is_not_is_refused(answers: Answers, opcode: int, inode: int) -> None:
    body = b"x\0" if opcode == wire.LOOKUP else span(0, 4096)
    assert answered(answers, request(opcode, inode, body))[0] == errno.ESTALE


@pytest.mark.parametrize("opcode", [wire.FORGET, wire.BATCH_FORGET, wire.INTERRUPT])
def test_what_wants_no_reply_gets_none(answers: Answers, opcode: int) -> None:
    assert answers.answer(request(opcode, 1, bytes(8))) is None


@pytest.mark.parametrize("cut", [0, 1, 39])
def test_a_request_without_a_head_gets_none(answers: Answers, cut: int) -> None:
    assert answers.answer(request(wire.GETATTR, 1)[:cut]) is None


def sensible(source: random.Random) -> bytes:
    """A request such as a kernel sends."""
    inode = source.randrange(220)
    bodies = {
        wire.LOOKUP: source.choice([b"data\0", b"many\0", b"bin\0", b"\0"]),
        wire.GETATTR: bytes(16),
        wire.READLINK: b"",
        wire.READ: span(source.randrange(400_000), source.randrange(1 << 20)),
        wire.READDIR: span(source.randrange(210), source.randrange(1 << 16)),
        wire.READDIRPLUS: span(source.randrange(210), source.randrange(1 << 16)),
        wire.INIT: INIT,
        wire.STATFS: b"",
    }
    opcode = source.choice([*bodies, *range(60)])
    return request(opcode, inode, bodies.get(opcode, source.randbytes(source.randrange(80))))


def mutated(data: bytes, source: random.Random) -> bytes:
    """The same with some bytes flipped, cut off or added, its length mostly made right again."""
    changed = bytearray(data)
    for _ in range(source.randrange(1, 6)):
        changed[source.randrange(len(changed))] ^= 1 << source.randrange(8)
    if source.random() < 0.5:
        del changed[source.randrange(len(changed)) :]
    if source.random() < 0.3:
        changed += source.randbytes(source.randrange(300))
    if source.random() < 0.8 and len(changed) >= 4:
        changed[:4] = struct.pack("=I", len(changed))
    return bytes(changed)


def fuzz() -> Iterator[bytes]:
    """1500 requests: sensible, mutated, and made of nothing but chance."""
    source = random.Random(SEED)
    for _ in range(500):
        yield sensible(source)
        yield mutated(sensible(source), source)
        noise = source.randbytes(source.randrange(40, 400))
        yield struct.pack("=I", len(noise)) + noise[4:]


def test_whatever_comes_is_answered_or_passed_over(answers: Answers) -> None:
    replies = 0
    for data in fuzz():
        pieces = answers.answer(data)
        if pieces is None:
            continue
        replies += 1
        whole = b"".join(pieces)
        length, error, unique = struct.unpack_from("=IiQ", whole)
        assert (length, unique) == (len(whole), struct.unpack_from("=Q", data, 8)[0])
        assert -200 < error <= 0
        assert len(whole) == 16 or not error
    assert replies > 500


def test_listings_fit_the_room_there_is(answers: Answers) -> None:
    inode = inode_of(answers, b"many")
    for opcode in (wire.READDIR, wire.READDIRPLUS):
        for room in (0, 23, 200, 1000, 4096):
            error, body = answered(answers, request(opcode, inode, span(0, room)))
            assert not error
            assert len(body) <= room
