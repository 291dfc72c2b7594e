"""AArch64 address fields: which words have them, what they name, and how they are moved."""

import struct
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from holdall.delivery.delta import aarch64
from holdall.delivery.delta.references import Bounds, References

Image = NDArray[np.uint8]

ANYWHERE = Bounds(-(2**40), 2**40, -(2**40), 2**40)
NOP = 0xD503201F
ADRP_X0 = 0x90000000
ADD_X0_X0 = 0x91000000
LDR_X1_X0 = 0xF9400001
LOOK_BACK = 512


def image_of(words: Sequence[int]) -> Image:
    return np.frombuffer(struct.pack(f"<{len(words)}I", *words), np.uint8).copy()


def words_of(image: Image) -> list[int]:
    return [word for (word,) in struct.iter_unpack("<I", image.tobytes())]


def found(words: Sequence[int], address: int = 0, bounds: Bounds = ANYWHERE) -> dict[int, int]:
    """Word number to address named."""
    references = aarch64.find(image_of(words), 0, 4 * len(words), address, bounds)
    assert references.positions.dtype == references.targets.dtype == np.int64
    assert references.kinds.dtype == np.uint8
    return {
        int(position) // 4: int(target)
        for position, target in zip(references.positions, references.targets, strict=True)
    }


def moved(words: Sequence[int], by: int, address: int = 0, instructions: int = 0) -> list[int]:
    """The words with every address they name moved, and they themselves too."""
    image = image_of(words)
    references = aarch64.find(image, 0, len(image), address, ANYWHERE)
    sources = references.positions + address + instructions
    aarch64.write(image, 0, references, sources, references.targets + by)
    return words_of(image)


# Words, where they stand and what they name, as objdump prints libQt6Core.so.6.8.1 and others.
SINGLE = [
    pytest.param(0x1400000D, 0xDAC78, 0xDACAC, id="b forward"),
    pytest.param(0x17FFFFE8, 0x112D78, 0x112D18, id="b back"),
    pytest.param(0x97FFF563, 0xDA604, 0xD7B90, id="bl"),
    pytest.param(0x54000040, 0xDAB88, 0xDAB90, id="b.eq"),
    pytest.param(0x54FFEEC8, 0x4BCCC0, 0x4BCA98, id="b.hi"),
    pytest.param(0x54000050, 0x40, 0x48, id="bc.eq"),
    pytest.param(0xB4000161, 0xDB07C, 0xDB0A8, id="cbz x"),
    pytest.param(0x350001E0, 0xDAF50, 0xDAF8C, id="cbnz w"),
    pytest.param(0x3607ED80, 0x4BC60C, 0x4BC3BC, id="tbz back"),
    pytest.param(0x37280082, 0x3C, 0x4C, id="tbnz #5"),
    pytest.param(0x10000061, 0x1A5060, 0x1A506C, id="adr"),
    pytest.param(0x70000025, 0x1C, 0x23, id="adr odd"),
    pytest.param(0x30FFFFE5, 0x20, 0x1D, id="adr odd back"),
    pytest.param(0x58000101, 0x0, 0x20, id="ldr x literal"),
    pytest.param(0x98FFFE02, 0x4, -0x3C, id="ldrsw literal"),
    pytest.param(0x9C000803, 0x8, 0x108, id="ldr q literal"),
    pytest.param(0xD8000040, 0xC, 0x14, id="prfm literal"),
    pytest.param(0x18000020, 0x10, 0x14, id="ldr w literal"),
    pytest.param(0x1C000020, 0x14, 0x18, id="ldr s literal"),
    pytest.param(0x5C000020, 0x18, 0x1C, id="ldr d literal"),
]


@pytest.mark.parametrize(("word", "address", "target"), SINGLE)
def test_a_single_word_names_its_target(word: int, address: int, target: int) -> None:
    assert found([word], address) == {0: target}


@pytest.mark.parametrize(("word", "address", "target"), SINGLE)
def test_a_single_word_is_moved_and_moved_back(word: int, address: int, target: int) -> None:
    there = moved([word], 64, address)
    assert there != [word]
    assert found(there, address) == {0: target + 64}
    assert moved(there, -64, address) == [word]


@pytest.mark.parametrize(
    "word",
    [
        pytest.param(0xD63F0060, id="blr"),
        pytest.param(0xD61F0060, id="br"),
        pytest.param(0xD65F03C0, id="ret"),
        pytest.param(NOP, id="nop"),
        pytest.param(0x91400420, id="add lsl #12"),
        pytest.param(0xA8810440, id="stp"),
        pytest.param(0xF9000420, id="str without adrp"),
        pytest.param(ADRP_X0, id="adrp alone"),
    ],
)
def test_other_words_name_nothing(word: int) -> None:
    assert found([word, NOP, NOP]) == {}


@pytest.mark.parametrize(
    ("words", "address", "named"),
    [
        pytest.param(
            [0xF0002ED0, 0xF9429E11, 0x9114E210, 0xD61F0220],
            0xCD550,
            {0: 0x6A8538, 1: 0x6A8538, 2: 0x6A8538},
            id="plt: adrp x16; ldr x17, [x16, #1336]; add x16, x16, #0x538",
        ),
        pytest.param([0xF0001F06, 0x3DC0F4C2], 0xF49EC, {0: 0x4D73D0, 1: 0x4D73D0}, id="ldr q"),
        pytest.param([0x90000003, 0x3D800C60], 0x5000, {0: 0x5030, 1: 0x5030}, id="str q"),
        pytest.param([0xB0000004, 0x79C00C83], 0x5000, {0: 0x6006, 1: 0x6006}, id="ldrsh"),
        pytest.param([0x90000002, 0x3945E040], 0x5FF8, {0: 0x5178, 1: 0x5178}, id="ldrb"),
        pytest.param([0x90000001, 0xFD000420], 0x5000, {0: 0x5008, 1: 0x5008}, id="str d"),
        pytest.param([0x90000001, 0xB9400420], 0x5000, {0: 0x5004, 1: 0x5004}, id="ldr w"),
        pytest.param([0xF0FFFFE0, 0x91004000], 0x5000, {0: 0x4010, 1: 0x4010}, id="page before"),
    ],
)
def test_adrp_and_its_users_name_one_address(
    words: list[int], address: int, named: dict[int, int]
) -> None:
    assert found(words, address) == named


def test_adrp_takes_the_address_of_its_first_user() -> None:
    words = [ADRP_X0, LDR_X1_X0 | 2 << 10, LDR_X1_X0 | 4 << 10]
    assert found(words, 0x7000) == {0: 0x7010, 1: 0x7010, 2: 0x7020}


@pytest.mark.parametrize(
    "between",
    [
        pytest.param(0xAA0103E0, id="mov x0, x1"),
        pytest.param(0xD2800020, id="mov x0, #1"),
        pytest.param(0xF9400020, id="ldr x0, [x1]"),
        pytest.param(0xA9400420, id="ldp x0, x1, [x1]"),
        pytest.param(0x90000000, id="adrp x0"),
        pytest.param(0x94000000, id="bl"),
        pytest.param(0xD63F0060, id="blr x3"),
        pytest.param(0xD65F03C0, id="ret"),
        pytest.param(0x14000004, id="b"),
    ],
)
def test_a_page_ends_when_its_register_is_set_or_control_leaves(between: int) -> None:
    assert 0 not in found([ADRP_X0, between, ADD_X0_X0])


@pytest.mark.parametrize(
    "between",
    [
        pytest.param(0xF9000020, id="str x0, [x1]"),
        pytest.param(0xA9000420, id="stp x0, x1, [x1]"),
        pytest.param(0xA9BF0420, id="stp x0, x1, [x1, #-16]!"),
        pytest.param(0xFA400804, id="ccmp x0, #0, #4, eq"),
        pytest.param(0x54000040, id="b.eq"),
        pytest.param(0xB4000040, id="cbz x0"),
        pytest.param(0xFD400020, id="ldr d0, [x1]"),
        pytest.param(0xAA0003E1, id="mov x1, x0"),
    ],
)
def test_a_page_lasts_over_what_leaves_its_register_alone(between: int) -> None:
    assert found([ADRP_X0, between, ADD_X0_X0 | 8 << 10], 0x1000).items() >= {0: 0x1008}.items()


def test_a_page_in_a_saved_register_lasts_over_a_call() -> None:
    adrp_x20, bl, add_x0_x20 = 0x90000014, 0x94000000, 0x91000280
    assert set(found([adrp_x20, bl, add_x0_x20])) == {0, 1, 2}


def test_an_offset_beyond_a_page_is_no_half_of_an_address() -> None:
    assert found([ADRP_X0, LDR_X1_X0 | 512 << 10]) == {}


def test_targets_outside_the_bounds_are_no_fields() -> None:
    bounds = Bounds(low=0x1000, high=0x3000, code_low=0x1000, code_high=0x2000)
    words = [0x14000400, 0x14000000, ADRP_X0 | 1 << 29, ADD_X0_X0, 0xD0000001, 0x91000021]
    assert found(words, 0x1000, bounds) == {1: 0x1004, 2: 0x2000, 3: 0x2000}


@pytest.mark.parametrize(
    ("word", "by"),
    [
        pytest.param(0x14000000, 1 << 27, id="b too far"),
        pytest.param(0x14000000, -(1 << 27) - 4, id="b too far back"),
        pytest.param(0x14000000, 2, id="b to half a word"),
        pytest.param(0x54000000, 1 << 20, id="b.eq too far"),
        pytest.param(0x36000000, 1 << 15, id="tbz too far"),
        pytest.param(0x10000000, 1 << 20, id="adr too far"),
    ],
)
def test_a_value_that_does_not_fit_leaves_the_old_bytes(word: int, by: int) -> None:
    assert moved([word], by) == [word]


def test_the_farthest_values_fit() -> None:
    assert moved([0x14000000], (1 << 27) - 4) == [0x15FFFFFF]
    assert moved([0x14000000], -(1 << 27)) == [0x16000000]
    assert moved([ADRP_X0, ADD_X0_X0], (1 << 32) - 1) == [0xF07FFFE0, 0x913FFC00]
    assert moved([ADRP_X0, ADD_X0_X0], -(1 << 32)) == [0x90800000, ADD_X0_X0]
    assert moved([ADRP_X0, ADD_X0_X0], 1 << 32) == [ADRP_X0, ADD_X0_X0]


def test_a_load_cannot_name_an_address_between_its_units() -> None:
    assert moved([ADRP_X0, LDR_X1_X0], 0x1008) == [ADRP_X0 | 1 << 29, LDR_X1_X0 | 1 << 10]
    assert moved([ADRP_X0, LDR_X1_X0], 0x1004) == [ADRP_X0 | 1 << 29, LDR_X1_X0]


def test_masking_leaves_opcodes_registers_and_conditions() -> None:
    words = [0x97FFF563, 0x54FFEEC8, 0x3707ED83, 0x70FFFFE5, 0xF0002ED0, 0xF9429E11, 0x91004210]
    image = image_of([NOP, *words])
    aarch64.mask(image[4:], 4, aarch64.find(image, 4, len(image), 0, ANYWHERE))
    assert words_of(image) == [
        *(NOP, 0x94000000, 0x54000008, 0x37000003),
        *(0x10000005, 0x90000010, 0xF9400211, 0x91000210),
    ]


def _word(opcode: int, lowest: int, width: int, split: int = 0) -> st.SearchStrategy[int]:
    """An instruction with a number in the inner half of what its field can hold."""
    quarter = 1 << width - 2
    return st.builds(
        lambda number, low, register: (
            opcode | (number & (1 << width) - 1) << lowest | low << 29 | register
        ),
        st.integers(-quarter, quarter - 1),
        st.integers(0, (1 << split) - 1),
        st.sampled_from((0, 1, 20)),
    )


def _half(opcode: int) -> st.SearchStrategy[int]:
    """An instruction that may be the second half of an address."""
    return st.builds(
        lambda offset, base, register: opcode | offset << 10 | base << 5 | register,
        st.integers(0, 0xFFF),
        st.sampled_from((0, 1, 20)),
        st.sampled_from((0, 1, 20)),
    )


WORDS = st.lists(
    st.one_of(
        st.integers(0, 0x0FFFFFFF),
        st.sampled_from((NOP, 0xD65F03C0, 0x97FFF563)),
        _word(0x54000000, 5, 19),
        _word(0x36000000, 5, 14),
        _word(0x58000000, 5, 19),
        _word(0x10000000, 5, 19, split=2),
        *[_word(0x90000000, 5, 19, split=2)] * 4,
        *(_half(opcode) for opcode in (0x91000000, 0xF9400000, 0x39000000, 0x3DC00000)),
    ),
    max_size=60,
)


def _equal(left: References, right: References) -> bool:
    return (
        np.array_equal(left.positions, right.positions)
        and np.array_equal(left.targets, right.targets)
        and np.array_equal(left.kinds, right.kinds)
    )


@given(
    words=st.lists(st.integers(0, 2**32 - 1)) | WORDS,
    shift=st.integers(-9, 9),
    skip=st.integers(0, 9),
)
def test_writing_what_was_found_changes_nothing(words: list[int], shift: int, skip: int) -> None:
    image = image_of(words)
    begin = min(skip, len(image))
    references = aarch64.find(image, begin, len(image), shift, ANYWHERE)
    assert not np.any((references.positions + shift) % 4)
    assert np.all(np.diff(references.positions) >= 4)
    assert np.all(references.positions >= begin)
    window = image[begin:].copy()
    aarch64.write(window, begin, references, references.positions + shift, references.targets)
    assert np.array_equal(window, image[begin:])


@given(words=WORDS, instructions=st.integers(-1000, 1000), pages=st.integers(-2, 2))
def test_what_is_moved_is_found_moved(words: list[int], instructions: int, pages: int) -> None:
    image = image_of(words)
    old = aarch64.find(image, 0, len(image), 0x10000, ANYWHERE)
    shift, by = 0x10000 + 4 * instructions, 0x1000 * pages
    after = image.copy()
    aarch64.write(after, 0, old, old.positions + shift, old.targets + by)
    new = aarch64.find(after, 0, len(after), shift, ANYWHERE)
    assert _equal(new, old._replace(targets=old.targets + by))
    aarch64.mask(image, 0, old)
    aarch64.mask(after, 0, new)
    assert np.array_equal(image, after)


@pytest.mark.slow
@given(words=WORDS, begin=st.integers(0, 240), length=st.integers(0, 240), noise=st.binary())
def test_a_window_does_not_depend_on_what_follows_it(
    words: list[int], begin: int, length: int, noise: bytes
) -> None:
    image = image_of(words)
    begin = min(begin, len(image))
    end = min(begin + length, len(image))
    other = np.concatenate([image[:end], np.frombuffer(noise, np.uint8)])
    expected = aarch64.find(image, begin, end, 0, ANYWHERE)
    assert _equal(aarch64.find(other, begin, end, 0, ANYWHERE), expected)


@given(words=WORDS)
def test_a_window_looks_back_no_farther_than_it_says(words: list[int]) -> None:
    code = [NOP] * (LOOK_BACK // 4) + words
    begin = 4 + LOOK_BACK
    results = [
        aarch64.find(image_of([first, *code]), begin, 4 + 4 * len(code), 0, ANYWHERE)
        for first in (NOP, ADRP_X0)
    ]
    assert _equal(*results)


def test_a_window_sees_a_page_set_just_before_it() -> None:
    image = image_of([ADRP_X0, NOP, ADD_X0_X0 | 8 << 10])
    references = aarch64.find(image, 4, len(image), 0x1000, ANYWHERE)
    assert references.positions.tolist() == [8]
    assert references.targets.tolist() == [0x1008]


def test_an_empty_or_ragged_window_has_only_whole_words() -> None:
    image = image_of([0x14000001, 0x14000001, 0x14000001])
    assert aarch64.find(image, 4, 4, 0, ANYWHERE).positions.tolist() == []
    assert aarch64.find(image, 1, 3, 0, ANYWHERE).positions.tolist() == []
    assert aarch64.find(image, 1, 11, 0, ANYWHERE).positions.tolist() == [4]
    assert aarch64.find(image, 0, 11, 3, ANYWHERE).positions.tolist() == []
