"""Where things stand in a bundle file: skippable zstd frames before ordinary ones.

Formats: docs/reference/formats/bundle.md and increment.md. Skippable frames: RFC 8878, 3.1.2.
"""

import struct
from typing import NamedTuple

from holdall.errors import CorruptError
from holdall.model import tree
from holdall.trust import envelope

FORMAT = 1
MAGIC = b"HOLDALL\0"
MAX_INDEX = 64 * 2**20
MAX_TREE = tree.MAX_BYTES
MAX_ENVELOPE = envelope.MAX_BYTES
SKIPPABLE = 0x184D2A50  # the head; +1 envelope, +2 tree, +3 index, +4 an increment's statement
_PADDING, _IMAGE = 5, 6
INCREMENT = 1  # incompatible flag: a statement follows the index, and units instead of frames
IMAGE = 2  # incompatible flag: padding and an image follow the index
LOCAL = 4  # incompatible flag: padding follows the index, which no release names
BLOCK = 4096  # an image begins at a multiple of it
MAX_IMAGE = 2**32 - 2  # what the header of a frame can say, and does not mean something else
MAX_LEAD = BLOCK + 15

_FRAME = struct.Struct("<II")
_HEAD = struct.Struct("<8sIIIIIIIQ")
HEAD_SIZE = _FRAME.size + _HEAD.size


class Head(NamedTuple):
    """The first bytes of a bundle. Lengths are in bytes; flags are bit sets.

    A reader refuses unknown `incompatible` flags, refuses to change a file with unknown `read_only`
    flags, and ignores unknown `compatible` ones. `content` is the length of all ordinary frames
    together, of an increment's units, or of the image.
    """

    envelope: int
    tree: int
    index: int  # type: ignore[assignment]  # hides a method of tuples
    content: int
    compatible: int = 0
    read_only: int = 0
    incompatible: int = 0

    @property
    def is_increment(self) -> bool:
        """Whether what follows the sections are the statement and the units of an increment."""
        return bool(self.incompatible & INCREMENT)

    @property
    def has_image(self) -> bool:
        """Whether an image follows the sections, and no frames."""
        return bool(self.incompatible & IMAGE)

    @property
    def is_local(self) -> bool:
        """Whether it was packed where it was installed, so that only that store vouches for it."""
        return bool(self.incompatible & LOCAL)

    @property
    def sections_end(self) -> int:
        """Where the three sections end."""
        return HEAD_SIZE + 3 * _FRAME.size + self.envelope + self.tree + self.index

    @property
    def lead(self) -> bytes:
        """What stands between the sections and an image or frames that begin at a block."""
        if self.is_local:
            return section(_PADDING, bytes(-(self.sections_end + _FRAME.size) % BLOCK))
        if not self.has_image:
            return b""
        padding = -(self.sections_end + 2 * _FRAME.size) % BLOCK
        return section(_PADDING, bytes(padding)) + _FRAME.pack(SKIPPABLE + _IMAGE, self.content)

    @property
    def first_frame(self) -> int:
        """Where the ordinary frames or the image begin; in an increment, the statement."""
        return self.sections_end + len(self.lead)

    @property
    def size(self) -> int:
        """How long the whole file is; of an increment, without its statement."""
        return self.first_frame + self.content


def encode_head(head: Head) -> bytes:
    """The first `HEAD_SIZE` bytes of the file."""
    return _FRAME.pack(SKIPPABLE, _HEAD.size) + _HEAD.pack(
        MAGIC,
        FORMAT,
        head.compatible,
        head.read_only,
        head.incompatible,
        head.envelope,
        head.tree,
        head.index,
        head.content,
    )


def parse_head(data: bytes) -> Head:
    """Read the head.

    Raises CorruptError when it is no bundle, too new, or asks for more than the limits.
    """
    if (
        len(data) < HEAD_SIZE
        or data[:8] != _FRAME.pack(SKIPPABLE, _HEAD.size)
        or data[8:16] != MAGIC
    ):
        raise CorruptError("This is not a holdall bundle.")
    (
        _,
        version,
        compatible,
        read_only,
        incompatible,
        envelope_size,
        tree_size,
        index_size,
        content,
    ) = _HEAD.unpack_from(data, 8)
    if version != FORMAT or incompatible & ~(INCREMENT | IMAGE | LOCAL):
        raise CorruptError(
            f"The bundle has format {version} with flags {incompatible:#x}, newer than this "
            "holdall reads."
        )
    if (
        envelope_size > MAX_ENVELOPE
        or tree_size > MAX_TREE
        or index_size > MAX_INDEX
        or content >= 2**62
    ):
        raise CorruptError("The bundle's head asks for more memory than a bundle may need.")
    if incompatible & IMAGE and (incompatible & INCREMENT or not 0 < content <= MAX_IMAGE):
        raise CorruptError("The bundle's head says things of an image that cannot be.")
    if incompatible & LOCAL and incompatible != LOCAL:
        raise CorruptError("The bundle's head says that it was packed by a store, and cannot be.")
    return Head(envelope_size, tree_size, index_size, content, compatible, read_only, incompatible)


def section(number: int, data: bytes) -> bytes:
    """A skippable frame: 1 envelope, 2 tree, 3 index."""
    return _FRAME.pack(SKIPPABLE + number, len(data)) + data


def section_length(number: int, header: bytes, limit: int) -> int:
    """The length a skippable frame's header says; raises CorruptError over `limit`."""
    magic, length = _FRAME.unpack(header)
    if magic != SKIPPABLE + number or length > limit:
        raise CorruptError("The bundle is cut short or its sections do not fit its head.")
    return int(length)


def section_body(number: int, length: int, data: bytes) -> bytes:
    """What a skippable frame holds.

    Raises CorruptError when it is not the frame the head announced.
    """
    if (
        data[: _FRAME.size] != _FRAME.pack(SKIPPABLE + number, length)
        or len(data) != _FRAME.size + length
    ):
        raise CorruptError("The bundle is cut short or its sections do not fit its head.")
    return data[_FRAME.size :]


SECTION_HEADER = _FRAME.size
