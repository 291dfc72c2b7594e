"""zstd frames, whole and bounded (RFC 8878)."""

import sys
from collections.abc import Iterator

from holdall.errors import CorruptError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_MIN_WINDOW, _MAX_WINDOW = 10, 27
_PIECE = 2**18


def compress(data: bytes, level: int) -> bytes:
    """One frame of `data`, with its length and no checksum, in a window that covers it."""
    window = min(max((len(data) - 1).bit_length() if data else 0, _MIN_WINDOW), _MAX_WINDOW)
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: level,
        zstd.CompressionParameter.window_log: window,
        zstd.CompressionParameter.content_size_flag: 1,
        zstd.CompressionParameter.checksum_flag: 0,
    }
    return zstd.compress(data, options=options)


def decompress(frame: bytes | memoryview, size: int) -> bytes:
    """The `size` bytes a frame holds.

    Raises CorruptError for any other length, having made one byte too many at most.
    """
    decoder = _decoder()
    try:
        data = decoder.decompress(frame, max_length=size + 1)
    except zstd.ZstdError as error:
        raise CorruptError(f"A compressed part cannot be decoded: {error}.") from error
    if len(data) != size or not decoder.eof or decoder.unused_data:
        raise CorruptError("A compressed part does not hold as many bytes as promised.")
    return data


def decompress_pieces(frame: bytes | memoryview, size: int) -> Iterator[bytes]:
    """The same in pieces of at most 256 KiB; what came before an error was already given."""
    decoder = _decoder()
    done = 0
    try:
        while not decoder.eof:
            piece = decoder.decompress(frame, max_length=min(_PIECE, size - done + 1))
            frame = b""
            done += len(piece)
            if done > size or (not piece and not decoder.eof):
                break
            yield piece
    except zstd.ZstdError as error:
        raise CorruptError(f"A compressed part cannot be decoded: {error}.") from error
    if done != size or not decoder.eof or decoder.unused_data:
        raise CorruptError("A compressed part does not hold as many bytes as promised.")


def sized(data: bytes, compressed: bytes) -> bytes:
    """What a section of a bundle holds: the decoded length, then one zstd frame."""
    return len(data).to_bytes(8, "little") + compressed


def unpack(body: bytes, limit: int = 2**62) -> bytes:
    """What such a body was made of; raises CorruptError, without a limit for what was checked."""
    size = int.from_bytes(body[:8], "little")
    if len(body) < 8 or size > limit:
        raise CorruptError("A section of the bundle says it is longer than it may be.")
    return decompress(memoryview(body)[8:], size)


def decompress_up_to(frame: bytes, limit: int) -> bytes:
    """All that a frame holds, which says its length; raises CorruptError over `limit` bytes."""
    try:
        size = zstd.get_frame_info(frame).decompressed_size
    except zstd.ZstdError as error:
        raise CorruptError(f"A compressed part cannot be decoded: {error}.") from error
    if not size or size > limit:
        raise CorruptError(f"A compressed part holds more than the {limit} bytes allowed.")
    return decompress(frame, size)


def _decoder() -> zstd.ZstdDecompressor:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _MAX_WINDOW})
