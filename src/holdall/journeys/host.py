"""Where a journey happens: which store, what of the host it may show apps on, how it reports.

On the start path of every command: imports as little as can be.
"""

import os
from collections.abc import Callable
from typing import NamedTuple

from holdall.store.catalog import Catalog
from holdall.store.layout import SYSTEM, Layout, default_root


class Places(NamedTuple):
    """The folders of the host that exported files go to: for data, and one on the PATH."""

    data: str
    commands: str


class Host(NamedTuple):
    """A store, where it exports to (None: nowhere), and the seconds to wait for its lock.

    `data` is where apps keep their data; None is each user's own data folder.
    """

    layout: Layout
    places: Places | None
    wait: float = 0.0
    data: str | None = None

    @property
    def catalog(self) -> Catalog:
        """The store as it stands."""
        return Catalog(self.layout)


class Event(NamedTuple):
    """Something to tell: a step with `done` of `total` bytes, or (with total 0) a sentence.

    `loud` sentences are warnings that must be seen even where progress is not.
    """

    text: str
    done: int = 0
    total: int = 0
    loud: bool = False


Report = Callable[[Event], None]


def silent(event: Event) -> None:
    """A report nobody reads."""


def user_host(*, wait: float = 0.0) -> Host:
    """The user's own store; exports go to the user's XDG data folder and ~/.local/bin."""
    root = default_root()
    return Host(
        Layout(root), Places(os.path.dirname(root), f"{os.path.expanduser('~')}/.local/bin"), wait
    )


def system_host(*, wait: float = 0.0) -> Host:
    """The machine's store."""
    return Host(Layout(SYSTEM), Places("/usr/local/share", "/usr/local/bin"), wait)


def root_host(root: str, *, export_to: str | None = None, wait: float = 0.0) -> Host:
    """A store under any folder, which exports nothing unless told where to."""
    places = (
        Places(f"{os.path.abspath(export_to)}/share", f"{os.path.abspath(export_to)}/bin")
        if export_to
        else None
    )
    root = os.path.abspath(root)
    return Host(Layout(root), places, wait, f"{root}/data")
