"""Building a bundle from a source folder.

Same input, same bytes: no clock, no owner, no order of a file system.
"""

import os
import platform
import tempfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from hashlib import sha256
from typing import BinaryIO, NamedTuple

import msgspec

from holdall.delivery import pack as packing
from holdall.delivery.index import encode as encode_index
from holdall.delivery.layout import IMAGE, Head, encode_head, section
from holdall.delivery.pack import Packed
from holdall.delivery.zstandard import compress, sized
from holdall.desktop import exports
from holdall.errors import NotFoundError, UsageError
from holdall.forms import erofs
from holdall.journeys.host import Event, Report, silent
from holdall.model import manifest as manifests
from holdall.model import release as releases
from holdall.model import tree as trees
from holdall.model.digest import Digest, digest_of
from holdall.model.manifest import Manifest
from holdall.model.ref import Ref
from holdall.model.release import PackedImage, Packing, Release
from holdall.model.tree import Tree
from holdall.publish.scan import Scan, scan
from holdall.system.crew import processors
from holdall.system.files import plain_errors
from holdall.trust.envelope import sign
from holdall.trust.keys import SigningKey


class BuildOptions(NamedTuple):
    """How to pack: bytes of a frame, zstd level (1 to 22), lifetime of the release.

    `image` is a kind of file system image to make in place of frames, by which ordinary programs
    read it; of an image the level may be 0, for none.
    """

    frame_size: int | None = None
    level: int = packing.LEVEL
    serial: int | None = None
    created: str = ""
    expires: str = ""
    image: str = ""


DEFAULT = BuildOptions()


class BuildPlan(NamedTuple):
    """What would be packed; `size` is apparent and `stream` what the compressor gets, in bytes."""

    ref: Ref
    version: str
    files: int
    size: int
    stream: int


class Built(NamedTuple):
    """A bundle that was written; `bundle` is its size in bytes."""

    path: str
    release: Release
    digest: str
    bundle: int
    signers: tuple[str, ...]


def build(
    folder: str,
    out: str,
    *,
    keys: tuple[SigningKey, ...],
    options: BuildOptions = DEFAULT,
    report: Report = silent,
) -> Built:
    """Make the bundle `out` of `folder` (``holdall.toml`` and ``files/``), signed by `keys`.

    Raises UsageError for what an app may not be; then, or killed, it leaves no file at `out` but
    the one that was there.
    """
    check_output(out, (f"{folder}/holdall.toml",))
    packing.check_frame_size(options.frame_size)
    with plain_errors(f"{folder} cannot be built"):
        manifest, scanned = read_folder(folder, options, report)
        return _write(
            manifest, scanned, os.path.abspath(out), keys=keys, options=options, report=report
        )


def plan(folder: str, options: BuildOptions = DEFAULT) -> BuildPlan:
    """Read `folder` and say what `build` would pack; writes nothing."""
    packing.check_frame_size(options.frame_size)
    with plain_errors(f"{folder} cannot be built"):
        manifest, scanned = read_folder(folder, options, silent)
        tree = scanned.tree
        return BuildPlan(
            manifest.ref, manifest.version, len(tree.files), tree.size, packing.stream_size(tree)
        )


def check_output(out: str, inputs: Iterable[str]) -> None:
    """Raise UsageError where `out` can be no new file, or is one of the `inputs`."""
    if os.path.isdir(out):
        raise UsageError(f"{out} is a folder; -o takes the name of the file to write.")
    folder = os.path.dirname(os.path.abspath(out))
    if not os.path.isdir(folder):
        raise UsageError(f"{out} cannot be written, there is no folder {folder}; make it first.")
    for path in inputs:
        same = os.path.exists(out) and os.path.exists(path) and os.path.samefile(out, path)
        if same or os.path.realpath(out) == os.path.realpath(path):
            raise UsageError(f"{out} is read for this build; name another file to write: -o FILE.")


def read_source(folder: str) -> Manifest:
    """The manifest of a source folder; raises NotFoundError or UsageError."""
    if os.path.isfile(folder):
        raise UsageError(
            f"{folder} is a file, and a bundle is built from a folder; for an increment to a "
            "bundle, say from which older one: --against OLD."
        )
    try:
        with open(f"{folder}/holdall.toml", encoding="utf-8") as file:
            manifest = manifests.parse_toml(file.read())
    except FileNotFoundError as error:
        raise NotFoundError(
            f"{folder} has no holdall.toml; `holdall init {folder}` writes one."
        ) from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{folder}/holdall.toml is not UTF-8 text.") from error
    if not os.path.isdir(f"{folder}/files"):
        raise NotFoundError(f"{folder} has no folder files/; put what becomes /app there.")
    return manifest


def _complete(manifest: Manifest, scanned: Scan, options: BuildOptions) -> Manifest:
    arch = manifest.arch or platform.machine()
    serial = manifest.serial if options.serial is None else options.serial
    manifest = msgspec.structs.replace(manifest, arch=arch, serial=serial)
    manifest = msgspec.structs.replace(manifest, exports=exports.discover(manifest, scanned.tree))
    files = {file.path: file for file in scanned.tree.files}

    def read(path: str) -> bytes:
        if path not in files:
            raise UsageError(f"{path} is to be exported but is no regular file under files/.")
        return b"".join(scanned.read(files[path]))

    exports.check(manifest, read)
    return manifest


class Package(NamedTuple):
    """A release and the sections of its full bundle; `index` is the index's own bytes."""

    release: Release
    payload: bytes
    envelope: bytes
    tree: bytes
    index_section: bytes
    index: bytes  # type: ignore[assignment]  # hides a method of tuples
    stored: int


def read_folder(folder: str, options: BuildOptions, report: Report) -> tuple[Manifest, Scan]:
    """A source folder's manifest, completed, and its files."""
    manifest = read_source(folder)
    report(Event(f"Reading {folder}"))
    scanned = scan(f"{folder}/files")
    return _complete(manifest, scanned, options), scanned


def package(
    manifest: Manifest,
    scanned: Scan,
    frames: BinaryIO,
    room: str,
    *,
    keys: tuple[SigningKey, ...],
    options: BuildOptions,
    report: Report,
) -> Package:
    """Pack the files into `frames`, and sign what that makes; large files go to `room`."""
    tree = scanned.tree
    packed, image = _packed(manifest, scanned, frames, room, options=options, report=report)
    tree_bytes = trees.encode(tree)
    tree_section = sized(tree_bytes, compress(tree_bytes, packing.LEVEL))
    index_section = sized(packed.index, compress(packed.index, packing.LEVEL))
    names = Packing(
        tree=sha256(tree_section).hexdigest(),
        index=sha256(index_section).hexdigest(),
        image=image,
    )
    release = _release(manifest, tree, tree_bytes, names, options)
    payload = releases.encode(release)
    releases.parse(payload)
    envelope = sign(payload, keys)
    return Package(
        release, payload, envelope, tree_section, index_section, packed.index, packed.stored
    )


def _packed(
    manifest: Manifest,
    scanned: Scan,
    out: BinaryIO,
    room: str,
    *,
    options: BuildOptions,
    report: Report,
) -> tuple[Packed, PackedImage | None]:
    """Write frames, or the image that is wanted."""
    step = f"Packing {manifest.id} {manifest.version}"
    if options.image:
        from holdall.journeys.imaging import pack_image

        report(Event(step))
        image = pack_image(scanned, out, options.image, level=options.level, room=room)
        return Packed(encode_index([], []), image.size), image
    packed = packing.pack(
        scanned.tree,
        scanned.read,
        out,
        frame_size=options.frame_size,
        level=options.level,
        workers=processors(),
        report=counting(step, packing.stream_size(scanned.tree), report),
    )
    return packed, None


def counting(step: str, total: int, report: Report) -> Callable[[int], None]:
    """Tells of a step's progress whenever some more bytes of it are done."""
    done = 0
    report(Event(step, 0, total))

    def told(size: int) -> None:
        nonlocal done
        done += size
        report(Event(step, done, total))

    return told


def _write(
    manifest: Manifest,
    scanned: Scan,
    out: str,
    *,
    keys: tuple[SigningKey, ...],
    options: BuildOptions,
    report: Report,
) -> Built:
    room = os.path.dirname(out)
    with tempfile.TemporaryFile(dir=room) as frames:
        made = package(manifest, scanned, frames, room, keys=keys, options=options, report=report)
        sections = (made.envelope, made.tree, made.index_section)
        head = Head(
            envelope=len(made.envelope),
            tree=len(made.tree),
            index=len(made.index_section),
            content=made.stored,
            incompatible=IMAGE if options.image else 0,
        )
        frames.seek(0)
        put(out, head, sections, iter(lambda: frames.read(2**20), b""))
    signers = tuple(key.public.fingerprint for key in keys)
    return Built(out, made.release, sha256(made.payload).hexdigest(), head.size, signers)


def put(out: str, head: Head, sections: tuple[bytes, ...], content: Iterable[bytes]) -> None:
    """Write a bundle beside `out` and rename it there."""
    beside = f"{out}.{os.getpid()}.tmp"
    try:
        with open(beside, "xb") as file:
            file.write(encode_head(head))
            file.writelines(section(number, data) for number, data in enumerate(sections, start=1))
            file.write(head.lead)
            file.writelines(content)
        os.rename(beside, out)
    finally:
        if os.path.lexists(beside):
            os.unlink(beside)


def _release(
    manifest: Manifest,
    tree: Tree,
    tree_bytes: bytes,
    packed: Packing,
    options: BuildOptions,
) -> Release:
    return Release(
        format=releases.FORMAT,
        manifest=msgspec.structs.replace(manifest, created=""),
        tree=str(trees.tree_digest(tree_bytes)),
        size=tree.size,
        entries=len(tree.entries),
        packing=packed,
        created=options.created or manifest.created or _source_date(),
        expires=options.expires,
        metadata_image=str(Digest(digest_of(erofs.image(tree)))),
    )


def _source_date() -> str:
    """The time of SOURCE_DATE_EPOCH (reproducible-builds.org), or none.

    The clock would make two builds differ.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    return datetime.fromtimestamp(int(epoch), UTC).isoformat() if epoch.isdecimal() else ""
