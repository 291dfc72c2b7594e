"""Key files as desktops read them: desktop entries and D-Bus service files, parsed strictly.

What a package ships is hostile input: the grammar is that of the specification and nothing else,
and everything not understood is refused, never guessed. Knows nothing of what the keys mean.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from holdall.errors import UsageError

MAX_BYTES = 2**18
FIELD_CODES = frozenset("fFuUcik%")

_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)
_GROUP = re.compile(r"\[([^\[\]]+)\]")
_KEY = re.compile(r"([A-Za-z0-9-]+(?:\[[A-Za-z0-9_.@-]+\])?)[ \t]*=[ \t]*(.*)")
_ESCAPES = {"s": " ", "n": "\n", "t": "\t", "r": "\r", "\\": "\\"}
_RESERVED = frozenset(" \t\n\"'\\><~|&;$*?#()`")
_IN_QUOTES = re.compile(r'(["`$\\])')


class KeyFile(NamedTuple):
    """Groups in order, each with its keys and their values as they are written, escapes and all."""

    groups: dict[str, dict[str, str]]

    def encode(self) -> bytes:
        """The file's bytes; comments are not kept."""
        return "\n".join(
            f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in keys.items())
            for name, keys in self.groups.items()
        ).encode()


def parse(data: bytes, path: str) -> KeyFile:
    """Read a key file; raises UsageError naming `path` and the first rule it breaks."""
    text = _checked_text(data, path)
    groups: dict[str, dict[str, str]] = {}
    keys: dict[str, str] | None = None
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip(" \t")
        if not line or line.startswith("#"):
            continue
        if found := _GROUP.fullmatch(line):
            if found[1] in groups:
                raise UsageError(f"{path} has the group [{found[1]}] twice.")
            keys = groups[found[1]] = {}
            continue
        pair = _KEY.fullmatch(line)
        if pair is None or keys is None:
            raise UsageError(f"{path} cannot be read at line {number}: {line[:60]!r}.")
        if pair[1] in keys:
            raise UsageError(f"{path} has the key {pair[1]} twice in one group.")
        keys[pair[1]] = pair[2]
    return KeyFile(groups)


def unescaped(value: str, path: str) -> str:
    r"""The text a value stands for: \s, \n, \t, \r and \\ are its only escapes."""

    def replace(found: re.Match[str]) -> str:
        if found[1] not in _ESCAPES:
            raise UsageError(f"{path} has the unknown escape {found[0]!r}.")
        return _ESCAPES[found[1]]

    return re.sub(r"\\(.?)", replace, value)


def escaped(text: str) -> str:
    """The value that stands for `text`."""
    value = text.replace("\\", "\\\\")
    for letter, character in (("n", "\n"), ("t", "\t"), ("r", "\r")):
        value = value.replace(character, f"\\{letter}")
    return f"\\s{value[1:]}" if value.startswith(" ") else value


def parse_exec(value: str, path: str) -> list[str]:
    """The words of an Exec value: quotes taken away, field codes left as they are.

    A percent sign that is meant stays doubled, so each % begins a field code. Raises UsageError for
    what the specification forbids, and for ``@@`` (CVE-2021-21381).
    """
    words: list[str] = []
    rest = unescaped(value, path).strip(" ")
    while rest:
        if rest.startswith('"'):
            found = re.match(r'"((?:[^"`$\\]|\\["`$\\])*)"(?: +|$)', rest)
            if found is None:
                raise UsageError(f"{path} has an Exec whose quotes do not match.")
            if re.search("%(?!%)", found[1].replace("%%", "")):
                raise UsageError(f"{path} has an Exec with a field code inside quotes.")
            words.append(re.sub(r"\\(.)", r"\1", found[1]))
        else:
            found = re.match(r"([^ ]+)(?: +|$)", rest)
            if found is None or _RESERVED & set(found[1]):
                raise UsageError(f"{path} has an Exec with a character that needs quotes.")
            words.append(found[1])
        rest = rest[found.end() :]
    _check_words(words, path)
    return words


def exec_value(words: Iterable[str]) -> str:
    """An Exec value of words in which a percent sign that is meant is doubled already."""
    return escaped(" ".join(_exec_word(word) for word in words))


def literal(text: str) -> str:
    """`text` as a word of an Exec value that has no field codes."""
    return text.replace("%", "%%")


def _checked_text(data: bytes, path: str) -> str:
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path} is longer than {MAX_BYTES} bytes.")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8.") from error
    if found := _UNPRINTABLE.search(text):
        raise UsageError(f"{path} has the control character {found[0]!a}.")
    return text


def _check_words(words: list[str], path: str) -> None:
    if not words:
        raise UsageError(f"{path} has an empty Exec.")
    if words[0].startswith("-") or "%" in words[0] or "=" in words[0]:
        raise UsageError(f"{path} starts {words[0]!r}, which is no program's name.")
    for word in words:
        if "@@" in word:
            raise UsageError(f"{path} has {word!r} in an Exec; tokens with @@ are refused.")


def _exec_word(word: str) -> str:
    if word and not _RESERVED & set(word):
        return word
    return '"' + _IN_QUOTES.sub(r"\\\1", word) + '"'
