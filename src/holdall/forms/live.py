"""The form ``live``: the bundle's own file is kept, and read from as it is.

To install is to copy one file, and to check it; nothing is unpacked. A process of our own shows its
files to an app (`holdall.system.answering`): it checks each frame before it decodes it, whenever it
does. Where the release comes otherwise than by a full bundle, or in frames too long to be read at
random, a bundle is packed here from the files.

What stands before the frames, tree and index among it, was checked from the signature down when it
was installed; its SHA-256 is in the record, and looked at before anything is mounted.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from holdall.errors import CorruptError, NotFoundError, UnsupportedError
from holdall.forms.port import Cell, Fault, Older, Packing, Place, Traits, Work
from holdall.model.tree import Tree
from holdall.store.contents import ContentSource
from holdall.system.means import Means
from holdall.system.mounting import Answered, Mount

if TYPE_CHECKING:
    from holdall.forms.names import Names
    from holdall.model.tree import Outline
    from holdall.system.answering import Complain, Served
    from holdall.system.fuse.answers import Attribute

LONGEST_FRAME: Final = 2 * 2**20
"""Bytes that are decoded for a read of one, at most; bundles with longer frames are packed anew."""

_BUNDLE, _HABIT, _OBJECTS = "bundle", "habit", "objects"
_NAMESPACES: Final = "user_namespaces"
_MOST: Final = 65536  # bytes of a habit


@contextmanager
def contents(place: Place, tree: Tree) -> Iterator[ContentSource]:
    """The contents of a place out of its bundle, without a mount.

    Raises NotFoundError and CorruptError as `mount`.
    """
    before = _beginning(place)
    fd = os.open(f"{place.folder}/{_BUNDLE}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield place.bundles.source(fd, _packing(place), before, tree)
    finally:
        os.close(fd)


def _lacking(means: Means) -> str:
    """What keeps a bundle from being shown here, in a few words; "" for nothing."""
    if reason := means.lacking("fuse"):
        return reason
    return "" if _alone(means) else means.lacking("fusermount3") and means.lacking(_NAMESPACES)


def _alone(means: Means) -> bool:
    """Whether an app's own namespace is to be had, so that nobody else sees what it does."""
    return means.privileged or not means.lacking(_NAMESPACES)


TRAITS = Traits(
    "live",
    "the bundle's own file, read as it is, every frame checked when it is read",
    folder=False,
    whole=True,
    contents=contents,
    hindrance=_lacking,
)


def lay_down(work: Work) -> dict[str, Any]:
    """See `holdall.forms.port.Form`."""
    from holdall.forms import objects
    from holdall.forms.imaging import stand_in
    from holdall.forms.packing import pack

    path = f"{work.staged}/{_BUNDLE}"
    if work.whole and work.whole.packing.frame <= LONGEST_FRAME:
        packing, local = work.whole.packing, False
        work.whole.copy(path)
        work.meanwhile()
        work.report(work.layup.fresh_size)
    else:
        with _older(work) as older:
            packing, local = pack(work, path, older), True
    os.chmod(path, 0o644)
    stand_in(work.files)
    shared = objects.share(work, packing, path)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        record = record_of(packing, os.pread(fd, packing.first, 0), local=local)
    finally:
        os.close(fd)
    # whether one of them is protected where others are not, nobody can tell from the file system
    verity = bool(shared) and work.means.verity
    return {**record, "pool": work.choice.pool, "objects": shared, "verity": verity}


def record_of(packing: Packing, before: bytes, *, local: bool) -> dict[str, Any]:
    """What is remembered of a bundle; `before` is what stands before its frames."""
    return {"packing": packing, "before": hashlib.sha256(before).hexdigest(), "local": local}


@contextmanager
def _older(work: Work) -> Iterator[Older | None]:
    """The bundle of the version before, where that lies so, too, and begins as it did."""
    if work.base is None or not work.base.place.record.get("packing"):
        yield None
        return
    place = work.base.place
    try:
        before = _beginning(place)
        fd = os.open(f"{place.folder}/{_BUNDLE}", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (CorruptError, NotFoundError, OSError):
        yield None
        return
    try:
        yield Older(fd, _packing(place), before)
    finally:
        os.close(fd)


def mount(place: Place, means: Means) -> Mount | None:
    """See `holdall.forms.port.Form`.

    Raises NotFoundError without the file, and CorruptError where it does not begin as it did.
    """
    reason = _lacking(means)
    if reason:
        raise UnsupportedError(
            f"This app lies in its bundle, which cannot be read here: {reason}; `holdall convert "
            "--form tree` unpacks it."
        )
    before = _beginning(place)
    app = "/".join(place.folder.split("/")[-4:])

    data = f"{place.folder}/{_OBJECTS}" if place.record.get("objects") else ""

    def serve(fd: int, complain: "Complain") -> "Served":
        from holdall.forms.names import Names
        from holdall.system.answering import Served

        habit = _Habit(f"{place.folder}/{_HABIT}")
        shelved = place.bundles.read(fd, _packing(place), before, habit.known)
        owner = (os.geteuid(), os.getegid())
        names = Names(*shelved[:2], owner, lambda line: complain(f"{app}: {line}"))
        attribute = _attribute(data, shelved.outline, names, place.record) if data else None
        return Served(names, lambda: habit.keep(shelved.habit()), attribute)

    if not os.path.isdir(data):
        data = ""
    return Answered(f"{place.folder}/{_BUNDLE}", serve, data, bool(place.record.get("verity")))


def _attribute(
    folder: str, outline: "Outline", names: "Names", record: Mapping[str, Any]
) -> "Attribute | None":
    """What tells overlayfs which contents are files of a folder; what is gone comes as the rest."""
    from holdall.forms.redirects import Redirects

    with suppress(OSError):
        there = os.listdir(folder)
        return Redirects(outline, names, there, verity=bool(record.get("verity"))).value
    return None


class _Habit:
    """What is remembered of a start; where this user may write nothing, nothing is.

    The file is opened before who shows the bundle gives up its rights.
    """

    def __init__(self, path: str) -> None:
        self.known, self._fd = b"", -1
        with suppress(OSError):
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            self.known = os.pread(self._fd, _MOST, 0)

    def keep(self, habit: bytes) -> None:
        """Remember what is not empty."""
        if self._fd >= 0 and habit:
            os.write(self._fd, habit)


def _packing(place: Place) -> Packing:
    (tree_at, tree_size), (index_at, index_size), *rest = place.record["packing"]
    return Packing((tree_at, tree_size), (index_at, index_size), *rest)


def _beginning(place: Place) -> bytes:
    """What stands before the frames, as it was when it was installed."""
    path, packing = f"{place.folder}/{_BUNDLE}", _packing(place)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NotFoundError(
            f"{path} is missing; `holdall repair` or install the app again."
        ) from error
    try:
        before = os.pread(fd, packing.first, 0)
        size = os.fstat(fd).st_size
    finally:
        os.close(fd)
    if hashlib.sha256(before).hexdigest() != place.record["before"] or size != packing.size:
        raise CorruptError(f"{path} is not what was installed; `holdall repair` mends it.")
    return before


def inspect(place: Place, tree: Tree, *, fast: bool) -> list[Fault]:
    """See `holdall.forms.port.Form`.

    Frames are checked when the files are read.
    """
    from holdall.forms import objects

    faults = objects.inspect(place, tree, fast=fast)
    try:
        _beginning(place)
    except (NotFoundError, CorruptError):
        faults.append(("", f"{_BUNDLE} is missing or was changed"))
    return faults


def sweep(store: str) -> int:
    """See `holdall.forms.port.Form`."""
    from holdall.store import pool

    return pool.sweep(store)


def cells(means: Means) -> dict[str, Cell]:
    """See `holdall.forms.port.Form`."""
    reason = _lacking(means)
    here = "mounted in a namespace of the app's own, by holdall itself"
    helped = Cell("yes", "mounted by fusermount3, as user namespaces are forbidden here")
    alone = bool(reason) or _alone(means)
    apart = means.lacking("overlay_for_user")
    own = "each frame is checked against the signed index before it is decoded"
    return {
        "R1": Cell("yes", "what travels is what is installed: one file"),
        "R2": Cell("no", reason) if reason else Cell("yes", here) if alone else helped,
        "N1": Cell("partly", "what an increment makes is packed here, behind frames of before"),
        "N2": Cell("no", f"each version is a bundle of its own: {apart}")
        if apart
        else Cell("partly", "contents that the pool has are read from there, by the kernel"),
        "N3": Cell("yes", "one file, renamed; what runs keeps it after it was removed"),
        "N4": Cell("no", reason) if reason else Cell("yes", here) if alone else helped,
        "N5": Cell("yes", "mounted in a namespace of one's own, which takes no setuid program")
        if alone
        else Cell("no", "user namespaces are forbidden here, and fusermount3 is setuid"),
        "N6": Cell("yes", "read in user space, by a process without rights"),
        "N7": Cell("yes", own)
        if apart or means.verity
        else Cell("partly", f"{own}; contents that lie in a pool by `holdall verify`"),
        "N8": Cell("no", "holdall checks the signature; the kernel is given no key"),
        "N9": Cell("yes", "copied out when it is installed, and checked"),
    }
