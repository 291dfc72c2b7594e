"""A mount namespace of one's own: what is mounted in it is seen by nobody else.

It is gone when its last process ends, however that ends.
"""

import errno
import os
from collections.abc import Callable
from contextlib import suppress

from holdall.errors import UnsupportedError
from holdall.system.mount_calls import new_namespaces, receive_only

_RESTRICTION = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns"


def leave_host() -> None:
    """Give this process, which has one thread, a mount namespace in which it may mount.

    Around it is a user namespace unless this is root; users and groups keep their numbers there.
    Raises UnsupportedError where that is forbidden; then nothing was changed.
    """
    try:
        if os.geteuid() == 0:
            try:
                new_namespaces(user=False)
            except PermissionError:
                _new_user_namespace()  # root of a container
        else:
            if _is_restricted() and not may_enter():
                # there would be one, with no right in it and no way back
                raise PermissionError(errno.EACCES, "", "apparmor")
            _new_user_namespace()
        receive_only()
    except OSError as error:
        raise UnsupportedError(
            f"This user may not mount for itself here ({errno.errorcode.get(error.errno or 0)} from"
            f" {error.filename}): have user namespaces allowed (sysctl user.max_user_namespaces, "
            "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns), or "
            "use the form tree, which needs none."
        ) from error


def may_enter(then: Callable[[], object] = lambda: None) -> bool:
    """Whether this user may do so, in a user namespace; tried by a process of its own.

    And whether something works there, which else raises an error.
    """
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return status == 0
    code = 1
    try:
        _new_user_namespace()
        receive_only()
        then()
        code = 0
    finally:
        os._exit(code)


def _new_user_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    new_namespaces(user=True)
    # the kernel wants groups fixed before an ordinary user maps one
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {uid} 1"),
        ("gid_map", f"{gid} {gid} 1"),
    ):
        path = f"/proc/self/{name}"
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        except OSError as error:
            raise OSError(error.errno, error.strerror, path) from error
        finally:
            os.close(fd)


def _is_restricted() -> bool:
    """Whether AppArmor may leave user namespaces to some programs only."""
    with suppress(OSError), open(_RESTRICTION, "rb") as file:
        return file.read(1) == b"1"
    return False
