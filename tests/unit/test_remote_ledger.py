"""What is written down of a file that comes in parts, and the requests that bring the rest."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdall.delivery.remote.lanes import Span, runs_of
from holdall.delivery.remote.ledger import Ledger

SIZE = 60


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "there")


def reaches(ledger: Ledger) -> list[int]:
    return [ledger.reach(start, SIZE) for start in range(SIZE)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.tuples(st.booleans(), st.integers(0, SIZE), st.integers(0, SIZE)), max_size=30))
def test_a_ledger_knows_what_is_there(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[bool, int, int]]
) -> None:
    path = str(tmp_path_factory.mktemp("ledger") / "there")
    ledger, model = Ledger(path), [False] * SIZE
    for added, one, other in changes:
        start, end = sorted((one, other))
        (ledger.add if added else ledger.remove)(start, end)
        model[start:end] = [added] * (end - start)
    ledger.look()
    expected = []
    for start in range(SIZE):
        end = start
        while end < SIZE and model[end]:
            end += 1
        expected.append(end)
    assert reaches(ledger) == expected
    assert reaches(Ledger(path)) == expected


def test_what_another_process_writes_is_seen(path: str) -> None:
    one, other = Ledger(path), Ledger(path)
    one.add(0, 10)
    assert other.reach(0, 60) == 0
    other.look()
    assert other.reach(0, 60) == 10


@pytest.mark.parametrize("cut", range(16))
def test_half_a_record_counts_for_nothing(path: str, cut: int) -> None:
    ledger = Ledger(path)
    ledger.add(0, 10)
    ledger.add(10, 20)
    Path(path).write_bytes(Path(path).read_bytes()[: 16 + cut])
    again = Ledger(path)
    assert again.reach(0, 60) == 10
    again.add(10, 30)
    assert Ledger(path).reach(0, 60) == 30


def test_a_long_ledger_becomes_short(path: str) -> None:
    ledger = Ledger(path)
    for at in range(1000):
        ledger.add(at, at + 1)
    again = Ledger(path)
    assert Path(path).stat().st_size == 16
    again.add(1000, 2000)
    again.look()
    assert again.reach(0, 5000) == 2000 == Ledger(path).reach(0, 5000)


def requests(*spans: tuple[int, int]) -> list[tuple[int, int]]:
    return [(run.start, run.end) for run in runs_of(Span(*span) for span in spans)]


def test_neighbours_come_by_one_request() -> None:
    assert requests((0, 10), (10, 30), (30, 31)) == [(0, 31)]


def test_what_lies_apart_comes_by_several() -> None:
    assert requests((0, 10), (20, 30)) == [(0, 10), (20, 30)]


def test_a_gap_is_read_over_where_it_does_not_count() -> None:
    assert requests((0, 10**6), (10**6 + 5000, 2 * 10**6)) == [(0, 2 * 10**6)]


def test_a_long_gap_is_not_read_over() -> None:
    assert len(requests((0, 10**9), (10**9 + 64_001, 2 * 10**9))) == 2


@given(st.lists(st.tuples(st.integers(0, 10**5), st.integers(1, 10**7)), max_size=50))
def test_all_gaps_together_are_within_half_a_percent(steps: list[tuple[int, int]]) -> None:
    spans, at = [], 0
    for gap, size in steps:
        spans.append((at + gap, at + gap + size))
        at += gap + size
    found = requests(*spans)
    wanted = sum(end - start for start, end in spans)
    assert wanted <= sum(end - start for start, end in found) <= wanted * 1.005
    assert all(any(low <= start and end <= high for low, high in found) for start, end in spans)


def test_nothing_takes_no_request() -> None:
    assert requests() == []
