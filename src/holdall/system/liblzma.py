"""Encoding LZMA2 with a preset dictionary, which Python's own module decodes but cannot encode.

Uses the liblzma that comes with every Linux distribution (API: lzma/container.h, lzma/lzma12.h,
liblzma 5.2 and later). Deterministic for one version of liblzma.
"""

import ctypes
import functools

from holdall.errors import ProgramError, UnsupportedError

_LZMA2 = 0x21
_END = 2**64 - 1
_EXTREME_9 = 9 | 1 << 31
_SMALLEST_DICTIONARY = 4096
_HASH_CHAIN_4 = 0x04


class _Options(ctypes.Structure):
    _fields_ = (  # type: ignore[mutable-override]  # ctypes reads it once
        ("dict_size", ctypes.c_uint32),
        ("preset_dict", ctypes.c_char_p),
        ("preset_dict_size", ctypes.c_uint32),
        ("lc", ctypes.c_uint32),
        ("lp", ctypes.c_uint32),
        ("pb", ctypes.c_uint32),
        ("mode", ctypes.c_int),
        ("nice_len", ctypes.c_uint32),
        ("mf", ctypes.c_int),
        ("depth", ctypes.c_uint32),
        ("reserved", ctypes.c_uint32 * 8),
        ("reserved_enums", ctypes.c_int * 4),
        ("reserved_pointers", ctypes.c_void_p * 2),
    )


class _Filter(ctypes.Structure):
    _fields_ = (  # type: ignore[mutable-override]  # ctypes reads it once
        ("id", ctypes.c_uint64),
        ("options", ctypes.c_void_p),
    )


@functools.cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("liblzma.so.5")
    except OSError as error:
        raise UnsupportedError(
            "Making increments takes liblzma 5 (the package liblzma5 or xz-libs), which is not"
            " installed."
        ) from error
    library.lzma_raw_buffer_encode.argtypes = [
        ctypes.POINTER(_Filter),
        ctypes.c_void_p,
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_char_p,
        ctypes.POINTER(ctypes.c_size_t),
        ctypes.c_size_t,
    ]
    return library


def encode_lzma2(
    data: bytes, prefix: bytes, *, literal: int, alignment: int, quick: bool = False
) -> bytes:
    """A raw LZMA2 stream of `data` whose dictionary begins with `prefix`.

    `literal` is LZMA's lc, `alignment` the power of two that is both its pb and, as far as lc + lp
    may be 4, its lp. `quick` searches the prefix by hash chains instead of binary trees: a fifth of
    the time, one or two hundredths more bytes. Memory: about 12 times the length of both.
    """
    library = _library()
    options = _Options()
    library.lzma_lzma_preset(ctypes.byref(options), _EXTREME_9)
    options.dict_size = max(_SMALLEST_DICTIONARY, len(prefix) + len(data))
    options.lc, options.pb = literal, alignment
    if quick:
        options.mf = _HASH_CHAIN_4
    options.lp = min(alignment, 4 - literal) if alignment else 0
    if prefix:
        options.preset_dict, options.preset_dict_size = prefix, len(prefix)
    filters = (_Filter * 2)(_Filter(_LZMA2, ctypes.addressof(options)), _Filter(_END, None))
    room = len(data) + len(data) // 64 + 4096
    out = ctypes.create_string_buffer(room)
    used = ctypes.c_size_t(0)
    status = library.lzma_raw_buffer_encode(
        filters, None, data, len(data), out, ctypes.byref(used), room
    )
    if status:
        raise ProgramError(f"liblzma could not compress {len(data)} bytes: error {status}.")
    return bytes(memoryview(out)[: used.value])
