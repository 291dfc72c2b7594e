"""Reading back what stands beside an installed version's files."""

from hashlib import sha256

from holdall.delivery.zstandard import decompress
from holdall.errors import CorruptError
from holdall.model import release as releases
from holdall.model import tree as trees
from holdall.model.release import Release
from holdall.model.tree import Tree
from holdall.store.catalog import Deployment


def installed_tree(
    deployment: Deployment, release: Release, *, parsed_before: bool = False
) -> Tree:
    """The tree of a deployment; raises CorruptError unless `release` names it.

    It is kept as it came, or as it was packed here after an increment: so not what is stored is
    held against the release, but what it decodes to. `parsed_before` is for a tree that is known
    to have been read when it was installed.
    """
    section = deployment.read("tree")
    size = int.from_bytes(section[:8], "little")
    if len(section) < 8 or size > trees.MAX_BYTES:
        raise CorruptError(f"{deployment.path}/tree was changed; `holdall repair` puts it back.")
    data = decompress(memoryview(section)[8:], size)
    if trees.tree_digest(data) != release.tree_digest:
        raise CorruptError(f"{deployment.path}/tree is not the one its release names.")
    return trees.parse(data, parsed_before=parsed_before)


def release_of(deployment: Deployment) -> Release | None:
    """What a deployment was signed as; None when that was spoiled on the disk."""
    try:
        data = deployment.read("release")
        return releases.parse(data) if sha256(data).hexdigest() == deployment.digest else None
    except (CorruptError, OSError):
        return None


def known_tree(deployment: Deployment) -> Tree | None:
    """The tree of an installed version.

    None when what stands beside its files is not what was installed.
    """
    if (release := release_of(deployment)) is None:
        return None
    try:
        return installed_tree(deployment, release, parsed_before=True)
    except (CorruptError, OSError):
        return None
