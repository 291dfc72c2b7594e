"""Mounts: as values, and made, in a namespace of this process or of a child's.

What is mounted in a namespace of one's own is gone when its last process ends, however that ends.
"""

from typing import NamedTuple


class KernelImage(NamedTuple):
    """An image in a file that the kernel reads: EROFS from the file, squashfs by a loop device.

    `kind` is "erofs" or "squashfs"; offset and size in bytes. For root.
    """

    kind: str
    file: str
    offset: int
    size: int


class ServedImage(NamedTuple):
    """The same, read by a program in user space over FUSE."""

    kind: str
    program: str
    file: str
    offset: int


class Composed(NamedTuple):
    """An EROFS metadata image over a folder of data files: overlayfs' data-only layers. For root.

    With `verity` the kernel refuses data files whose fs-verity digest is not the image's.
    """

    image: str
    data: str
    verity: bool


class Bound(NamedTuple):
    """A folder seen at another place, read-only."""

    folder: str


Mount = KernelImage | ServedImage | Composed | Bound
