"""What the process that shows a bundle says of what cannot be read."""

import pytest

from holdall.system import answering


def test_each_is_said_once(capfd: pytest.CaptureFixture[str]) -> None:
    complain = answering.complainer()
    for _ in range(3):
        complain("a\n/\udcff/ä cannot be read at 0")
    assert capfd.readouterr().err == "holdall: a\\n/\\udcff/ä cannot be read at 0\n"


def test_no_more_than_some_are_said(capfd: pytest.CaptureFixture[str]) -> None:
    complain = answering.complainer()
    for offset in range(5000):
        complain(f"data cannot be read at {offset}")
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 101
    assert lines[-1] == "holdall: More cannot be read; nothing else of it is said."
