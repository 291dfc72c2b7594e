"""The folders where `holdall mount` shows files of a store, by the kernel's list of mounts."""

import os

from holdall.journeys.host import Host
from holdall.system.loop import backing_file
from holdall.system.mount_table import Mounted, mounts
from holdall.system.mounting import NAME


def shown_at(host: Host) -> list[str]:
    """The folders outside the store with a mount of holdall's that this process sees, sorted.

    Of images that a program serves nobody can say which store they are from: all are named.
    """
    store = os.path.realpath(host.layout.root)
    return sorted({one.point for one in mounts() if _is_shown(one, store)})


def _is_shown(one: Mounted, store: str) -> bool:
    if f"{one.point}/".startswith(f"{store}/"):
        return False
    if one.source.partition(":")[0] == NAME:
        return True
    image = backing_file(one.source) or one.source
    if image.startswith(f"{store}/"):
        return True
    # a folder of the store: the path ends alike, whatever its file system is mounted at
    lying = next((name for name in ("/deployments/", "/trash/") if name in one.root), "")
    if not lying or not one.root.endswith("/files"):
        return False
    return f"{store}/".endswith(f"{one.root.rpartition(lying)[0]}/")
