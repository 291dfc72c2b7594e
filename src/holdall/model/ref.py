"""Names of apps: ``id/arch/branch``.

Whatever does not fit the grammar is refused before a path is joined.
"""

import re
from typing import NamedTuple

from holdall.errors import UsageError

_ID = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*){2,}")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


class Ref(NamedTuple):
    """One line of development of one app: ``org.example.Editor/x86_64/stable``."""

    id: str
    arch: str
    branch: str

    @classmethod
    def parse(cls, text: str) -> "Ref":
        """Read the full written form; raises UsageError naming the part that does not fit."""
        parts = text.split("/")
        if len(parts) != 3:
            raise UsageError(f"{text!r} is not a ref of the form id/arch/branch.")
        return cls(checked_id(parts[0]), checked_arch(parts[1]), checked_branch(parts[2]))

    def __str__(self) -> str:
        return f"{self.id}/{self.arch}/{self.branch}"


class RefPattern(NamedTuple):
    """A ref shortened to what is unambiguous: ``id``, ``id//branch``, ``id/arch`` or the whole.

    None matches all.
    """

    id: str
    arch: str | None
    branch: str | None

    @classmethod
    def parse(cls, text: str) -> "RefPattern":
        """Read a ref as people type it; raises UsageError when it cannot name anything."""
        parts = text.split("/")
        if text.startswith((".", "/")):
            raise UsageError(
                f"{text!r} is a path, and this takes the id of what is installed; `holdall list` "
                "has them."
            )
        if len(parts) > 3:
            raise UsageError(f"{text!r} is not a ref: write id, id//branch or id/arch/branch.")
        arch = parts[1] if len(parts) > 1 and parts[1] else None
        branch = parts[2] if len(parts) > 2 and parts[2] else None
        return cls(
            checked_id(parts[0]),
            arch and checked_arch(arch),
            branch and checked_branch(branch),
        )

    def matches(self, ref: Ref) -> bool:
        """Whether `ref` is one of those meant."""
        return (
            self.id == ref.id
            and self.arch in {None, ref.arch}
            and self.branch in {None, ref.branch}
        )

    def __str__(self) -> str:
        if self.arch is None and self.branch is None:
            return self.id
        return f"{self.id}/{self.arch or ''}/{self.branch or ''}".rstrip("/")


def checked_id(text: str) -> str:
    """`text` when it is an app id, else UsageError."""
    if len(text) > 255 or not _ID.fullmatch(text):
        raise UsageError(
            f"{text!r} is not an app id: write a reversed domain name of three or more parts, such "
            "as org.example.Editor."
        )
    return text


def checked_arch(text: str) -> str:
    """`text` when it is an architecture word, else UsageError."""
    return _checked_word(text, "architecture")


def checked_branch(text: str) -> str:
    """`text` when it is a branch word, else UsageError."""
    return _checked_word(text, "branch")


def _checked_word(text: str, what: str) -> str:
    if not _WORD.fullmatch(text):
        raise UsageError(
            f"{text!r} is not a name for a {what}: use up to 64 letters, digits and any of . _ + -."
        )
    return text
