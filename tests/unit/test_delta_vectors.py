"""The test vectors of docs/reference/formats/increment.md are what the code gives."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deltas import numbers, origins_of, shifts, varints
from holdall.delivery.delta import wire
from holdall.delivery.delta.addition import decode_addition
from holdall.delivery.delta.columns import unpack_varints, unzigzag, zigzag
from holdall.delivery.delta.prefixed import decode_lzma2
from holdall.delivery.delta.shifts import ShiftMap, pack_maps, unpack_maps
from holdall.delivery.delta.tokens import BASE64, blank, fill, written_as
from holdall.delivery.delta.wire import Index, Kind, Part, Recipe, Slice, Transform, Unit
from holdall.errors import CorruptError

PAGE = Path(__file__).parents[2] / "docs/reference/formats/increment.md"
SECTIONS = dict(
    part.split("\n", 1)
    for part in PAGE.read_text("utf-8").partition("\n## Test vectors\n")[2].split("\n### ")[1:]
)
REFUSED = "refused"


def table(section: str, number: int = 0) -> list[tuple[str, ...]]:
    """The rows of one of a section's tables, without the marks of code."""
    tables = re.findall(r"(?:^\|.*\n)+", SECTIONS[section], re.MULTILINE)
    rows = tables[number].splitlines()[2:]
    return [
        tuple(cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", row)[1:-1]) for row in rows
    ]


def blocks(section: str) -> list[str]:
    """A section's blocks of code."""
    return re.findall(r"```\w+\n(.*?)```", SECTIONS[section], re.DOTALL)


def text(cell: str) -> bytes:
    """A text as in JSON; `{b}` and `{h}` stand for a digest."""
    return str(json.loads(cell)).replace("{h}", TOKENS["h"]).replace("{b}", TOKENS["b"]).encode()


TOKENS = {
    name: written
    for written, name in zip(
        re.findall(r"^`(\S{43,64})`", SECTIONS["Digest tokens"], re.MULTILINE), "bh", strict=True
    )
}


def test_the_page_has_all_sections() -> None:
    assert list(SECTIONS) == [
        *("Varints", "LZMA2", "Origins", "Maps", "Digest tokens", "Add stream", "Index section"),
    ]


@pytest.mark.parametrize(("data", "values"), table("Varints"))
def test_varints(data: str, values: str) -> None:
    if values == REFUSED:
        with pytest.raises(CorruptError):
            unpack_varints(bytes.fromhex(data))
    else:
        assert unpack_varints(bytes.fromhex(data)).tolist() == [int(it) for it in values.split()]


@pytest.mark.parametrize(("data", "values"), [row for row in table("Varints") if "8000" not in row])
def test_varints_are_written_in_their_shortest_form(data: str, values: str) -> None:
    if values != REFUSED:
        assert varints(*(int(it) for it in values.split())).hex() == data


@pytest.mark.parametrize(("signed", "plain"), table("Varints", 1))
def test_zigzag(signed: str, plain: str) -> None:
    assert zigzag(numbers([int(signed)])).tolist() == [int(plain)]
    assert unzigzag(numbers([int(plain)])).tolist() == [int(signed)]


@pytest.mark.parametrize(("prefix", "stream", "result"), table("LZMA2"))
def test_lzma2_with_a_prefix(prefix: str, stream: str, result: str) -> None:
    expected = text(result)
    assert decode_lzma2(bytes.fromhex(stream), len(expected), (text(prefix),)) == expected


@pytest.mark.parametrize(("runs", "contents"), table("Origins"))
def test_origins(runs: str, contents: str) -> None:
    names = contents.split()
    told = [int(number) for number in runs.split()]
    if contents == REFUSED:
        with pytest.raises(CorruptError):
            origins_of(told, "ABCDEF", 1)
        return
    assert origins_of(told, "ABCDEF", len(names)) == [
        None if name == "new" else name for name in names
    ]


def pieces(cell: str) -> list[dict[int, int]]:
    if not cell:
        return []
    return [
        {int(start): int(shift) for start, _, shift in (it.partition(":") for it in one.split())}
        for one in cell.split("/")
    ]


def as_pieces(moved: ShiftMap) -> dict[int, int]:
    return dict(zip(moved.starts.tolist(), moved.shifts.tolist(), strict=True))


@pytest.mark.parametrize(("data", "expected"), table("Maps"))
def test_maps(data: str, expected: str) -> None:
    if expected == REFUSED:
        with pytest.raises(CorruptError):
            unpack_maps(bytes.fromhex(data))
        return
    assert [as_pieces(moved) for moved in unpack_maps(bytes.fromhex(data))] == pieces(expected)
    if data:
        assert pack_maps([shifts(it) for it in pieces(expected)]).hex() == data


def test_the_digest_of_the_token_vectors_is_that_of_nothing() -> None:
    digest = bytes.fromhex(TOKENS["h"])
    assert digest.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert written_as(BASE64, digest).decode() == TOKENS["b"]


@pytest.mark.parametrize(("part", "chosen", "becomes"), table("Digest tokens"))
def test_blanking(part: str, chosen: str, becomes: str) -> None:
    assert blank(text(part), [int(number) for number in chosen.split()]) == text(becomes)


@pytest.mark.parametrize(("result", "quoted", "becomes"), table("Digest tokens", 1))
def test_filling(result: str, quoted: str, becomes: str) -> None:
    digests = [bytes.fromhex(TOKENS["h"]) for _ in quoted.replace("`", "").split()]
    if becomes == REFUSED:
        with pytest.raises(CorruptError):
            fill(text(result), digests)
    else:
        assert fill(text(result), digests) == text(becomes)


@pytest.mark.parametrize(("stream", "result"), table("Add stream"))
def test_add_stream(stream: str, result: str) -> None:
    (prefix,) = re.findall(r'The prefix is `(".*?")`', SECTIONS["Add stream"])
    expected = text(result)
    assert decode_addition(bytes.fromhex(stream), len(expected), text(prefix)) == expected


INDEX = Index(
    (
        Unit(
            *(Kind.LZMA2, 12, 10, b"\x11" * 32, (Slice(1, 0, -1), Slice(0, 0, -1))),
            (Part(0, -1, Transform.RAW),),
        ),
        Unit(
            *(Kind.ADDITION, 4096, 300, b"\x22" * 32, (Slice(3, 0, 4096),)),
            (Part(65536, 65536, Transform.X86_64, 0), Part(0, 10, Transform.AARCH64, 1)),
        ),
        Unit(
            *(Kind.LZMA2, 100, 80, b"\x33" * 32, (Slice(2, 0, -1),)),
            (Part(0, -1, Transform.TOKENS, blanks=(0, 2)),),
            (1, 0),
        ),
    ),
    pack_maps([shifts({4096: 16}), shifts({})]),
    (Recipe({0: (5,), 1: (2, 2), 2: (3,)}), Recipe({1: (7, 8)})),
)


def in_hexadecimal(value: Any) -> Any:  # noqa: ANN401 - whatever msgpack holds
    """The same with bin as text."""
    if isinstance(value, list):
        return [in_hexadecimal(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def test_index_section() -> None:
    stored, decoded, shown = blocks("Index section")
    section = bytes.fromhex(stored)
    data = decode_lzma2(section[8:], int.from_bytes(section[:8], "little"))
    assert data == bytes.fromhex(decoded)
    assert in_hexadecimal(msgspec.msgpack.decode(data)) == json.loads(shown)
    assert wire.parse(data) == INDEX


def test_an_index_has_one_encoding() -> None:
    assert wire.encode(INDEX) == bytes.fromhex(blocks("Index section")[1])
