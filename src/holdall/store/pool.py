"""The pool: contents under their digests, which deployments have hard links of.

There is one for the whole store, and in scope "app" one for each app. An object is an inode with a
name here and one for each place it has in deployments, so its link count says whether it is needed.
It enters when its bytes are on the disk, and with the time 0: whatever writes to it changes that,
and what was changed is never given out.

Sweeping takes no lock. All it takes away is names here, and deployments have names of their own: a
sweep between another process's look at an object and its link costs a shared inode at most, never a
file. So whoever wants an object links it first and looks at it then.

Folders of a pool are opened without following a link, and only names that an object may have are
ever taken away: what somebody put in their place is refused.
"""

import errno
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import NamedTuple

from holdall.errors import CorruptError
from holdall.model.digest import Hasher
from holdall.model.tree import File
from holdall.system import crew
from holdall.system.kernel import sync_filesystem

PROGRAM = ".x"
_BOTH = (False, True)
_BY_APP = "by-app"
_PIECE = 2**20
_OBJECTS_A_TASK = 512
_REGULAR = 0o100000
_NONE = {errno.ENOENT, errno.ENOTDIR, errno.EXDEV, errno.EPERM, errno.EMLINK}
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_HEX = frozenset("0123456789abcdef")


class Pool(NamedTuple):
    """The objects an app may share: its own, or the whole store's."""

    folder: str

    def path(self, digest: bytes, *, executable: bool) -> str:
        """Where the object of a content is, or would be."""
        return f"{self.folder}/{_name(digest, executable)}"

    def is_object(self, digest: bytes, path: str) -> bool:
        """Whether a file is the object of a content, in any mode."""
        with suppress(OSError):
            found = os.lstat(path)
            for executable in _BOTH:
                with suppress(FileNotFoundError):
                    held = os.lstat(self.path(digest, executable=executable))
                    if os.path.samestat(held, found):
                        return True
        return False

    def _drop(self, file: File) -> None:
        """Take the object of a content away."""
        shelf, _, name = _name(file.digest, file.executable).partition("/")
        with _opened(f"{self.folder}/{shelf}") as held:
            if held is not None:
                _unlink(name, held)

    def give(self, file: File, root: int, whole: bytes | memoryview | None = None) -> bool:
        """Give `file` its path below the folder `root`, as a link of the object with its content.

        False where there is none. The object is read: it must be `whole`, which is the content
        where the caller has it in memory, or have the digest. One that is not is dropped. Whoever
        asks must be able to show the content; the link is for nobody else's eyes before.
        """
        held = self.path(file.digest, executable=file.executable)
        try:
            os.link(held, file.path, dst_dir_fd=root, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NONE:
                raise
            if error.errno == errno.EMLINK:
                # as many names as an inode may have: the next one of this content takes its place
                self._drop(file)
            return False
        if _is_sound(file, root, whole):
            return True
        os.unlink(file.path, dir_fd=root)
        self._drop(file)
        return False

    def having(self, digests: Iterable[bytes]) -> set[bytes]:
        """Those of the contents that have an object of any mode; what it holds is not looked at."""
        wanted = {_name(digest, executable): digest for digest in digests for executable in _BOTH}
        return {wanted[name] for name in wanted.keys() - self._missing(wanted)}

    def enter(self, files: Iterable[File], folder: str) -> None:
        """Take in those contents of files below `folder` that are not here, as links.

        The file system is synced before the first gets its name. For the holder of the store's
        lock, who made the files or has looked at them.
        """
        wanted = {_name(file.digest, file.executable): file.path for file in files}
        missing = [(name, wanted[name]) for name in self._missing(wanted)]
        if not missing:
            return
        with _opened(os.path.dirname(self.folder)), _opened(self.folder):
            pass  # neither may be a link
        top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _in_shares(missing, partial(_mark, top))
            sync_filesystem(top)
            for shelf in {name[:2] for name, _ in missing}:
                _make(f"{self.folder}/{shelf}")
            _in_shares(missing, partial(self._link, top))
        finally:
            os.close(top)

    def _missing(self, names: Iterable[str]) -> list[str]:
        """Those of the names that no object has."""
        shelves: dict[str, set[str]] = {}
        for name in names:
            shelves.setdefault(name[:2], set()).add(name[3:])
        return [
            f"{shelf}/{name}"
            for shelf, wanted in shelves.items()
            for name in wanted.difference(_names(f"{self.folder}/{shelf}"))
        ]

    def _link(self, top: int, objects: Sequence[tuple[str, str]]) -> None:
        shelves: dict[str, list[tuple[str, str]]] = {}
        for name, path in objects:
            shelf, _, rest = name.partition("/")
            shelves.setdefault(shelf, []).append((rest, path))
        for shelf, named in shelves.items():
            while not self._fill(shelf, named, top):
                # a sweep took the folder away, which was still empty
                _make(f"{self.folder}/{shelf}")

    def _fill(self, shelf: str, named: Sequence[tuple[str, str]], top: int) -> bool:
        """Put objects on a shelf; False where that is gone."""
        with _opened(f"{self.folder}/{shelf}") as held:
            return held is not None and all(_enter(path, name, top, held) for name, path in named)


def pool_of(store: str, scope: str, app_id: str) -> Pool:
    """The pool of an app: its own in scope "app", that of the store in scope "store"."""
    return Pool(f"{store}/pool/{_BY_APP}/{app_id}" if scope == "app" else f"{store}/pool")


def sweep(store: str) -> int:
    """Free the objects that no deployment has; returns the bytes that became free.

    Needs no lock. May be ended at any moment, and be done by several at once.
    """
    freed = 0
    pools = _pools(store)
    named: dict[int, list[tuple[str, str]]] = {}
    for folder in pools:
        for held, shelf, name, status in _objects(folder):
            if status.st_nlink == 1:
                freed += _unlink(name, held) * status.st_blocks * 512
            elif len(pools) > 1:
                names = named.setdefault(status.st_ino, [])
                names.append((shelf, name))
                if len(names) == status.st_nlink:
                    # the scope was another one before, and only pools have it any more
                    gone = sum(_take_away(*one) for one in names)
                    freed += (gone == len(names)) * status.st_blocks * 512
    _clear(store)
    return freed


def drop_damaged(store: str, digests: Collection[bytes]) -> None:
    """Take those objects out of every pool that are not what their names say; they are read.

    Deployments keep what they have of them.
    """
    for folder in _pools(store):
        for digest in digests:
            for executable in _BOTH:
                shelf, _, name = _name(digest, executable).partition("/")
                with _opened(f"{folder}/{shelf}") as held, suppress(FileNotFoundError):
                    if held is not None:
                        status = os.stat(name, dir_fd=held, follow_symlinks=False)
                        file = File(name, digest, status.st_size, executable)
                        if not _is_sound(file, held, None):
                            _unlink(name, held)


def _name(digest: bytes, executable: bool) -> str:  # noqa: FBT001 - half of an object's key
    digits = digest.hex()
    return f"{digits[:2]}/{digits}{PROGRAM if executable else ''}"


def _is_sound(file: File, root: int, whole: bytes | memoryview | None) -> bool:
    """Whether a link that was given is the object it should be; reads all of it."""
    try:
        fd = os.open(file.path, _READ, dir_fd=root)
    except OSError as error:
        if error.errno not in {errno.ELOOP, errno.ENXIO, errno.EIO, errno.EACCES}:
            raise
        return False
    try:
        status = os.fstat(fd)
        mode = _REGULAR | (0o755 if file.executable else 0o644)
        if status.st_mode != mode or status.st_size != file.size or status.st_mtime_ns:
            return False
        if whole is not None:
            return _read(fd, file.size) == bytes(whole)
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


def _read(fd: int, size: int) -> bytes:
    data = os.read(fd, size)
    while len(data) < size and (more := os.read(fd, size - len(data))):
        data += more
    return data


def _mark(top: int, objects: Sequence[tuple[str, str]]) -> None:
    for _, path in objects:
        os.utime(path, ns=(0, 0), dir_fd=top, follow_symlinks=False)


def _enter(path: str, name: str, top: int, shelf: int) -> bool:
    """Give an object its name; False where its folder is gone."""
    try:
        os.link(path, name, src_dir_fd=top, dst_dir_fd=shelf, follow_symlinks=False)
    except FileNotFoundError:
        return False
    except OSError as error:
        # an inode with as many names as it may have is shared without the pool
        if error.errno not in {errno.EEXIST, errno.EMLINK}:
            raise
    return True


def _in_shares(objects: Sequence[tuple[str, str]], job: "partial[None]") -> None:
    """Do a job for all objects, by workers where there are many."""
    spans = range(0, len(objects), _OBJECTS_A_TASK)
    if len(spans) <= 2:
        job(objects)
        return

    def perform(task: int) -> int:
        job(objects[spans[task] : spans[task] + _OBJECTS_A_TASK])
        return 0

    crew.share_out(range(len(spans)), len(spans), perform)


def _make(folder: str) -> None:
    """Make a folder and those above it, for nobody else to look into."""
    while True:
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            return
        except FileNotFoundError:
            # again and again: a sweep may take those above away, which are empty
            _make(os.path.dirname(folder))
        else:
            return


@contextmanager
def _opened(folder: str) -> Iterator[int | None]:
    """A folder of a pool, None where there is none; raises CorruptError for what is no folder."""
    try:
        fd = os.open(folder, _FOLDER)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        if error.errno not in {errno.ELOOP, errno.ENOTDIR}:
            raise
        raise CorruptError(
            f"{folder} should be a folder of the pool; move what is there away."
        ) from error
    try:
        yield fd
    finally:
        os.close(fd)


def _pools(store: str) -> list[str]:
    """The folders of all pools that there are."""
    top = f"{store}/pool"
    with _opened(top) as held:
        if held is None:
            return []
    return [top, *(f"{top}/{_BY_APP}/{name}" for name in _names(f"{top}/{_BY_APP}"))]


def _names(folder: str) -> list[str]:
    """The sorted names in a folder of a pool; none where there is none."""
    with _opened(folder) as held:
        return sorted(os.listdir(held)) if held is not None else []


def _objects(folder: str) -> Iterator[tuple[int, str, str, os.stat_result]]:
    """The objects of a pool: an open folder, its path, a name in it, what the system says of it."""
    for number in filter(_is_shelf, _names(folder)):
        shelf = f"{folder}/{number}"
        with _opened(shelf) as held:
            for name in sorted(os.listdir(held)) if held is not None else ():
                if held is not None and _is_object(name, number):
                    with suppress(FileNotFoundError):
                        status = os.stat(name, dir_fd=held, follow_symlinks=False)
                        yield held, shelf, name, status


def _take_away(shelf: str, name: str) -> bool:
    """Remove an object by the path of its folder; False when it was gone."""
    with _opened(shelf) as held:
        return held is not None and _unlink(name, held)


def _clear(store: str) -> None:
    """Remove folders that are empty."""
    top = f"{store}/pool"
    for folder in reversed(_pools(store)):
        for shelf in filter(_is_shelf, _names(folder)):
            with suppress(OSError):
                os.rmdir(f"{folder}/{shelf}")
        with suppress(OSError):
            os.rmdir(folder)
    for folder in (f"{top}/{_BY_APP}", top):
        with suppress(OSError):
            os.rmdir(folder)


def _is_shelf(name: str) -> bool:
    return len(name) == 2 and _HEX.issuperset(name)


def _is_object(name: str, shelf: str) -> bool:
    """Whether an object of a shelf may have this name."""
    digits = name.removesuffix(PROGRAM)
    return len(digits) == 64 and _HEX.issuperset(digits) and digits.startswith(shelf)


def _unlink(name: str, folder: int) -> bool:
    """Take a name in an open folder away; False when it was gone."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    return True
