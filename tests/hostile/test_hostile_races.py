"""Several processes that do the same at once: none of them may fail for it."""

import os
from pathlib import Path

import pytest

from holdall.system.files import remove_tree

ROUNDS, PROCESSES, FOLDERS = 60, 3, 30


def remover(path: Path, starts: int, holds: int) -> int:
    """A child that removes a tree as soon as nobody holds the other end of a pipe any more."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.close(holds)
        os.read(starts, 1)
        remove_tree(str(path))
        status = 0
    finally:
        os._exit(status)


@pytest.mark.slow
def test_a_removed_version_is_freed_by_several_processes_at_once(tmp_path: Path) -> None:
    failed = 0
    for number in range(ROUNDS):
        path = tmp_path / str(number)
        for folder in range(FOLDERS):
            (path / f"{folder}/notice").mkdir(parents=True)
        starts, holds = os.pipe()
        children = [remover(path, starts, holds) for _ in range(PROCESSES)]
        os.close(holds)
        failed += sum(os.waitpid(child, 0)[1] != 0 for child in children)
        os.close(starts)
        assert not path.exists()
    assert failed == 0
