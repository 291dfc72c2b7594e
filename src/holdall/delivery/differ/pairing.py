"""Which old file a new one most likely came from; by names alone, so it is quick and repeatable."""

import re
from collections.abc import Iterable

from holdall.model.tree import File, Tree

_HEX = re.compile(r"[0-9a-f]{8,}")
_NUMBERS = re.compile(r"\d+(\.\d+)*")
_CONSIDERED = 200


def pair(wanted: Iterable[File], old: Tree) -> dict[bytes, File]:
    """For new files the old ones to start from, by the new content's raw digest.

    The same path; else the same path but for version numbers and runs of hexadecimal digits; else
    the same name, likewise, with the longest common beginning of the path, then the nearest size.
    """
    by_path = {file.path: file for file in old.files}
    by_shape: dict[str, File] = {}
    by_name: dict[str, list[File]] = {}
    for file in old.files:
        by_shape.setdefault(_shape(file.path), file)
        by_name.setdefault(_shape(_name(file.path)), []).append(file)
    found = {}
    for file in wanted:
        held = by_path.get(file.path) or by_shape.get(_shape(file.path))
        if held is None:
            named = by_name.get(_shape(_name(file.path)), ())[:_CONSIDERED]
            held = max(named, key=lambda old_file: _likeness(file, old_file), default=None)
        if held is not None and held.size:
            found[file.digest] = held
    return found


def _likeness(file: File, old_file: File) -> tuple[int, int]:
    common = 0
    for one, other in zip(file.path, old_file.path, strict=False):
        if one != other:
            break
        common += 1
    return common, -abs(file.size - old_file.size)


def _shape(path: str) -> str:
    return _NUMBERS.sub("#", _HEX.sub("@", path))


def _name(path: str) -> str:
    return path.rpartition("/")[2]
