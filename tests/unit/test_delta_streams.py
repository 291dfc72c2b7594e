"""LZMA2 and zstd over a prefix, and add streams, give what was put in."""

import contextlib
import itertools
import random
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltas import addition, array, lzma2, numbers
from holdall.delivery.delta.addition import decode_addition
from holdall.delivery.delta.prefixed import decode_lzma2, decode_zstd
from holdall.delivery.delta.wire import Kind
from holdall.delivery.differ.align import Copies, align
from holdall.delivery.differ.encode import against, plain
from holdall.errors import CorruptError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PREFIXES = (0, 1, 4095, 4096, 65_535, 65_536, 65_537, 131_073)
SIZES = (0, 1, 4095, 4096, 70_000)
NOISE = random.Random(5).randbytes(2 * 65_537)


def resembling(prefix: bytes, size: int) -> bytes:
    """Half new, half what the prefix has, from its very first byte on."""
    half = size // 2
    return (NOISE[-half:] if half else b"") + (prefix + NOISE)[: size - half]


# ------------------------------------------------------------------------------ LZMA2


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("length", PREFIXES)
def test_lzma2_over_a_prefix_of_any_length(length: int, size: int) -> None:
    prefix = NOISE[:length]
    data = resembling(prefix, size)
    stream = lzma2(data, prefix)
    assert decode_lzma2(stream, size, (prefix,)) == data


def test_lzma2_makes_use_of_the_whole_prefix() -> None:
    data = NOISE[:4096] + NOISE[65_536:]
    assert len(lzma2(data, NOISE)) < 100


@given(st.lists(st.integers(0, 70_000), max_size=4))
def test_where_a_prefix_is_cut_does_not_matter(cuts: list[int]) -> None:
    prefix, data = NOISE[:70_000], NOISE[60_000:70_000] + NOISE[:500]
    edges = [0, *sorted(cuts), len(prefix)]
    pieces = [memoryview(prefix)[a:b] for a, b in itertools.pairwise(edges)]
    assert decode_lzma2(lzma2(data, prefix), len(data), pieces) == data


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize(("literal", "alignment"), [(0, 0), (3, 0), (3, 2), (0, 2)])
def test_all_ways_of_encoding_decode_alike(*, literal: int, alignment: int, quick: bool) -> None:
    from holdall.system.liblzma import encode_lzma2

    data = resembling(NOISE[:5000], 9000)
    stream = encode_lzma2(data, NOISE[:5000], literal=literal, alignment=alignment, quick=quick)
    assert decode_lzma2(stream, len(data), (NOISE[:5000],)) == data


@pytest.mark.parametrize("size", [0, 10, 4095, 4097, 5000])
def test_lzma2_of_another_length_is_refused(size: int) -> None:
    stream = lzma2(NOISE[:4096])
    with pytest.raises(CorruptError, match="as many bytes as promised"):
        decode_lzma2(stream, size)


@pytest.mark.parametrize("tail", [b"\0", b"x", lzma2(b"more")])
def test_nothing_may_follow_the_end_of_lzma2(tail: bytes) -> None:
    with pytest.raises(CorruptError):
        decode_lzma2(lzma2(b"data") + tail, 4)


def test_lzma2_over_another_prefix_is_something_else() -> None:
    data = NOISE[:5000]
    with contextlib.suppress(CorruptError):
        assert decode_lzma2(lzma2(data, NOISE), len(data), (bytes(len(NOISE)),)) != data


# ------------------------------------------------------------------------------ zstd


def frame(data: bytes, prefix: bytes) -> bytes:
    dictionary = zstd.ZstdDict(prefix, is_raw=True).as_prefix if len(prefix) >= 8 else None
    return zstd.compress(data, zstd_dict=dictionary)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("length", [0, 1, 7, 8, 65_537])
def test_zstd_over_a_prefix_of_any_length(length: int, size: int) -> None:
    prefix = NOISE[:length]
    data = resembling(prefix, size)
    assert decode_zstd(frame(data, prefix), size, (prefix[:3], prefix[3:])) == data


@pytest.mark.parametrize("size", [0, 4095, 4097])
def test_zstd_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(CorruptError):
        decode_zstd(frame(NOISE[:4096], b""), size)


def test_nothing_may_follow_the_end_of_a_frame() -> None:
    with pytest.raises(CorruptError):
        decode_zstd(frame(b"data", b"") * 2, 4)


# ------------------------------------------------------------------------------ add streams


@st.composite
def edits(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """An old text and a new one made of it by copying, changing and putting in."""
    chance = random.Random(draw(st.integers(0, 2**32)))
    old = chance.randbytes(draw(st.integers(0, 6000)))
    if draw(st.booleans()):
        old = bytes(byte % 3 for byte in old)
    new = b""
    for kind in draw(st.lists(st.sampled_from("cccins"), max_size=8)):
        at, length = chance.randrange(len(old) + 1), chance.randrange(1500)
        piece = bytearray(old[at : at + length])
        if kind == "i":
            piece = bytearray(chance.randbytes(chance.randrange(60)))
        elif kind == "s":
            for place in range(0, len(piece), 37):
                piece[place] = (piece[place] + 3) % 256
        new += bytes(piece)
    return old, new


@given(edits())
def test_an_add_stream_makes_what_was_aligned(case: tuple[bytes, bytes]) -> None:
    old, new = case
    encoded = against(array(new), array(old), align(array(old), array(new), bits=0))
    if encoded.kind == Kind.ADDITION:
        assert decode_addition(encoded.stored, len(new), old) == new
    else:
        assert decode_lzma2(encoded.stored, len(new), (old,)) == new


@st.composite
def copied(draw: st.DrawFn) -> tuple[Copies, int]:
    """Any copies that are apart, and the length of a prefix they stay in."""
    size = draw(st.integers(0, 400))
    rows, at = [], 0
    for gap, length in draw(
        st.lists(st.tuples(st.integers(0, 300), st.integers(0, min(90, size))), max_size=7)
    ):
        rows.append((draw(st.integers(0, size - length)), at + gap, length))
        at += gap + length
    columns = [numbers(column) for column in zip(*rows, strict=True)] or [numbers(())] * 3
    return Copies(*columns), size


@given(copied(), st.integers(0, 2**32), st.integers(0, 50))
def test_an_add_stream_makes_anything_of_any_copies(
    case: tuple[Copies, int], seed: int, tail: int
) -> None:
    copies, size = case
    chance = random.Random(seed)
    end = int(copies.new[-1] + copies.lengths[-1]) if len(copies.new) else 0
    old, new = chance.randbytes(size), chance.randbytes(end + tail)
    encoded = against(array(new), array(old), copies)
    if encoded.kind == Kind.ADDITION:
        assert decode_addition(encoded.stored, len(new), old) == new
    else:
        assert decode_lzma2(encoded.stored, len(new), (old,)) == new


def test_what_changed_little_becomes_an_add_stream() -> None:
    old = np.frombuffer(NOISE[:60_000], np.uint8)
    new = old.copy()
    new[::50] += 1
    encoded = against(new, old, Copies(*(numbers([value]) for value in (0, 0, len(new)))))
    assert encoded.kind == Kind.ADDITION
    assert len(encoded.stored) < 200
    assert decode_addition(encoded.stored, len(new), old.tobytes()) == new.tobytes()


def test_what_has_nothing_in_common_is_given_plainly() -> None:
    data = array(NOISE[:5000])
    none = Copies(*(numbers(()) for _ in range(3)))
    assert against(data, array(NOISE[70_000:]), none).kind == Kind.LZMA2


@pytest.mark.parametrize("size", [0, 1, 5000])
def test_plain_data_comes_back(size: int) -> None:
    for is_known in (False, True):
        stored = plain(NOISE[:size], NOISE[:100], is_known=is_known).stored
        assert decode_lzma2(stored, size, (NOISE[:100],)) == NOISE[:size]


def test_an_addition_counts_modulo_256() -> None:
    stream = addition([(0, 3, 0)], [(0, 255), (2, 1)], b"")
    assert decode_addition(stream, 3, b"\x01\x02\xff") == b"\x00\x02\x00"


def test_a_copy_may_come_before_or_after_its_place() -> None:
    stream = addition([(1, 2, 10), (0, 2, 15)], [], b"x", b"abcdefgh")
    assert decode_addition(stream, 5, b"abcdefgh") == b"xghab"
