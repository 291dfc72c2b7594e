"""Bundles that were cut, flipped or lengthened on the way: each is refused and changes nothing."""

import io
from pathlib import Path

import pytest

from bundles import FILES, KEY, Parts, make_bundle
from holdall.delivery.bundle import BundleSource, open_preamble, read_preamble
from holdall.delivery.layout import HEAD_SIZE
from holdall.delivery.tarball import END
from holdall.delivery.zstandard import compress
from holdall.errors import CorruptError
from holdall.model.digest import Hasher
from holdall.trust.envelope import open_envelope
from hostility import Victim, differences, read_refusal
from surroundings import HoldallCli

Result = tuple[object, ...]
END_FRAME = len(compress(END, 1))


@pytest.fixture(scope="module")
def update(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A bundle of version 2.0, with a file more and one changed."""
    path = tmp_path_factory.mktemp("update") / "two.holdall"
    files = {**FILES, "share/words.txt": b"four five\n" * 9, "share/new.txt": b"new\n"}
    return make_bundle(path, files, version="2.0").read_bytes()


def taken(data: bytes, file: Path) -> Result:
    """All that a reader takes from a bundle: release, tree, signers and every content, checked."""
    stream = io.BytesIO(data)
    preamble = read_preamble(stream)
    if preamble.head.size != len(data):
        raise CorruptError("The bundle is cut short or has something after its end.")
    signed = open_envelope(preamble.envelope)
    release = signed.release
    opened = open_preamble(
        preamble,
        tree_sha256=release.packing.tree,
        index_sha256=release.packing.index,
        tree_digest=release.tree_digest.raw,
    )
    file.write_bytes(data)
    contents = {}
    with file.open("rb") as bundle:
        source = BundleSource(opened, bundle.fileno(), preamble.head.first_frame)
        for batch in source.batches(opened.tree.contents):
            for digest, pieces in source.produce(batch.number, opened.tree.contents):
                hasher = Hasher()
                for piece in pieces:
                    hasher.update(piece)
                if hasher.digest() != digest:
                    raise CorruptError("A content does not have its digest.")
                contents[digest] = True
    assert contents.keys() == opened.tree.contents.keys()
    return signed, opened.tree


def test_a_bundle_cut_anywhere_before_its_frames_is_refused(update: bytes) -> None:
    first_frame = len(update) - len(Parts.of(update).frames)
    for length in range(first_frame):
        with pytest.raises(CorruptError):
            read_preamble(io.BytesIO(update[:length]))


def test_a_bundle_cut_in_its_frames_is_refused(update: bytes, tmp_path: Path) -> None:
    frames = len(Parts.of(update).frames)
    for missing in range(1, frames + 1):
        with pytest.raises(CorruptError):
            taken(update[:-missing], tmp_path / "cut")


def test_a_flipped_byte_is_refused_or_changes_nothing_that_is_taken(
    update: bytes, tmp_path: Path
) -> None:
    whole = taken(update, tmp_path / "flipped")
    passed = []
    for at in range(len(update)):
        damaged = bytearray(update)
        damaged[at] ^= 1 << at % 8
        try:
            assert taken(bytes(damaged), tmp_path / "flipped") == whole
        except CorruptError:
            continue
        passed.append(at)
    # flags that a reader must ignore, and the tar's own end, which only a stream brings along
    flags, end = range(20, 28), range(len(update) - END_FRAME, len(update))
    assert set(passed) <= {*flags, *end}


@pytest.mark.parametrize("share", [0, 10, 25, 50, 75, 90, 99])
def test_a_cut_bundle_changes_nothing(
    victim: Victim, update: bytes, tmp_path: Path, share: int
) -> None:
    path = tmp_path / "cut.holdall"
    path.write_bytes(update[: len(update) * share // 100])
    assert victim.refuses("install", path).kind == "CorruptError"


# what reads no frame finds nothing damaged there
ZEROED = [
    (command, part)
    for command in ("install", "update", "inspect", "repair")
    for part in ("head", "envelope", "tree", "index", "frames")
    if part != "frames" or command in {"install", "update"}
]


@pytest.mark.parametrize(("command", "part"), ZEROED)
def test_a_part_of_zeros_changes_nothing(
    victim: Victim, update: bytes, tmp_path: Path, part: str, command: str
) -> None:
    parts = Parts.of(update)
    lengths = {"head": HEAD_SIZE, "envelope": 8 + len(parts.envelope), "tree": 8 + len(parts.tree)}
    lengths |= {"index": 8 + len(parts.index), "frames": len(parts.frames)}
    start = sum(
        length
        for name, length in lengths.items()
        if list(lengths).index(name) < list(lengths).index(part)
    )
    damaged = update[:start] + bytes(lengths[part]) + update[start + lengths[part] :]
    path = tmp_path / "zeros.holdall"
    path.write_bytes(damaged)
    assert victim.refuses(command, path).kind == "CorruptError"


@pytest.mark.parametrize("more", [b"\0", b"PK\x03\x04", bytes(4096)])
def test_a_bundle_that_goes_on_is_refused(
    victim: Victim, update: bytes, tmp_path: Path, more: bytes
) -> None:
    path = tmp_path / "long.holdall"
    path.write_bytes(update + more)
    assert "after its end" in victim.refuses("install", path).message


@pytest.mark.parametrize("at", [32, 36, 40])
@pytest.mark.parametrize("length", [0, 1, 2**31, 2**32 - 1])
def test_lengths_that_are_not_true_are_refused(
    victim: Victim, update: bytes, tmp_path: Path, at: int, length: int
) -> None:
    path = tmp_path / "length.holdall"
    path.write_bytes(update[:at] + length.to_bytes(4, "little") + update[at + 4 :])
    assert victim.refuses("install", path).kind == "CorruptError"


@pytest.mark.parametrize("length", [0, 2**31, 2**62 - 1, 2**62, 2**63, 2**64 - 1])
def test_a_content_length_that_is_not_true_is_refused(
    victim: Victim, update: bytes, tmp_path: Path, length: int
) -> None:
    path = tmp_path / "length.holdall"
    path.write_bytes(update[:44] + length.to_bytes(8, "little") + update[52:])
    assert victim.refuses("install", path).kind == "CorruptError"


@pytest.mark.parametrize("at", [16, 28])
def test_a_bundle_of_a_later_format_is_refused(
    victim: Victim, update: bytes, tmp_path: Path, at: int
) -> None:
    path = tmp_path / "later.holdall"
    path.write_bytes(update[:at] + b"\x40" + update[at + 1 :])
    assert "newer" in victim.refuses("install", path).message


@pytest.mark.parametrize(
    "data", [b"", b"\0", b"#!/bin/sh\n", b"\x28\xb5\x2f\xfd", b"PK\x03\x04" * 100]
)
def test_what_is_no_bundle_is_refused(victim: Victim, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "some.holdall"
    path.write_bytes(data)
    assert victim.refuses("install", path).kind == "CorruptError"


def test_sections_of_two_bundles_do_not_mix(victim: Victim, update: bytes, tmp_path: Path) -> None:
    ours = Parts.of(update)
    other = make_bundle(tmp_path / "other.holdall", {"bin/other": b"x"}, version="3.0", keys=(KEY,))
    theirs = Parts.of(other.read_bytes())
    path = tmp_path / "mixed.holdall"
    for name in ("envelope", "tree", "index", "frames"):
        mixed = Parts(
            *(getattr(theirs if field == name else ours, field) for field in Parts.__slots__)
        )
        path.write_bytes(mixed.bytes)
        assert victim.refuses("install", path).kind == "CorruptError"


@pytest.mark.integration
def test_damage_is_refused_by_the_program(
    victim: Victim, update: bytes, tmp_path: Path, holdall_cli: HoldallCli
) -> None:
    path = tmp_path / "damaged.holdall"
    for at in (3, 17, 70, *range(200, len(update) - END_FRAME, len(update) // 8)):
        damaged = bytearray(update)
        damaged[at] ^= 0xFF
        path.write_bytes(damaged)
        assert victim.refuses_as_a_program(holdall_cli, "install", path).kind == "CorruptError"


@pytest.mark.integration
@pytest.mark.parametrize("damage", ["cut", "flipped", "longer", "end flipped"])
def test_a_damaged_stream_changes_nothing(
    victim: Victim, update: bytes, holdall_cli: HoldallCli, damage: str
) -> None:
    frame = len(update) - len(Parts.of(update).frames) + 40
    damaged = {
        "cut": update[:-END_FRAME],
        "flipped": update[:frame] + bytes([update[frame] ^ 1]) + update[frame + 1 :],
        "longer": update + b"\0",
        "end flipped": update[:-3] + bytes([update[-3] ^ 1]) + update[-2:],
    }[damage]
    text = damaged.decode("utf-8", "surrogateescape")
    before = victim.seen()
    done = holdall_cli(
        "--json", "--root", victim.root, "install", "-", expect=4, typed=text, timeout=60
    )
    assert read_refusal(done.stderr).kind == "CorruptError"
    assert differences(before, victim.seen()) == []
