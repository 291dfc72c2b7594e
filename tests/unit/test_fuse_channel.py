"""Conversing with the kernel: requests come in when they like, and are waited for without haste."""

import os
import socket
import threading
from collections.abc import Iterator
from time import process_time

import pytest

from holdall.system.fuse import channel
from mounts import eventually

PATIENCE = 60.0


class Echo:
    """Answers each request with itself; the request "end" is too much for it."""

    def __init__(self) -> None:
        self.busy = False
        self.rested = threading.Event()
        self.rests = 0

    def answer(self, data: bytes) -> list[bytes | memoryview] | None:
        if data == b"end":
            raise EOFError
        return None if data == b"silent" else [data]

    def rest(self) -> None:
        self.rests += 1
        self.rested.set()


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def kernel(echo: Echo) -> Iterator[socket.socket]:
    """The other end of a device whose requests are answered by a thread."""
    ours, device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    device.settimeout(0)

    def converse() -> None:
        with pytest.raises(EOFError):
            channel.converse(device.fileno(), echo, echo)  # type: ignore[arg-type]

    thread = threading.Thread(target=converse)
    thread.start()
    with ours, device:
        ours.settimeout(PATIENCE)
        yield ours
        ours.send(b"end")
        thread.join(PATIENCE)
    assert not thread.is_alive()


def test_each_request_is_answered_at_once_or_later(kernel: socket.socket) -> None:
    for number in range(100):
        kernel.send(b"silent")
        kernel.send(b"%d" % number)
        if number % 10 == 0:  # longer than it is looked out for
            threading.Event().wait(0.01)
        assert kernel.recv(100) == b"%d" % number


def test_waiting_takes_no_processor_time(kernel: socket.socket, echo: Echo) -> None:
    kernel.send(b"first")
    assert kernel.recv(100) == b"first"
    before = process_time()
    threading.Event().wait(0.5)
    assert process_time() - before < 0.1
    assert not echo.rests


@pytest.mark.parametrize("busy", [False, True])
def test_rest_is_taken_once_between_requests(
    kernel: socket.socket, echo: Echo, monkeypatch: pytest.MonkeyPatch, *, busy: bool
) -> None:
    monkeypatch.setattr(channel, "_QUIET", 20)
    echo.busy = busy
    for number in (1, 2):
        kernel.send(b"again")
        assert kernel.recv(100) == b"again"
        assert echo.rested.wait(PATIENCE)
        threading.Event().wait(0.1)
        assert echo.rests == number
        echo.rested.clear()


def test_requests_that_seldom_come_soon_are_not_looked_out_for(
    kernel: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[None] = []
    monkeypatch.setattr(os, "sched_yield", lambda: looks.append(None))
    monkeypatch.setattr(channel, "_LINGER", 0.002)

    def ask(times: int) -> int:
        """Ask, slowly; how often it was looked out for the next request meanwhile."""
        before = len(looks)
        for _ in range(times):
            kernel.send(b"next")
            assert kernel.recv(100) == b"next"
            threading.Event().wait(0.01)
        return len(looks) - before

    assert eventually(lambda: ask(1) > 0)
    assert eventually(lambda: not ask(channel._PAUSE // 2))  # noqa: SLF001
    assert eventually(lambda: ask(1) > 0)
