"""Other programs: finding them, running them to the end, leaving one behind.

The only module that starts a program. Never a shell; arguments are a vector.
"""

import os
import re
import signal
from collections.abc import Callable, Collection, Mapping, Sequence

from holdall.errors import ProgramError, UnsupportedError
from holdall.system.descriptors import let_go


def find_program(
    name: str,
    *,
    package: str,
    minimum: tuple[int, ...] | None = None,
    asked: str = "--version",
) -> str:
    """The absolute path of `name`; raises UnsupportedError naming the Debian package that has it.

    `minimum` is the lowest version that will do, as the numbers it prints when it is `asked`.
    """
    import shutil

    found = shutil.which(name)
    if found is None:
        raise UnsupportedError(f"The program {name} is missing: install the package {package}.")
    if minimum is not None:
        # some print their version and fail
        printed = run([found, asked], statuses=(0, 1)).decode(errors="replace")
        numbers = re.search(r"\d+(?:\.\d+)+", printed)
        version = tuple(int(part) for part in numbers[0].split(".")) if numbers else ()
        if version < minimum:
            wanted = ".".join(str(part) for part in minimum)
            raise UnsupportedError(
                f"The program {found} is older than {wanted}: update the package {package}."
            )
    return found


def run(
    argv: Sequence[str],
    *,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    typed: bytes = b"",
    pass_fds: Sequence[int] = (),
    statuses: Collection[int] = (0,),
) -> bytes:
    """Run a program to its end and return its standard output.

    Raises ProgramError with its last line of complaint, and all of them as a note, unless it ends
    with one of the `statuses`.
    """
    import subprocess

    try:
        done = subprocess.run(
            list(argv),
            cwd=cwd,
            env=dict(env) if env is not None else None,
            input=typed,
            capture_output=True,
            pass_fds=tuple(pass_fds),
            check=False,
        )
    except OSError as error:
        raise ProgramError(f"{argv[0]} cannot be started: {error.strerror}.") from error
    if done.returncode not in statuses:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        failure = ProgramError(
            f"{os.path.basename(argv[0])} failed with status {done.returncode}: "
            f"{lines[-1].rstrip('.')}."
        )
        failure.add_note("\n".join(lines))
        raise failure
    return done.stdout


def replace(argv: Sequence[str], env: Mapping[str, str]) -> None:
    """Become another program; raises ProgramError when it cannot be started."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # Python ignores them, and programs would after it
    try:
        os.execve(argv[0], list(argv), dict(env))  # noqa: S606 - as meant
    except OSError as error:
        raise ProgramError(f"{argv[0]} cannot be started: {error.strerror}.") from error


def leave_behind(task: Callable[[], None], *, keep: Collection[int] = ()) -> None:
    """Do `task` in a process of its own that outlives this one, silent and without a terminal.

    It keeps nothing open but the descriptors `keep`. For work nobody waits for; a failure in it is
    not reported, so the task must be one the next command repeats.
    """
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.chdir("/")
        let_go(but=keep)
        os.nice(10)
        task()
    finally:
        os._exit(0)
