"""What each form gives on this machine, and which one would be taken here.

Probed by trying, for the file system a store is on or would be made on.
"""

import os
from typing import NamedTuple

from holdall.errors import DeniedError, HoldallError, UsageError
from holdall.forms.port import REQUIREMENTS, Cell
from holdall.forms.table import DEFAULT, FORMS, form_named
from holdall.journeys.host import Host
from holdall.store import settings
from holdall.system.means import Means

READABLE = "R2"
"""The requirement without which a form cannot be used at all."""


class Column(NamedTuple):
    """One form: a cell for each of `REQUIREMENTS`."""

    form: str
    summary: str
    cells: dict[str, Cell]

    @property
    def usable(self) -> bool:
        """Whether apps can be installed in it here."""
        return self.cells[READABLE].holds != "no"


class Pick(NamedTuple):
    """The form that an app new to this store is installed in, and why that one."""

    form: str
    reason: str


def table(host: Host, names: tuple[str, ...] = tuple(FORMS)) -> list[Column]:
    """What the forms of these names give here; raises UsageError and DeniedError.

    A form that fails while it is probed has "no" everywhere, with its failure as the reason.
    """
    means = Means(_near(host.layout.root))
    return [_column(name, means) for name in names]


def pick(host: Host) -> Pick:
    """What `install` takes where nothing else is said."""
    name = settings.read(host.layout).form
    if not name:
        return Pick(DEFAULT, "nothing else is set, and it needs nothing but a file system")
    (column,) = table(host, (name,))
    reason = "it is set by `holdall settings form`"
    if not column.usable:
        reason += f", but cannot be used here: {column.cells[READABLE].reason}"
    return Pick(name, reason)


def _column(name: str, means: Means) -> Column:
    summary = ""
    try:
        form = form_named(name)
        summary = form.TRAITS.summary
        cells = form.cells(means)
        if cells[READABLE].holds == "no":
            unused = Cell("no", f"{name} cannot be used here")
            return Column(
                name, summary, {**dict.fromkeys(REQUIREMENTS, unused), READABLE: cells[READABLE]}
            )
        return Column(name, summary, {key: cells[key] for key in REQUIREMENTS})
    except UsageError:
        raise
    except Exception as error:  # noqa: BLE001 - what is wrong with one form hides no other
        told = str(error) if isinstance(error, HoldallError | OSError) else repr(error)
        failed = Cell("no", f"it could not be found out: {told}")
        return Column(name, summary, dict.fromkeys(REQUIREMENTS, failed))


def _near(root: str) -> str:
    """The store's folder, or the nearest one above it, on whose file system it would be made."""
    folder = os.path.abspath(root)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise DeniedError(
            f"What holds in {root} can only be tried by who may write there, and {folder} refuses; "
            "ask as its owner."
        )
    return folder
