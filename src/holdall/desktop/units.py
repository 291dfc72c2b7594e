"""The systemd units of automatic updates, as text: pure values in, a service and a timer out.

Escaping is that of systemd.syntax(7) and systemd.service(5), and happens here and nowhere else.
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from holdall.errors import UsageError

NAME: Final = "holdall-update"
SERVICE: Final = f"{NAME}.service"
TIMER: Final = f"{NAME}.timer"
MARK: Final = "# Made by `holdall timer enable`. Without this line it is yours and is left alone.\n"
DAY: Final = 24

_PLAIN = re.compile(r"[A-Za-z0-9_@+:,./=-]+")
# What systemd takes as the path of a program: no quotes, backslashes or control characters.
_STARTABLE = re.compile("/[^\"'\\\\\x00-\x1f\x7f\udc80-\udcff]+")
_ESCAPED = re.compile('[%"\\\\\x00-\x1f\x7f\udc80-\udcff]')
# What `update` needs none of. Whatever needs a mount namespace is left out: a user's own manager
# has to make a user namespace for it, which not every machine allows.
_HARDENING = """\
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
"""


class Wish(NamedTuple):
    """What the units do: start `command` every `hours` hours (1 to 24), with these variables.

    `system` is for the machine's manager, which knows when the network is up.
    """

    command: tuple[str, ...]
    hours: int = DAY
    environment: Mapping[str, str] = {}
    system: bool = False


def units(wish: Wish) -> dict[str, str]:
    """The text of the service and of the timer, by file name."""
    return {SERVICE: _service(wish), TIMER: _timer(wish.hours)}


def calendar(hours: int) -> str:
    """Every so many hours as systemd.time(7) writes it, counted from midnight."""
    return "daily" if hours == DAY else f"*-*-* 00/{hours}:00:00" if hours > 1 else "hourly"


def noted_command(text: str) -> tuple[str, ...]:
    """The command that a service made here starts; () when the text does not say."""
    for line in text.splitlines():
        if line.startswith("X-Holdall-Command="):
            try:
                return tuple(str(word) for word in json.loads(line.partition("=")[2]))
            except (ValueError, TypeError):
                break
    return ()


def noted_calendar(text: str) -> str:
    """When a timer starts, as it stands there; empty when it does not."""
    lines = [line for line in text.splitlines() if line.startswith("OnCalendar=")]
    return lines[-1].partition("=")[2].strip() if lines else ""


def command_line(argv: Sequence[str]) -> str:
    """The value of ExecStart= that starts exactly these arguments.

    The colon keeps `$` as it is. A program whose path systemd does not take is started by a shell.
    """
    words = list(argv)
    if not _STARTABLE.fullmatch(words[0]):
        words = ["/bin/sh", "-c", 'exec "$0" "$@"', *words]
    return " ".join([quoted(f":{words[0]}"), *(quoted(word) for word in words[1:])])


def quoted(word: str) -> str:
    """One word of a unit that stands for exactly `word`, which has no NUL (UsageError)."""
    if "\0" in word:
        raise UsageError("A unit of systemd cannot hold a NUL.")
    if _PLAIN.fullmatch(word):
        return word
    return '"' + _ESCAPED.sub(_escape, word) + '"'


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    if character in {'"', "\\"}:
        return f"\\{character}"
    if character == "%":
        return "%%"
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))


def _service(wish: Wish) -> str:
    online = "Wants=network-online.target\nAfter=network-online.target\n" if wish.system else ""
    environment = "".join(
        f"Environment={quoted(f'{name}={value}')}\n" for name, value in wish.environment.items()
    )
    return (
        f"{MARK}"
        "[Unit]\n"
        "Description=Update apps installed by holdall\n"
        f"{online}"
        "ConditionACPower=true\n"
        "StartLimitIntervalSec=1h\n"
        "StartLimitBurst=4\n"
        "\n"
        "[Service]\n"
        "Type=oneshot\n"
        f"ExecStart={command_line(wish.command)}\n"
        f"X-Holdall-Command={json.dumps(list(wish.command))}\n"
        f"{environment}"
        # the network may not be there yet; usage, trust and what a machine lacks stay as they are
        "Restart=on-failure\n"
        "RestartSec=10min\n"
        "RestartPreventExitStatus=2 3 4 7\n"
        "TimeoutStartSec=4h\n"
        "Nice=10\n"
        "IOSchedulingClass=idle\n"
        f"{_HARDENING}"
    )


def _timer(hours: int) -> str:
    return (
        f"{MARK}"
        "[Unit]\n"
        "Description=Update apps installed by holdall, regularly\n"
        "\n"
        "[Timer]\n"
        f"OnCalendar={calendar(hours)}\n"
        # everybody's at midnight would be too much for a server
        f"RandomizedDelaySec={hours * 10}min\n"
        "Persistent=true\n"
        "\n"
        "[Install]\n"
        "WantedBy=timers.target\n"
    )
