import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import bounded, page, sizes
from benchmarks.__main__ import main
from benchmarks.bounded import BeyondLimitsError, Cost, Limits
from benchmarks.contenders import Program
from benchmarks.data import Release
from benchmarks.differs import DIFFERS, Bench, Differ, missing, remainder
from benchmarks.pairing import novel, partners
from benchmarks.perfile import alone
from benchmarks.results import INCREMENT, SUBJECT, Of, Report, Target, Unit, load, row, save
from benchmarks.sizes import Size

_LIMITS = Limits(60, 1 << 30)
_SIZE = Size("zstd", "a b", "zstd -19", "1.5", str(_LIMITS), "then", 1_234_567, None, 1.5, 1000)


def bench(folder: Path) -> Bench:
    releases = []
    for version in ("1", "2"):
        made = Release("app", version, folder / version, "org.example.App")
        made.files.mkdir(parents=True)
        (made.files / "file").write_text(version)
        releases.append(made)
    return Bench(folder / "bench", _LIMITS, releases[0], releases[1])


def differ(make: Callable[[Bench], tuple[int, Cost]]) -> Differ:
    return Differ("test", "in some manner", Program("true", "coreutils"), make)


def measure(given: Bench, one: Differ, *known: Size, again: bool = False) -> list[Size]:
    return list(sizes.measure(given, [one], {size.peer: size for size in known}, again=again))


def too_slow(_: Bench) -> tuple[int, Cost]:
    raise BeyondLimitsError("no end")


def test_a_size_that_is_known_is_not_measured_again(tmp_path: Path) -> None:
    given, one = bench(tmp_path), differ(lambda _: (7, Cost(1.0, 2)))
    (size,) = measure(given, one)
    assert (size.size, size.seconds, size.peak) == (7, 1.0, 2)
    assert measure(given, one, size) == []
    assert len(measure(given, one, size, again=True)) == 1


def test_a_size_of_other_trees_or_another_manner_is_measured_again(tmp_path: Path) -> None:
    given, one = bench(tmp_path), differ(lambda _: (7, Cost(1.0, 2)))
    (size,) = measure(given, one)
    assert measure(given, one, replace(size, trees="others"))
    assert measure(given, one, replace(size, manner="another"))


def test_a_peer_that_comes_to_no_end_is_kept_with_the_reason(tmp_path: Path) -> None:
    given, one = bench(tmp_path), differ(too_slow)
    (size,) = measure(given, one)
    assert (size.size, size.reason) == (None, "no end")
    assert measure(given, one, size) == []
    patient = replace(given, limits=Limits(120, 1 << 30))
    assert measure(patient, one, size)
    assert measure(patient, one, replace(size, size=7)) == []


def test_kept_sizes_are_read_back_one_for_each_peer(tmp_path: Path) -> None:
    xdelta3 = replace(_SIZE, peer="xdelta3", size=None, reason="no end")
    for size in (_SIZE, xdelta3, replace(_SIZE, size=5)):
        sizes.save(tmp_path, "pyside6", size)
    assert list(sizes.load(tmp_path)["pyside6"].values()) == [xdelta3, replace(_SIZE, size=5)]


def test_a_program_within_its_limits_says_what_it_cost(tmp_path: Path) -> None:
    cost = bounded.run((sys.executable, "-S", "-c", "print(5)"), _LIMITS, tmp_path)
    assert (tmp_path / "out").read_text() == "5\n"
    assert cost.peak > 1_000_000


@pytest.mark.slow
def test_a_program_that_computes_for_too_long_is_ended(tmp_path: Path) -> None:
    forever = (sys.executable, "-S", "-c", "while True: pass")
    with pytest.raises(BeyondLimitsError, match="no end within"):
        bounded.run(forever, Limits(1, 1 << 30), tmp_path)


def test_a_program_that_wants_too_much_memory_fails_with_its_own_words(tmp_path: Path) -> None:
    large = (sys.executable, "-S", "-c", "bytearray(1 << 29)")
    with pytest.raises(BeyondLimitsError, match=r"status 1, within 1 min .*MemoryError"):
        bounded.run(large, Limits(60, 1 << 28), tmp_path)


def test_contents_that_the_old_tree_has_are_not_new_and_equal_ones_count_once() -> None:
    old = {"a": b"1", "b": b"2"}
    assert novel(old, {"c": b"3", "d": b"3", "a": b"2", "b": b"4"}) == ["b", "c"]


def test_a_file_is_made_from_the_one_of_the_same_path_or_of_one_much_like_it() -> None:
    old = ["lib/libz.so.1.2.11", "a/setup.py", "b/x/setup.py", "pkg-1.0.dist-info/RECORD", "same"]
    new = ["same", "lib/libz.so.1.3", "pkg-2.0.dist-info/RECORD", "b/y/setup.py", "other"]
    assert partners(old, new) == {
        "same": "same",
        "lib/libz.so.1.3": "lib/libz.so.1.2.11",
        "pkg-2.0.dist-info/RECORD": "pkg-1.0.dist-info/RECORD",
        "b/y/setup.py": "b/x/setup.py",
        "other": None,
    }


def test_what_a_peer_left_out_is_told_with_what_the_rest_takes() -> None:
    lines = [{"files": 3, "bytes": 9_000_000}, {"bytes": 1_000_000, "size": 1200}]
    assert remainder(lines) == (
        "2 of 3 contents are left out, 8.0 of 9.0 MB; the others take 1,200"
    )


def test_a_content_alone_is_compressed() -> None:
    assert 0 < alone(b"x" * 10_000) < 100


def test_missing_tools_are_named_with_what_brings_them() -> None:
    absent = [
        replace(DIFFERS["ostree"], program=Program("no-such-program", "nothing")),
        replace(DIFFERS["bsdiff"], module="no_such_module"),
        DIFFERS["zstd"],
    ]
    assert missing(absent)[:2] == (
        "apt install nothing",
        "pip install -r benchmarks/requirements.txt",
    )


def test_an_unknown_pair_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["increments", "--pairs", "what,pyside6", "--results", str(tmp_path)]) == 1
    assert "no such pair: what; see --help" in capsys.readouterr().err


def report(size: float) -> Report:
    about = {"kernel": "6.18", "begun": "a", "ended": "b", "runs": "3", "commit": "c"}
    goal = Target(2_500_000, Of.VALUE)
    speed = Target(100, Of.VALUE, least=True)
    rows = (
        row("increment, size", "x", Unit.BYTES, {SUBJECT: [size]}, target=goal),
        row("apply, speed", "x", Unit.SPEED, {SUBJECT: [120.0]}, target=speed),
    )
    return Report(INCREMENT, "pyside6", about, rows)


def test_the_page_shows_exact_sizes_beside_the_best_peers(tmp_path: Path) -> None:
    save(report(1_000_000), tmp_path)
    sizes.save(tmp_path, "pyside6", _SIZE)
    sizes.save(tmp_path, "pyside6", replace(_SIZE, peer="bsdiff", size=None, reason="no end"))
    text = page.render(page.kept(tmp_path))
    assert "| **1,000,000** | ≤ 2,500,000 | met" in text
    assert " 1,234,567 | not measured | " in text
    assert "| zstd (0.81x) |" in text
    assert "- bsdiff, PySide6 6.8.1 → 6.8.2: no end." in text
    assert "zstd 1.5 then" in text
    assert "| **120.0 MB/s** | ≥ 100 MB/s | met" in text
    assert "Targets: 2 met, 0 missed, 0 not measured." in text


def test_a_goal_of_which_only_the_peers_are_known_is_not_measured(tmp_path: Path) -> None:
    sizes.save(tmp_path, "webengine", _SIZE)
    found = page.kept(tmp_path)
    assert "| - | ≤ 3,900,000 | not measured | " in " ".join(page.tables(found).split())


def test_a_page_without_increments_has_no_section_of_them(tmp_path: Path) -> None:
    assert "Increments" not in page.render(page.kept(tmp_path))


def test_a_goal_that_is_a_least_is_read_back_as_one(tmp_path: Path) -> None:
    save(report(1), tmp_path)
    assert load(tmp_path / "increment-pyside6.json") == report(1)
