"""Installed versions as seeds: what may be linked from them, and where a content lies in them."""

import os
import stat
from collections.abc import Collection, Iterator

from holdall.errors import HoldallError, UnsupportedError
from holdall.forms import seeding
from holdall.forms.viewing import Views
from holdall.journeys.forming import Decision, folder_of, form_of, means_of, place_of
from holdall.journeys.host import Host
from holdall.model.tree import Tree
from holdall.store.catalog import Deployment


def seed_of(
    host: Host, deployment: Deployment, tree: Tree, decision: Decision, views: Views
) -> seeding.Seed | None:
    """An installed version, with its tree, as a seed of a deployment in the form decided on.

    None when it cannot be read here.
    """
    try:
        traits = form_of(deployment).TRAITS
        shares = decision.form.TRAITS.shares and traits.shares
        asked = "reflink" in {decision.choice.share, deployment.record.get("share")}
        apart = asked and means_of(host).reflink
        if traits.seed:
            seed = traits.seed(place_of(host, deployment), tree)
        else:
            seed = _read(host, deployment, tree, views)
    except (HoldallError, OSError):
        return None
    return seed._replace(shares=shares and not apart, apart=apart)


def _read(host: Host, deployment: Deployment, tree: Tree, views: Views) -> seeding.Seed:
    """A version as it is mounted, or where it cannot be, as it is unpacked for a while."""
    complete = os.stat(deployment.lease).st_mtime_ns
    try:
        return seeding.Seed(tree, folder_of(host, deployment, views), complete)
    except UnsupportedError:
        place, form = place_of(host, deployment), form_of(deployment)
        if not form.TRAITS.contents:
            raise
        folder = views.unpacked(place, form, tree, means_of(host), host.layout.staging)
        return seeding.Seed(tree, folder, os.stat(folder).st_mtime_ns)


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
