"""Whole increments between small trees: what is built makes the new tree, from every base."""

import random
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deltas import Workplace, contents_of, differ, programs, relinked, sha, tree_of
from holdall.delivery.delta.wire import MAX_PREFIX, MAX_RAW, Kind, Transform
from holdall.delivery.differ import assemble, files, solid
from holdall.delivery.differ.assemble import plan
from holdall.model.digest import BLOCK, digest_of

Folder = Mapping[str, bytes]
NOISE = random.Random(8).randbytes(200_000)


@pytest.fixture(autouse=True, scope="module")
def small_units() -> Iterator[None]:
    """Units of 16 KiB over prefixes of 64 KiB, so that small files are cut as large ones are."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (assemble, files, solid):
            patch.setattr(module, "UNIT", 4 * BLOCK)
        for module in (files, solid):
            patch.setattr(module, "PREFIX", 2**16)
        yield


def check(new: Folder, *olds: Folder) -> None:
    """The increment makes the new tree of each old one, within the limits of the format."""
    made = differ(new, *olds)
    for unit in made.increment.index.units:
        assert unit.raw <= MAX_RAW
        assert sum(max(part.length, 0) for part in unit.parts) <= MAX_PREFIX
    for base in range(len(olds)):
        with tempfile.TemporaryDirectory() as folder:
            place = Workplace(made, Path(folder), base)
            place.check(place.apply())


# ------------------------------------------------------------------------------ any trees

PATHS = st.sampled_from(
    ["a", "b.txt", "lib/a-1.0.so", "lib/a-1.1.so", "lib/b", "share/x/y/z", "share/x/1234567890ab"]
)
CONTENTS = st.sampled_from(
    [
        *(b"", b"\0", b"x" * 4096, b"text\n" * 50, b"text\n" * 49 + b"other\n", bytes(40_000)),
        *(NOISE[:50_000], NOISE[100:50_100], NOISE[:20_000] + b"!" + NOISE[20_001:40_000]),
        *(
            NOISE[60_000:77_000],
            NOISE[:16_384],
            NOISE[:16_385],
            b"\2\3" * 30,
            sha(b"").hex().encode(),
        ),
    ]
)
FOLDERS = st.dictionaries(PATHS, CONTENTS | st.binary(max_size=30), max_size=6)


@pytest.mark.slow
@given(FOLDERS, FOLDERS)
@settings(max_examples=40)
def test_any_tree_is_made_of_any_other(new: Folder, old: Folder) -> None:
    check(new, old)


@given(FOLDERS, FOLDERS, FOLDERS)
@settings(max_examples=15)
def test_any_tree_is_made_of_either_of_two(new: Folder, one: Folder, two: Folder) -> None:
    check(new, one, two)


# ------------------------------------------------------------------------------ quoting


def quoted(data: bytes, form: str) -> bytes:
    digest = sha(data)
    return digest.hex().encode() if form == "hex" else urlsafe_b64encode(digest).rstrip(b"=")


@st.composite
def quoting_folders(draw: st.DrawFn) -> dict[str, bytes]:
    """Files, lists that quote them, and lists that quote files and lists."""
    chance = random.Random(draw(st.integers(0, 1000)))
    folder = {f"file-{n}": NOISE[n : n + chance.randrange(300)] for n in range(chance.randrange(9))}
    for level in range(draw(st.integers(1, 4))):
        lines = [
            b"%s,sha256=%s,%d\n" % (path.encode(), quoted(data, chance.choice(("hex", "b64"))), 5)
            for path, data in folder.items()
            if chance.random() < 0.7
        ]
        folder[f"RECORD-{level}"] = b"".join(lines) + b"end\n" * chance.randrange(3)
    return folder


@pytest.mark.slow
@given(quoting_folders(), quoting_folders())
@settings(max_examples=40)
def test_lists_that_quote_lists_are_made(new: Folder, old: Folder) -> None:
    check(new, old)


@pytest.mark.slow
@given(quoting_folders(), quoting_folders(), quoting_folders())
@settings(max_examples=10)
def test_lists_that_quote_lists_are_made_of_either_of_two(
    new: Folder, one: Folder, two: Folder
) -> None:
    check(new, one, two)


def listing(folder: Folder, form: str = "b64") -> bytes:
    return b"".join(
        b"%s,sha256=%s,%d\n" % (path.encode(), quoted(data, form), len(data))
        for path, data in folder.items()
    )


def test_digests_that_a_list_quotes_cost_nothing() -> None:
    old = {f"lib/{number}.py": b"# version 1\nx = %d\n" % number for number in range(100)}
    new = {path: data.replace(b"version 1", b"version 2") for path, data in old.items()}
    old["RECORD"], new["RECORD"] = listing(old), listing(new)
    made = differ(new, old)
    assert sum(map(len, made.sections.units)) < 1000
    check(new, old)


def test_a_list_of_units_that_are_cut_is_made() -> None:
    old = {"large": NOISE[:100_000]}
    new = {"large": NOISE[:50_000] + b"inserted" + NOISE[50_000:100_000]}
    old["RECORD"], new["RECORD"] = listing(old, "hex"), listing(new, "hex")
    check(new, old)


def test_a_deep_chain_of_lists_is_made() -> None:
    old, new = {"0": b"old"}, {"0": b"new"}
    for folder in (old, new):
        for number in range(1, 40):
            folder[str(number)] = listing({"before": folder[str(number - 1)]})
    check(new, old)


def test_what_looks_like_a_token_stays() -> None:
    files = {"a": b"new \2\3", "b": b"\2\3\2 " + quoted(b"new \2\3", "hex")}
    check(files, {"a": b"old", "b": b"\2\3\2 " + quoted(b"old", "hex")})


# ------------------------------------------------------------------------------ programs


def test_programs_are_made_of_others_in_slices() -> None:
    # prefixes of whole pages, cut where fields may stand
    one, two = (path.read_bytes() for path in programs(150_000)[-2:])
    changed = one[:5000] + one[5016:] + bytes(16)
    check({"a": two, "b": changed}, {"a": one, "b": one})


def test_a_program_is_made_in_slices_of_the_moved_old_one() -> None:
    old = max(programs(300_000), key=lambda path: path.stat().st_size).read_bytes()
    new, _ = relinked(old)
    made = differ({"lib": new}, {"lib": old})
    parts = [part for unit in made.increment.index.units for part in unit.parts]
    assert {part.transform for part in parts} <= {Transform.X86_64, Transform.AARCH64}
    assert any(part.offset for part in parts)
    assert sum(map(len, made.sections.units)) < len(old) // 20
    check({"lib": new}, {"lib": old})


# ------------------------------------------------------------------------------ the same again

OLD = {
    "a": NOISE[:70_000],
    "b": b"old\n" * 200,
    "program": programs()[0].read_bytes(),
    "k": b"1",
}
OTHER = OLD | {"b": b"older\n" * 200, "c": b"only here\n" * 30}
NEW = OLD | {
    "a": NOISE[:30_000] + NOISE[30_100:80_000],
    "b": b"new\n" * 210,
    "c": b"only there\n" * 30,
    "program": programs()[1].read_bytes(),
}
NEW["RECORD"] = listing(NEW)


def test_the_same_input_gives_the_same_bytes() -> None:
    first = differ(NEW, OLD, OTHER).sections
    assert differ(NEW, OLD, OTHER).sections == first
    assert differ(NEW, OLD, OTHER, workers=2).sections == first


def test_the_order_of_files_in_memory_does_not_matter() -> None:
    turned = [dict(reversed(folder.items())) for folder in (NEW, OLD, OTHER)]
    assert differ(*turned).sections == differ(NEW, OLD, OTHER).sections


def test_what_is_told_adds_up_to_the_size_of_the_work() -> None:
    new, olds = tree_of(NEW), (tree_of(OLD), tree_of(OTHER))
    work = plan(new, olds)
    told: list[int] = []
    contents = contents_of(NEW, OLD, OTHER)
    assemble.assemble(new, olds, work, contents.__getitem__, workers=1, report=told.append)
    assert sum(told) == work.size


# ------------------------------------------------------------------------------ plans


def test_what_all_bases_lack_and_have_alike_is_made_once() -> None:
    new, one, two = {"a": b"new", "b": b"1"}, {"a": b"old", "b": b"0"}, {"a": b"old", "b": b"1"}
    work = plan(tree_of(new), (tree_of(one), tree_of(two)))
    assert {bases: [it.path for it in items] for bases, items in work.items.items()} == {
        frozenset({0, 1}): ["a"],
        frozenset({0}): ["b"],
    }
    made = differ(new, one, two)
    assert [set(recipe.units) for recipe in made.increment.index.recipes] in (
        [{0, 1}, {0}],
        [{0, 1}, {1}],
    )


def test_what_comes_from_other_contents_is_made_for_each_base() -> None:
    trees = [tree_of({"a": data}) for data in (b"new", b"old", b"older", b"old")]
    work = plan(trees[0], tuple(trees[1:]))
    assert list(work.items) == [frozenset({0, 2}), frozenset({1})]
    assert work.made == {digest_of(b"new")}
    assert work.needs == {digest_of(b"old"), digest_of(b"older")}
    assert work.size == 2 * len(b"new")


def test_a_base_that_has_all_needs_nothing() -> None:
    made = differ({"a": b"1", "b": b"2"}, {"c": b"2", "d": b"1"}, {"a": b"1"})
    increment = made.increment
    assert increment.units(0) == {}
    assert increment.cost(0) == 0
    assert increment.cost(1) == increment.stored
    assert [share.path for share in increment.describe(1, made.skeleton(1))] == ["b"]


def test_a_content_that_stands_twice_is_made_once() -> None:
    made = differ({"a": b"new", "b": b"new"}, {"a": b"old", "b": b"other"})
    (unit,) = made.increment.index.units
    assert len(unit.outputs) == 1
    assert made.skeleton().paths(unit.outputs[0].content) == ("a", "b")


def test_only_known_kinds_are_built() -> None:
    kinds = {unit.kind for unit in differ(NEW, OLD, OTHER).increment.index.units}
    assert kinds <= {Kind.LZMA2, Kind.ADDITION}
