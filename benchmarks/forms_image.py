"""Make the metadata image of an installed app as often as told; print its bytes and seconds.

Run as a program of its own, as the command is: what is timed is the one call that makes the image,
out of a tree that was read before.
"""

import sys
import time

from holdall.forms import erofs
from holdall.journeys.installed import installed_tree, release_of
from holdall.store.catalog import Catalog
from holdall.store.layout import Layout


def main(store: str, times: int) -> None:
    """Of the one app that is installed in the store."""
    catalog = Catalog(Layout(store))
    (deployment,) = (one for ref in catalog.refs() for one in catalog.deployments(ref))
    release = release_of(deployment)
    assert release is not None
    tree = installed_tree(deployment, release)
    size, seconds = 0, []
    for _ in range(times):
        begun = time.perf_counter()
        size = len(erofs.image(tree))
        seconds.append(time.perf_counter() - begun)
    print(size, *seconds)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
