"""The page about streams of btrfs says what was measured."""

from pathlib import Path

from benchmarks.send_receive import render

CHECKOUT = Path(__file__).parents[2]


def test_the_page_is_what_was_measured() -> None:
    page = (CHECKOUT / "docs/benchmarks-send-receive.md").read_text()
    assert page == render(CHECKOUT / "benchmarks/results")
    assert "| holdall's increment |" in page
