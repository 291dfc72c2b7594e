"""How pages say sizes, days, shares and categories."""

from collections.abc import Iterable

_UNITS = ("bytes", "kB", "MB", "GB", "TB")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
CATEGORIES = {
    "AudioVideo": ("audio-video", "Audio & video"),
    "Development": ("development", "Development"),
    "Education": ("education", "Education"),
    "Game": ("games", "Games"),
    "Graphics": ("graphics", "Graphics"),
    "Network": ("network", "Network"),
    "Office": ("office", "Office"),
    "Science": ("science", "Science"),
    "Settings": ("settings", "Settings"),
    "System": ("system", "System"),
    "Utility": ("utilities", "Utilities"),
}
"""The main categories of desktop entries: part of a page's name, and heading."""

_SAME = {"Audio": "AudioVideo", "Video": "AudioVideo"}


def size(count: int) -> str:
    """A number of bytes as people read it, in decimal units, with a space that does not break."""
    value = float(count)
    for unit in _UNITS:
        if value < 999.5 or unit == _UNITS[-1]:
            digits = 0 if unit == "bytes" or value >= 99.95 else 1
            return f"{value:.{digits}f}\u00a0{unit}"
        value /= 1000
    raise AssertionError


def day_of(time: str) -> str:
    """The day of an RFC 3339 time; nothing for any other text."""
    from datetime import date

    try:
        return date.fromisoformat(time[:10]).isoformat()
    except ValueError:
        return ""


def day(text: str) -> str:
    """A day such as 2026-01-31 as people read it."""
    year, month, number = text.split("-")
    return f"{int(number)}\u00a0{_MONTHS[int(month) - 1]}\u00a0{year}"


def saved(part: int, whole: int) -> int:
    """How many per cent less `part` is than `whole`; never 100, as nothing comes for nothing."""
    if part >= whole:
        return 0
    return min(99, round(100 * (whole - part) / whole))


def main_categories(categories: Iterable[str]) -> tuple[str, ...]:
    """Those of `CATEGORIES` among an app's categories."""
    names = (_SAME.get(name, name) for name in categories)
    return tuple(dict.fromkeys(name for name in names if name in CATEGORIES))
