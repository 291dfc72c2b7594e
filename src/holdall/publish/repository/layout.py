"""Where things stand in a repository. Format: docs/reference/formats/repository.md."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from holdall.errors import BusyError, NotFoundError
from holdall.model.catalogue import Segment
from holdall.model.offer import content_name
from holdall.system.files import plain_errors
from holdall.system.locks import open_lock, take_exclusive

OWN = ".holdall"


class Layout(NamedTuple):
    """The paths below one repository's folder."""

    root: str

    @property
    def trusted_root(self) -> str:
        """The first root, which users are given."""
        return f"{self.root}/root.json"

    @property
    def timestamp(self) -> str:
        """The one file that is overwritten."""
        return f"{self.root}/metadata/timestamp.json"

    @property
    def metadata(self) -> str:
        """All roles."""
        return f"{self.root}/metadata"

    def role(self, name: str, version: int) -> str:
        """One version of a role."""
        return f"{self.root}/metadata/{version}.{name}.json"

    def target(self, name: str, sha256: str) -> str:
        """A target, under its name with its digest in it."""
        folder, _, last = name.rpartition("/")
        return os.path.join(self.root, "targets", folder, f"{sha256}.{last}")

    def content(self, sha256: str) -> str:
        """A content file."""
        return f"{self.root}/{content_name(sha256)}"

    def segment(self, segment: Segment) -> str:
        """A segment of the catalogue."""
        return f"{self.root}/{segment.name}"

    @property
    def own(self) -> str:
        """What is the publisher's alone and is not handed out."""
        return f"{self.root}/{OWN}"

    @property
    def settings(self) -> str:
        """Where keys are, and how long roles last."""
        return f"{self.own}/settings.json"

    @property
    def pending(self) -> str:
        """What the next publication takes."""
        return f"{self.own}/pending"

    @property
    def incoming(self) -> str:
        """Files that are being checked or made; without the lock held, rubbish."""
        return f"{self.own}/incoming"

    @property
    def making(self) -> str:
        """Increments that are being made."""
        return f"{self.own}/making"

    @property
    def useless(self) -> str:
        """Which increments were found to save nothing."""
        return f"{self.own}/useless.json"

    @property
    def mirrored(self) -> str:
        """Says that this is a part of another repository."""
        return f"{self.own}/mirror"

    @property
    def renewal(self) -> str:
        """The moment before which no bin has to be signed anew."""
        return f"{self.own}/renewal"


@contextmanager
def holding(layout: Layout, *, wait: float = 0.0, new: bool = False) -> Iterator[None]:
    """Hold the repository's lock: one process at a time changes it.

    Raises NotFoundError where there is no repository, unless it is a `new` one, and BusyError when
    another process has the lock for longer than `wait` seconds.
    """
    if not new:
        check_is_one(layout)
    with plain_errors(f"The repository {layout.root} cannot be changed"):
        os.makedirs(layout.own, exist_ok=True)
        fd = open_lock(f"{layout.own}/lock")
        try:
            if not take_exclusive(fd, wait=wait):
                raise BusyError(
                    f"Another process is changing the repository {layout.root}; try again, or use "
                    "--wait SECONDS."
                )
            yield
        finally:
            os.close(fd)


def check_is_one(layout: Layout) -> None:
    """Raise NotFoundError where there is no repository."""
    if not os.path.exists(layout.timestamp):
        raise NotFoundError(
            f"{layout.root} is not a repository; `holdall repo init {layout.root}` makes one."
        )
