"""What the table of forms is made of: the figures of a round, and how they are written."""

from collections.abc import Mapping

from benchmarks.deployment import MEGABYTE
from benchmarks.results import Unit

# By its name in a round: as the table names it, its unit, and what a figure is multiplied with.
MEASURES: Mapping[str, tuple[str, Unit, float]] = {
    "install": ("install", Unit.SECONDS, 1),
    "update": ("update", Unit.SECONDS, 1),
    "remove": ("remove, returned", Unit.SECONDS, 1),
    "freed": ("remove, all freed", Unit.SECONDS, 1),
    "mount": ("mount", Unit.MILLISECONDS, 1000),
    "cold": ("cold read", Unit.SECONDS, 1),
    "warm": ("warm read", Unit.SECONDS, 1),
    "one": ("disk, one version", Unit.MEGABYTES, 1 / MEGABYTE),
    "two": ("disk, two versions", Unit.MEGABYTES, 1 / MEGABYTE),
    "left": ("all removed", Unit.MEGABYTES, 1 / MEGABYTE),
    "swept": ("then swept", Unit.MEGABYTES, 1 / MEGABYTE),
    "cache": ("page cache, two versions", Unit.MEGABYTES, 1 / MEGABYTE),
    "cache more": ("page cache, growth", Unit.MEGABYTES, 1 / MEGABYTE),
    "pages": ("by cachestat", Unit.MEGABYTES, 1 / MEGABYTE),
    "pages more": ("growth by cachestat", Unit.MEGABYTES, 1 / MEGABYTE),
    "install memory": ("install, memory", Unit.MEGABYTES, 1 / MEGABYTE),
    "server memory": ("FUSE server, memory", Unit.MEGABYTES, 1 / MEGABYTE),
    "update memory": ("update, memory", Unit.MEGABYTES, 1 / MEGABYTE),
}
TIMES = ("install", "update", "remove", "freed", "mount", "cold", "warm")
DISK = ("one", "two", "left", "swept", "install memory", "update memory", "server memory")
CACHE = ("cache", "cache more", "pages", "pages more")
