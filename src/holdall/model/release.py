"""The release: a manifest, the digest of a tree and how its bytes were packed.

The thing that is signed.

Format: docs/reference/formats/release.md. One exact encoding: what is shown is what was signed.
"""

import re
from typing import Annotated, Literal

import msgspec

from holdall.errors import CorruptError, UsageError
from holdall.model.digest import SIZE, Digest
from holdall.model.manifest import Manifest
from holdall.model.ref import Ref

FORMAT = 1
MAX_BYTES = 2**20
PAYLOAD_TYPE = "application/vnd.holdall.release+json"

_Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class PackedImage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """The file system image a bundle has in place of frames: its length and its digest."""

    kind: Literal["erofs", "squashfs"]
    size: Annotated[int, msgspec.Meta(gt=0, lt=2**32)]
    digest: str

    @property
    def raw(self) -> bytes:
        """The digest's own bytes."""
        return Digest.parse(self.digest).raw


class Packing(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab", omit_defaults=True
):
    """SHA-256 of a bundle's compressed tree and index sections, and what its image is.

    So nothing unsigned is decoded.
    """

    tree: _Sha256
    index: _Sha256
    image: PackedImage | None = None


class Release(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab", omit_defaults=True
):
    """One version of one ref.

    `size` is the apparent size in bytes, `entries` the number of the tree's entries; `created` and
    `expires` are RFC 3339 times in UTC or empty. `metadata_image` is the digest of the image that
    the tree makes, or empty in releases that do not say it.
    """

    format: int
    manifest: Manifest
    tree: str
    size: int
    entries: int
    packing: Packing
    created: str = ""
    expires: str = ""
    metadata_image: str = ""

    @property
    def ref(self) -> Ref:
        """The ref it is a version of."""
        return self.manifest.ref

    @property
    def tree_digest(self) -> Digest:
        """The digest of the tree's bytes."""
        return Digest.parse(self.tree)

    @property
    def order(self) -> "Order":
        """Where it stands among the versions of its ref."""
        return order_of(self.manifest.serial, self.manifest.version)


Order = tuple[int, tuple[tuple[int, int, str], ...]]


def encode(release: Release) -> bytes:
    """The exact bytes that are signed: JSON with sorted keys."""
    return msgspec.json.encode(release, order="sorted")


def parse(data: bytes) -> Release:
    """Read a release's bytes; raises CorruptError when they are not one in its exact encoding."""
    if len(data) > MAX_BYTES:
        raise CorruptError(
            f"The release is {len(data)} bytes long; more than {MAX_BYTES} is refused."
        )
    try:
        release = msgspec.json.decode(data, type=Release)
        if release.format != FORMAT:
            raise CorruptError(
                f"The release has format {release.format}; this holdall reads format {FORMAT}."
            )
        if len(release.tree_digest.raw) != SIZE or release.size < 0 or not release.manifest.arch:
            raise CorruptError("The release lacks an architecture or has a negative size.")
        if release.metadata_image:
            Digest.parse(release.metadata_image)
        if release.packing.image:
            Digest.parse(release.packing.image.digest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, UsageError) as error:
        raise CorruptError(f"The release cannot be read: {str(error).rstrip('.')}.") from error
    if encode(release) != data:
        raise CorruptError("The release is not in its one exact encoding.")
    return release


def order_of(serial: int, version: str) -> Order:
    """A key that orders releases of one ref: by serial, then by version as people read it.

    Digits compare as numbers; ``~`` sorts before the end, as in Debian, so 1.0~rc1 comes before
    1.0.
    """
    parts = [_part(text) for text in re.findall(r"\d+|~|[A-Za-z]+", version)]
    return serial, (*parts, (0, 0, ""))


def _part(text: str) -> tuple[int, int, str]:
    if text.isdecimal():
        return 2, int(text), ""
    return (-1, 0, "") if text == "~" else (1, 0, text)
