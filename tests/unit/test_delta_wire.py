"""Numbers, maps, tokens and the index come back as they were written."""

from base64 import urlsafe_b64encode
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltas import numbers, sha, shifts
from holdall.delivery.delta import wire
from holdall.delivery.delta.columns import (
    differences,
    pack_varints,
    unpack_varints,
    unzigzag,
    zigzag,
)
from holdall.delivery.delta.shifts import ShiftMap, pack_maps, unpack_maps
from holdall.delivery.delta.tokens import (
    BASE64,
    HEX,
    QUOTED,
    blank,
    fill,
    quoted_in,
    read_quoted,
    token_of,
)
from holdall.delivery.delta.wire import Index, Part, Recipe, Slice, Transform, Unit
from holdall.errors import CorruptError

WIDE = st.integers(0, 2**63 - 1)
SIGNED = st.integers(-(2**62), 2**62 - 1)


# ------------------------------------------------------------------------------ columns


@given(st.lists(WIDE | st.integers(0, 300)))
def test_varints_come_back(values: list[int]) -> None:
    assert unpack_varints(pack_varints(numbers(values)), len(values)).tolist() == values


@given(st.lists(SIGNED))
def test_signed_numbers_come_back(values: list[int]) -> None:
    assert unzigzag(zigzag(numbers(values))).tolist() == values
    assert np.cumsum(differences(numbers(values))).tolist() == values


@given(st.binary(max_size=40))
def test_any_bytes_are_varints_or_refused(data: bytes) -> None:
    try:
        values = unpack_varints(data)
    except CorruptError:
        return
    assert len(values) == sum(byte < 128 for byte in data)
    assert all(value >= 0 for value in values.tolist())


@pytest.mark.parametrize("count", [0, 1, 3, 2**62])
def test_a_column_has_as_many_numbers_as_promised(count: int) -> None:
    with pytest.raises(CorruptError, match="length promised"):
        unpack_varints(b"\1\2", count)


# ------------------------------------------------------------------------------ maps


@st.composite
def shift_maps(draw: st.DrawFn) -> ShiftMap:
    steps = draw(st.lists(st.integers(1, 2**40), max_size=6))
    moves = draw(st.lists(st.integers(-(2**47), 2**47), min_size=len(steps), max_size=len(steps)))
    return ShiftMap(numbers(accumulate(steps)), numbers(moves))


@given(st.lists(shift_maps(), min_size=1, max_size=4))
def test_maps_come_back(maps: list[ShiftMap]) -> None:
    found = unpack_maps(pack_maps(maps))
    assert [(it.starts.tolist(), it.shifts.tolist()) for it in found] == [
        (it.starts.tolist(), it.shifts.tolist()) for it in maps
    ]


@given(shift_maps(), st.lists(st.integers(0, 2**48), max_size=8))
def test_an_address_moves_by_the_last_piece_at_or_before_it(
    moved: ShiftMap, addresses: list[int]
) -> None:
    addresses += [int(start) + step for start in moved.starts for step in (-1, 0, 1)]
    pairs = list(zip(moved.starts.tolist(), moved.shifts.tolist(), strict=True))
    expected = [
        address + next((by for start, by in reversed(pairs) if start <= address), 0)
        for address in addresses
    ]
    assert moved(numbers(addresses)).tolist() == expected


def test_a_map_without_pieces_moves_nothing() -> None:
    assert shifts({})(numbers([0, 5, -3])).tolist() == [0, 5, -3]


# ------------------------------------------------------------------------------ tokens


@st.composite
def quoting_texts(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A text without tokens, and the digests that it quotes, in order."""
    between = st.sampled_from([b"", b"\n", b"a ", b"=", b"sha256=", b" Zz_ ", b"\xff", b"(x)"])
    pieces, quoted = [draw(between)], []
    for number in draw(st.lists(st.integers(0, 5), max_size=6)):
        digest = sha(b"%d" % number)
        quoted.append(digest)
        written = draw(st.sampled_from([digest.hex().encode(), base64(digest)]))
        pieces += [b" ", written, b",", draw(between)]
    return b"".join(pieces), quoted


def base64(digest: bytes) -> bytes:
    return urlsafe_b64encode(digest).rstrip(b"=")


@given(quoting_texts())
def test_what_is_blanked_and_filled_in_is_as_before(case: tuple[bytes, list[bytes]]) -> None:
    text, quoted = case
    blanked = blank(text, range(len(quoted)))
    assert len([byte for byte in blanked if byte in HEX + BASE64]) == len(quoted)
    assert fill(blanked, quoted) == text


@given(quoting_texts(), st.sets(st.integers(0, 9)))
def test_only_the_digests_named_are_blanked(
    case: tuple[bytes, list[bytes]], chosen: set[int]
) -> None:
    text, quoted = case
    named = [digest for number, digest in enumerate(quoted) if number in chosen]
    assert fill(blank(text, chosen), named) == text


def test_what_is_read_of_a_quoted_digest_is_that_digest() -> None:
    digest = sha(b"anything")
    assert read_quoted(digest.hex().encode()) == digest
    assert read_quoted(base64(digest)) == digest
    assert token_of(base64(digest)) == BASE64
    assert token_of(digest.hex().encode()) == HEX


def test_base64_in_another_spelling_is_no_digest() -> None:
    written = base64(sha(b"anything"))
    other = written[:-1] + bytes([written[-1] + 1])
    assert QUOTED.fullmatch(other)
    assert read_quoted(other) is None


def test_tokens_and_digests_must_be_as_many() -> None:
    with pytest.raises(CorruptError, match="more digests than it names"):
        fill(b"\2\3", [bytes(32)])
    with pytest.raises(CorruptError, match="names more digests"):
        fill(b"\2", [bytes(32)] * 2)


# ------------------------------------------------------------------------------ the index


SLICES = st.builds(
    Slice, st.integers(0, 999_999), st.integers(0, 2**30).map(lambda at: at * 4096), WIDE
).filter(lambda it: it.length < 2**62) | st.builds(
    Slice, st.integers(0, 999_999), st.just(0), st.just(-1)
)


@st.composite
def parts(draw: st.DrawFn) -> Part:
    offset, length = draw(
        st.tuples(st.integers(0, 2**62 - 1), st.integers(0, 2**62 - 1)) | st.just((0, -1))
    )
    transform = draw(st.sampled_from([*Transform, 77]))
    moved = transform in {Transform.X86_64, Transform.AARCH64}
    blanks = draw(st.sets(st.integers(0, 10**6), max_size=4))
    return Part(
        offset,
        length,
        transform,
        draw(st.integers(0, 300)) if moved else -1,
        tuple(sorted(blanks)) if transform == Transform.TOKENS else (),
    )


UNITS = st.builds(
    Unit,
    st.integers(0, 255),
    st.integers(0, wire.MAX_RAW),
    st.integers(1, wire.MAX_STORED),
    st.binary(min_size=32, max_size=32),
    st.lists(SLICES, max_size=3).map(tuple),
    st.lists(parts(), max_size=3).map(tuple),
    st.lists(st.integers(0, 999_999), max_size=3).map(tuple),
)


@st.composite
def indexes(draw: st.DrawFn) -> Index:
    units = draw(st.lists(UNITS, max_size=4))
    recipes = []
    for _ in range(draw(st.integers(1, 3))):
        chosen = draw(st.sets(st.integers(0, len(units) - 1))) if units else set()
        taken = {
            at: tuple(draw(st.integers(0, 2**40)) for _ in units[at].parts) for at in sorted(chosen)
        }
        recipes.append(Recipe(taken))
    return Index(tuple(units), draw(st.binary(max_size=20)), tuple(recipes))


@given(indexes())
def test_an_index_comes_back(index: Index) -> None:
    assert wire.parse(wire.encode(index)) == index


@given(st.lists(st.sampled_from([b"a", b"f" * 42, b"0" * 43, b"G", b"3" * 64, b"=", b" "])))
def test_quoted_digests_are_found_where_the_pattern_finds_them(pieces: list[bytes]) -> None:
    text = b"".join(pieces)
    expected = [found.span() for found in QUOTED.finditer(text)]
    assert [found.span() for found in quoted_in(text)] == expected
