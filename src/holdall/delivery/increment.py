"""Increments, for those who apply them: one place to import from, and only where one is met.

Importing this loads numpy.
"""

from holdall.delivery.delta.increment import (
    Increment,
    Share,
    Skeleton,
    open_increment,
    read_increment,
)
from holdall.delivery.delta.make import Made, Stored, make

__all__ = [
    "Increment",
    "Made",
    "Share",
    "Skeleton",
    "Stored",
    "make",
    "open_increment",
    "read_increment",
]
