"""Laying a tree down as ordinary files: what most forms begin with.

Contents come from seeds, which are older versions of the same ref, or from a source. A file that
was written to since its version was installed, or changed its size or mode, is no seed; its content
is taken from the source.
"""

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain

from holdall.errors import CorruptError, NotFoundError
from holdall.forms.seeding import Layup, Loan, Objects, Seed, uncovered
from holdall.model.digest import Hasher, digest_of
from holdall.model.tree import Directory, File, Symlink
from holdall.store.contents import ContentSource, Pieces
from holdall.system import crew
from holdall.system.files import write_all
from holdall.system.kernel import clone_file, enable_verity, open_beneath, sync_filesystem

_LINKS_A_TASK = 1024
NO_LINK = {errno.ENOENT, errno.EMLINK, errno.EXDEV, errno.EPERM, errno.ENOTDIR}
_GONE = {errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.EXDEV, errno.EIO}
_REGULAR = 0o100000
_MODES = (0o644, 0o755)
_PIECE = 2**20
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

Give = Callable[[File, int, bytes | memoryview | None], bool]
"""Gives a file its path below a folder as a link of an inode with its content; False for none.

It gets the whole content where that is in memory.
"""


def lay_down(
    layup: Layup,
    source: ContentSource,
    target: str,
    *,
    verity: bool = False,
    meanwhile: Callable[[], None] | None = None,
    report: Callable[[int], None] = lambda _size: None,
    inside: bool = False,
    give: Give | None = None,
    passing: bool = False,
) -> None:
    """Make the files of a tree under the new folder `target`; with `inside`, in one that is there.

    Every byte that enters is checked against its digest, and on its way to the disk when this
    returns. `meanwhile` is done beside the workers. `report` gets the bytes produced as they come;
    together `layup.fresh_size`, and more where a seed was not what it should be. What `give` has is
    not written, but still has to come, and be right. What is `passing` is not brought to the disk.
    Raises CorruptError, NotFoundError when the
    source lacks what a seed should have had, and OSError.
    """
    if not inside:
        os.mkdir(target, 0o755)
    root = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        workshop = _Workshop(layup, source, root, verity=verity, give=give, passing=passing)
        workshop.run(report, meanwhile)
        if workshop.spoiled:
            rest = layup._replace(loans=(), fresh=workshop.missing())
            if paths := uncovered(rest.fresh, source):
                more = f" and {len(paths) - 1} more are" if len(paths) > 1 else " is"
                raise NotFoundError(
                    f"Of what an installed version should have, {paths[0]!a}{more} missing or "
                    "changed; give the full bundle too."
                )
            again = _Workshop(rest, source, root, verity=verity, give=give, passing=passing)
            again.run(report)
    finally:
        os.close(root)


class _Workshop:
    """What every worker needs.

    `_perform` and what it calls run in forked workers, the rest in the parent.
    """

    def __init__(
        self,
        layup: Layup,
        source: ContentSource,
        root: int,
        *,
        verity: bool,
        give: Give | None,
        passing: bool,
    ) -> None:
        self._layup = layup
        self._source = source
        self._root = root
        self._verity = verity
        self._give = give
        self._passing = passing
        self._batches = source.batches(layup.fresh)
        self._links_from = 1 + max((batch.number for batch in self._batches), default=-1)
        self._spans = [
            Loan(loan.seed, loan.items[start : start + _LINKS_A_TASK])
            for loan in layup.loans
            for start in range(0, len(loan.items), _LINKS_A_TASK)
        ]
        self._folders = {""}
        self.spoiled: list[int] = []

    def run(
        self, report: Callable[[int], None], meanwhile: Callable[[], None] | None = None
    ) -> None:
        def told(task: int, amount: int) -> None:
            if task < self._links_from:
                report(amount)
                if not self._passing:
                    sync_filesystem(self._root)
            elif amount:
                self.spoiled.append(task)

        def beside() -> None:
            self._make_rest()
            if meanwhile:
                meanwhile()

        total = len(self._spans) + len(self._batches)
        before = os.umask(0o022)
        try:
            crew.share_out(self._tasks(), total, self._perform, meanwhile=beside, report=told)
        finally:
            os.umask(before)

    def missing(self) -> dict[bytes, tuple[File, ...]]:
        """The files that spoiled spans left out."""
        found: dict[bytes, tuple[File, ...]] = {}
        for task in self.spoiled:
            for _, files in self._span(task).items:
                left = tuple(file for file in files if not _exists(file.path, self._root))
                if left:
                    digest = left[0].digest
                    found[digest] = (*found.get(digest, ()), *left)
        return found

    def _tasks(self) -> Iterator[int]:
        links = range(self._links_from, self._links_from + len(self._spans))
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

    def _span(self, task: int) -> Loan:
        return self._spans[task - self._links_from]

    def _link(self, span: Loan) -> int:
        """Link one span; returns how many of the seed's files are not what they were."""
        folder = os.open(span.seed.files, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if isinstance(span.seed, Objects):
                return sum(not self._adopt(folder, *item) for item in span.items)
            return self._share(folder, span.seed, span.items)
        finally:
            os.close(folder)

    def _share(self, folder: int, seed: Seed, items: Sequence[tuple[str, tuple[File, ...]]]) -> int:
        stat, link, root, folders = os.stat, os.link, self._root, self._folders
        spoiled, apart, complete = 0, seed.apart, seed.complete
        for held, files in items:
            try:
                status = stat(held, dir_fd=folder, follow_symlinks=False)
                mode = status.st_mode - _REGULAR
                kept = mode in _MODES and status.st_size == files[0].size
                if not kept or status.st_mtime_ns > complete:
                    spoiled += 1
                    continue
                if apart or mode != _mode(files[0]):
                    spoiled += not self._take_over(held, files, folder)
                    continue
                for file in files:
                    folder_of = file.path.rpartition("/")[0]
                    if folder_of not in folders:
                        self._make_folder(folder_of)
                    link(held, file.path, src_dir_fd=folder, dst_dir_fd=root, follow_symlinks=False)
            except OSError as error:
                if error.errno == errno.EXDEV:
                    apart = True
                    spoiled += not self._take_over(held, files, folder)
                elif error.errno in NO_LINK:
                    spoiled += 1
                else:
                    raise
        return spoiled

    def _take_over(self, held: str, files: tuple[File, ...], folder: int) -> bool:
        """Clone or copy a seed's file to its places; False when it is not what it should be.

        A clone is trusted as a link would be; what is copied is checked.
        """
        first = files[0]
        self._make_folder(first.path.rpartition("/")[0])
        try:
            source = open_beneath(folder, held, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno not in _GONE:
                raise
            return False
        try:
            given = self._was_given(first)
            fd = None if given else os.open(first.path, _CREATE, _mode(first), dir_fd=self._root)
            try:
                cloned = fd is not None and clone_file(source, fd)
                right = cloned or _pour(fd, _read(source), -1) == first.digest
            except OSError as error:
                if error.errno not in _GONE:
                    raise
                right = False
            finally:
                if fd is not None:
                    os.close(fd)
        finally:
            os.close(source)
        if right:
            self._spread(files)
        else:
            os.unlink(first.path, dir_fd=self._root)
        return right

    def _adopt(self, folder: int, held: str, files: tuple[File, ...]) -> bool:
        """Give an object its places; False when it is not there any more."""
        first = files[0]
        try:
            status = os.stat(held, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        if not stat.S_ISREG(status.st_mode) or status.st_size != first.size:
            return False
        if stat.S_IMODE(status.st_mode) != _mode(first):
            os.chmod(held, _mode(first), dir_fd=folder)
        self._make_folder(first.path.rpartition("/")[0])
        if not self._was_given(first) and not self._try_link(held, first.path, folder):
            self._copy(held, first, folder)
        self._spread(files)
        return True

    def _write(self, digest: bytes, files: tuple[File, ...], pieces: Pieces) -> int:
        """Write a content to all its places; returns its size."""
        first = files[0]
        self._make_folder(first.path.rpartition("/")[0])
        shown = self._shared(first, pieces) if self._give else self._fresh(first, pieces)
        if shown != digest:
            raise CorruptError(
                f"The content of {first.path!r} does not have the digest its release names."
            )
        self._spread(files)
        return first.size

    def _fresh(self, file: File, pieces: Pieces) -> bytes:
        """Write a content to a new file; returns its digest."""
        fd = os.open(file.path, _CREATE, _mode(file), dir_fd=self._root)
        try:
            return _pour(fd, pieces, file.size)
        finally:
            os.close(fd)

    def _shared(self, file: File, pieces: Pieces) -> bytes:
        """The same, where a file that was given is as good."""
        rest = iter(pieces)
        piece = next(rest, b"")
        if len(piece) != file.size:
            pieces = chain((piece,), rest)
            given = self._was_given(file)
            return _pour(None, pieces, -1) if given else self._fresh(file, pieces)
        shown = digest_of(piece)
        # only what is right may say what a pool's object should be
        if shown == file.digest and not self._was_given(file, piece):
            fd = os.open(file.path, _CREATE, _mode(file), dir_fd=self._root)
            try:
                write_all(fd, piece)
            finally:
                os.close(fd)
        return shown

    def _was_given(self, file: File, whole: bytes | memoryview | None = None) -> bool:
        return self._give is not None and self._give(file, self._root, whole)

    def _spread(self, files: tuple[File, ...]) -> None:
        """Give a content that has its first place the others: one inode for each mode."""
        first = files[0]
        made = {first.executable: first}
        for file in files[1:]:
            self._make_folder(file.path.rpartition("/")[0])
            held = made.get(file.executable)
            if held is None or not self._try_link(held.path, file.path, self._root):
                if not self._was_given(file):
                    self._copy(first.path, file, self._root)
                made[file.executable] = file
        if self._verity:
            for file in made.values():
                self._enable_verity(file.path)

    def _try_link(self, held: str, path: str, folder: int) -> bool:
        try:
            os.link(held, path, src_dir_fd=folder, dst_dir_fd=self._root, follow_symlinks=False)
        except OSError as error:
            if error.errno not in NO_LINK:
                raise
            return False
        return True

    def _copy(self, held: str, file: File, folder: int) -> None:
        source = os.open(held, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
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


def _pour(fd: int | None, pieces: Pieces, size: int) -> bytes:
    """Write pieces to a file, if there is one to write, and return the digest of all.

    A content that comes whole is hashed without copying.
    """
    hasher = None
    for piece in pieces:
        if fd is not None:
            write_all(fd, piece)
        if len(piece) == size:
            return digest_of(piece)
        hasher = hasher or Hasher()
        hasher.update(piece)
    return hasher.digest() if hasher else digest_of(b"")


def _read(fd: int) -> Iterator[bytes]:
    while piece := os.read(fd, _PIECE):
        yield piece


def _mode(file: File) -> int:
    return 0o755 if file.executable else 0o644


def _exists(path: str, root: int) -> bool:
    try:
        os.stat(path, dir_fd=root, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
