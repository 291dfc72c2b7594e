"""One name for a content: that of the kernel's fs-verity."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.errors import CorruptError
from holdall.model.digest import EMPTY, Digest, Hasher, digest_of
from surroundings import Require

SIZES = (0, 1, 4095, 4096, 4097, 128 * 4096 - 1, 128 * 4096, 128 * 4096 + 1, 5 * 10**6)


def patterned(size: int) -> bytes:
    return bytes(range(251)) * (size // 251) + bytes(range(251))[: size % 251]


def measured(fsverity: Path, path: Path) -> str:
    argv = [str(fsverity), "digest", "--compact", str(path)]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    return str(done.stdout).strip()


@pytest.mark.parametrize("size", SIZES)
def test_a_digest_is_what_the_program_fsverity_computes(
    tmp_path: Path, require: Require, size: int
) -> None:
    path = tmp_path / "data"
    path.write_bytes(patterned(size))
    assert digest_of(patterned(size)).hex() == measured(require("fsverity"), path)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "3d248ca542a24fc62d1c43b916eae5016878e2533c88238480b26128a1f1af95"),
        (1, "b803429503d95915829b29fdbc8bbad142f3abfd11b1cadf5526582e685c0551"),
    ],
)
def test_digests_never_change(size: int, expected: str) -> None:
    assert digest_of(bytes(size)).hex() == expected


@given(st.binary(max_size=10_000), st.lists(st.integers(0, 10_000)))
def test_pieces_of_any_length_have_the_digest_of_the_whole(data: bytes, cuts: list[int]) -> None:
    hasher = Hasher()
    at = 0
    for cut in (*sorted(cuts), len(data)):
        hasher.update(data[at:cut])
        at = max(at, cut)
    assert hasher.digest() == digest_of(data)


@pytest.mark.parametrize("size", SIZES)
def test_a_digest_may_be_asked_for_before_the_end(size: int) -> None:
    hasher = Hasher()
    for start in range(0, size, 99_991):
        hasher.update(patterned(size)[start : start + 99_991])
        hasher.digest()
    assert hasher.digest() == digest_of(patterned(size))


def test_zeros_at_the_end_count() -> None:
    assert len({digest_of(bytes(size)) for size in range(10)}) == 10


def test_the_empty_content_has_a_digest() -> None:
    assert digest_of(b"") == EMPTY == Hasher().digest()


@given(st.binary(min_size=32, max_size=32))
def test_what_is_written_is_read(raw: bytes) -> None:
    assert Digest.parse(str(Digest(raw))) == Digest(raw)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0" * 64,
        "sha256:" + "0" * 64,
        "sha256-4k:" + "0" * 63,
        "sha256-4k:" + "0" * 65,
        "sha256-4k:" + "A" * 64,
        "sha256-4k:" + "g" * 64,
        "sha256-4k: " + "0" * 63,
        "sha256-4k:" + "0 " * 32 + "0" * 32,
        "sha256-4k:sha256-4k:" + "0" * 64,
        "sha256-4k:" + "\uff10" * 64,
    ],
)
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(CorruptError):
        Digest.parse(text)
