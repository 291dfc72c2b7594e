import json
import os
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from benchmarks import live_page, live_reader
from benchmarks.data import Release
from benchmarks.errors import BenchmarkError
from benchmarks.live import rows_of
from benchmarks.live_checks import FRAME, LEAF, NONE, checking_rows
from benchmarks.live_measures import (
    GOALS,
    LIBRARIES,
    MEASURES,
    NAMES,
    SMALL_FILES,
    Judged,
    judged,
    visits,
)
from benchmarks.live_rounds import LARGE, expected, large_files, with_speeds
from benchmarks.live_ways import EXT4, KERNEL, LIVE, POOLED, Image, stored, ways
from benchmarks.measure import Command, Runner
from benchmarks.results import Report, Row, save
from benchmarks.subject import Holdall
from shown import keep
from surroundings import Require, run

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """A large file, a small one, one below, and a link."""
    release = Release(LIBRARIES, "1", tmp_path / "source", "org.example.Small")
    (release.files / "below").mkdir(parents=True)
    (release.files / "large").write_bytes(bytes(LARGE + 5000))
    (release.files / "small").write_bytes(b"abc")
    (release.files / "below" / "other").write_bytes(b"de")
    (release.files / "link").symlink_to("small")
    return release


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path / "log", dict(os.environ))


def rows(found: Mapping[str, Sequence[Mapping[str, float]]], dataset: str = NAMES) -> list[Row]:
    return list(rows_of(dataset, {name: list(map(dict, one)) for name, one in found.items()}))


def verdict(measure: str, dataset: str, way: str, found: Mapping[str, list[float]]) -> Judged:
    """The one goal of a way's measure, of figures by way."""
    figures = {name: [{measure: value} for value in values] for name, values in found.items()}
    (one,) = (
        one
        for one in judged(rows(figures, dataset))
        if (one.goal.measure, one.goal.way) == (measure, way)
    )
    return one


def read(runner: Runner, release: Release, *questions: Mapping[str, object]) -> list[int]:
    """What a reader says it has read."""
    text = Path(live_reader.__file__).read_text()
    command = Command.of(sys.executable, "-I", "-c", text, release.files)
    with runner.conversation(command) as ask:
        return [ask(dict(one))["done"] for one in questions]


def test_a_reader_reads_as_much_as_is_expected_of_it(runner: Runner, release: Release) -> None:
    steps: list[dict[str, object]] = [
        {"step": "whole", "paths": ["large", "small"]},
        {"step": "scattered", "path": "large", "count": 7},
        {"step": "small", "count": SMALL_FILES},
        {"step": "find", "words": ["-ls"]},
        {"step": "start", "module": "json"},
    ]
    found = read(runner, release, *steps)
    assert found == [expected(step, release) for step in steps]
    assert found == [LARGE + 5003, 7 * 4096, 3, 0, 0]


def test_every_time_of_a_step_is_told(runner: Runner, release: Release) -> None:
    text = Path(live_reader.__file__).read_text()
    command = Command.of(sys.executable, "-I", "-c", text, release.files)
    with runner.conversation(command) as ask:
        seconds = ask({"step": "small", "count": 2, "times": 4})["seconds"]
    assert len(seconds) == 4
    assert min(seconds) > 0


def test_a_reader_that_ends_stops_the_measurement(runner: Runner, release: Release) -> None:
    with pytest.raises(BenchmarkError, match="No such file or directory"):
        read(runner, release, {"step": "whole", "paths": ["missing"]})


def test_a_reader_that_does_not_begin_stops_the_measurement(runner: Runner) -> None:
    command = Command.of(sys.executable, "-c", "raise SystemExit('no mount')")
    with (
        pytest.raises(BenchmarkError, match="ended with status 1: no mount"),
        runner.conversation(command),
    ):
        pass


def test_files_of_a_mib_are_read_from_end_to_end(release: Release) -> None:
    assert large_files(release) == ["large"]


def test_what_is_read_from_end_to_end_has_a_speed(release: Release) -> None:
    found = with_speeds({"whole": 0.5, "find": 0.5}, release, ["large"])
    assert found == {"whole": (LARGE + 5000) * 2, "find": 0.5}


def test_every_reading_and_every_goal_is_a_measure_of_a_table() -> None:
    for visit in visits(["a"], "a"):
        assert {visit.cold, visit.warm} - {""} <= set(MEASURES)
    assert {goal.measure for goal in GOALS} <= set(MEASURES)
    tables = live_page.TABLES.values()
    assert {key for table in tables for keys in table for key in keys} == set(MEASURES)


def test_a_start_that_is_known_is_measured_beside_one_that_is_not() -> None:
    starts = [one for one in visits(["a"], "a") if one.step["step"] == "start"]
    assert [one.habit for one in starts] == [False, True]


def test_ways_that_lack_a_round_have_no_figure() -> None:
    (row,) = rows({EXT4: [{"find": 1}, {"find": 3}], LIVE: [{"find": 2}, {}]})
    assert set(row.cells) == {EXT4}


def test_ratios_are_those_of_the_same_round() -> None:
    (row,) = rows({EXT4: [{"find": 1}, {"find": 3}], LIVE: [{"find": 2}, {"find": 3}]})
    assert row.cells[LIVE].ratio == 1.5


def test_a_goal_says_by_how_much_it_is_met_or_missed() -> None:
    slow = verdict("whole", LIBRARIES, LIVE, {LIVE: [300e6]})
    fast = verdict("whole", LIBRARIES, LIVE, {LIVE: [500e6]})
    assert (slow.verdict, fast.verdict) == ("**missed** by 25 %", "met, 25 % to spare")
    late = verdict("mount", NAMES, LIVE, {LIVE: [0.125]})
    early = verdict("mount", NAMES, LIVE, {LIVE: [0.05]})
    assert (late.verdict, early.verdict) == ("**missed** by 25 %", "met, 50 % to spare")


def test_a_goal_against_another_way_takes_the_ratios_of_its_rounds() -> None:
    one = verdict("small", NAMES, LIVE, {LIVE: [2, 3, 8], KERNEL: [4, 3, 4], EXT4: [1, 1, 1]})
    assert one.ratio == 1.0
    assert one.verdict == "met, 0 % to spare"


def test_a_goal_without_figures_is_not_judged() -> None:
    assert judged(rows({LIVE: [{"small": 1.0}]})) == []


def test_over_a_pool_a_version_is_installed_there_first(tmp_path: Path, release: Release) -> None:
    (way,) = (one for one in stored(Holdall(tmp_path)) if one.name == POOLED)
    install, convert = way.install(release, tmp_path)
    assert install.argv[-3:-1] == ("--form", "pool")
    assert convert.argv[-2:] == ("--form", "live")


def test_holdalls_ways_are_the_users_and_images_are_roots(tmp_path: Path, release: Release) -> None:
    for way in ways(Holdall(tmp_path)):
        mounting = way.mount(release, tmp_path, tmp_path / "place")
        assert bool(mounting) == isinstance(way, Image)
        assert way.reader(release, tmp_path, tmp_path / "place").argv[0] == "setpriv"


def test_an_image_is_made_once_for_all_that_read_it(tmp_path: Path, release: Release) -> None:
    way = Image("squashfuse", "squashfs", "squashfuse")
    assert way.install(release, tmp_path)
    (tmp_path / f"{release.name}.squashfs").touch()
    assert way.install(release, tmp_path) == ()


def test_leaves_cost_the_bundle_what_they_take() -> None:
    found = {name: [[1e6, 0.5, 0.4, 0.001, 250.0]] for name in (NONE, FRAME, LEAF)}
    *_, more = checking_rows(NAMES, found, 1000)
    assert {name: cell.value for name, cell in more.cells.items()} == {NONE: 0, FRAME: 0, LEAF: 25}


@pytest.mark.parametrize("way", ["frame", "leaf", "none"])
def test_each_way_of_checking_reads_all(way: str, tmp_path: Path) -> None:
    kept = keep(tmp_path, {"a": random.Random(2).randbytes(300_000), "b": b"b" * 100})
    program = CHECKOUT / "benchmarks" / "live_checking.py"
    done = run(
        [sys.executable, "-P", program, tmp_path / "made.holdall", way],
        environment={"PYTHONPATH": str(CHECKOUT / "src")},
    )
    assert done.returncode == 0, done.stderr
    size, *_, leaves = map(float, done.stdout.split())
    assert (size, leaves) == (300_100, 74 * 32)
    assert kept.bundle.exists()


_VISIT = """
import json, sys
from pathlib import Path
from benchmarks.data import Release
from benchmarks.disk import Disks, own_mounts, workplace
from benchmarks.forms_user import fuse_for_all
from benchmarks.laboratory import furnish
from benchmarks.live import Bench
from benchmarks.live_measures import NAMES, Visit
from benchmarks.live_rounds import Gallery
from benchmarks.live_ways import ways

source = Path(sys.argv[1])
own_mounts()
with workplace() as (folder, mount_point), fuse_for_all():
    laboratory = furnish(folder, mount_point, cache=source / "cache", holdall=None,
                         contend=lambda _: (), runs=1, patience=0)
    chosen = tuple(way for way in ways(laboratory.subject) if way.name in sys.argv[2:])
    release = Release(NAMES, "1", source, "org.example.Small")
    bench = Bench(laboratory, folder, mount_point, chosen, {NAMES: (release,)})
    bench.publish(release, keep=False)
    (folder / "view").mkdir()
    disks = Disks(folder / "images", mount_point, 1 << 30)
    gallery = Gallery(laboratory, disks, {NAMES: release}, folder / "view")
    image, there, lost = gallery.image(chosen)
    assert not lost, lost
    small = {"step": "small", "count": 1000}
    for way in chosen:
        found = gallery.visit(image, way, Visit(NAMES, "small", "small again", small))
        print(json.dumps(found | gallery.start(image, way)))
"""


@pytest.mark.root
@pytest.mark.slow
def test_ways_are_read_by_an_ordinary_user(require: Require, release: Release) -> None:
    for program in ("bwrap", "mkfs.ext4", "mksquashfs", "squashfuse_ll"):
        require(program)
    names = (EXT4, KERNEL, "squashfuse_ll", LIVE)
    done = run(
        [sys.executable, "-c", _VISIT, release.source, *names],
        environment=dict(os.environ),
        directory=CHECKOUT,
    )
    assert done.returncode == 0, done.stderr
    figures = [set(json.loads(line)) for line in done.stdout.splitlines()]
    read, served = {"small", "small again"}, {"small time", "memory", "share"}
    assert figures == [
        read | {"run"},
        read | {"mount"},
        read | served | {"mount"},
        read | served | {"mount", "run"},
    ]


def test_the_page_tells_goals_and_figures(tmp_path: Path) -> None:
    figures = {EXT4: [{"find again": 0.1}], LIVE: [{"find again": 0.2}]}
    about = {"kernel": "6.18", "begun": "a", "ended": "b", "runs": "1", "commit": "c"}
    save(Report("readings", NAMES, about, tuple(rows(figures))), tmp_path)
    page = live_page.render(live_page.kept(tmp_path))
    assert (
        "| find, warm | ansible | live | 200.0 ms | ext4    | 2.00x | ≤ 1.5x | **missed**" in page
    )
    assert "| live | 200.0 ms (2.00x) |" in page


def test_a_page_without_figures_says_so() -> None:
    assert "Nothing has been measured yet" in live_page.render([])
