"""What is set for a store: showing and changing it."""

from typing import NamedTuple

from holdall.errors import UsageError
from holdall.forms.table import FORMS
from holdall.journeys.host import Host
from holdall.store import settings as kept
from holdall.store.catalog import writing
from holdall.store.settings import Settings, checked_name

_MEANINGS = {
    "form": 'how new apps lie on disk; "" for tree',
    "pool": "which apps share contents in the forms pool and composefs: all of the store, or each "
    "app's versions among themselves",
    "share": "how files of the form pool share: as hard links, or as reflinks where the file "
    "system has them",
    "image": 'the kind of images made here; "" for the best one',
    "compress": "whether images made here are compressed",
}


class Setting(NamedTuple):
    """One setting as it is written, and every value it may have."""

    name: str
    value: str
    default: str
    values: tuple[str, ...]
    meaning: str


def settings(host: Host) -> list[Setting]:
    """Every setting; raises CorruptError where they cannot be read."""
    now = kept.read(host.layout)
    return [_setting(name, now) for name in _MEANINGS]


def setting(host: Host, name: str) -> Setting:
    """One of them; raises UsageError for one there is not."""
    return _setting(checked_name(name), kept.read(host.layout))


def change_setting(host: Host, name: str, value: str | None) -> Setting:
    """Set one, or with None let it be as by default.

    It holds for apps that are installed from then on. Raises UsageError for a value it cannot have.
    """
    if name == "form" and value and value not in FORMS:
        raise UsageError(f"There is no form {value!r}; `holdall forms` shows {', '.join(FORMS)}.")
    checked_name(name)
    with writing(host.layout, wait=host.wait):
        return _setting(name, kept.change(host.layout, name, value))


def _setting(name: str, now: Settings) -> Setting:
    values = kept.VALUES[name]
    return Setting(
        name,
        now.shown(name),
        Settings().shown(name),
        ("", *FORMS) if values is None else values,
        _MEANINGS[name],
    )
