"""Work shared out among forked workers, one for each processor.

Workers inherit everything by fork, take task numbers from one pipe and answer on another; a worker dies with its
parent. Python threads would not do: hashing small pieces and creating small files hold the interpreter's lock.
"""

import os
import pickle
import signal
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from holdall.errors import HoldallError
from holdall.system.kernel import die_with_parent

_TASK = struct.Struct("<I")
_ANSWER = struct.Struct("<BIQ")
_DONE, _FAILED = 0, 1


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def share_out(
    tasks: Sequence[int],
    perform: Callable[[int], int],
    *,
    workers: int | None = None,
    prepare: Callable[[], None] | None = None,
    report: Callable[[int, int], None] | None = None,
) -> None:
    """Have `perform(task)` done for every task, by forked workers, in about the order given.

    `prepare` runs in this process while the workers already wait; its end opens the gate `perform` may await with
    nothing (tasks are handed out only then). `report(task, amount)` gets what `perform` returned. The first error of
    a worker is raised here, after the others were ended.
    """
    count = min(workers or processors(), len(tasks))
    if count == 0:
        if prepare:
            prepare()
        return
    crew = _Crew(count, perform)
    try:
        if prepare:
            prepare()
        crew.hand_out(tasks)
        missing = len(tasks)
        for task, amount in crew.answers():
            missing -= 1
            if report:
                report(task, amount)
        if missing:
            raise HoldallError("A worker process was ended from outside; run the command again.")
    finally:
        crew.end()


class _Crew:
    def __init__(self, count: int, perform: Callable[[int], int]) -> None:
        self._tasks_out, self._tasks_in = os.pipe()
        self._answers_out, self._answers_in = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self._pids = [self._start(perform) for _ in range(count)]
        os.close(self._tasks_out)
        os.close(self._answers_in)

    def _start(self, perform: Callable[[int], int]) -> int:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            die_with_parent()
            if os.getppid() == parent:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                os.close(self._tasks_in)
                os.close(self._answers_out)
                self._work(perform)
                status = 0
        finally:
            os._exit(status)

    def _work(self, perform: Callable[[int], int]) -> None:
        while len(record := os.read(self._tasks_out, _TASK.size)) == _TASK.size:
            (task,) = _TASK.unpack(record)
            try:
                amount = perform(task)
            except BaseException as error:  # noqa: BLE001 - carried to the parent, which raises it
                told = pickle.dumps(error)
                os.write(self._answers_in, _ANSWER.pack(_FAILED, task, len(told)) + told)
                return
            os.write(self._answers_in, _ANSWER.pack(_DONE, task, amount))

    def hand_out(self, tasks: Sequence[int]) -> None:
        """Put the tasks on the pipe from a process of its own, so that no number of them can block."""
        records = b"".join(_TASK.pack(task) for task in tasks)
        if len(records) <= 65536:
            with suppress(BrokenPipeError):
                os.write(self._tasks_in, records)
        else:
            self._pids.append(self._feed(records))
        os.close(self._tasks_in)
        self._tasks_in = -1

    def _feed(self, records: bytes) -> int:
        pid = os.fork()
        if pid:
            return pid
        try:
            die_with_parent()
            os.close(self._answers_out)
            for at in range(0, len(records), 4096):
                os.write(self._tasks_in, records[at : at + 4096])
        finally:
            os._exit(0)

    def answers(self) -> Iterator[tuple[int, int]]:
        """What the workers answer, as it comes, until all have ended."""
        while record := os.read(self._answers_out, _ANSWER.size):
            kind, task, amount = _ANSWER.unpack(record)
            if kind == _FAILED:
                told = b""
                while len(told) < amount:
                    told += os.read(self._answers_out, amount - len(told))
                raise pickle.loads(told)  # noqa: S301 - written by our own fork
            yield task, amount

    def end(self) -> None:
        """End what still works and reap it."""
        for fd in (self._tasks_in, self._answers_out):
            if fd >= 0:
                os.close(fd)
        for pid in self._pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
