"""Decoding with a prefix: raw LZMA2 streams, and zstd frames.

Format: docs/reference/formats/increment.md, "LZMA2 with a prefix".
"""

import lzma
import sys
from collections.abc import Iterable

from holdall.errors import CorruptError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_CHUNK = 2**16
_PIECE = 2**20
_ROOM = 2**24  # what is set aside at most before any of it is there
_SMALLEST_DICTIONARY = 4096
_MAX_WINDOW = 27
_SHORTEST_DICTIONARY = 8  # zstd's encoder makes no use of a shorter one

Prefix = Iterable[bytes | memoryview]


def decode_lzma2(
    data: bytes | memoryview, size: int, prefix: Prefix = (), *, length: int | None = None
) -> memoryview:
    """The `size` bytes of an LZMA2 stream made with a prefix, which comes in parts.

    With `length`, which the prefix does not exceed, its parts are taken one by one, and need not be
    kept. Raises CorruptError for anything else. Memory: prefix and result once more.
    """
    if length is None:
        prefix = tuple(prefix)
        length = sum(map(len, prefix))
    room = max(_SMALLEST_DICTIONARY, size + length)
    decoder = lzma.LZMADecompressor(
        lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": room}]
    )
    try:
        for chunk in _as_chunks(prefix):
            decoder.decompress(chunk)
        result, end = _decoded(decoder, data, size)
    except (lzma.LZMAError, EOFError) as error:
        raise CorruptError("A part of the increment cannot be decoded.") from error
    if end != size or not decoder.eof or decoder.unused_data:
        raise CorruptError("A part of the increment does not hold as many bytes as promised.")
    return result


def _decoded(
    decoder: lzma.LZMADecompressor, data: bytes | memoryview, size: int
) -> tuple[memoryview, int]:
    """What comes out, in memory once, and how many bytes: no more than one over `size`."""
    result, end = bytearray(size if size <= _ROOM else 0), 0
    piece = decoder.decompress(data, max_length=min(max(size, 1), _PIECE))
    while piece:
        result[end : end + len(piece)] = piece
        end += len(piece)
        if end > size or decoder.eof:
            break
        piece = decoder.decompress(b"", max_length=min(max(size - end, 1), _PIECE))
    return memoryview(result), end


def _as_chunks(prefix: Prefix) -> Iterable[bytes]:
    """The prefix as uncompressed LZMA2 chunks; the first resets the dictionary."""
    control = 1
    for part in prefix:
        view = memoryview(part)
        for at in range(0, len(view), _CHUNK):
            piece = view[at : at + _CHUNK]
            yield b"".join((bytes((control,)), (len(piece) - 1).to_bytes(2, "big"), piece))
            control = 2


def decode_zstd(data: bytes | memoryview, size: int, prefix: Prefix = ()) -> bytes:
    """The `size` bytes of a zstd frame made with a prefix; raises CorruptError."""
    options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _MAX_WINDOW}
    joined = b"".join(prefix)
    usable = len(joined) >= _SHORTEST_DICTIONARY
    dictionary = zstd.ZstdDict(joined, is_raw=True).as_prefix if usable else None
    decoder = zstd.ZstdDecompressor(zstd_dict=dictionary, options=options)
    try:
        result = decoder.decompress(data, max_length=size + 1)
        if len(result) == size and not decoder.eof:
            result += decoder.decompress(b"", max_length=1)
    except (zstd.ZstdError, EOFError) as error:
        raise CorruptError("A part of the increment cannot be decoded.") from error
    if len(result) != size or not decoder.eof or decoder.unused_data:
        raise CorruptError("A part of the increment does not hold as many bytes as promised.")
    return result
