"""What a process keeps of the memory it frees, and gives back when it is told to."""

import subprocess
import sys

PROGRAM = """
import threading
from pathlib import Path
from holdall.system.kernel import keep_memory, return_memory

def resident():
    (line,) = [it for it in Path("/proc/self/status").read_text().splitlines() if "RssAnon" in it]
    return int(line.split()[1]) // 1024

def fill():
    held.extend(bytes([1]) * (600 << 10) for _ in range(60))

held, before = [], resident()
keep_memory()
thread = threading.Thread(target=fill)
thread.start()
thread.join()
full = resident()
held.clear()
kept = resident()
return_memory()
print(full - before, kept - before, resident() - before)
"""


def test_what_a_second_thread_took_is_given_back_too() -> None:
    """In MiB, of 35 that were taken and freed."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    full, kept, left = map(int, done.stdout.split())
    assert full > 30
    assert kept > 30
    assert left < 5
