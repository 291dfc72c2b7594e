from pathlib import Path

from benchmarks import page
from benchmarks.results import Of, Report, Row, Target, Unit, load, row, save
from benchmarks.table import markdown, verdict


def install(holdall: list[float], target: Target | None = None) -> Row:
    runs = {"tar": [1.0, 2.0, 3.0], "holdall": holdall}
    return row("install, time", "ansible", Unit.SECONDS, runs, target=target)


def report(*rows: Row) -> Report:
    about = {"kernel": "6.18", "begun": "a", "ended": "b", "runs": "3", "commit": "c"}
    return Report("install", "ansible", about, rows)


def test_a_cell_has_the_median_and_the_ratio_to_the_baseline() -> None:
    table = markdown([report(install([2.0, 4.0, 6.0]))])
    assert "| **4.00 s (2.00x)** |" in table
    assert "| 2.00 s (1.00x) |" in table


def test_a_ratio_within_the_target_is_met() -> None:
    assert verdict(install([1.0, 2.0, 3.0], Target(1.0))) == "met"


def test_a_ratio_beyond_the_target_is_missed() -> None:
    assert verdict(install([1.1, 2.2, 3.3], Target(1.0))) == "**missed**"


def test_a_target_may_limit_the_value_itself() -> None:
    assert install([100.0], Target(100, Of.VALUE)).met is True
    assert install([101.0], Target(100, Of.VALUE)).met is False


def test_a_target_without_a_figure_is_neither_met_nor_missed() -> None:
    assert verdict(install([], Target(1.0))) == "not measured"


def test_a_figure_without_a_target_has_no_verdict() -> None:
    assert verdict(install([1.0])) == ""


def test_a_reference_beside_the_columns_may_be_the_baseline() -> None:
    made = row(
        "disk", "ansible", Unit.MEGABYTES, {"holdall": [51.0]}, baseline="x", reference=[50.0]
    )
    assert made.cells["holdall"].ratio == 1.02


def test_all_lines_of_the_table_are_of_one_width() -> None:
    lines = markdown([report(install([2.0]), install([2.0, 3.0], Target(1.0)))]).splitlines()
    assert len({len(line) for line in lines}) == 1


def test_a_report_reads_back_as_it_was_saved(tmp_path: Path) -> None:
    saved = report(install([1.0, 2.0], Target(1.0)))
    save(saved, tmp_path)
    assert load(tmp_path / "install-ansible.json") == saved


def test_the_page_counts_what_was_missed(tmp_path: Path) -> None:
    save(report(install([1.0], Target(1.0)), install([9.0], Target(1.0))), tmp_path)
    assert "Targets: 1 met, 1 missed, 0 not measured." in page.render(page.kept(tmp_path))
