"""Read an app's files as told, line by line, and say how many seconds each reading took.

A program of its own: it is run by whoever the files are readable for, in an app's sandbox too, and
needs nothing but Python's own modules, so that its text can be handed to where the benchmarks are
not. Requests and answers are JSON, one a line.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

_PIECE = 1 << 20


def main(folder: str) -> None:
    """Answer requests about a folder until there are no more."""
    print("{}", flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        step, times = _STEPS[asked.pop("step")], asked.pop("times", 1)
        seconds, done = [], 0
        for _ in range(times):
            begun = time.perf_counter()
            done = step(folder, **asked)
            seconds.append(time.perf_counter() - begun)
        print(json.dumps({"seconds": seconds, "done": done}), flush=True)


def whole(folder: str, paths: list[str]) -> int:
    """Read files from end to end; returns their bytes."""
    buffer, size = bytearray(_PIECE), 0
    for path in paths:
        fd = os.open(f"{folder}/{path}", os.O_RDONLY)
        while count := os.readv(fd, [buffer]):
            size += count
        os.close(fd)
    return size


def scattered(folder: str, path: str, count: int) -> int:
    """Read pages of a file anywhere, the same ones each time; returns their bytes."""
    chance = random.Random(5)
    fd = os.open(f"{folder}/{path}", os.O_RDONLY)
    pages = os.fstat(fd).st_size // 4096
    size = sum(len(os.pread(fd, 4096, chance.randrange(pages) * 4096)) for _ in range(count))
    os.close(fd)
    return size


def small(folder: str, count: int) -> int:
    """Find files folder by folder, and read each as it is found, so many; returns their number."""
    found = 0
    for path in _files(folder):
        fd = os.open(path, os.O_RDONLY)
        os.read(fd, _PIECE)
        os.close(fd)
        found += 1
        if found == count:
            break
    return found


def find(folder: str, words: list[str]) -> int:
    """Have all names listed by the program find."""
    subprocess.run(["find", folder, *words], stdout=subprocess.DEVNULL, check=True)
    return 0


def start(folder: str, module: str) -> int:
    """Start a Python that imports a module from the folder."""
    line = f"import sys; sys.path.insert(0, {folder!r}); import {module}"
    subprocess.run([sys.executable, "-B", "-E", "-s", "-S", "-c", line], check=True)
    return 0


def _files(folder: str) -> Iterator[str]:
    with os.scandir(folder) as listing:
        entries = sorted(listing, key=lambda entry: entry.name)
    yield from (entry.path for entry in entries if entry.is_file(follow_symlinks=False))
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)


_STEPS: dict[str, Callable[..., int]] = {
    one.__name__: one for one in (whole, scattered, small, find, start)
}


if __name__ == "__main__":
    main(sys.argv[1])
