"""What stands beside a deployment's files; and what its file ``form`` may say, valid once read.

On the start path of every command: imports as little as can be.
"""

import errno
import os
import stat
from collections.abc import Callable, Mapping
from typing import Any, Final

from holdall.errors import CorruptError

Record = Mapping[str, Any]
"""How a deployment's files lie: the name of its form under "form", and what that form keeps."""

TREE: Final[Record] = {"form": "tree"}
"""Where there is no record."""

_BLOCK = 4096
_LARGEST = 2**62
_DIGEST = "sha256-4k:"


def read_beside(path: str) -> bytes:
    """The bytes of a file; raises OSError, and CorruptError when something else is in its place."""
    spoiled = CorruptError(f"{path} is no file any more; `holdall repair` puts it back.")
    try:
        # a pipe in its place is not waited for
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise spoiled if error.errno in {errno.ELOOP, errno.ENXIO} else error from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise spoiled
        with open(fd, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(fd)


def parse(data: bytes) -> Record | None:
    """The record that a file's bytes say, or None where no form writes such a one."""
    import json

    try:
        table = json.loads(data)
    except (ValueError, RecursionError):
        return None
    name = table.get("form") if isinstance(table, dict) else None
    if not isinstance(name, str) or not table.keys() >= set(NEEDED.get(name, ("",))):
        return None
    right = all(_CHECKS[name](value) for name, value in table.items() if name in _CHECKS)
    return table if right else None


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_digest(value: object) -> bool:
    if not isinstance(value, str) or not value.startswith(_DIGEST):
        return False
    digits = value.removeprefix(_DIGEST)
    return len(digits) == 64 and not digits.strip("0123456789abcdef")


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST


def _is_offset(value: object) -> bool:
    return isinstance(value, int) and _is_number(value) and value % _BLOCK == 0


def _is_size(value: object) -> bool:
    return _is_number(value) and value != 0


def _is_sha256(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and not value.strip("0123456789abcdef")


def _is_packing(value: object) -> bool:
    """Two spans, each an offset and a length, and three numbers."""
    if not isinstance(value, list) or len(value) != 5:
        return False
    spans, numbers = value[:2], value[2:]
    pairs = (isinstance(span, list) and len(span) == 2 for span in spans)
    return all(pairs) and all(map(_is_number, (*spans[0], *spans[1], *numbers)))


def _one_of(*words: str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and value in words


_CHECKS: Final[Mapping[str, Callable[[object], bool]]] = {
    "form": lambda value: isinstance(value, str),
    "kind": _one_of("erofs", "squashfs"),
    "offset": _is_offset,
    "size": _is_size,
    "digest": _is_digest,
    "whole": _is_digest,
    "verity": _is_flag,
    "local": _is_flag,
    "kernel": _is_flag,
    "compress": _is_flag,
    "pool": _one_of("app", "store"),
    "share": _one_of("link", "reflink"),
    "native": _is_flag,
    "change": _is_number,
    "objects": _is_number,
    "packing": _is_packing,
    "before": _is_sha256,
}
_IMAGE = ("kind", "offset", "size", "digest", "whole", "verity", "local")
NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "tree": (),
    "pool": ("pool", "share"),
    "image": (*_IMAGE, "kernel"),
    "local-image": _IMAGE,
    "composefs": ("digest", "pool", "verity"),
    "btrfs": ("native", "change"),
    "live": ("packing", "before", "local"),
}
"""What the record of each form has at least."""
