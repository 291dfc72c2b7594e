"""Carrying a change through, the first time or after a kill.

These are the steps after the point of no return.

A change of a ref is one note in the journal and then the steps of `finish`, each of which may be
repeated. Found by the next command, a note is finished; one whose deployment never got its place is
dropped, and the old version stays.
"""

import os
from typing import Any

from holdall.errors import HoldallError
from holdall.journeys.host import Event, Host, Report
from holdall.model.ref import Ref
from holdall.store import notices
from holdall.store.catalog import Deployment, Writer, history, writing
from holdall.store.rubbish import clear_staging, sweep
from holdall.system.files import each_child, sync_folder
from holdall.system.locks import is_leased


def change(
    action: str,
    *,
    active: str | None,
    discard: tuple[str, ...] = (),
    floor: dict[str, Any] | None = None,
    version: str = "",
    show: bool = True,
    origin: str = "",
    release: str = "",
) -> dict[str, Any]:
    """A note of what shall be.

    `active` (a release digest, or None) is then the active deployment, and `discard` are gone.

    `show` is False where the active deployment stays, so that nothing on the host can change.
    `origin` is the remote it comes from, "" where that is as before. What is told in the history is
    of `release`, "" for the active one.
    """
    event = {
        "action": action,
        "release": release or active,
        "version": version,
        "id": os.urandom(8).hex(),
    }
    return {
        "active": active,
        "discard": list(discard),
        "floor": floor,
        "event": event,
        "show": show,
        "origin": origin,
    }


def carry_out(host: Host, writer: Writer, ref: Ref, note: dict[str, Any], report: Report) -> None:
    """Do what a new note says; when even its first step is refused, the note is taken back.

    Raises OSError then, and the store is as it was.
    """
    try:
        finish(host, writer, ref, note, report)
    except OSError:
        writer.forget(ref)
        raise


def finish(host: Host, writer: Writer, ref: Ref, note: dict[str, Any], report: Report) -> None:
    """Do what a note says, from the beginning or from wherever it was left.

    Once another version is active the change is made: what is refused after that is reported,
    loudly, and left to the next command. Raises OSError before.
    """
    layout = host.layout
    wanted = note["active"]
    if wanted is not None:
        deployment = Deployment(ref, wanted, layout.deployment(ref, wanted))
        if not os.path.isdir(deployment.path):
            writer.forget(ref)
            return
        writer.activate(deployment)
    else:
        writer.deactivate(ref)
    try:
        _settle(host, writer, ref, note, report)
    except (HoldallError, OSError) as error:
        text = (
            f"{ref} is changed, but the rest could not be done ({error}); the next command does it."
        )
        report(Event(text, loud=True))


def _settle(host: Host, writer: Writer, ref: Ref, note: dict[str, Any], report: Report) -> None:
    """All that follows from another version being active."""
    layout = host.layout
    notices.tell(layout, ref, host.catalog.active(ref))
    for digest in note["discard"]:
        writer.discard(Deployment(ref, digest, layout.deployment(ref, digest)))
    if note["floor"] is not None:
        from holdall.store.trust_state import Floor, write_floor

        write_floor(layout, ref, Floor(**note["floor"]))
    if note.get("origin"):
        from holdall.store.remotes import write_origin

        write_origin(layout, ref, note["origin"])
    events = history(layout, ref)
    if not events or events[-1].get("id") != note["event"]["id"]:
        writer.record(ref, note["event"])
    if note["show"]:
        _show(host, ref, report)
    if os.path.isdir(folder := os.path.dirname(layout.link(ref))):
        sync_folder(folder)
    writer.forget(ref)


def recover(host: Host, writer: Writer, report: Report) -> None:
    """Finish what killed commands left, and free what nothing runs from.

    For the holder of the lock.
    """
    recover_all_but_rubbish(host, writer, report)
    clear_staging(host.layout)
    sweep(host.layout)


def recover_all_but_rubbish(host: Host, writer: Writer, report: Report) -> None:
    """Only finish what killed commands left.

    All that a quick command must have done before its own change.
    """
    for note in writer.notes():
        ref = Ref.parse(note["ref"])
        report(Event(f"Carrying on with what was interrupted: {note['event']['action']} of {ref}."))
        finish(host, writer, ref, note, report)


def recover_if_needed(host: Host, report: Report) -> None:
    """The same at the start of a reading command: only if something is there to do, and at once.

    While another process changes the store, or for a reader who may not, there is nothing to do.
    """
    try:
        if not _something_left(host):
            return
        with writing(host.layout, grace=0) as writer:
            recover(host, writer, report)
    except (HoldallError, OSError):
        return


def _something_left(host: Host) -> bool:
    layout = host.layout
    if each_child(layout.journal) or each_child(layout.staging):
        return True
    removed = each_child(layout.trash)
    return any(not is_leased(f"{layout.trash}/{name}/lease") for name in removed)


def _show(host: Host, ref: Ref, report: Report) -> None:
    from holdall.journeys.exporting import reconcile

    reconcile(host, ref, report)
