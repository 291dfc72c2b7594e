import urllib.request
from pathlib import Path

import pytest

from benchmarks import repositories_page
from benchmarks.repositories_crowd import crowd
from benchmarks.repositories_growth import growth
from benchmarks.repositories_server import serving
from benchmarks.results import SUBJECT, Of, Report, Row, Target, Unit, row, save
from surroundings import Require

_ABOUT = dict.fromkeys((*repositories_page.FACTS, "begun", "ended", "runs", "commit"), "x")


def figures(rows: list[Row]) -> dict[str, float]:
    return {one.measure: one.cells[SUBJECT].value for one in rows}


def test_the_log_tells_bodies_and_heads_of_contents_and_of_metadata(
    require: Require, tmp_path: Path
) -> None:
    require("nginx")
    for name in ("content/ab/file", "metadata/role"):
        (tmp_path / "www" / name).parent.mkdir(parents=True)
        (tmp_path / "www" / name).write_bytes(b"x" * 1000)
    with serving(tmp_path / "www", tmp_path / "nginx") as server:
        for name in ("content/ab/file", "metadata/role"):
            with urllib.request.urlopen(f"{server.address}/{name}") as answer:  # noqa: S310 - loopback
                answer.read()
        taken = server.traffic()
        assert (taken.bodies, taken.content.bodies, len(taken.metadata.requests)) == (2000, 1000, 1)
        assert taken.wire > 2000 + 4 * 20
        assert server.traffic().requests == []


@pytest.mark.slow
def test_a_small_repository_is_measured_through_and_through(
    require: Require, tmp_path: Path
) -> None:
    require("nginx")
    rows = list(growth(tmp_path / "market", 14, patience=0))
    found = figures(rows)
    assert found["update, nothing new, requests"] == 2
    assert found["update, metadata, 1 of 10 apps changed, bytes"] > 1000
    assert (
        found["update, metadata, 10 of 10 apps changed, bytes"]
        > found["update, metadata, 1 of 10 apps changed, bytes"]
    )
    assert all(one.met for one in rows if one.target and one.unit is not Unit.MILLISECONDS)


@pytest.mark.slow
def test_a_few_clients_end_at_published_states(require: Require, tmp_path: Path) -> None:
    require("nginx")
    rows = list(crowd(tmp_path / "market", 3))
    if not figures(rows)["publications begun while they ran"]:  # so few may have ended before
        rows = list(crowd(tmp_path / "another market", 3))
    assert figures(rows)["publications begun while they ran"] >= 1
    assert [one.measure for one in rows if one.met is False] == []


def test_the_page_has_a_column_for_every_size_and_says_what_was_missed(tmp_path: Path) -> None:
    for apps, value in ((1000, 3.0), (100, 1.0)):
        title = f"{apps:,} apps"
        one = row("bins", title, Unit.COUNT, {SUBJECT: [value]}, target=Target(2, Of.VALUE))
        save(Report("growth", f"{apps}-apps", _ABOUT, (one,)), tmp_path)
    page = repositories_page.render(repositories_page.kept(tmp_path))
    assert "| measure | 100 apps | 1,000 apps | target | verdict          |" in page
    assert "| bins    |        1 |          3 | ≤ 2    | met / **missed** |" in page
    assert "Targets: 1 met, 1 missed." in page
