"""Compressed parts that decode to more than they say, signed by a key the store trusts."""

import resource
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from bundles import Parts, RawTree, forge, forge_tree, manifest_of
from holdall.delivery.index import Place
from holdall.delivery.zstandard import compress, sized
from holdall.model.digest import digest_of
from holdall.model.tree import Directory, File, Tree
from hostility import Victim

NEXT = manifest_of(version="2.0")
BOMB = compress(bytes(2**27), 1)  # 128 MiB in a few kilobytes
FOLDER = RawTree(paths=["a"], kinds=b"\0").encoded
EMPTY_INDEX = msgspec.msgpack.encode([1, [], [], b"", [], []])


def index_of(raw: list[int], frames: list[bytes], places: list[int], skips: list[int]) -> bytes:
    hashes = b"".join(sha256(frame).digest() for frame in frames)
    return msgspec.msgpack.encode([1, raw, [len(frame) for frame in frames], hashes, places, skips])


def refused(victim: Victim, folder: Path, data: bytes) -> str:
    path = folder / "bomb.holdall"
    path.write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in KiB
    refusal = victim.refuses("install", path)
    assert refusal.kind == "CorruptError"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 2**10
    return refusal.message


@pytest.mark.parametrize("said", [0, 1, len(FOLDER), 2**20])
def test_a_tree_that_decodes_to_more_than_it_says_is_stopped(
    victim: Victim, tmp_path: Path, said: int
) -> None:
    section = said.to_bytes(8, "little") + BOMB
    refused(victim, tmp_path, forge(FOLDER, tree_section=section, manifest=NEXT, entries=1))


@pytest.mark.parametrize("said", [2**27 + 1, 2**31, 2**63, 2**64 - 1])
def test_a_tree_that_says_more_than_a_tree_may_is_not_decoded(
    victim: Victim, tmp_path: Path, said: int
) -> None:
    section = said.to_bytes(8, "little") + BOMB
    data = forge(FOLDER, tree_section=section, manifest=NEXT, entries=1)
    assert "longer than it may be" in refused(victim, tmp_path, data)


@pytest.mark.parametrize(
    "section", [b"", b"\0" * 7, bytes(8), sized(FOLDER, b""), sized(FOLDER, b"x" * 40)]
)
def test_a_tree_section_without_a_frame_is_refused(
    victim: Victim, tmp_path: Path, section: bytes
) -> None:
    refused(victim, tmp_path, forge(FOLDER, tree_section=section, manifest=NEXT, entries=1))


@pytest.mark.parametrize("said", [0, 1, 2**20, 2**26 + 1, 2**63])
def test_an_index_that_is_a_bomb_is_stopped(victim: Victim, tmp_path: Path, said: int) -> None:
    section = said.to_bytes(8, "little") + BOMB
    refused(victim, tmp_path, forge(FOLDER, index_section=section, manifest=NEXT, entries=1))


def test_two_frames_where_one_should_be_are_refused(victim: Victim, tmp_path: Path) -> None:
    section = sized(FOLDER, compress(FOLDER[:5], 1) + compress(FOLDER[5:], 1))
    refused(victim, tmp_path, forge(FOLDER, tree_section=section, manifest=NEXT, entries=1))


def one_content(data: bytes) -> Tree:
    return Tree((Directory("share"), File("share/a", digest_of(data), len(data), executable=False)))


@pytest.mark.parametrize("said", [512, 1024, 2**20 - 512])
def test_a_frame_that_decodes_to_more_than_it_says_is_stopped(
    victim: Victim, tmp_path: Path, said: int
) -> None:
    data = bytes(said)
    index = index_of([said], [BOMB], [0], [0])
    forged = Parts.of(forge_tree(one_content(data), index=index, manifest=NEXT))
    refused(victim, tmp_path, Parts(forged.envelope, forged.tree, forged.index, BOMB).bytes)


def test_a_frame_that_decodes_to_less_than_it_says_is_refused(
    victim: Victim, tmp_path: Path
) -> None:
    frame = compress(bytes(512), 1)
    index = index_of([4096], [frame], [0], [0])
    forged = Parts.of(forge_tree(one_content(bytes(4096)), index=index, manifest=NEXT))
    refused(victim, tmp_path, Parts(forged.envelope, forged.tree, forged.index, frame).bytes)


def test_a_content_that_is_not_what_the_tree_names_is_refused(
    victim: Victim, tmp_path: Path
) -> None:
    tree = one_content(b"signed" * 100)
    stream = (b"forged" * 100).ljust(1024, b"\0")
    data = forge_tree(tree, stream=stream, places=[Place(0, 0, 600)], manifest=NEXT)
    assert "digest" in refused(victim, tmp_path, data)


@pytest.mark.parametrize(
    ("raw", "order", "skips"),
    [
        ([1024], [0], [2]),
        ([1024], [0], [2**32 - 1]),
        ([1024], [0], [2**32]),
        ([1024], [0], [-1]),
        ([1024], [1], [0]),
        ([1024], [-1], [0]),
        ([1024], [], []),
        ([1024], [0, 0], [0, 0]),
        ([1024], [0], []),
        ([0], [0], [0]),
        ([-1], [0], [0]),
        ([2**26 + 1], [0], [0]),
        ([2**63], [0], [0]),
        ([], [0], [0]),
        ([512, 512], [0], [0]),
    ],
)
def test_an_index_that_does_not_fit_its_tree_is_refused(
    victim: Victim, tmp_path: Path, raw: list[int], order: list[int], skips: list[int]
) -> None:
    frame = compress(bytes(1024), 1)
    index = index_of(raw, [frame], order, skips)
    refused(victim, tmp_path, forge_tree(one_content(bytes(600)), index=index, manifest=NEXT))


@pytest.mark.parametrize(
    "index",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode([2, [], [], b"", [], []]),
        msgspec.msgpack.encode([1, [], [], b""]),
        EMPTY_INDEX + b"\0",
        b"\x96\x01\xdd\xff\xff\xff\xff",
        b"\x96\x01" + b"\x91" * 10**6,
        b"\x96\x01\xdd\x00\x98\x96\x80" + b"\x01" * 10**7 + b"\x90\xc4\x00\x90\x90",
    ],
    ids=["empty", "no msgpack", "format 2", "short", "long", "2^32", "nested", "ten million"],
)
def test_bytes_that_are_no_index_are_refused(victim: Victim, tmp_path: Path, index: bytes) -> None:
    refused(victim, tmp_path, forge(FOLDER, index=index, manifest=NEXT, entries=1))


def test_an_index_of_no_frames_serves_a_tree_of_no_contents(victim: Victim, tmp_path: Path) -> None:
    forged = Parts.of(forge(FOLDER, index=EMPTY_INDEX, manifest=NEXT, entries=1))
    path = tmp_path / "bare.holdall"
    path.write_bytes(Parts(forged.envelope, forged.tree, forged.index, b"").bytes)
    victim.accepts("install", path)
