"""Giving space back: what killed commands left, what was removed, and on request old versions."""

from typing import NamedTuple

from holdall.forms.table import FORMS, form_named
from holdall.journeys.host import Host, Report, silent
from holdall.journeys.leaving import free_behind
from holdall.journeys.recovery import carry_out, change, recover
from holdall.journeys.showing import shown_at
from holdall.journeys.switch import version_of
from holdall.store import partial, reserve
from holdall.store.catalog import Deployment, writing
from holdall.store.rubbish import clear_strays, sweep, waiting


class Cleaned(NamedTuple):
    """The versions removed (ref and version).

    `waiting` counts removed ones that something still runs from or that are mounted, `unfinished`
    the increments and downloads that interrupted commands had begun. `unshared` are bytes that no
    version had any more, other than those of what was removed. While something waits, `mounted` are
    the folders where `holdall mount` shows files.
    """

    removed: tuple[tuple[str, str], ...]
    waiting: int
    unfinished: int
    unshared: int = 0
    mounted: tuple[str, ...] = ()


def collect(
    host: Host, *, keep: int | None = None, dry_run: bool = False, report: Report = silent
) -> Cleaned:
    """Free all that is not wanted.

    With `keep`, also the versions of each ref beyond the active one and the `keep` newest others.
    """
    if dry_run:
        old = _old(host, keep)
        return Cleaned(
            tuple((str(item.ref), version_of(item)) for item in old),
            len(waiting(host.layout)),
            partial.count(host.layout),
        )
    with writing(host.layout, wait=host.wait) as writer:
        recover(host, writer, report)
        clear_strays(host.layout)
        unfinished = partial.count(host.layout)
        partial.clear(host.layout)
        old = _old(host, keep)
        removed = tuple((str(item.ref), version_of(item)) for item in old)
        for item in old:
            active = host.catalog.active(item.ref)
            note = change(
                "remove",
                active=active.digest if active else None,
                discard=(item.digest,),
                show=False,
            )
            writer.note(item.ref, note)
            carry_out(host, writer, item.ref, note, report)
        left = sweep(host.layout, patiently=True)
        unshared = sum(form_named(name).sweep(host.layout.root) for name in FORMS)
        reserve.keep(host.layout)
    free_behind(host)
    return Cleaned(removed, left, unfinished, unshared, tuple(shown_at(host)) if left else ())


def _old(host: Host, keep: int | None) -> list[Deployment]:
    if keep is None:
        return []
    old = []
    for ref in host.catalog.refs():
        active = host.catalog.active(ref)
        others = [item for item in host.catalog.deployments(ref) if item != active]
        old += others[: max(len(others) - keep, 0)]
    return old
