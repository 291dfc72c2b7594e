"""The form ``tree``: ordinary files, hard-linked to those of the version before.

Lineage: contents are shared only between versions of one ref, so no other app's content can be
attached. A file that was written to since its version was installed, or changed its size or mode,
is no seed; its content is taken from the source.
"""

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from holdall.errors import CorruptError
from holdall.model.digest import Hasher, digest_of
from holdall.model.tree import Directory, File, Symlink, Tree
from holdall.store.contents import ContentSource, Pieces
from holdall.system import crew
from holdall.system.files import write_all
from holdall.system.kernel import enable_verity, sync_filesystem

_LINKS_A_TASK = 1024
_NO_LINK = {errno.ENOENT, errno.EMLINK, errno.EXDEV, errno.EPERM, errno.ENOTDIR}
_REGULAR = 0o100000
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Seed(NamedTuple):
    """An older version's files that may be linked: tree, folder, time of completion (ns)."""

    tree: Tree
    files: str
    complete: int


class Layup(NamedTuple):
    """What laying a tree down takes: each distinct file linked from a seed or produced.

    `linked` pairs the seed's path with the files that get its inode; `fresh` maps a raw digest to
    the files that get its bytes. Sizes in bytes.
    """

    tree: Tree
    seed: Seed | None
    linked: tuple[tuple[str, tuple[File, ...]], ...]
    fresh: dict[bytes, tuple[File, ...]]

    @property
    def fresh_size(self) -> int:
        """The bytes the source must produce."""
        return sum(files[0].size for files in self.fresh.values())

    @property
    def linked_size(self) -> int:
        """The bytes that are shared with the seed."""
        return sum(files[0].size for _, files in self.linked)


def plan(tree: Tree, seed: Seed | None) -> Layup:
    """Decide for every file of `tree` whether the seed has it."""
    wanted: dict[tuple[bytes, bool], list[File]] = {}
    for file in tree.files:
        wanted.setdefault((file.digest, file.executable), []).append(file)
    seeds = seed.tree.files if seed else ()
    held = {(file.digest, file.executable): file.path for file in seeds}
    linked = tuple((held[key], tuple(files)) for key, files in wanted.items() if key in held)
    fresh: dict[bytes, tuple[File, ...]] = {}
    for key, files in wanted.items():
        if key not in held:
            fresh[key[0]] = (*fresh.get(key[0], ()), *files)
    return Layup(tree, seed, linked, fresh)


def lay_down(
    layup: Layup,
    source: ContentSource,
    target: str,
    *,
    verity: bool = False,
    meanwhile: Callable[[], None] | None = None,
    report: Callable[[int], None] = lambda _size: None,
) -> None:
    """Make the files of a tree under the new folder `target`.

    Every byte that enters is checked against its digest, and on its way to the disk when this
    returns. `meanwhile` is done beside the workers. `report` gets the bytes produced as they come;
    together `layup.fresh_size`, and more where the seed was not what it should be. Raises
    CorruptError and OSError.
    """
    os.mkdir(target, 0o755)
    root = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        workshop = _Workshop(layup, source, root, verity=verity)
        workshop.run(report, meanwhile)
        if workshop.spoiled:
            rest = layup._replace(linked=(), fresh=workshop.missing())
            _Workshop(rest, source, root, verity=verity).run(report)
    finally:
        os.close(root)


class _Workshop:
    """What every worker needs.

    `_perform` and what it calls run in forked workers, the rest in the parent.
    """

    def __init__(self, layup: Layup, source: ContentSource, root: int, *, verity: bool) -> None:
        self._layup = layup
        self._source = source
        self._root = root
        self._verity = verity
        self._batches = source.batches(layup.fresh)
        self._links_from = 1 + max((batch.number for batch in self._batches), default=-1)
        self._spans = -(-len(layup.linked) // _LINKS_A_TASK)
        self._folders = {""}
        self.spoiled: list[int] = []

    def run(
        self, report: Callable[[int], None], meanwhile: Callable[[], None] | None = None
    ) -> None:
        def told(task: int, amount: int) -> None:
            if task < self._links_from:
                report(amount)
                sync_filesystem(self._root)
            elif amount:
                self.spoiled.append(task)

        def beside() -> None:
            self._make_rest()
            if meanwhile:
                meanwhile()

        total = self._spans + len(self._batches)
        before = os.umask(0o022)
        try:
            crew.share_out(self._tasks(), total, self._perform, meanwhile=beside, report=told)
        finally:
            os.umask(before)

    def missing(self) -> dict[bytes, tuple[File, ...]]:
        """The files that spoiled spans left out."""
        found: dict[bytes, tuple[File, ...]] = {}
        for task in self.spoiled:
            for _, files in self._span(task):
                left = tuple(file for file in files if not _exists(file.path, self._root))
                if left:
                    digest = left[0].digest
                    found[digest] = (*found.get(digest, ()), *left)
        return found

    def _tasks(self) -> Iterator[int]:
        links = range(self._links_from, self._links_from + self._spans)
        if self._source.arrives:
            yield from links
        yield from self._source.feed(self._batches)
        if not self._source.arrives:
            yield from links

    def _make_rest(self) -> None:
        """The symbolic links, and the folders that no worker has made yet for a file."""
        for entry in self._layup.tree.entries:
            if isinstance(entry, Directory):
                self._make_folder(entry.path)
            elif isinstance(entry, Symlink) and not _exists(entry.path, self._root):
                os.symlink(entry.target, entry.path, dir_fd=self._root)

    def _make_folder(self, path: str) -> None:
        """Make a folder and those above it; another worker may be at it too."""
        if path in self._folders:
            return
        try:
            os.mkdir(path, 0o755, dir_fd=self._root)
        except FileExistsError:
            pass
        except FileNotFoundError:
            self._make_folder(path.rpartition("/")[0])
            with suppress(FileExistsError):
                os.mkdir(path, 0o755, dir_fd=self._root)
        self._folders.add(path)

    def _perform(self, task: int) -> int:
        if task >= self._links_from:
            return self._link(self._span(task))
        made = 0
        for digest, pieces in self._source.produce(task, self._layup.fresh):
            made += self._write(digest, self._layup.fresh[digest], pieces)
        return made

    def _span(self, task: int) -> Sequence[tuple[str, tuple[File, ...]]]:
        start = (task - self._links_from) * _LINKS_A_TASK
        return self._layup.linked[start : start + _LINKS_A_TASK]

    def _link(self, span: Sequence[tuple[str, tuple[File, ...]]]) -> int:
        """Link one span; returns how many of the seed's files are not what they were."""
        seed = self._layup.seed
        if seed is None:
            return len(span)
        folder = os.open(seed.files, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stat, link, root, folders = os.stat, os.link, self._root, self._folders
        complete, spoiled = seed.complete, 0
        try:
            for held, files in span:
                try:
                    status = stat(held, dir_fd=folder, follow_symlinks=False)
                    kept = status.st_mode == _REGULAR | _mode(files[0])
                    if not kept or status.st_size != files[0].size or status.st_mtime_ns > complete:
                        spoiled += 1
                        continue
                    for file in files:
                        folder_of = file.path.rpartition("/")[0]
                        if folder_of not in folders:
                            self._make_folder(folder_of)
                        link(
                            held,
                            file.path,
                            src_dir_fd=folder,
                            dst_dir_fd=root,
                            follow_symlinks=False,
                        )
                except OSError as error:
                    if error.errno not in _NO_LINK:
                        raise
                    spoiled += 1
        finally:
            os.close(folder)
        return spoiled

    def _write(self, digest: bytes, files: tuple[File, ...], pieces: Pieces) -> int:
        """Write a content to all its places: one inode for each mode; returns its size."""
        first = files[0]
        for file in files:
            self._make_folder(file.path.rpartition("/")[0])
        fd = os.open(first.path, _CREATE, _mode(first), dir_fd=self._root)
        try:
            if _pour(fd, pieces, first.size) != digest:
                raise CorruptError(
                    f"The content of {first.path!r} does not have the digest its release names."
                )
        finally:
            os.close(fd)
        made = {first.executable: first}
        for file in files[1:]:
            held = made.get(file.executable)
            if held is None or not self._try_link(held.path, file.path):
                self._copy(first.path, file)
                made[file.executable] = file
        if self._verity:
            for file in made.values():
                self._enable_verity(file.path)
        return first.size

    def _try_link(self, held: str, path: str) -> bool:
        try:
            os.link(held, path, src_dir_fd=self._root, dst_dir_fd=self._root, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            return False
        return True

    def _copy(self, held: str, file: File) -> None:
        source = os.open(held, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._root)
        try:
            fd = os.open(file.path, _CREATE, _mode(file), dir_fd=self._root)
            try:
                while os.sendfile(fd, source, None, 2**24):
                    pass
            finally:
                os.close(fd)
        finally:
            os.close(source)

    def _enable_verity(self, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._root)
        try:
            enable_verity(fd)
        finally:
            os.close(fd)


def _pour(fd: int, pieces: Pieces, size: int) -> bytes:
    """Write pieces to a file and return the digest of all.

    A content that comes whole is hashed without copying.
    """
    hasher = None
    for piece in pieces:
        if len(piece) == size:
            digest = digest_of(piece)
            write_all(fd, piece)
            return digest
        hasher = hasher or Hasher()
        hasher.update(piece)
        write_all(fd, piece)
    return hasher.digest() if hasher else digest_of(b"")


def _mode(file: File) -> int:
    return 0o755 if file.executable else 0o644


def _exists(path: str, root: int) -> bool:
    try:
        os.stat(path, dir_fd=root, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
