"""Making contents: what is done is kept, what is wrong is named, and digests are true."""

import io
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from deltas import Workplace, differ, sha, unit
from holdall.delivery.delta.decode import Decoder
from holdall.delivery.delta.wire import Index, Part, Recipe, Slice, Transform, Unit
from holdall.delivery.differ import assemble, files, solid
from holdall.errors import CorruptError, CutShortError
from holdall.model.digest import digest_of

NOISE = random.Random(2).randbytes(60_000)
LARGE = NOISE[:20_000]
CHANGED = LARGE[:9000] + b"inserted" + LARGE[9000:]


def record(*contents: bytes) -> bytes:
    """A text that quotes contents."""
    return b"".join(
        b"%s  file-%d\n" % (sha(data).hex().encode(), n) for n, data in enumerate(contents)
    )


OLD = {
    "a": b"old a\n" * 30,
    "b": b"old b\n" * 30,
    "large": LARGE,
    "same": b"the same",
    "RECORD": record(b"old a\n" * 30, b"old b\n" * 30),
}
NEW = OLD | {
    "a": b"new a\n" * 40,
    "b": b"new b\n" * 40,
    "c": b"entirely new",
    "large": CHANGED,
    "RECORD": record(b"new a\n" * 40, b"new b\n" * 40, CHANGED),
}


@pytest.fixture
def small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units of 8 KiB, so that large files are cut."""
    for module in (assemble, files, solid):
        monkeypatch.setattr(module, "UNIT", 8192)
    monkeypatch.setattr(files, "PREFIX", 2**16)


@pytest.fixture
def place(tmp_path: Path, request: pytest.FixtureRequest) -> Workplace:
    """An increment with whole contents, slices, and a text that quotes both."""
    request.getfixturevalue("small_units")
    made = Workplace(differ(NEW, OLD), tmp_path)
    units = made.made.increment.index.units
    assert any(it.fills for it in units)
    assert any(output.length != -1 for it in units for output in it.outputs)
    return made


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From when it is called, nothing can be decoded."""

    def never(*_: object) -> bytes:
        raise AssertionError("decoded")

    return lambda: monkeypatch.setattr(Decoder, "decode", never)


def paths(place: Workplace, failed: dict[int, str]) -> set[str]:
    """The names of contents that were not made."""
    skeleton = place.made.skeleton()
    return {path for number in failed for path in skeleton.paths(number)}


# ------------------------------------------------------------------------------ all is well


def test_all_that_is_new_is_made(place: Workplace) -> None:
    place.check(place.apply())


def test_what_is_reported_is_what_is_made(place: Workplace) -> None:
    told: list[int] = []
    place.apply(told.append)
    sizes = place.made.skeleton().sizes
    assert sum(told) == sum(sizes[number] for number in place.made.skeleton().new)


def test_units_may_come_as_a_stream(place: Workplace) -> None:
    place.check(place.apply(stream=io.BytesIO(b"".join(place.made.sections.units))))


def test_nothing_new_makes_nothing(tmp_path: Path) -> None:
    empty = Workplace(differ({"a": b"1", "b": b"2"}, {"a": b"2", "c": b"1"}), tmp_path)
    result = empty.apply()
    assert result.digests == {}
    empty.check(result)


# ------------------------------------------------------------------------------ once more


def test_a_second_time_nothing_is_decoded(
    place: Workplace, no_decoding: Callable[[], None]
) -> None:
    told: list[int] = []
    place.apply(told.append)
    no_decoding()
    again: list[int] = []
    place.check(place.apply(again.append))
    assert sum(again) == sum(told)


def contents_in(place: Workplace) -> list[Path]:
    return sorted(path for path in place.out.iterdir() if len(path.name) == 64)


@pytest.mark.parametrize("damage", ["changed", "missing", "truncated", "longer"])
def test_what_is_not_as_it_was_is_made_again(place: Workplace, damage: str) -> None:
    place.apply()
    for path in contents_in(place):
        data = path.read_bytes()
        path.unlink()
        match damage:
            case "changed":
                path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
            case "truncated":
                path.write_bytes(data[:-1])
            case "longer":
                path.write_bytes(data + b"x")
            case _:
                pass
        place.check(place.apply())


@pytest.mark.parametrize(
    "lie", [b"", b"\xc0", b"\x91\x90", b"\x91\x91\xc4\x00", b"\x91\x92\xc4\x01x\xc4\x01y"]
)
def test_a_record_that_lies_is_not_believed(place: Workplace, lie: bytes) -> None:
    place.apply()
    for path in sorted(place.out.glob("unit-*")):
        path.write_bytes(lie)
    place.check(place.apply())


def test_records_that_were_exchanged_are_not_believed(place: Workplace) -> None:
    place.apply()
    records = sorted(place.out.glob("unit-*"))
    held = [path.read_bytes() for path in records]
    for path, data in zip(records, [*held[1:], held[0]], strict=True):
        path.write_bytes(data)
    place.check(place.apply())


def test_units_that_quote_are_made_from_a_stream_though_all_else_is_done(place: Workplace) -> None:
    place.apply()
    quoting = [number for number, it in enumerate(units_of(place)) if it.fills]
    for number in quoting:
        (place.out / f"unit-{number}").unlink()
    place.check(place.apply(stream=io.BytesIO(b"".join(place.made.sections.units))))


def units_of(place: Workplace) -> tuple[Unit, ...]:
    return place.made.increment.index.units


# ------------------------------------------------------------------------------ wrong


def test_a_unit_that_was_changed_is_named(place: Workplace, tmp_path: Path) -> None:
    for number, it in enumerate(units_of(place)):
        stored = list(place.made.sections.units)
        stored[number] = stored[number][:-1] + bytes([stored[number][-1] ^ 1])
        assert len(stored[number]) == it.stored
        damaged = Workplace(place.made, tmp_path / str(number))
        damaged.file.write_bytes(b"head" + b"".join(stored))
        with pytest.raises(CorruptError, match=f"unit {number + 1} is not what its publisher"):
            damaged.apply()


def test_a_file_of_units_that_ends_early_is_refused(place: Workplace) -> None:
    place.file.write_bytes(place.file.read_bytes()[:-1])
    with pytest.raises(CorruptError, match="is not what its publisher signed"):
        place.apply()


class Ending(io.BytesIO):
    """A stream that says so when it is cut short, as a download does."""

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not data:
            raise CutShortError("It ended.")
        return data


@pytest.mark.parametrize("missing", [1, 100])
def test_what_came_before_a_stream_was_cut_is_kept(place: Workplace, missing: int) -> None:
    data = b"".join(place.made.sections.units)
    with pytest.raises(CutShortError):
        place.apply(stream=Ending(data[:-missing]))
    kept = sorted(place.out.glob("unit-*"))
    assert len(units_of(place)) > len(kept) > 0
    before = {path: path.stat().st_mtime_ns for path in kept}
    place.check(place.apply(stream=io.BytesIO(data)))
    assert {path: path.stat().st_mtime_ns for path in kept} == before


def test_a_stream_that_goes_on_is_refused(place: Workplace) -> None:
    data = b"".join(place.made.sections.units)
    with pytest.raises(CorruptError, match="goes on after its end"):
        place.apply(stream=io.BytesIO(data + b"x"))


@pytest.mark.parametrize("what", ["changed", "missing", "shorter", "a folder", "empty"])
def test_what_builds_on_a_base_that_is_not_there_is_said_to_have_failed(
    place: Workplace, what: str
) -> None:
    path = place.path(digest_of(LARGE))
    data = path.read_bytes()
    path.unlink()
    match what:
        case "changed":
            path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        case "shorter":
            path.write_bytes(data[:-1])
        case "a folder":
            path.mkdir()
        case "empty":
            path.write_bytes(b"")
        case _:
            pass
    result = place.apply()
    assert paths(place, result.failed) == {"large", "RECORD"}
    assert set(result.failed.values()) == {
        f"a file it builds on {'is missing or changed' if what == 'missing' else 'was changed'}",
        "a file it quotes could not be made",
    }
    path.rmdir() if what == "a folder" else path.unlink(missing_ok=True)
    path.write_bytes(data)
    place.check(place.apply())


@pytest.mark.parametrize(
    "change",
    [
        lambda it: it._replace(kind=9),
        lambda it: it._replace(parts=tuple(part._replace(transform=77) for part in it.parts)),
    ],
)
def test_what_is_made_in_a_way_that_is_not_known_is_left_out(
    tmp_path: Path, change: Callable[[Unit], Unit]
) -> None:
    place = Workplace(differ({"a": b"new a\n" * 9}, {"a": b"old a\n" * 9}), tmp_path)
    index = place.made.increment.index
    strange = index._replace(units=tuple(map(change, index.units)))
    result = place.again(strange, place.made.sections.units).apply()
    assert result.digests == {}
    assert set(result.failed.values()) == {"this holdall is too old for how it is made"}


def test_a_content_without_a_unit_is_said_to_have_failed(place: Workplace) -> None:
    index = place.made.increment.index
    lacking = index._replace(recipes=(Recipe({}),))
    result = place.again(lacking, place.made.sections.units).apply()
    assert paths(place, result.failed) == {"a", "b", "c", "large", "RECORD"}
    assert set(result.failed.values()) == {"the increment has no unit for it"}


# ------------------------------------------------------------------------------ lies of a publisher


def lying(folder: Path, new: bytes, *units: tuple[Unit, bytes]) -> Workplace:
    """An increment that makes the one file `a` with these units."""
    place = Workplace(differ({"a": new}, {"a": b"anything else"}), folder)
    index = Index(
        tuple(it for it, _ in units), b"", (Recipe(dict.fromkeys(range(len(units)), ())),)
    )
    lie = place.again(index, [stored for _, stored in units])
    return Workplace(lie.made, folder)


BLOCKS = [bytes([65 + number]) * 4096 for number in range(4)]
EVIL = b"!" * 4096


def part(offset: int, data: bytes) -> tuple[Unit, bytes]:
    return unit(data, Slice(0, offset, len(data)))


SLICES = {
    "twice": [part(0, EVIL), part(0, BLOCKS[0]), part(4096, BLOCKS[1] + BLOCKS[2])],
    "overlapping": [part(0, BLOCKS[0] + EVIL), part(4096, BLOCKS[1]), part(8192, BLOCKS[2])],
    "displaced": [part(0, BLOCKS[0] + BLOCKS[1]), part(4096, BLOCKS[2])],
    "of nothing": [part(0, BLOCKS[0]), part(4096, b""), part(4096, BLOCKS[1] + BLOCKS[2])],
    "within a block": [part(0, BLOCKS[0][:100]), part(4096, BLOCKS[1] + BLOCKS[2])],
}


@pytest.mark.parametrize("lie", SLICES)
def test_slices_that_do_not_fit_together_are_refused(tmp_path: Path, lie: str) -> None:
    """Or bytes nobody signed could get the name of a content that another app trusts."""
    for order in (SLICES[lie], SLICES[lie][::-1]):
        with pytest.raises(CorruptError, match="slices that do not fit together"):
            lying(tmp_path, b"".join(BLOCKS[:3]), *order).apply()


@pytest.mark.parametrize("count", [1, 3])
def test_a_content_whose_slices_are_not_all_there_is_not_made(tmp_path: Path, count: int) -> None:
    units = [part(4096 * at, BLOCKS[at]) for at in range(count)]
    result = lying(tmp_path, b"".join(BLOCKS), *units).apply()
    assert result.digests == {}
    assert set(result.failed.values()) == {"the increment has no unit for it"}


def test_the_last_slice_ends_anywhere(tmp_path: Path) -> None:
    new = b"".join(BLOCKS)[:-5]
    place = lying(tmp_path, new, part(8192, new[8192:]), part(0, new[:8192]))
    place.check(place.apply())


def test_other_bytes_than_the_release_has_get_their_own_name(tmp_path: Path) -> None:
    made = lying(tmp_path, BLOCKS[0], unit(EVIL, Slice(0, 0, -1))).apply()
    assert made.digests == {0: digest_of(EVIL)}


@pytest.mark.parametrize("change", [-1, 1])
def test_a_unit_that_makes_too_little_or_too_much_is_refused(tmp_path: Path, change: int) -> None:
    data = (BLOCKS[0] + BLOCKS[1])[: 4096 + change]
    with pytest.raises(CorruptError, match="unit 1 makes too little or too much"):
        lying(tmp_path, BLOCKS[0], unit(data, Slice(0, 0, -1))).apply()


@pytest.mark.parametrize(
    ("number", "match"),
    [(0, "is not there yet"), (1, "tree does not have"), (999_999, "tree does not have")],
)
def test_a_unit_that_quotes_what_is_not_there_is_refused(
    tmp_path: Path, number: int, match: str
) -> None:
    data = unit(b"\2", Slice(0, 0, -1), fills=(number,))
    with pytest.raises(CorruptError, match=match):
        lying(tmp_path, b"x" * 64, data).apply()


@pytest.mark.parametrize(
    "parts",
    [
        (Part(0, 99_999, Transform.RAW),),
        (Part(2**61, 2**61, Transform.RAW),),
        (Part(0, -1, Transform.RAW),) * 2100,
    ],
)
def test_a_prefix_beyond_its_base_or_too_long_is_refused(
    tmp_path: Path, parts: tuple[Part, ...]
) -> None:
    place = Workplace(differ({"a": b"new"}, {"a": LARGE}), tmp_path)
    made, stored = unit(b"new", Slice(0, 0, -1), parts=parts)
    index = Index((made,), b"", (Recipe({0: (0,) * len(parts)}),))
    with pytest.raises(CorruptError, match="more than its base has"):
        place.again(index, [stored]).apply()


def test_a_base_content_that_is_not_there_is_refused(tmp_path: Path) -> None:
    place = Workplace(differ({"a": b"new"}, {"a": b"anything else"}), tmp_path)
    made, stored = unit(b"new", Slice(0, 0, -1), parts=(Part(0, -1, Transform.RAW),))
    index = Index((made,), b"", (Recipe({0: (1,)}),))
    with pytest.raises(CorruptError, match="a content that its base does not have"):
        place.again(index, [stored]).apply()


@pytest.mark.parametrize(
    ("moved", "match"),
    [(-1, "a map that it does not have"), (1, "a map that it does not have"), (0, "that is none")],
)
def test_a_map_that_is_not_there_and_a_base_that_is_no_program_are_refused(
    tmp_path: Path, moved: int, match: str
) -> None:
    place = Workplace(differ({"a": b"new"}, {"a": b"anything else"}), tmp_path)
    made, stored = unit(b"new", Slice(0, 0, -1), parts=(Part(0, -1, Transform.X86_64, moved),))
    index = Index((made,), b"\1\0", (Recipe({0: (0,)}),))
    with pytest.raises(CorruptError, match=match):
        place.again(index, [stored]).apply()
