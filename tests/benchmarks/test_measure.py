import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.errors import BenchmarkError
from benchmarks.measure import Command, Runner, interleaved, paired_ratio, process_tree


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path / "stderr", {"PATH": "/usr/bin:/bin"})


def test_every_round_begins_one_contender_further() -> None:
    assert "".join(interleaved("ABC", 3)) == "ABCBCACAB"


def test_a_ratio_is_the_median_over_runs_of_the_same_round() -> None:
    assert paired_ratio([1.0, 4.0, 30.0], [2.0, 4.0, 10.0]) == 1.0


def test_nothing_has_a_ratio_to_nothing() -> None:
    assert paired_ratio([1.0], []) is None
    assert paired_ratio([1.0], [0.0]) is None


def test_what_commands_of_a_job_cost_is_added_up(runner: Runner) -> None:
    one = runner.run((Command.of("true"),))
    assert one.wall > 0
    assert one.peak > 0
    assert runner.run(()).wall == 0


def test_a_failing_program_stops_the_benchmark_with_its_own_words(runner: Runner) -> None:
    command = Command.of("sh", "-c", "echo no such luck >&2; exit 3")
    with pytest.raises(BenchmarkError, match=r"status 3(.|\n)*no such luck"):
        runner.run((command,))


def test_a_missing_program_is_named(runner: Runner) -> None:
    with pytest.raises(BenchmarkError, match="cannot start no-such-program"):
        runner.run((Command.of("no-such-program"),))


def test_a_command_finds_its_additions_to_the_environment_and_its_files(
    runner: Runner, tmp_path: Path
) -> None:
    message = tmp_path / "message"
    message.write_text("from a file")
    command = Command(("sh", "-c", 'cat <&5; echo " $WHO"'), (("WHO", "me"),), ((5, message),))
    assert runner.output(command) == "from a file me\n"


_HOLD = """
import os, sys, time
held = bytearray(60_000_000)
open(sys.argv[1], "x").close()
while not os.path.exists(sys.argv[2]):
    time.sleep(0.01)
"""


def test_memory_of_a_child_is_seen(
    runner: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, seen = tmp_path / "held", tmp_path / "seen"
    looks: list[int] = []

    def looked(pid: int) -> Iterator[int]:
        """Let the child end after a look at what it holds, however long that takes to come."""
        if looks:
            seen.touch()
        if held.exists():
            looks.append(pid)
        return process_tree(pid)

    monkeypatch.setattr("benchmarks.measure.process_tree", looked)
    script = f'{sys.executable} -c "$1" "$2" "$3"; true'
    python = Command.of("sh", "-c", script, "sh", _HOLD, held, seen)
    _, footprint = runner.observe((python,), interval=0.001)
    assert footprint.largest > 60_000_000
    assert footprint.resident >= footprint.largest
    assert footprint.proportional > 60_000_000


def test_an_ended_process_has_a_tree_of_its_own_number_only() -> None:
    assert list(process_tree(2**22 + 1)) == [2**22 + 1]
