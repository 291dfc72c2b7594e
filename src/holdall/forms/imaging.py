"""What the forms with an image in a file share: which kind, making one, checking one, mounting it.

An image that was made here from the verified tree may be parsed by the kernel; what a publisher
made is read by a program in user space, unless somebody said otherwise.
"""

import errno
import os
from collections.abc import Mapping
from typing import Any, NamedTuple, assert_never

from holdall.errors import CorruptError, NotFoundError, UnsupportedError
from holdall.forms import laying
from holdall.forms.port import NOT_MOUNTED, Cell, Fault, Place, Work
from holdall.model import tree as trees
from holdall.model.digest import BLOCK, Digest, digest_of_leaves, leaf_hashes
from holdall.model.tree import Directory, File, Symlink, Tree
from holdall.store.guard import is_roots
from holdall.system import images
from holdall.system.erofs_image import Found
from holdall.system.files import remove_tree, write_new
from holdall.system.kernel import enable_verity, measure_verity
from holdall.system.means import Means
from holdall.system.mounting import KernelImage, Mount, ServedImage

_LINE = 128  # bytes a program may take to tell of an entry, beside its name
_PIECE = 256 * BLOCK
_MAKERS = {images.EROFS: "mkfs.erofs", images.SQUASHFS: "mksquashfs"}
_SERVERS = {images.EROFS: "erofsfuse", images.SQUASHFS: "squashfuse"}
_NOT_ROOTS = " The kernel reads it for root alone, and only what nobody else may have written."
_KERNEL = {images.EROFS: "kernel_erofs", images.SQUASHFS: "kernel_squashfs"}


def lacking(kind: str, means: Means, *, kernel: bool) -> str:
    """What keeps an image of a kind from being read here, in a few words; "" for nothing.

    `kernel` is whether the kernel may parse it.
    """
    if kernel and not means.lacking(_KERNEL[kind]):
        return ""
    return _lacking_in_user_space(kind, means)


def _lacking_in_user_space(kind: str, means: Means) -> str:
    namespaces = () if means.privileged else ("user_namespaces",)
    return means.lacking(_SERVERS[kind], "fuse", *namespaces)


def chosen(kind: str, means: Means) -> str:
    """The kind of an image to make here: the wanted one, or for "" the best that can be read here.

    Raises UsageError for a kind there is not, UnsupportedError for what cannot be made or read.
    """
    if kind:
        images.check_kind(kind)
    reasons = {}
    # what can be read in user space, too, everybody can read
    best = sorted(images.KINDS, key=lambda one: bool(_lacking_in_user_space(one, means)))
    for candidate in (kind,) if kind else best:
        reason = lacking(candidate, means, kernel=True) or means.lacking(_MAKERS[candidate])
        if not reason:
            return candidate
        reasons[candidate] = reason
    told = "; ".join(f"{candidate}: {reason}" for candidate, reason in reasons.items())
    raise UnsupportedError(f"No image can be made and read here ({told}).{_hint(kind, means)}")


def _hint(kind: str, means: Means) -> str:
    """Which other kind would do."""
    for other in images.KINDS:
        if other != kind and not lacking(other, means, kernel=True):
            return f" One of kind {other} can be read here."
    return ""


def make(work: Work, image: str) -> dict[str, Any]:
    """Make the new file `image` of a release's files, laid down beside it meanwhile.

    Returns what is to be remembered of it.
    """
    kind = chosen(work.choice.image, work.means)
    scratch = f"{work.staged}/scratch"
    laying.lay_down(
        work.layup,
        work.source,
        scratch,
        meanwhile=work.meanwhile,
        report=work.report,
        passing=True,
    )
    os.chmod(scratch, 0o755)
    name = trees.tree_digest(trees.encode(work.tree)).raw[:16]
    level = images.QUICK if work.choice.compress else 0
    images.make(kind, scratch, image, name=name, level=level)
    remove_tree(scratch)
    os.chmod(image, 0o644)
    found = measure(image)
    verity = work.means.verity and protect(image)
    return {
        "kind": kind,
        "compress": work.choice.compress,
        "offset": 0,
        "size": found.size,
        "digest": found.digest,
        "whole": found.whole,
        "verity": verity,
        "local": True,
    }


def stand_in(files: str) -> None:
    """Make the folder that the image is mounted over."""
    os.mkdir(files, 0o755)
    write_new(f"{files}/{NOT_MOUNTED}", b"")


def protect(image: str) -> bool:
    """Turn on fs-verity for a file that is complete; False where it is not to be had."""
    fd = os.open(image, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return enable_verity(fd)
    finally:
        os.close(fd)


def check_listing(kind: str, fd: int, offset: int, size: int, *, tree: Tree) -> None:
    """Raise CorruptError unless an image has just the names, kinds, modes and sizes of a tree.

    Contents are not looked at.
    """
    expected = {"": Found("drwxr-xr-x", 0)}
    for entry in tree.entries:
        match entry:
            case Directory(path):
                expected[path] = Found("drwxr-xr-x", 0)
            case Symlink(path, target):
                expected[path] = Found("lrwxrwxrwx", len(target.encode()), target)
            case File(path, _, length, executable):
                expected[path] = Found("-rwxr-xr-x" if executable else "-rw-r--r--", length)
            case _:
                assert_never(entry)
    room = sum(len(path.encode()) + found.size for path, found in expected.items() if found.target)
    limit = room + sum(_LINE + len(path.encode()) for path in expected)
    found = images.listing(kind, fd, offset, size, limit=limit)
    if found != expected:
        wrong = min(
            path for path in found.keys() | expected if found.get(path) != expected.get(path)
        )
        raise CorruptError(
            f"The image has not the files its release names, which shows at {wrong!a}."
        )


def kernel_hint(kind: str, means: Means) -> str:
    """That the kernel would do, where it would."""
    if means.lacking(_KERNEL[kind]):
        return ""
    return (
        " With --allow-kernel-parser the kernel reads it; it parses what the publisher made then,"
        " and a flaw in that is a flaw of this machine."
    )


class Measure(NamedTuple):
    """Digests of an image, of the whole file it lies in, and the image's size in bytes."""

    digest: str
    whole: str
    size: int


def measure(file: str, offset: int = 0) -> Measure:
    """Hash the image that lies in a file from `offset`, a multiple of a block, to its end."""
    fd = open_image(file)
    try:
        size = os.fstat(fd).st_size
        before = _leaves(fd, 0, offset)
        image = _leaves(fd, offset, size)
    finally:
        os.close(fd)
    length = max(0, size - offset)
    digest = Digest(digest_of_leaves(image, length))
    return Measure(str(digest), str(Digest(digest_of_leaves(before + image, size))), length)


def open_image(file: str) -> int:
    """A descriptor to read a file by; raises CorruptError for a link in its place."""
    try:
        return os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise CorruptError(
            f"{file} is a link now; `holdall repair` makes the image anew."
        ) from error


def _leaves(fd: int, start: int, end: int) -> bytes:
    hashes = []
    while start < end and (piece := os.pread(fd, min(_PIECE, end - start), start)):
        hashes.append(leaf_hashes(piece))
        start += len(piece)
    return b"".join(hashes)


def faults(file: str, record: Mapping[str, Any], *, fast: bool) -> list[Fault]:
    """What is wrong with the file that has the image; with `fast` the kernel's word is taken."""
    try:
        if fast and (held := measured(file)) is not None:
            right = held == record["whole"]
        else:
            found = measure(file, int(record["offset"]))
            right = (found.digest, found.size) == (record["digest"], record["size"])
    except FileNotFoundError:
        return [("", f"the image {os.path.basename(file)} is missing")]
    except CorruptError as error:
        return [("", str(error))]
    except OSError as error:
        # a damaged block: the disk's own word for it, or fs-verity's
        if error.errno != errno.EIO:
            raise
        right = False
    return [] if right else [("", f"the image {os.path.basename(file)} was changed")]


def mount(place: Place, name: str, means: Means, *, kernel: bool) -> Mount:
    """What makes the image of that name in a place readable, by the kernel if it may and can.

    The kernel is never given a file that somebody but root may have written. Its bytes are not
    read: fs-verity has the kernel check them when they are, and verifying does. Raises
    UnsupportedError, NotFoundError without the file, and CorruptError where fs-verity holds another
    digest for it.
    """
    file, record = f"{place.folder}/{name}", place.record
    kind, offset = str(record["kind"]), int(record["offset"])
    _check_measured(file, record, means)
    if kernel and not means.lacking(_KERNEL[kind]) and is_roots(place.store, file):
        return KernelImage(kind, file, offset, int(record["size"]))
    reason = _lacking_in_user_space(kind, means)
    if reason:
        raise UnsupportedError(
            f"This app lies in an image of kind {kind}, which cannot be read here: {reason}."
            f"{_NOT_ROOTS if kernel else kernel_hint(kind, means)}"
        )
    return ServedImage(kind, str(means.program(_SERVERS[kind])), file, offset)


def _check_measured(file: str, record: Mapping[str, Any], means: Means) -> None:
    """Hold the kernel's digest of the file against the record's, where it has one or should."""
    if not os.path.isfile(file):
        raise NotFoundError(f"{file} is missing; `holdall repair` or install the app again.")
    held = measured(file)
    wanting = held is None and record["verity"] and means.verity
    if wanting or held not in {record["whole"], None}:
        raise CorruptError(f"{file} is not the image that was installed; install the app again.")


def measured(file: str) -> str | None:
    """The digest that fs-verity has for a whole file."""
    fd = open_image(file)
    try:
        raw = measure_verity(fd)
    finally:
        os.close(fd)
    return str(Digest(raw)) if raw else None


def cells(means: Means, *, kernel: bool, sizes: str) -> dict[str, Cell]:
    """The cells that are the same for all forms with an image; `kernel` as in `mount`."""
    readable = [kind for kind in images.KINDS if not lacking(kind, means, kernel=kernel)]
    reasons = "; ".join(f"{kind}: {lacking(kind, means, kernel=kernel)}" for kind in images.KINDS)
    how = f"{' and '.join(readable)} can be mounted, in a namespace of the app's own"
    return {
        "R2": Cell("yes", how) if readable else Cell("no", reasons),
        "N2": Cell("no", sizes),
        "N3": Cell("yes", "one file, renamed; a mount keeps it after it was removed"),
        "N4": _without_root(means),
        "N5": Cell("yes", "mounted in a namespace of one's own, which takes no setuid program"),
        "N7": _when_read(means),
        "N8": Cell("no", "holdall checks the signature; the kernel is given no key"),
        "N9": Cell("yes", "copied out when it is installed, and checked"),
    }


def _without_root(means: Means) -> Cell:
    served = [kind for kind in images.KINDS if not _lacking_in_user_space(kind, means)]
    if served:
        return Cell("yes", f"{' and '.join(served)} images are served in user space, by FUSE")
    return Cell("no", _lacking_in_user_space(images.SQUASHFS, means))


def _when_read(means: Means) -> Cell:
    if means.verity:
        return Cell("yes", "fs-verity checks each block of the image when it is read")
    return Cell("partly", "`holdall verify` finds a change; nothing checks while files are read")
