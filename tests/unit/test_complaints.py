"""What the process that shows a bundle says of what cannot be read."""

import os
from contextlib import suppress

import pytest

from holdall.system import answering


def test_each_is_said_once(capfd: pytest.CaptureFixture[str]) -> None:
    complain = answering.Complaints()
    complain.begin()
    for _ in range(3):
        complain("a\n/\udcff/ä cannot be read at 0")
    complain.finish()
    assert capfd.readouterr().err == "holdall: a\\n/\\udcff/ä cannot be read at 0\n"


def test_no_more_than_some_are_said(capfd: pytest.CaptureFixture[str]) -> None:
    complain = answering.Complaints()
    complain.begin()
    for offset in range(5000):
        complain(f"data cannot be read at {offset}")
    complain.finish()
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 101
    assert lines[-1] == "holdall: More cannot be read; nothing else of it is said."


def test_nobody_waits_for_who_is_to_read_them() -> None:
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    with suppress(BlockingIOError):
        while os.write(writes, bytes(4096)):
            pass
    os.set_blocking(writes, True)
    kept = os.dup(2)
    os.dup2(writes, 2)
    try:
        complain = answering.Complaints()
        complain.begin()
        complain("data cannot be read at 0")
        while b"data" not in os.read(reads, 65536):
            pass
        complain.finish()
    finally:
        os.dup2(kept, 2)
        for fd in (kept, reads, writes):
            os.close(fd)
