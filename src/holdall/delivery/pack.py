"""Packing a tree: one tar stream, cut into zstd frames.

Any number of workers compress and decode frames alone.

Deterministic: contents by kind of file, then path; frames cut by size; one version of libzstd gives
the same bytes. Memory: two frames and one compressor for each worker, about 250 MB a worker at
level 19 and 32 MiB frames.
"""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from typing import BinaryIO, NamedTuple

from holdall.delivery.index import MAX_FRAME, Place, encode
from holdall.delivery.tarball import END, header, link_header, padding
from holdall.delivery.zstandard import compress
from holdall.errors import UsageError
from holdall.model.tree import File, Tree

FRAME_SIZE = 16 * 2**20
# frames of files smaller than this on average hold twice as much, since they gain most from it
# frames of files smaller than this on average are longer, since they gain most from it
_SMALL = 32 * 2**10
_LONG = 24 * 2**20
MIN_FRAME = 64 * 2**10
LEVEL = 19

Read = Callable[[File], Iterator[bytes]]


class Packed(NamedTuple):
    """What was written: the index's bytes, and the length of all frames together."""

    index: bytes  # type: ignore[assignment]  # hides a method of tuples
    stored: int


def check_frame_size(size: int | None) -> None:
    """Raise UsageError for a length that no frame may have."""
    if size is not None and not MIN_FRAME <= size <= MAX_FRAME:
        raise UsageError(f"A frame holds between {MIN_FRAME} and {MAX_FRAME} bytes, not {size}.")


def pack(
    tree: Tree,
    read: Read,
    out: BinaryIO,
    *,
    frame_size: int | None = None,
    level: int = LEVEL,
    workers: int = 2,
    report: Callable[[int], None] = lambda _raw: None,
) -> Packed:
    """Write the frames of `tree` to `out`.

    `read(file)` gives a file's bytes in pieces of at most a frame.

    `report` gets the raw bytes of each frame written, which add up to `stream_size(tree)`.
    """
    check_frame_size(frame_size)
    places: list[Place] = []
    frames: list[tuple[int, int, bytes]] = []
    pending: deque[tuple[int, Future[bytes]]] = deque()

    def write_oldest() -> None:
        raw, future = pending.popleft()
        stored = future.result()
        frames.append((raw, len(stored), sha256(stored).digest()))
        out.write(stored)
        report(raw)

    with ThreadPoolExecutor(workers) as pool:
        for data in _slices(_members(tree, read), places, frame_size):
            pending.append((len(data), pool.submit(compress, data, level)))
            if len(pending) > workers:
                write_oldest()
        while pending:
            write_oldest()
    return Packed(encode(frames, places), sum(stored for _, stored, _ in frames))


def stream_size(tree: Tree) -> int:
    """The length of the tar stream of `tree`, in bytes."""
    head = sum(len(member.header) for member in _members(tree, lambda _: iter(())))
    body = sum(size + len(padding(size)) for size in _content_sizes(tree))
    return head + body + len(END)


class _Member(NamedTuple):
    header: bytes
    content: int | None
    size: int
    read: Callable[[], Iterator[bytes]]


def _members(tree: Tree, read: Read) -> Iterator[_Member]:
    for entry in tree.entries:
        if not isinstance(entry, File):
            yield _Member(header(entry), None, 0, lambda: iter(()))
    numbers = {digest: number for number, digest in enumerate(tree.contents)}
    firsts: dict[tuple[bytes, bool], str] = {}
    packed: set[bytes] = set()
    links = []
    for file in sorted(tree.files, key=_kind):
        first = firsts.setdefault((file.digest, file.executable), file.path)
        if first != file.path:
            links.append(link_header(file, first))
            continue
        number = None if file.digest in packed else numbers[file.digest]
        packed.add(file.digest)
        yield _Member(header(file), number, file.size, lambda file=file: read(file))  # type: ignore[misc]
    for link in links:
        yield _Member(link, None, 0, lambda: iter(()))


def _kind(file: File) -> tuple[str, str]:
    name = file.path.rpartition("/")[2]
    return name[name.rfind(".") :] if "." in name[1:] else "", file.path


def _content_sizes(tree: Tree) -> list[int]:
    return list({(file.digest, file.executable): file.size for file in tree.files}.values())


def _slices(
    members: Iterator[_Member], places: list[Place], frame_size: int | None
) -> Iterator[bytes]:
    """Cut the stream into frames: whole members while they fit.

    One longer than a frame starts one and is cut.
    """
    buffer, position, count = bytearray(), 0, 0
    for member in members:
        whole = len(member.header) + member.size + len(padding(member.size))
        limit = frame_size or (_LONG if len(buffer) + whole < (count + 1) * _SMALL else FRAME_SIZE)
        if buffer and len(buffer) + whole > limit:
            yield bytes(buffer)
            position += len(buffer)
            buffer.clear()
            count = 0
        count += 1
        buffer += member.header
        if member.content is not None:
            places.append(Place(member.content, position + len(buffer), member.size))
        taken = 0
        for piece in member.read():
            taken += len(piece)
            buffer += piece
            while len(buffer) > limit:
                yield bytes(buffer[:limit])
                position += limit
                del buffer[:limit]
        if taken != member.size:
            raise UsageError(
                "A file changed while it was packed; build again when nothing writes to the folder."
            )
        buffer += padding(member.size)
    if len(buffer) + len(END) > (frame_size or _LONG):
        yield bytes(buffer)
        buffer.clear()
    yield bytes(buffer) + END
