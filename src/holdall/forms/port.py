"""The port of a form: what every module in `holdall.forms.table` has.

A form is a module. It knows nothing of where contents come from, nor of who asks.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Literal, NamedTuple, Protocol

from holdall.forms.seeding import Layup, Seed
from holdall.model.ref import Ref
from holdall.model.tree import File, Outline, Tree
from holdall.store import layout
from holdall.store.contents import ContentSource, RandomContents
from holdall.system.means import Means
from holdall.system.mounting import Mount

NOT_MOUNTED = layout.NOT_MOUNTED
"""The one name in the `files` of a deployment that has to be mounted; the mount covers it."""

Fault = tuple[str, str]
"""A path ("" for none) and a sentence."""


class Traits(NamedTuple):
    """What journeys ask of a form.

    `folder`: its files lie in a plain folder, which any program may read at any time. `holder` is
    what has its files, in words. `links`: they are files of their own on the store's file system,
    so another deployment may have their inodes. `images`: it keeps an image. `parcel`: it keeps the
    bundle's file with the publisher's. `whole`: it keeps the bundle's file with its frames. `seed`:
    where other deployments may have its inodes from elsewhere than its files, those of a place with
    this tree. `privileged`: only root can have it mounted. `contents`: where nothing has to be
    mounted for them, those of a place that has this tree; raises NotFoundError and CorruptError.
    `hindrance`: for a form in whose place the usual one is taken, why it has to be here, or "".
    `single`: names, of which one is the one file beside `files` that has all contents.
    """

    name: str
    summary: str
    folder: bool
    holder: str = "its folder"
    links: bool = False
    images: bool = False
    parcel: bool = False
    privileged: bool = False
    whole: bool = False
    seed: "Callable[[Place, Tree], Seed] | None" = None
    vacate: Callable[[str], None] | None = None
    contents: "Callable[[Place, Tree], AbstractContextManager[ContentSource]] | None" = None
    hindrance: Callable[[Means], str] | None = None
    single: tuple[str, ...] = ()

    @property
    def shares(self) -> bool:
        """Whether its deployments and others of such forms have inodes in common."""
        return self.links or self.seed is not None


class Choice(NamedTuple):
    """What may be chosen about forms; each form takes what concerns it.

    `image` is a kind of image ("" for the best one here) and `compress` whether images made here
    are compressed; `kernel` lets the kernel parse a publisher's image. `pool` is "app" or "store".
    `share` is "link" or "reflink".
    """

    image: str = ""
    compress: bool = True
    kernel: bool = False
    pool: str = "store"
    share: str = "link"


class Shelved(NamedTuple):
    """A bundle's file that is there to be read: its tree, and its contents.

    `habit` gives what to remember of what was read first, for the next time; empty for nothing new.
    """

    outline: Outline
    contents: RandomContents
    habit: Callable[[], bytes]


Span = tuple[int, int]
"""Where something begins in a file, and how long it is, in bytes."""


class Packing(NamedTuple):
    """How a bundle with frames lies in a file.

    `tree` and `index` are what those sections hold, `first` is where the first frame begins.
    `size` is that of the whole file, `frame` what the largest frame holds, in bytes.
    """

    tree: Span
    index: Span  # type: ignore[assignment]  # hides a method of tuples
    first: int
    size: int
    frame: int


class Older(NamedTuple):
    """A bundle that a form keeps, open; `before` is what stands before its frames, and is right."""

    fd: int
    packing: Packing
    before: bytes


class Filled(NamedTuple):
    """A folder with files, one for each content; and the envelope of their release."""

    folder: str
    files: Sequence[File]
    envelope: bytes


class Bundles(Protocol):
    """Whoever knows how bundles are written, for the forms that keep one and know no format."""

    def read(self, fd: int, packing: Packing, before: bytes, habit: bytes) -> Shelved:
        """What is in a bundle; `before` is what stands before its frames, and is right.

        `habit` was remembered the last time; it may be anything.
        """
        ...

    def inherit(self, habit: bytes, older: tuple[Older, Tree], newer: tuple[Older, Tree]) -> bytes:
        """What `Shelved.habit` gave for a bundle, as far as it can be said of a newer one.

        Both with the trees that are in them. Empty for nothing.
        """
        ...

    def source(self, fd: int, packing: Packing, before: bytes, tree: Tree) -> ContentSource:
        """The contents of a tree out of a bundle that has them; the rest as `read` takes it."""
        ...

    def pack(
        self,
        tree: Tree,
        path: str,
        fill: Callable[[Collection[bytes]], Filled],
        older: Older | None,
    ) -> Packing:
        """Write a new bundle of the files of a tree, in frames that suit being read.

        Frames of an `older` one are taken where they are worth it, each checked. `fill` is called
        once, with the contents that are not in those, which are checked, too. Raises CorruptError.
        """
        ...


class Place(NamedTuple):
    """A deployment that has its place, or will: absolute paths of the store and its own folder.

    `record` is what `lay_down` returned when it was made.
    """

    store: str
    folder: str
    record: Mapping[str, Any]
    bundles: Bundles

    @property
    def files(self) -> str:
        """Where its files are read."""
        return f"{self.folder}/files"


class Parcel(NamedTuple):
    """A bundle with a publisher's image: `copy` writes the whole file to a path that is new.

    The image begins at `offset`, in bytes. What stands before it was checked; the image is for the
    one who takes it to check. Raises CorruptError for what is cut short.
    """

    kind: str
    offset: int
    size: int
    digest: str
    copy: Callable[[str], None]


class Whole(NamedTuple):
    """A bundle with frames: `copy` writes all of it to a path that is new, each frame checked.

    What stands before the frames was checked. Raises CorruptError.
    """

    packing: Packing
    copy: Callable[[str], None]


class Base(NamedTuple):
    """An older version of the same ref in the same form, to start from.

    For a form that keeps a `whole` bundle, it may also be in one that `links`.
    """

    place: Place
    tree: Tree


class Work(NamedTuple):
    """What laying a release down takes.

    `staged` is a folder that is there, on the store's file system; the form makes ``files`` in it
    and may put more beside. `metadata_image` is the digest the release names for it, or "".
    `meanwhile` is to be called once, beside other work, and writes what stands beside the files
    (envelope, release, tree, launch files); `report` as in `laying.lay_down`.
    """

    store: str
    ref: Ref
    digest: str
    staged: str
    layup: Layup
    source: ContentSource
    choice: Choice
    means: Means
    meanwhile: Callable[[], None]
    report: Callable[[int], None]
    bundles: Bundles
    base: Base | None = None
    parcel: Parcel | None = None
    whole: Whole | None = None
    metadata_image: str = ""

    @property
    def tree(self) -> Tree:
        """The release's files."""
        return self.layup.tree

    @property
    def files(self) -> str:
        """Where the files go, or are to be mounted."""
        return f"{self.staged}/files"


Holds = Literal["yes", "no", "partly"]


class Cell(NamedTuple):
    """Whether a form gives what is wanted on this machine, and why, in a few words."""

    holds: Holds
    reason: str


REQUIREMENTS: Mapping[str, str] = {
    "R1": "network format: metadata and content",
    "R2": "read through ordinary system calls",
    "N1": "efficient deltas",
    "N2": "versions share disk and page cache",
    "N3": "atomic install and removal; what runs keeps running",
    "N4": "no root",
    "N5": "no setuid helpers",
    "N6": "no untrusted data parsed by the kernel",
    "N7": "integrity checked when read",
    "N8": "trust inheritable from the firmware",
    "N9": "files exported to the host",
}


class Form(Protocol):
    """One form."""

    TRAITS: Traits

    def lay_down(self, work: Work) -> dict[str, Any]:
        """Make the release under `work.staged`; returns the record to keep, without the name.

        Every byte that enters is checked, and on its way to the disk when this returns. Raises
        CorruptError, NotFoundError (the source lacks a content), UnsupportedError (not here), and
        OSError.
        """
        ...

    def mount(self, place: Place, means: Means) -> Mount | None:
        """What makes the files readable at ``files``; None where they are without.

        Raises UnsupportedError, in one sentence with what would help.
        """
        ...

    def inspect(self, place: Place, tree: Tree, *, fast: bool) -> list[Fault]:
        """What was changed of what the form keeps beside the files themselves."""
        ...

    def sweep(self, store: str) -> int:
        """Give back what no deployment needs; returns the bytes that became free."""
        ...

    def cells(self, means: Means) -> dict[str, Cell]:
        """Its column in the table: one cell for each of `REQUIREMENTS`.

        Where the form cannot be used here at all, R2 is "no" and says why.
        """
        ...
