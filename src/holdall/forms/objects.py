"""Contents as files of one folder, ``objects``, that the kernel reads files of a deployment from.

Each stands under a short name that follows from the tree, and has one mode only. Most are hard
links of a pool's objects, so whoever has a content has it once, on the disk and in memory.
"""

import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from holdall.errors import CorruptError
from holdall.forms import checking, erofs, laying
from holdall.forms.port import Base, Fault, Packing, Place, Work
from holdall.forms.seeding import Seed
from holdall.model.digest import Hasher
from holdall.model.tree import File, Tree
from holdall.store import pool
from holdall.store.contents import RandomContents
from holdall.system import crew
from holdall.system.kernel import enable_verity

FOLDER: Final = "objects"

_LARGEST = 64 * 2**20  # bytes of a content that is had in memory whole
_MODES = (0o644, 0o755)


def seed(place: Place, tree: Tree) -> Seed:
    """All contents of a deployment as files that can be linked; `tree` is that of its release.

    Raises OSError.
    """
    complete = os.stat(f"{place.folder}/lease").st_mtime_ns
    return Seed(flat(tree), f"{place.folder}/{FOLDER}", complete)


def flat(tree: Tree) -> Tree:
    """The objects of a tree as files of one folder, under the names that its image says.

    The mode is of no account there; it is that of a program where one has the content, so that the
    other forms can share it.
    """
    programs = {file.digest for file in tree.files if file.executable}
    sizes = tree.contents
    return Tree(
        tuple(
            File(name, digest, sizes[digest], digest in programs)
            for digest, name in erofs.names(tree).items()
        )
    )


def protect(objects: Tree, folder: str) -> None:
    """See that every object has fs-verity, also those that were linked from elsewhere."""
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for file in objects.files:
            fd = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
            try:
                enable_verity(fd)
            finally:
                os.close(fd)
    finally:
        os.close(top)


class _Lender(NamedTuple):
    """A folder with contents of another version of a ref, by digest, and when it was complete.

    Only what is the pool's, too, is of use: what nobody else has would be on the disk twice.
    """

    folder: str
    complete: int
    paths: Mapping[bytes, str]

    def lend(self, file: File, top: int) -> bool:
        """Give a file its path in an open folder, as a link; False for what is not as it was."""
        held = f"{self.folder}/{self.paths[file.digest]}"
        try:
            status = os.lstat(held)
            mode = stat.S_IMODE(status.st_mode)
            if (
                not (stat.S_ISREG(status.st_mode) and mode in _MODES)
                or status.st_size != file.size
                or status.st_mtime_ns > self.complete
            ):
                return False
            os.link(held, file.path, dst_dir_fd=top, follow_symlinks=False)
        except OSError as error:
            if error.errno not in laying.NO_LINK:
                raise
            return False
        return True


def share(work: Work, packing: Packing, bundle: str) -> int:
    """Make the folder, of what a pool has of a release.

    Only if that is at least half of its bytes. Nobody gets a content he cannot show: it is linked
    once the same came out of the `bundle`, and at once where another version of the ref has it.
    What turns out not to be what it should be is left to the bundle. Returns how many there are.
    Raises CorruptError for a bundle that has not the contents it names.
    """
    if work.means.lacking("overlay_for_user"):
        return 0
    objects = pool.pool_of(work.store, work.choice.pool, work.ref.id)
    wanted = [file for file in flat(work.tree).files if file.size]
    pooled = objects.having(file.digest for file in wanted)
    found = [file for file in wanted if file.digest in pooled]
    if not found or 2 * sum(file.size for file in found) < sum(file.size for file in wanted):
        return 0
    folder = f"{work.staged}/{FOLDER}"
    os.mkdir(folder, 0o755)
    top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        lenders = list(_lenders(work))
        left = [file for file in found if not _was_lent(file, lenders, objects, top)]
        _show(work, packing, bundle, left, lambda file, whole: _give(objects, file, top, whole))
    finally:
        os.close(top)
    names = set(os.listdir(folder))
    if work.means.verity:
        protect(Tree(tuple(file for file in found if file.path in names)), folder)
    if not names:
        os.rmdir(folder)
    return len(names)


def _lenders(work: Work) -> Iterator[_Lender]:
    """Versions of the ref whose files can be linked."""
    device = os.stat(work.staged).st_dev
    seeds = [loan.seed for loan in work.layup.loans if isinstance(loan.seed, Seed)]
    if work.base:
        with suppress(OSError):
            seeds.append(_seed_of(work.base))
    for one in seeds:
        with suppress(OSError):
            if os.stat(one.files).st_dev == device and not one.apart:
                paths = {file.digest: file.path for file in one.tree.files}
                yield _Lender(one.files, one.complete, paths)


def _seed_of(base: Base) -> Seed:
    """What can be linked of an older version that keeps a bundle, or has files of its own.

    Raises OSError where that is nothing.
    """
    held, record = seed(base.place, base.tree), base.place.record
    if "packing" in record:
        present = set(os.listdir(held.files))
        return held._replace(
            tree=Tree(tuple(file for file in held.tree.files if file.path in present))
        )
    apart = record.get("share") == "reflink"
    return held._replace(tree=base.tree, files=base.place.files, apart=apart)


def _was_lent(file: File, lenders: Sequence[_Lender], objects: pool.Pool, top: int) -> bool:
    return any(
        (held := one.paths.get(file.digest)) is not None
        and objects.is_object(file.digest, f"{one.folder}/{held}")
        and one.lend(file, top)
        for one in lenders
    )


def _give(objects: pool.Pool, file: File, top: int, whole: bytes | None) -> None:
    """Link a pool's object of any mode."""
    for executable in (file.executable, not file.executable):
        if objects.give(file._replace(executable=executable), top, whole):
            return


def _show(
    work: Work,
    packing: Packing,
    bundle: str,
    files: Sequence[File],
    give: Callable[[File, bytes | None], None],
) -> None:
    """Call `give` for each of the files when its content was read out of a bundle, by workers.

    With the content where that is had whole. The files are in the order of the bundle.
    """
    order = {digest: number for number, digest in enumerate(work.tree.contents)}
    spans = checking.spans_of(sorted(files, key=lambda file: order[file.digest]))
    fd = os.open(bundle, os.O_RDONLY | os.O_CLOEXEC)
    opened: list[RandomContents] = []

    def perform(task: int) -> int:
        if not opened:  # by each worker, which reads with a thread of its own
            before = os.pread(fd, packing.first, 0)
            opened.append(work.bundles.read(fd, packing, before, b"").contents)
        for file in spans[task]:
            give(file, _checked(opened[0], file))
        return 0

    try:
        crew.share_out(range(len(spans)), len(spans), perform)
    finally:
        os.close(fd)


def _checked(contents: RandomContents, file: File) -> bytes | None:
    """A content that has its digest; None for a large one that has."""
    hasher, size = Hasher(), min(file.size, _LARGEST)
    data = b""
    for start in range(0, file.size, size):
        pieces = contents.read(file.digest, start, min(size, file.size - start))
        data = b"".join(pieces)
        hasher.update(data)
    if hasher.digest() != file.digest:
        raise CorruptError(
            f"A content of {file.size} bytes does not have the digest its release names."
        )
    return data if len(data) == file.size else None


def inspect(place: Place, tree: Tree, *, fast: bool) -> list[Fault]:
    """What of the objects of a place is not as it was made, by the paths that have the content."""
    count = int(place.record.get("objects", 0))
    folder = f"{place.folder}/{FOLDER}"
    if os.path.lexists(folder) and (os.path.islink(folder) or not os.path.isdir(folder)):
        return [("", f"{FOLDER} is no folder any more")]
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        names = []
    known = {file.path: file for file in flat(tree).files}
    there = Tree(tuple(_as_found(known[name], folder) for name in sorted(names) if name in known))
    paths = {file.digest: file.path for file in reversed(tree.files)}
    faults = [
        (paths[known[name].digest], f"what it shares with others ({FOLDER}/{name}) was changed")
        if name in known
        else ("", f"{FOLDER}/{name} does not belong there")
        for name, _ in checking.inspect(there, folder, fast=fast)
    ]
    if len(names) < count:
        faults.append(
            ("", f"contents that it shares with others are missing: {count - len(names)}")
        )
    return faults


def _as_found(file: File, folder: str) -> File:
    """An object with the mode it has, which may be that of another app's file."""
    mode = os.lstat(f"{folder}/{file.path}").st_mode
    return file._replace(executable=stat.S_IMODE(mode) == _MODES[1])
