"""The launch files of a deployment, worked out from what was signed and where it lies."""

from collections.abc import Iterator
from contextlib import contextmanager

from holdall.errors import CorruptError, UsageError
from holdall.journeys.host import Host
from holdall.model.release import Release
from holdall.model.tree import Tree


def launch_files_of(
    host: Host, release: Release, digest: str, tree: Tree, *, folder: str = ""
) -> dict[str, bytes]:
    """What stands beside the files of the release with this digest, by name.

    `folder` is where it will lie, for one start, where it is not to be installed. Raises
    CorruptError for a release that asks for what no sandbox can give.
    """
    from holdall.desktop.launcher import launch_files
    from holdall.desktop.sandbox import Place

    layout = host.layout
    lies = folder or layout.deployment(release.ref, digest)
    place = Place(layout.root, lies, host.data, installed=not folder)
    with refusing():
        return launch_files(release.manifest, tree, place)


@contextmanager
def refusing() -> Iterator[None]:
    """A mistake of the one who built is a broken release for the one who installs."""
    try:
        yield
    except UsageError as error:
        raise CorruptError(f"The release was refused: {error}") from error
