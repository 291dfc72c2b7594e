"""Starting an installed app from a program: becoming its launch file, or saying what it would run.

On the start path: imports as little as can be.
"""

import os
from collections.abc import Mapping, Sequence
from typing import NoReturn

from holdall.errors import HoldallError, RemovedError
from holdall.store.layout import NOT_MOUNTED, PASSING
from holdall.system import process
from holdall.system.files import read_regular

_SHELL = "/bin/sh"
_OWN = {"HOLDALL_COMMAND", "HOLDALL_DRY_RUN", "HOLDALL_ENTERED"}


def must_be_mounted(deployment: str) -> bool:
    """Whether the files of a deployment are not to be seen before something is mounted there.

    Or may be no longer in a moment: what is mounted there may be for another one who starts.
    """
    files = f"{deployment}/files"
    if os.path.lexists(f"{deployment}/{PASSING}") or os.path.lexists(f"{files}/{NOT_MOUNTED}"):
        return True
    # a link leads to nothing while the store's own volume is not mounted
    return os.path.islink(files) and not os.path.isdir(files)


def start(
    deployment: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    command: str = "",
    entered: bool = False,
) -> NoReturn:
    """Become the app in a deployment's folder, active or not; `command` replaces the app's own.

    `entered` says that what it and its runtime need was mounted by this process; else the launch
    file sees to it. The exit status is the app's. Raises HoldallError when the shell cannot be
    started, and RemovedError when the app was removed in this moment.
    """
    if not os.path.isfile(f"{deployment}/launch"):
        raise RemovedError(f"{deployment} was removed in this moment.")
    argv, started = _started(deployment, arguments, environment, command)
    if entered:
        started["HOLDALL_ENTERED"] = deployment
    process.replace(argv, started)
    raise HoldallError(f"{_SHELL} did not start.")


def described(
    deployment: str, arguments: Sequence[str], environment: Mapping[str, str], *, command: str = ""
) -> list[list[str]]:
    """The commands that starting would run now, as the launch file itself works them out.

    The last is bwrap's, with the arguments it reads from files put in; before it stands the message
    bus proxy's, if one is needed. Descriptors 6 and 7 are made-up /etc/passwd and /etc/group.
    """
    argv, started = _started(deployment, arguments, environment, command)
    printed = process.run(argv, env={**started, "HOLDALL_DRY_RUN": "1"})
    words = printed.decode("utf-8", "surrogateescape").split("\0")[:-1]
    at = words.index("bwrap")
    commands = [words[:at], _expanded(words[at:])]
    return [one for one in commands if one]


def _started(
    deployment: str, arguments: Sequence[str], environment: Mapping[str, str], command: str
) -> tuple[list[str], dict[str, str]]:
    kept = {name: value for name, value in environment.items() if name not in _OWN}
    if command:
        kept["HOLDALL_COMMAND"] = command
    return [_SHELL, f"{deployment}/launch", *arguments], kept


def _expanded(words: list[str]) -> list[str]:
    """bwrap's command with each ``--args FILE`` replaced by what the file has."""
    expanded: list[str] = []
    rest = iter(words)
    own = True
    for word in rest:
        own = own and word != "--"
        if word == "--args" and own:
            data = read_regular(next(rest), limit=2**24)
            expanded += data.decode("utf-8", "surrogateescape").split("\0")[:-1]
        else:
            expanded.append(word)
    return expanded
