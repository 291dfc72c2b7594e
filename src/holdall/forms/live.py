"""The form ``live``: the bundle's own file is kept, and read from as it is.

To install is to copy one file, and to check it; nothing is unpacked. A process of our own shows its
files to an app (`holdall.system.answering`): it checks each frame before it decodes it, whenever it
does. Where the release comes otherwise than by a full bundle, or in frames too long to be read at
random, a bundle is packed here from the files.

What stands before the frames, tree and index among it, was checked from the signature down when it
was installed; its SHA-256 is in the record, and looked at before anything is mounted.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
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
    with _opened(place) as bundle:
        yield place.bundles.source(*bundle, tree)


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
    single=(_BUNDLE,),
)


def lay_down(work: Work) -> dict[str, Any]:
    """See `holdall.forms.port.Form`."""
    from holdall.forms import objects
    from holdall.forms.imaging import stand_in
    from holdall.forms.packing import pack

    path = f"{work.staged}/{_BUNDLE}"
    with _older(work) as older:
        if work.whole and work.whole.packing.frame <= LONGEST_FRAME:
            packing, local = work.whole.packing, False
            work.whole.copy(path)
            work.meanwhile()
            work.report(work.layup.fresh_size)
        else:
            packing, local = pack(work, path, older), True
        os.chmod(path, 0o644)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            before = os.pread(fd, packing.first, 0)
            _inherit(work, older, Older(fd, packing, before))
        finally:
            os.close(fd)
    stand_in(work.files)
    shared = objects.share(work, packing, path)
    record = record_of(packing, before, local=local)
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
    with ExitStack() as stack:
        older = None
        with suppress(CorruptError, NotFoundError, OSError):
            older = stack.enter_context(_opened(work.base.place))
        yield older


def _inherit(work: Work, older: Older | None, newer: Older) -> None:
    """Have the first start of a version be foreseen as those of the version before were."""
    if older is None or work.base is None:
        return
    # where the older one lies so, its record says, which may say anything
    with suppress(OSError, CorruptError, ValueError, LookupError):
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(f"{work.base.place.folder}/{_HABIT}", flags)
        try:
            known = os.pread(fd, _MOST, 0)
        finally:
            os.close(fd)
        habit = work.bundles.inherit(known, (older, work.base.tree), (newer, work.tree))
        if habit:
            with open(f"{work.staged}/{_HABIT}", "xb") as made:
                made.write(habit)


def mount(place: Place, means: Means) -> Mount | None:
    """See `holdall.forms.port.Form`.

    Raises NotFoundError without the file, and CorruptError where it does not begin as it did.
    """
    reason = _lacking(means)
    if reason:
        app = place.folder.split("/")[-4]
        raise UnsupportedError(
            f"{app} lies in its bundle, which cannot be read here: {reason}; `holdall convert "
            f"{app} --form tree` unpacks it."
        )
    with _opened(place) as bundle:
        _, packing, before = bundle
    app = "/".join(place.folder.split("/")[-4:])
    objects, verity = f"{place.folder}/{_OBJECTS}", bool(place.record.get("verity"))
    data = objects if place.record.get("objects") and os.path.isdir(objects) else ""

    def serve(fd: int, complain: "Complain") -> "Served":
        from holdall.forms.names import names_of
        from holdall.system.answering import Served

        habit = _Habit(f"{place.folder}/{_HABIT}")
        shelved = place.bundles.read(fd, packing, before, habit.known)
        names = names_of(shelved, app, complain)
        attribute = _attribute(data, shelved.outline, names, verity=verity) if data else None
        return Served(names, shelved.contents, lambda: habit.keep(shelved.habit()), attribute)

    return Answered(f"{place.folder}/{_BUNDLE}", serve, data, verity)


def _attribute(
    folder: str, outline: "Outline", names: "Names", *, verity: bool
) -> "Attribute | None":
    """What tells overlayfs which contents are files of a folder; what is gone comes as the rest."""
    from holdall.forms.redirects import Redirects

    with suppress(OSError):
        return Redirects(outline, names, os.listdir(folder), verity=verity).value
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


@contextmanager
def _opened(place: Place) -> Iterator[Older]:
    """The bundle of a place, which begins as it did when it was installed.

    Raises NotFoundError without the file, and CorruptError where it does not.
    """
    path = f"{place.folder}/{_BUNDLE}"
    tree, index, *rest = place.record["packing"]
    packing = Packing(tuple(tree), tuple(index), *rest)
    spoiled = CorruptError(
        f"{path} is not what was installed; `holdall repair --from FILE` mends it."
    )
    try:
        # a pipe in its place is not waited for
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NotFoundError(
            f"{path} is missing; `holdall repair --from FILE` puts it back."
        ) from error
    except OSError as error:
        raise spoiled if error.errno in {errno.ELOOP, errno.ENXIO} else error from error
    try:
        status = os.fstat(fd)
        # a record may say anything: what it says is read only where the file has as much
        if not stat.S_ISREG(status.st_mode) or not packing.first <= packing.size == status.st_size:
            raise spoiled
        before = os.pread(fd, packing.first, 0)
        if hashlib.sha256(before).hexdigest() != place.record["before"]:
            raise spoiled
        yield Older(fd, packing, before)
    finally:
        os.close(fd)


def inspect(place: Place, tree: Tree, *, fast: bool) -> list[Fault]:
    """See `holdall.forms.port.Form`.

    Frames are checked when the files are read.
    """
    from holdall.forms import objects

    faults = objects.inspect(place, tree, fast=fast)
    try:
        with _opened(place):
            pass
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
