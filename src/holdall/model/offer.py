"""What a repository offers of one app: releases, increments, and whose keys sign them.

Format: docs/reference/formats/repository.md, "Offer". Says what a way to a release costs; whether
any of it may be trusted, others decide.
"""

from typing import Annotated, Literal

import msgspec

from holdall.errors import CorruptError, UsageError
from holdall.model.manifest import About, Permissions
from holdall.model.ref import Ref, checked_id
from holdall.model.release import Order, order_of

FORMAT = 1
MAX_BYTES = 4 * 2**20

Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Size = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
_Text = Annotated[str, msgspec.Meta(max_length=4096)]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="kebab"):
    """How all parts of an offer are written."""


class ContentFile(_Part, frozen=True):
    """A full bundle in the repository; `head` is the length of all before its first frame."""

    sha256: Sha256
    size: Size
    head: Size

    @property
    def name(self) -> str:
        """Its name below the repository's address."""
        return content_name(self.sha256)


class OfferedRelease(_Part, frozen=True, omit_defaults=True):
    """One version of one ref. Sizes in bytes; `release` and the keys of `ranges` are digests."""

    release: Sha256
    arch: _Text
    branch: _Text
    version: _Text
    kind: Literal["app", "runtime"]
    tree: _Text
    size: Size
    entries: Size
    bundle: ContentFile
    signers: tuple[Sha256, ...]
    runtime: _Text = "host"
    serial: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    created: _Text = ""
    permissions: Permissions = Permissions()
    ranges: dict[Sha256, Size] = {}

    @property
    def order(self) -> Order:
        """Where it stands among the versions of its ref."""
        return order_of(self.serial, self.version)


class OfferedIncrement(_Part, frozen=True):
    """A content file that makes `release` of any one of its `bases`."""

    arch: _Text
    branch: _Text
    release: Sha256
    bases: tuple[Sha256, ...]
    sha256: Sha256
    size: Size

    @property
    def name(self) -> str:
        """Its name below the repository's address."""
        return content_name(self.sha256)


class Offer(_Part, frozen=True, omit_defaults=True):
    """All that is offered of the app `id`; `releases` newest first."""

    format: int
    id: str
    about: About = About()
    releases: tuple[OfferedRelease, ...] = ()
    increments: tuple[OfferedIncrement, ...] = ()

    @property
    def refs(self) -> tuple[Ref, ...]:
        """The refs there are releases of, sorted."""
        return tuple(sorted({Ref(self.id, item.arch, item.branch) for item in self.releases}))

    def releases_of(self, ref: Ref) -> tuple[OfferedRelease, ...]:
        """The releases of one ref, newest first."""
        return tuple(item for item in self.releases if (item.arch, item.branch) == ref[1:])

    def increments_of(self, ref: Ref) -> tuple[OfferedIncrement, ...]:
        """The increments of one ref."""
        return tuple(item for item in self.increments if (item.arch, item.branch) == ref[1:])


def content_name(sha256: str) -> str:
    """The name of a content file below a repository's address."""
    return f"content/{sha256[:2]}/{sha256}.holdall"


def target_name(app_id: str) -> str:
    """The name of the TUF target that is an app's offer."""
    return f"apps/{app_id}.json"


def encode(offer: Offer) -> bytes:
    """The bytes of an offer: JSON with sorted keys."""
    return msgspec.json.encode(offer, order="sorted")


def parse(data: bytes, app_id: str) -> Offer:
    """Read the offer of `app_id`; raises CorruptError."""
    try:
        offer = msgspec.json.decode(data, type=Offer)
        if offer.format != FORMAT:
            raise CorruptError(
                f"The offer of {app_id} has format {offer.format}; this holdall reads {FORMAT}."
            )
        checked_id(offer.id)
        for ref in offer.refs:
            Ref.parse(str(ref))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, UsageError) as error:
        raise CorruptError(
            f"The offer of {app_id} cannot be read: {str(error).rstrip('.')}."
        ) from error
    if offer.id != app_id:
        raise CorruptError(f"The offer of {app_id} is one of {offer.id}.")
    return offer
