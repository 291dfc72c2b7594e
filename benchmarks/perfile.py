"""``python -m benchmarks.perfile ENGINE OLD NEW``: a delta for every changed file of a tree.

A program of its own, so that it can be ended when it takes too long; what it has done by then it
has printed. The first line says how much there is to do, each further one what a file took; the
largest files come last.
"""

import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import lzma
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

from benchmarks.pairing import novel, partners

MODULES = {"bsdiff": "bsdiff4", "hdiffpatch": "hdiffpatch"}
_WINDOW = 26


class _Bsdiff4(Protocol):
    """What is used of the package, which is optional, as the next one is."""

    def diff(self, src_bytes: bytes, dst_bytes: bytes, /) -> bytes: ...


class _HDiffPatch(Protocol):
    def Lzma2Config(self, *, level: int, window: int) -> object: ...  # noqa: N802 - its name

    def diff(
        self, old_data: bytes, new_data: bytes, /, compression: object, *, validate: bool
    ) -> bytes: ...


def main() -> None:
    """Print the size of the delta of every new content between two folders."""
    engine, old, new = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    make = engine_named(engine)
    before, after = _digests(old), _digests(new)
    pairs = partners(before, novel(before, after))
    sizes = {path: (new / path).stat().st_size for path in pairs}
    _say({"files": len(pairs), "bytes": sum(sizes.values())})
    for path in sorted(pairs, key=lambda path: (sizes[path], path)):
        partner = pairs[path]
        source = (old / partner).read_bytes() if partner else b""
        target = (new / path).read_bytes()
        try:
            made = make(source, target) if source and target else alone(target)
        except MemoryError:
            continue
        _say({"path": path, "bytes": sizes[path], "size": made})


def version(module: str) -> str | None:
    """Return the version of a package, if this Python has it."""
    if importlib.util.find_spec(module) is None:
        return None
    return importlib.metadata.version(module)


def engine_named(engine: str) -> Callable[[bytes, bytes], int]:
    """Return what gives the size of the engine's delta of two contents."""
    module = importlib.import_module(MODULES[engine])

    def bsdiff(old: bytes, new: bytes) -> int:
        return len(cast(_Bsdiff4, module).diff(old, new))

    def hdiffpatch(old: bytes, new: bytes) -> int:
        package = cast(_HDiffPatch, module)
        coder = package.Lzma2Config(level=9, window=_WINDOW)
        return len(package.diff(old, new, compression=coder, validate=False))

    return {"bsdiff": bsdiff, "hdiffpatch": hdiffpatch}[engine]


def alone(content: bytes) -> int:
    """Return the size of a content with nothing to make it from: LZMA2, as xz -9e, bare."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
    return len(lzma.compress(content, format=lzma.FORMAT_RAW, filters=filters))


def _digests(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(folder)): _digest(path) for path in files}


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _say(line: dict[str, str | int]) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
