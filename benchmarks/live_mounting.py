"""Mount an app for one process, as starting it does; print the seconds that took.

Run as a program of its own, by the user whose app it is: first the seconds until the mount is made,
then those until its top folder was listed. What has to be imported for it is in them.
"""

import os
import sys
import time

from holdall.journeys.host import Host
from holdall.journeys.mounting import enter
from holdall.model.ref import RefPattern
from holdall.store.layout import Layout


def main(store: str, ref: str) -> None:
    """Mount the active version."""
    host = Host(Layout(store), None)
    deployment = host.catalog.current(RefPattern.parse(ref))
    begun = time.perf_counter()
    enter(host, deployment)
    made = time.perf_counter()
    os.scandir(deployment.files).close()
    print(made - begun, time.perf_counter() - begun)


if __name__ == "__main__":
    main(*sys.argv[1:])
