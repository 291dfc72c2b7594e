"""Installed versions as seeds: what may be linked from them, and where a content lies in them."""

import os
import stat
from collections.abc import Collection, Iterator
from hashlib import sha256

from holdall.errors import CorruptError
from holdall.forms import seeding
from holdall.journeys.installed import installed_tree
from holdall.model import release as releases
from holdall.model.release import Release
from holdall.store.catalog import Deployment


def release_of(deployment: Deployment) -> Release | None:
    """What a deployment was signed as; None when that was spoiled on the disk."""
    try:
        data = deployment.read("release")
        return releases.parse(data) if sha256(data).hexdigest() == deployment.digest else None
    except (CorruptError, OSError):
        return None


def seed_of(deployment: Deployment | None) -> seeding.Seed | None:
    """An installed version as a seed.

    None when what stands beside its files is not what was installed.
    """
    release = release_of(deployment) if deployment else None
    if deployment is None or release is None:
        return None
    try:
        tree = installed_tree(deployment, release, parsed_before=True)
    except CorruptError:
        return None
    return seeding.Seed(tree, deployment.files, os.stat(deployment.lease).st_mtime_ns)


def places(seed: seeding.Seed, wanted: Collection[bytes]) -> Iterator[tuple[bytes, str]]:
    """Where a seed has wanted contents: digest and path of a file that looks as it was installed.

    The bytes are not read.
    """
    missing = set(wanted)
    for file in seed.tree.files:
        if file.digest in missing:
            path = f"{seed.files}/{file.path}"
            try:
                status = os.lstat(path)
            except OSError:
                continue
            if (
                stat.S_ISREG(status.st_mode)
                and status.st_size == file.size
                and status.st_mtime_ns <= seed.complete
            ):
                missing.remove(file.digest)
                yield file.digest, path
