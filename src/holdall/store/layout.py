"""Where things stand in a store. Reference: docs/reference/store.md.

On the start path of every command: imports as little as can be.
"""

import os
from typing import NamedTuple

from holdall.model.ref import Ref

SYSTEM = "/var/lib/holdall"

NOT_MOUNTED = ".not-mounted"
"""The one name in the `files` of a deployment that has to be mounted; the mount covers it."""

PASSING = "passing"
"""Stands beside `files` that were once mounted where all see it: they may be for a moment now."""


class Layout(NamedTuple):
    """The paths below one store's root."""

    root: str

    @property
    def deployments(self) -> str:
        """Installed releases: id/arch/branch/digest."""
        return f"{self.root}/deployments"

    @property
    def active(self) -> str:
        """One symbolic link a ref, to the deployment in use."""
        return f"{self.root}/active"

    @property
    def staging(self) -> str:
        """What is being made; anything here without the lock held is rubbish."""
        return f"{self.root}/staging"

    @property
    def trash(self) -> str:
        """What was removed and is freed when nothing runs from it."""
        return f"{self.root}/trash"

    @property
    def journal(self) -> str:
        """One file for each ref in change, gone when the change is whole."""
        return f"{self.root}/journal"

    @property
    def partial(self) -> str:
        """What interrupted commands had made of increments: one folder a ref."""
        return f"{self.root}/partial"

    @property
    def pool(self) -> str:
        """Contents that deployments share, by digest."""
        return f"{self.root}/pool"

    @property
    def volume(self) -> str:
        """The file that is root's btrfs for the form of that name, where the store is on none."""
        return f"{self.root}/volume.btrfs"

    @property
    def reserve(self) -> str:
        """Space kept aside for removing on a full file system."""
        return f"{self.root}/reserve"

    @property
    def lock(self) -> str:
        """The file whose lock the one writer holds."""
        return f"{self.root}/lock"

    @property
    def keyring(self) -> str:
        """Which keys may sign what."""
        return f"{self.root}/state/keyring.json"

    @property
    def settings(self) -> str:
        """What its user has set."""
        return f"{self.root}/state/settings.json"

    @property
    def remotes(self) -> str:
        """The remotes: one folder each, by name."""
        return f"{self.root}/state/remotes"

    def origin(self, ref: Ref) -> str:
        """The name of the remote that `ref` was installed from."""
        return f"{self.root}/state/origins/{ref}"

    def deployment(self, ref: Ref, digest: str) -> str:
        """The folder of one deployment."""
        return f"{self.deployments}/{ref}/{digest}"

    def link(self, ref: Ref) -> str:
        """The link that says which deployment of `ref` is active."""
        return f"{self.active}/{ref}"

    def history(self, ref: Ref) -> str:
        """What happened to `ref`, one JSON object a line."""
        return f"{self.root}/state/history/{ref}"

    def floor(self, ref: Ref) -> str:
        """The highest release accepted for `ref`, and who signed it."""
        return f"{self.root}/state/floors/{ref}"

    def stub(self, ref: Ref) -> str:
        """The launch file of `ref` that menus and short commands start."""
        return f"{self.root}/run/{ref}"

    def export_record(self, app_id: str) -> str:
        """What an app has on the host."""
        return f"{self.root}/state/exports/{app_id}.json"


def default_root() -> str:
    """The user's own store."""
    base = os.environ.get("XDG_DATA_HOME", "")
    if not base.startswith("/"):
        base = f"{os.path.expanduser('~')}/.local/share"
    return f"{base}/holdall"
