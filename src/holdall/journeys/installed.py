"""Reading back what stands beside an installed version's files."""

from holdall.delivery.bundle import unpack_tree
from holdall.model import tree as trees
from holdall.model.release import Release
from holdall.model.tree import Tree
from holdall.store.catalog import Deployment


def installed_tree(
    deployment: Deployment, release: Release, *, parsed_before: bool = False
) -> Tree:
    """The tree of a deployment, kept as it came; raises CorruptError unless `release` names it.

    `parsed_before` is for a tree that is known to have been read when it was installed.
    """
    section = deployment.read("tree")
    data = unpack_tree(section, release.packing.tree, release.tree_digest.raw)
    return trees.parse(data, parsed_before=parsed_before)
