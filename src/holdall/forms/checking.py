"""Holding a tree on disk against what was signed, and mending it."""

import errno
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from holdall.errors import CorruptError
from holdall.forms import laying, seeding
from holdall.model.digest import Hasher
from holdall.model.tree import Directory, Entry, File, Symlink, Tree
from holdall.store.contents import ContentSource
from holdall.system import crew
from holdall.system.files import remove_tree
from holdall.system.kernel import measure_verity, open_beneath

_FILES_A_TASK = 512
_BYTES_A_TASK = 8 * 2**20
_PIECE = 2**20
_SOUND, _FAULTY = 0, 1

Fault = tuple[str, str]


def inspect(
    tree: Tree, files: str, *, fast: bool, report: Callable[[int], None] = lambda _size: None
) -> list[Fault]:
    """What in the folder `files` is not as `tree` says: path and sentence, sorted by path.

    Every inode is read once, by workers; `report` gets bytes, together those of the tree's distinct
    contents. With `fast` the kernel's fs-verity digest is taken where there is one.
    """
    faults = _shape(tree, files)
    bad = {path for path, _ in faults}
    spans = spans_of(sorted(_distinct(tree, files, bad), key=lambda file: -file.size))

    def perform(task: int) -> int:
        span = spans[task]
        return _SOUND if all(_is_sound(files, file, fast=fast) for file in span) else _FAULTY

    def told(task: int, verdict: int) -> None:
        report(sum(file.size for file in spans[task]))
        if verdict == _FAULTY:
            doubtful.append(task)

    doubtful: list[int] = []
    crew.share_out(range(len(spans)), len(spans), perform, report=told)
    for task in doubtful:
        faults += [
            (file.path, "its content was changed")
            for file in spans[task]
            if not _is_sound(files, file, fast=fast)
        ]
    return sorted(faults)


def inspect_contents(
    tree: Tree, source: ContentSource, *, report: Callable[[int], None] = lambda _size: None
) -> list[Fault]:
    """The files whose contents a source lacks or has otherwise: path and sentence, sorted by path.

    For names that are the tree's own. `report` as for `inspect`.
    """
    wanted = source.available(tree.contents)
    bad = set(tree.contents) - wanted
    batches = source.batches(wanted)

    def perform(batch: int) -> int:
        return len(_spoiled(source, batch, wanted))

    def told(batch: int, spoiled: int) -> None:
        report(batches[batch].size)
        if spoiled:
            doubtful.append(batch)

    doubtful: list[int] = []
    crew.share_out(source.feed(batches), len(batches), perform, report=told)
    for batch in doubtful:
        bad |= _spoiled(source, batch, wanted)
    return sorted(
        (file.path, "its content was changed") for file in tree.files if file.digest in bad
    )


def _spoiled(source: ContentSource, batch: int, wanted: set[bytes]) -> set[bytes]:
    """The digests of a batch whose contents are not what they should be, or cannot be read."""
    spoiled = set()
    for digest, pieces in source.produce(batch, wanted):
        hasher = Hasher()
        try:
            for piece in pieces:
                hasher.update(piece)
        except (CorruptError, OSError):
            spoiled.add(digest)
            continue
        if hasher.digest() != digest:
            spoiled.add(digest)
    return spoiled


def mend(
    tree: Tree, files: str, faults: Sequence[str], source: ContentSource, scratch: str
) -> list[str]:
    """Bring the paths in `faults` to what `tree` says.

    Contents come from `source` by way of the new folder `scratch`.

    Returns the paths whose contents the source does not have; they stay as they are.
    """
    entries = {entry.path: entry for entry in tree.entries}
    wanted = [entry for path in faults if isinstance(entry := entries.get(path), File)]
    available = source.available({file.digest for file in wanted})
    fresh: dict[bytes, tuple[File, ...]] = {}
    for file in wanted:
        if file.digest in available:
            fresh[file.digest] = (*fresh.get(file.digest, ()), file)
    laying.lay_down(seeding.Layup(Tree(()), (), fresh), source, scratch, verity=True)
    # what does not belong goes first: below a link that is put back it would be somebody else's
    for path in sorted(set(faults) - entries.keys()):
        remove_tree(f"{files}/{path}")
    return [
        path
        for path in sorted(entries.keys() & set(faults))
        if not _mend_one(entries[path], path, files, scratch)
    ]


def _mend_one(entry: Entry, path: str, files: str, scratch: str) -> bool:
    place = f"{files}/{path}"
    if isinstance(entry, File):
        if not os.path.lexists(f"{scratch}/{path}"):
            return False
        os.utime(f"{scratch}/{path}", (0, 0))
        if os.path.isdir(place) and not os.path.islink(place):
            remove_tree(place)
        os.rename(f"{scratch}/{path}", place)
    elif isinstance(entry, Directory) and os.path.isdir(place) and not os.path.islink(place):
        os.chmod(place, 0o755)
    else:
        remove_tree(place)
        if isinstance(entry, Directory):
            os.mkdir(place)
            os.chmod(place, 0o755)
        else:
            os.symlink(entry.target, place)
    return True


def _shape(tree: Tree, files: str) -> list[Fault]:
    """Names, kinds, modes, sizes and link targets: all that needs no content."""
    found: dict[str, os.stat_result] = {}
    pending = [""]
    while pending:
        folder = pending.pop()
        with suppress(FileNotFoundError), os.scandir(f"{files}/{folder}") as listing:
            for item in listing:
                path = f"{folder}/{item.name}" if folder else item.name
                found[path] = item.stat(follow_symlinks=False)
                if item.is_dir(follow_symlinks=False):
                    pending.append(path)
    faults = []
    for entry in tree.entries:
        status = found.pop(entry.path, None)
        if fault := "it is missing" if status is None else _misshape(entry, status, files):
            faults.append((entry.path, fault))
    return faults + [(path, "it is not part of the app") for path in found]


def _misshape(entry: Entry, status: os.stat_result, files: str) -> str:
    mode = status.st_mode
    if isinstance(entry, Directory):
        right = stat.S_ISDIR(mode) and stat.S_IMODE(mode) == 0o755
        return "" if right else "it is not a folder of mode 0755"
    if isinstance(entry, Symlink):
        right = stat.S_ISLNK(mode) and os.readlink(f"{files}/{entry.path}") == entry.target
        return "" if right else "it is not the symbolic link it should be"
    if not stat.S_ISREG(mode) or stat.S_IMODE(mode) != (0o755 if entry.executable else 0o644):
        return "it is not a regular file of the right mode"
    return "" if status.st_size == entry.size else "its content was changed"


def _distinct(tree: Tree, files: str, bad: set[str]) -> list[File]:
    """One file for each inode and content."""
    chosen: dict[tuple[int, bytes], File] = {}
    for file in tree.files:
        if file.path not in bad:
            status = os.lstat(f"{files}/{file.path}")
            chosen.setdefault((status.st_ino, file.digest), file)
    return list(chosen.values())


def spans_of(files: Iterable[File]) -> list[list[File]]:
    """Files in order, cut into what one worker takes at a time."""
    spans: list[list[File]] = []
    size = 0
    for file in files:
        if not spans or size >= _BYTES_A_TASK or len(spans[-1]) >= _FILES_A_TASK:
            spans.append([])
            size = 0
        spans[-1].append(file)
        size += file.size
    return spans


def _is_sound(files: str, file: File, *, fast: bool) -> bool:
    root = os.open(files, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = open_beneath(root, file.path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        # a name whose content is elsewhere, and gone or, for the kernel, not what it should be
        if error.errno not in {errno.EIO, errno.ENOENT}:
            raise
        return False
    finally:
        os.close(root)
    try:
        if fast and (measured := measure_verity(fd)) is not None:
            return measured == file.digest
        hasher = Hasher()
        while piece := os.read(fd, _PIECE):
            hasher.update(piece)
        return hasher.digest() == file.digest
    except OSError as error:
        # a damaged block: the disk's own word for it, or fs-verity's
        if error.errno != errno.EIO:
            raise
        return False
    finally:
        os.close(fd)
