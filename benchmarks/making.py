"""Apply an increment, and print how many seconds the making of its contents took.

Run as a program of its own, so that what is measured starts as the command does. It is the call
that ``holdall install`` makes; the time is taken from its own progress: from the first event, when
trees were read and the way is known, to the one that says that every new content was made, checked
by its digest, and written. What comes after, laying down the tree and waiting for the disk, is not
in it.
"""

import sys
import time

from holdall.journeys.host import Event, Host
from holdall.journeys.install import install
from holdall.store.layout import Layout


def main(store: str, increment: str) -> None:
    """Install into a store at ``store``, which trusts the key already."""
    moments: list[float] = []

    def report(event: Event) -> None:
        if event.total and (not moments or event.done == event.total):
            moments.append(time.perf_counter())

    install(increment, Host(Layout(store), None), report=report)
    print(moments[1] - moments[0])


if __name__ == "__main__":
    main(*sys.argv[1:])
