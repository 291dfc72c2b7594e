"""What a store takes on the disk: for each app, for what no app has, and in all."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import NamedTuple

from holdall.journeys.host import Host
from holdall.journeys.listing import facts_or_nothing
from holdall.model.ref import Ref
from holdall.store.catalog import Deployment
from holdall.system.files import each_child

_Blocks = dict[tuple[int, int] | tuple[str, int, int], int]


class Usage(NamedTuple):
    """What a ref takes, in bytes.

    `apparent` counts every version whole, `unique` every inode's disk blocks once, and `shared` is
    how much of these other apps have as well.
    """

    ref: str
    versions: int
    apparent: int
    unique: int
    shared: int = 0


class Measured(NamedTuple):
    """The rows, and the folders that the user may not look into and that are left out."""

    rows: list[Usage]
    unseen: list[str]


def usage(host: Host) -> Measured:
    """What each ref takes on the disk, and then what no app has.

    That is, under "partial", what interrupted commands have made, under "trash" what waits to be
    freed, under "pool" the folders of the pool and what is in it for nobody, under "volume" the
    room and the names in the file of the form btrfs; and under "total" all of the store, each inode
    once, but what apps keep in `data`.
    """
    unseen: list[str] = []
    rows, seen, inside = _apps(host, unseen)
    layout = host.layout
    for folder in (layout.partial, layout.trash, layout.pool):
        more = _new(_walk(folder, unseen), seen)
        if names := [] if folder in unseen else each_child(folder):
            count = 0 if folder == layout.pool else len(names)
            rows.append(Usage(os.path.basename(folder), count, 0, _bytes(more)))
        seen |= more
    volume = _new(_walk(layout.volume, unseen), seen)
    if volume:
        # what apps have in it is counted with them
        room = {key: max(0, blocks - inside) for key, blocks in volume.items()}
        rows.append(Usage("volume", 0, 0, _bytes(room)))
        seen |= room
    if rows:
        seen |= _new(_walk(layout.root, unseen, _elsewhere(host)), seen)
        rows.append(Usage("total", 0, 0, _bytes(seen)))
    return Measured(rows, unseen)


def _apps(host: Host, unseen: list[str]) -> tuple[list[Usage], _Blocks, int]:
    """The rows of apps, the inodes they have, and how many blocks of these are in the volume."""
    found: list[tuple[Ref, list[Deployment], _Blocks]] = []
    seen: _Blocks = {}
    inside = 0
    for ref in host.catalog.refs():
        installed = host.catalog.deployments(ref)
        own: _Blocks = {}
        lying: _Blocks = {}
        for item in installed:
            with suppress(FileNotFoundError):
                home = os.lstat(item.path).st_dev
                own |= _blocks(_walk(item.path, unseen), str(ref), home)
                lying |= _blocks(_walk_volume(host, item, unseen), str(ref), home)
        inside += sum(lying.values())
        found.append((ref, installed, own | lying))
        seen |= own | lying
    owners = Counter(key for *_, own in found for key in own)
    rows = [
        Usage(
            str(ref),
            len(installed),
            sum(facts_or_nothing(item)["size"] for item in installed),
            _bytes(own),
            _bytes({key: blocks for key, blocks in own.items() if owners[key] > 1}),
        )
        for ref, installed, own in found
    ]
    return rows, seen, inside


def _elsewhere(host: Host) -> frozenset[str]:
    """What is not to be walked again, or at all."""
    deployments = (
        item.path for ref in host.catalog.refs() for item in host.catalog.deployments(ref)
    )
    layout = host.layout
    walked = (layout.partial, layout.trash, layout.pool, layout.volume)
    return frozenset((*deployments, *walked, f"{layout.root}/volume", f"{layout.root}/data"))


def _walk_volume(host: Host, item: Deployment, unseen: list[str]) -> Iterator[os.stat_result]:
    """The files of a version where they lie in the store's volume."""
    if os.path.islink(item.files):
        # never where a link leads, whatever it says: one name in that one folder
        name = os.path.basename(os.readlink(item.files))
        folder = f"{host.layout.root}/volume/{name}"
        if name not in {"", ".", ".."} and not os.path.islink(folder):
            yield from _walk(folder, unseen)


def _walk(
    top: str, unseen: list[str], skipped: frozenset[str] = frozenset()
) -> Iterator[os.stat_result]:
    """What the system says of all below a folder, and of that itself; or of one file."""
    pending = [top]
    while pending:
        folder = pending.pop()
        try:
            status = os.lstat(folder)
            yield status
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.path in skipped:
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
                    else:
                        yield entry.stat(follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            continue  # what is in the trash may go while it is counted
        except PermissionError:
            unseen.append(folder)


def _blocks(found: Iterable[os.stat_result], ref: str, home: int) -> _Blocks:
    """The blocks of each inode that an app has.

    What is on another device than `home` is in a subvolume. An inode that a snapshot was made with
    keeps its number there, its time of change and its blocks: the app's versions have it once.
    """
    return {
        (status.st_dev, status.st_ino)
        if status.st_dev == home
        else (ref, status.st_ino, status.st_ctime_ns): status.st_blocks
        for status in found
    }


def _new(found: Iterable[os.stat_result], seen: _Blocks) -> _Blocks:
    """The blocks of each inode that was not seen yet."""
    keys = (((status.st_dev, status.st_ino), status.st_blocks) for status in found)
    return {key: blocks for key, blocks in keys if key not in seen}


def _bytes(blocks: _Blocks) -> int:
    return sum(blocks.values()) * 512
