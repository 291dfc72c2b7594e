"""Which files of a tree overlayfs finds elsewhere: extended attributes that it asks for.

See "Data-only lower layers" and "fs-verity support" in Documentation/filesystems/overlayfs.rst,
and struct ovl_metacopy in fs/overlayfs/overlayfs.h.
"""

import errno
from collections.abc import Collection
from typing import Final

from holdall.forms.erofs import short_names
from holdall.forms.names import Names
from holdall.model.tree import Outline

_KINDS: Final = (b"user", b"trusted")
_METACOPY: Final = frozenset(kind + b".overlay.metacopy" for kind in _KINDS)
_REDIRECT: Final = frozenset(kind + b".overlay.redirect" for kind in _KINDS)
_WITH_DIGEST: Final = bytes((0, 36, 0, 1))  # version, length, flags, FS_VERITY_HASH_ALG_SHA256


class Redirects:
    """The attributes of those files of a tree whose contents are `there`, by their short names.

    With `verity` they say which digest fs-verity should have for each.
    """

    def __init__(
        self, outline: Outline, names: Names, there: Collection[str], *, verity: bool
    ) -> None:
        short, present = short_names(outline.digests), frozenset(there)
        self._number = names.number
        self._places = [
            b"/" + name.encode() if (name := short[digest]) in present else b""
            for digest in outline.digests
        ]
        self._digests = outline.digests if verity else None

    def value(self, inode: int, name: bytes) -> bytes:
        """See `holdall.system.fuse.answers.Attribute`."""
        number = self._number(inode)
        if number is not None and (place := self._places[number]):
            if name in _REDIRECT:
                return place
            if name in _METACOPY:
                return _WITH_DIGEST + self._digests[number] if self._digests else b""
        raise OSError(errno.ENODATA, "")
