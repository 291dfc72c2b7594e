"""What a publisher has decided for a repository: where keys are, how long roles last.

Kept in the repository, in the folder that is not handed out; has no secrets.
"""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta

import msgspec

from holdall.errors import CorruptError, UsageError
from holdall.publish.repository.layout import Layout
from holdall.system.files import read_regular, write_atomic

FORMAT = 1
DAYS = {"root": 365, "targets": 365, "apps": 365, "bins": 90, "snapshot": 30, "timestamp": 14}
PUBLISHER_DAYS = 365
MOST_APPS = 15  # with the catalogue a bin has at most 16 lines
_LIMIT = 2**20


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """`keys` are folders; `expiry` gives days by role; `role` is whose copy this is, or empty."""

    format: int = FORMAT
    keys: tuple[str, ...] = ()
    expiry: dict[str, int] = {}
    most_apps: int = MOST_APPS
    role: str = ""

    def lifetime(self, role: str) -> timedelta:
        """How long what is signed for a role lasts; `bins` stands for every bin."""
        name = "bins" if role.startswith("bin-") else role
        return timedelta(days=self.expiry.get(name, DAYS.get(name, PUBLISHER_DAYS)))

    def expires(self, role: str, now: datetime) -> datetime:
        """When what is signed now for a role expires."""
        return (now + self.lifetime(role)).astimezone(UTC).replace(microsecond=0)

    def is_due(self, role: str, expires: datetime, now: datetime) -> bool:
        """Whether less than a third of its lifetime is left."""
        return expires - now < self.lifetime(role) / 3


def read_settings(layout: Layout) -> Settings:
    """The settings of a repository; those of a copy that has none are empty."""
    try:
        data = read_regular(layout.settings, limit=_LIMIT)
    except FileNotFoundError:
        return Settings()
    try:
        settings = msgspec.json.decode(data, type=Settings)
    except msgspec.MsgspecError as error:
        raise CorruptError(f"{layout.settings} cannot be read: {error}.") from error
    if settings.format != FORMAT:
        raise CorruptError(
            f"{layout.settings} has format {settings.format}, which is not {FORMAT}."
        )
    return settings


def write_settings(layout: Layout, settings: Settings) -> None:
    """Keep the settings."""
    data = msgspec.json.format(msgspec.json.encode(settings, order="sorted"), indent=1)
    write_atomic(layout.settings, data + b"\n", durable=True)


def parse_expiry(words: Iterable[str], publishers: Collection[str] = ()) -> dict[str, int]:
    """Days by role out of ``ROLE=DAYS``; raises UsageError."""
    found = {}
    for word in words:
        role, _, days = word.partition("=")
        if role not in {*DAYS, *publishers}:
            known = ", ".join((*DAYS, *publishers))
            raise UsageError(f"{word!r} names no role; there are {known}.")
        if not days.isdecimal() or not 1 <= int(days) <= 36500:
            raise UsageError(f"{word!r} is not ROLE=DAYS, such as timestamp=14 or bins=90.")
        found[role] = int(days)
    return found
