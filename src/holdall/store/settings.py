"""What is set for a store: which form apps get, and how forms share and pack."""

import json
from typing import Any, NamedTuple

from holdall.errors import CorruptError, UsageError
from holdall.store.layout import Layout
from holdall.system.files import read_regular, write_atomic

FORMAT = 1
_LIMIT = 2**16
_WORDS = {True: "yes", False: "no"}


class Settings(NamedTuple):
    """Every setting; where nothing was set, its default.

    `form` is the form of apps that are new, "" for the one holdall takes by itself; `image` the
    kind of images made here, "" for the best one.
    """

    form: str = ""
    pool: str = "store"
    share: str = "link"
    image: str = ""
    compress: bool = True

    def shown(self, name: str) -> str:
        """A setting as it is written."""
        value = getattr(self, name)
        return _WORDS.get(value, "") if isinstance(value, bool) else str(value)


VALUES: dict[str, tuple[str, ...] | None] = {
    "form": None,
    "pool": ("store", "app"),
    "share": ("link", "reflink"),
    "image": ("", "erofs", "squashfs"),
    "compress": ("yes", "no"),
}
"""What each may be set to; None where it is not known here."""


def read(layout: Layout) -> Settings:
    """The settings of a store; raises CorruptError where they cannot be read."""
    try:
        kept = _parsed(read_regular(layout.settings, limit=_LIMIT))
    except FileNotFoundError:
        return Settings()
    except (OSError, ValueError, LookupError, TypeError, UsageError, RecursionError) as error:
        raise CorruptError(
            f"{layout.settings} cannot be read; remove it, and every setting is at its default."
        ) from error
    return Settings()._replace(**kept)


def change(layout: Layout, name: str, value: str | None) -> Settings:
    """Set `name`, or with None let it be as by default; for the holder of the lock.

    Returns what is set now. Raises UsageError for what there is not.
    """
    now = read(layout)
    default = Settings()
    changed: dict[str, Any] = {
        name: getattr(default, checked_name(name)) if value is None else _typed(name, value)
    }
    now = now._replace(**changed)
    kept = {key: now.shown(key) for key in Settings._fields if now.shown(key) != default.shown(key)}
    data = json.dumps({"format": FORMAT, **kept}, indent=1, sort_keys=True).encode() + b"\n"
    write_atomic(layout.settings, data, durable=True)
    return now


def checked_name(name: str) -> str:
    """`name` when there is such a setting, else UsageError."""
    if name not in VALUES:
        raise UsageError(f"There is no setting {name!r}; there are {', '.join(VALUES)}.")
    return name


def _parsed(data: bytes) -> dict[str, Any]:
    table = json.loads(data)
    if not isinstance(table, dict) or table.pop("format") != FORMAT:
        raise ValueError("another format")
    return {name: _typed(name, value) for name, value in table.items()}


def _typed(name: str, value: object) -> str | bool:
    allowed = VALUES[checked_name(name)]
    if not isinstance(value, str) or (allowed is not None and value not in allowed):
        words = ", ".join(word or repr(word) for word in allowed or ())
        raise UsageError(f"The setting {name} cannot be {value!r}; it can be {words}.")
    return value == _WORDS[True] if name == "compress" else value
