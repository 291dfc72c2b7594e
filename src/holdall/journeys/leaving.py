"""Freeing what was removed, by a process left behind.

On the path of ``remove``: imports as little as can be.
"""

import os
from functools import partial

from holdall.journeys.host import Host
from holdall.store.catalog import writing
from holdall.store.rubbish import sweep_to_the_end, waiting
from holdall.system.process import leave_behind

_PATIENCE = 600.0


def free_behind(host: Host) -> None:
    """Free what is in the trash, and what forms held for it alone; returns at once."""
    if waiting(host.layout):
        leave_behind(partial(sweep_to_the_end, host.layout, partial(_vacate, host)))


def _vacate(host: Host) -> None:
    if not os.path.exists(host.layout.volume):
        return
    from holdall.forms.table import FORMS, form_named

    vacating = [found for name in FORMS if (found := form_named(name).TRAITS.vacate)]
    with writing(host.layout, wait=_PATIENCE):
        for vacate in vacating:
            vacate(host.layout.root)
