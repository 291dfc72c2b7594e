"""Automatic updates: a service and a timer of systemd, put there and taken away."""

import os
from collections.abc import Iterable
from contextlib import suppress
from typing import NamedTuple

from holdall.desktop.units import (
    MARK,
    SERVICE,
    TIMER,
    Wish,
    noted_calendar,
    noted_command,
    units,
)
from holdall.errors import ProgramError, UnsupportedError, UsageError
from holdall.system import process
from holdall.system.files import plain_errors, read_regular, replace_symlink, write_atomic

_LIMIT = 2**16
_PACKAGE = "systemd"
_ASKED = {
    TIMER: ("ActiveState", "NextElapseUSecRealtime", "LastTriggerUSec"),
    SERVICE: ("ActiveState", "Result", "ExecMainStatus", "ConditionResult"),
}


class Manager(NamedTuple):
    """Whose units: the folder they stand in, and whether it is that of the machine's manager."""

    folder: str
    system: bool = False

    @property
    def link(self) -> str:
        """What makes the timer start with the others."""
        return f"{self.folder}/timers.target.wants/{TIMER}"

    def path(self, name: str) -> str:
        """Where a unit stands."""
        return f"{self.folder}/{name}"

    def tell(self, *arguments: str) -> bytes:
        """Have systemctl do something; raises ProgramError or UnsupportedError."""
        program = process.find_program("systemctl", package=_PACKAGE)
        return process.run([program, *(() if self.system else ("--user",)), *arguments])

    @property
    def is_running(self) -> bool:
        """Whether there is one to be told."""
        try:
            return bool(self.tell("show", "--property=Version", "--value").strip())
        except (ProgramError, UnsupportedError):
            return False


class Changed(NamedTuple):
    """What was done, or would be: paths written and removed, and paths left as they are.

    `running` is whether a manager was told; where none runs, the next one reads the files.
    """

    written: tuple[str, ...]
    removed: tuple[str, ...]
    kept: tuple[str, ...]
    running: bool


class Status(NamedTuple):
    """How automatic updates stand.

    `enabled`: the timer starts with the manager. `units` is "none", "ours", or "changed" when one
    was changed by hand. `schedule` is as systemd.time(7) writes it. `program` is what is started,
    and `startable` whether it is still there. The rest is empty unless a manager runs.
    """

    enabled: bool
    units: str
    schedule: str
    program: tuple[str, ...]
    startable: bool
    active: bool
    next: str
    last: str
    result: str


def enable(manager: Manager, wish: Wish, *, force: bool = False, dry_run: bool = False) -> Changed:
    """Write the units and have the timer started, now or with the next manager.

    May be repeated, to change when. Raises UsageError for a unit that was changed by hand, unless
    `force`.
    """
    texts = units(wish)
    foreign = [name for name in texts if _owner(manager.path(name)) == "changed"]
    if foreign and not force:
        raise UsageError(
            f"{manager.path(foreign[0])} was changed by hand and is left alone; --force writes it "
            "anew."
        )
    paths = tuple(manager.path(name) for name in texts)
    running = manager.is_running
    if dry_run:
        return Changed((*paths, manager.link), (), (), running)
    with plain_errors("The timer cannot be set up"):
        for name, text in texts.items():
            write_atomic(manager.path(name), text.encode(), durable=True)
        if not running:
            replace_symlink(manager.link, manager.path(TIMER))
    if running:
        manager.tell("daemon-reload")
        manager.tell("enable", TIMER)
        manager.tell("restart", TIMER)
    return Changed((*paths, manager.link), (), (), running)


def disable(manager: Manager, *, dry_run: bool = False) -> Changed:
    """Stop the timer and take away what `enable` made; units changed by hand stay, unused.

    An update that is going on is ended, too: the next one goes on from there.
    """
    there = {name: _owner(manager.path(name)) for name in (TIMER, SERVICE)}
    ours = [manager.path(name) for name, owner in there.items() if owner == "ours"]
    kept = tuple(manager.path(name) for name, owner in there.items() if owner == "changed")
    link = [manager.link] if os.path.islink(manager.link) else []
    running = manager.is_running
    if not dry_run and (link or ours):
        if running and there[TIMER] != "none":
            manager.tell("disable", "--now", TIMER)
        if running and there[SERVICE] != "none":
            manager.tell("stop", SERVICE)
        with plain_errors("The timer cannot be taken away"):
            _remove((*link, *ours))
            _prune(manager)
        if running:
            manager.tell("daemon-reload")
    return Changed((), (*link, *ours), kept, running)


def status(manager: Manager) -> Status:
    """How automatic updates stand."""
    owners = {_owner(manager.path(name)) for name in (TIMER, SERVICE)}
    command = noted_command(_text(manager.path(SERVICE)))
    timer = _shown(manager, TIMER)
    service = _shown(manager, SERVICE) if timer else {}
    return Status(
        enabled=os.path.lexists(manager.link),
        units="changed" if "changed" in owners else "ours" if "ours" in owners else "none",
        schedule=noted_calendar(_text(manager.path(TIMER))),
        program=command,
        startable=bool(command) and os.access(command[0], os.X_OK),
        active=timer.get("ActiveState") == "active",
        next=timer.get("NextElapseUSecRealtime", ""),
        last=timer.get("LastTriggerUSec", ""),
        result=_outcome(service) if timer.get("LastTriggerUSec") else "",
    )


def _outcome(service: dict[str, str]) -> str:
    if service.get("ActiveState") == "activating":
        return "running, or waiting to try again"
    if service.get("ConditionResult") == "no":
        return "left out, on battery"
    if service.get("Result") == "success":
        return "done"
    return f"failed with status {service.get('ExecMainStatus', '?')}"


def _shown(manager: Manager, name: str) -> dict[str, str]:
    """What a running manager knows of a unit; nothing where none runs."""
    try:
        told = manager.tell("show", name, f"--property={','.join(_ASKED[name])}").decode()
    except (ProgramError, UnsupportedError):
        return {}
    known = dict(line.partition("=")[::2] for line in told.splitlines())
    return {key: "" if value == "n/a" else value for key, value in known.items()}


def _owner(path: str) -> str:
    """Whose a unit is: "none" is there, "ours", or "changed" by somebody else."""
    if not os.path.lexists(path):
        return "none"
    return "ours" if _text(path).startswith(MARK) else "changed"


def _text(path: str) -> str:
    """A unit's text; empty for what is no file or cannot be read."""
    try:
        return read_regular(path, limit=_LIMIT).decode()
    except (OSError, ValueError):
        return ""


def _remove(paths: Iterable[str]) -> None:
    for path in paths:
        with suppress(FileNotFoundError):
            os.unlink(path)


def _prune(manager: Manager) -> None:
    """Remove the folders that are empty by now; the machine's own stay."""
    folders = [] if manager.system else [manager.folder, os.path.dirname(manager.folder)]
    for folder in (os.path.dirname(manager.link), *folders):
        with suppress(OSError):
            os.rmdir(folder)
