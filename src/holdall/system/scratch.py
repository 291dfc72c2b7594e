"""A folder in memory, in a mount namespace of this process's own: gone with its last process.

Nothing of it is ever on a disk, and nothing is left of it however the processes end.
"""

import errno
import os

from holdall.errors import UnsupportedError
from holdall.system.files import in_words
from holdall.system.mount_calls import NO_DEVICES, NO_SETUID, mount

_SIZE = "16m"


def cover(folder: str, name: str) -> None:
    """Have an empty folder in memory in the place of one, which stays as it is for all others.

    `name` is what the kernel's list of mounts shows as its source. For a process that has left the
    host's mounts. Raises UnsupportedError where that is forbidden.
    """
    options = f"mode=0755,size={_SIZE}"
    try:
        mount(name, folder, "tmpfs", NO_SETUID | NO_DEVICES, options)
    except OSError as error:
        if error.errno in {errno.EPERM, errno.EACCES, errno.ENODEV}:
            raise UnsupportedError(
                f"The kernel lets this user mount no tmpfs ({os.strerror(error.errno)}); "
                "`holdall install` installs the bundle, which takes none."
            ) from error
        raise in_words(error, f"{folder} cannot be covered") from error
