"""Work shared out among forked workers, one for each processor.

Workers inherit everything by fork, take task numbers from one pipe and answer on another; a worker
dies with its parent. Python threads would not do: hashing small pieces and creating small files
hold the interpreter's lock.
"""

import gc
import os
import pickle
import signal
import struct
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from holdall.errors import CutShortError, HoldallError
from holdall.system.kernel import die_with_parent, keep_memory, return_memory

_TASK = struct.Struct("<I")
_ANSWER = struct.Struct("<BIQ")
_DONE, _FAILED = 0, 1


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))


def share_out(
    tasks: Iterable[int],
    total: int,
    perform: Callable[[int], int],
    *,
    workers: int | None = None,
    meanwhile: Callable[[], None] | None = None,
    report: Callable[[int, int], None] | None = None,
) -> None:
    """Have `perform(task)` done for all `total` tasks, by forked workers, in about the order given.

    `tasks` is iterated in a process of its own, so it may wait for something. `meanwhile` is done
    here, once, beside the workers. `report(task, amount)` gets what `perform` returned. The first
    error of a worker is raised here, after the others were ended.
    """
    count = min(workers or processors(), total)
    if count == 0:
        if meanwhile:
            meanwhile()
        return
    crew = _Crew(count, perform)
    try:
        crew.hand_out(tasks)
        if meanwhile:
            meanwhile()
        missing = total
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
        return_memory()
        self._pids = [self._fork(lambda: self._work(perform)) for _ in range(count)]
        os.close(self._tasks_out)

    def _fork(self, job: Callable[[], None]) -> int:
        parent = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        try:
            gc.disable()
            keep_memory()
            die_with_parent()
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            if os.getppid() == parent:
                job()
        except BaseException as error:  # noqa: BLE001 - carried to the parent, which raises it
            told = pickle.dumps(error)
            os.write(self._answers_in, _ANSWER.pack(_FAILED, 0, len(told)) + told)
        finally:
            os._exit(0)

    def _work(self, perform: Callable[[int], int]) -> None:
        os.close(self._tasks_in)
        os.close(self._answers_out)
        while len(record := os.read(self._tasks_out, _TASK.size)) == _TASK.size:
            (task,) = _TASK.unpack(record)
            os.write(self._answers_in, _ANSWER.pack(_DONE, task, perform(task)))

    def hand_out(self, tasks: Iterable[int]) -> None:
        """Put the tasks on the pipe from a process of its own: waiting for one blocks nobody."""

        def feed() -> None:
            os.close(self._answers_out)
            for task in tasks:
                os.write(self._tasks_in, _TASK.pack(task))

        self._pids.append(self._fork(feed))
        os.close(self._tasks_in)
        os.close(self._answers_in)
        self._tasks_in = self._answers_in = -1

    def answers(self) -> Iterator[tuple[int, int]]:
        """What the workers answer, as it comes, until all have ended.

        Where what tasks wait for was cut short, those that came before it are still done.
        """
        cut: CutShortError | None = None
        while record := os.read(self._answers_out, _ANSWER.size):
            kind, task, amount = _ANSWER.unpack(record)
            if kind == _FAILED:
                told = b""
                while len(told) < amount:
                    told += os.read(self._answers_out, amount - len(told))
                error = pickle.loads(told)  # noqa: S301 - written by our own fork
                if not isinstance(error, CutShortError):
                    raise error
                cut = error
                continue
            yield task, amount
        if cut:
            raise cut

    def end(self) -> None:
        """End what still works and reap it."""
        for fd in (self._tasks_in, self._answers_in, self._answers_out):
            if fd >= 0:
                os.close(fd)
        for pid in self._pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
