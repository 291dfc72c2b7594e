"""Small source folders, bundles and stores, made in process with fixed keys.

Also bundles that no builder would make. The same arguments give the same bytes.
"""

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Self

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from holdall.delivery.index import Place
from holdall.delivery.index import encode as encode_index
from holdall.delivery.layout import HEAD_SIZE, IMAGE, Head, encode_head, parse_head, section
from holdall.delivery.zstandard import compress, sized
from holdall.journeys.build import BuildOptions, build
from holdall.journeys.host import Host, root_host
from holdall.model import release as releases
from holdall.model import tree as trees
from holdall.model.digest import Digest, digest_of
from holdall.model.manifest import Manifest
from holdall.model.release import PackedImage, Packing, Release
from holdall.model.tree import Tree
from holdall.publish.source_folder import write_manifest
from holdall.store.trust_state import read_keyring, write_keyring
from holdall.trust.envelope import open_envelope, sign
from holdall.trust.keys import SigningKey

APP = "org.example.Editor"
REF = f"{APP}/x86_64/stable"
QUICK = BuildOptions(level=1)

FILES: Mapping[str, bytes] = {
    "bin/editor": b"#!/bin/sh\necho hello\n",
    "share/words.txt": b"one two three\n" * 20,
    "share/empty": b"",
}
"""What a small app has, unless a test says otherwise."""


def key_of(number: int) -> SigningKey:
    """A signing key, the same for the same number from 0 to 255."""
    private = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return SigningKey(pem, private)


KEY = key_of(1)
"""The publisher's."""
OTHER = key_of(2)
"""Somebody else's."""


def manifest_of(**fields: object) -> Manifest:
    """The manifest of a small app."""
    return msgspec.convert(
        {
            "id": APP,
            "version": "1.0",
            "kind": "app",
            "arch": "x86_64",
            "command": "editor",
            **fields,
        },
        Manifest,
    )


def write_source(
    folder: Path,
    files: Mapping[str, bytes] = FILES,
    *,
    links: Mapping[str, str] = {},
    **fields: object,
) -> Path:
    """A source folder with `files` (those under bin/ executable) and symbolic `links`."""
    (folder / "files").mkdir(parents=True)
    write_manifest(folder, manifest_of(**fields))
    for name, data in files.items():
        path = folder / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755 if name.startswith("bin/") else 0o644)
    for name, target in links.items():
        path = folder / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)
    return folder


def make_bundle(
    path: Path,
    files: Mapping[str, bytes] = FILES,
    *,
    links: Mapping[str, str] = {},
    keys: tuple[SigningKey, ...] = (KEY,),
    options: BuildOptions = QUICK,
    **fields: object,
) -> Path:
    """The bundle `path` of a small app; its source folder stays beside it as `path`.d."""
    folder = write_source(path.with_name(path.name + ".d"), files, links=links, **fields)
    build(str(folder), str(path), keys=keys, options=options)
    return path


def trusting_store(root: Path, *keys: SigningKey, patterns: tuple[str, ...] = ("*",)) -> Host:
    """An empty store that lets `keys` (the publisher's) sign for `patterns`."""
    host = root_host(str(root))
    root.mkdir(parents=True, exist_ok=True)
    ring = read_keyring(host.layout)
    for key in keys or (KEY,):
        ring = ring.with_grant(key.public, patterns)
    write_keyring(host.layout, ring)
    return host


# ------------------------------------------------------------------------------ bundles in parts


@dataclass(frozen=True, slots=True)
class Parts:
    """A bundle taken apart: its three sections and its frames, without any header."""

    envelope: bytes
    tree: bytes
    index: bytes
    frames: bytes

    @classmethod
    def of(cls, bundle: bytes) -> Self:
        """The parts of a bundle's bytes."""
        head = parse_head(bundle[:HEAD_SIZE])
        at = HEAD_SIZE
        bodies: list[bytes] = []
        for length in (head.envelope, head.tree, head.index):
            bodies.append(bundle[at + 8 : at + 8 + length])
            at += 8 + length
        envelope, tree, index = bodies
        return cls(envelope, tree, index, bundle[at:])

    @property
    def bytes(self) -> bytes:
        """The bundle's bytes, with lengths that are true."""
        sections = (self.envelope, self.tree, self.index)
        head = Head(len(self.envelope), len(self.tree), len(self.index), len(self.frames))
        numbered = (section(number, data) for number, data in enumerate(sections, start=1))
        return b"".join((encode_head(head), *numbered, self.frames))

    @property
    def release(self) -> Release:
        """What is signed."""
        return open_envelope(self.envelope).release

    def signed(
        self, *keys: SigningKey, change: Callable[[Release], Release] = lambda it: it
    ) -> Self:
        """The same with a release that names these sections, changed and signed anew."""
        names = Packing(sha256(self.tree).hexdigest(), sha256(self.index).hexdigest())
        release = change(msgspec.structs.replace(self.release, packing=names))
        return replace(self, envelope=sign(releases.encode(release), keys or (KEY,)))


# ------------------------------------------------------------------------------ bundles by force


class RawTree(msgspec.Struct, array_like=True):
    """A tree as it stands on the wire, with nothing checked."""

    paths: list[object]
    kinds: bytes
    reuse: list[int] = []
    sizes: list[int] = []
    digests: bytes = b""
    targets: list[object] = []
    format: int = 1

    @property
    def encoded(self) -> bytes:
        """The bytes, in the order of the format."""
        fields = (self.format, self.paths, self.kinds, self.reuse, self.sizes, self.digests)
        return msgspec.msgpack.encode([*fields, self.targets])


def forge(
    tree: bytes,
    *,
    stream: bytes = bytes(1024),
    places: list[Place] | None = None,
    index: bytes | None = None,
    tree_section: bytes | None = None,
    index_section: bytes | None = None,
    manifest: Manifest | None = None,
    size: int = 0,
    entries: int = 0,
    keys: tuple[SigningKey, ...] = (KEY,),
) -> bytes:
    """A bundle of any tree's bytes over one frame, everything named and signed as it should be."""
    frame = compress(stream, 1)
    if index is None:
        index = encode_index([(len(stream), len(frame), sha256(frame).digest())], places or [])
    if tree_section is None:
        tree_section = sized(tree, compress(tree, 1))
    if index_section is None:
        index_section = sized(index, compress(index, 1))
    release = Release(
        format=releases.FORMAT,
        manifest=manifest or manifest_of(),
        tree=str(trees.tree_digest(tree)),
        size=size,
        entries=entries,
        packing=Packing(sha256(tree_section).hexdigest(), sha256(index_section).hexdigest()),
    )
    envelope = sign(releases.encode(release), keys)
    return Parts(envelope, tree_section, index_section, frame).bytes


def forge_image(
    tree: Tree,
    image: bytes,
    *,
    kind: str = "squashfs",
    index: bytes | None = None,
    named: bool = True,
    flagged: bool = True,
    **said: object,
) -> bytes:
    """A bundle of a tree with any bytes for an image, all named and signed as it should be.

    Unless it is not `named` in the release, nor `flagged` in the head; or other things are `said`.
    """
    data = trees.encode(tree)
    tree_section = sized(data, compress(data, 1))
    index_bytes = encode_index([], []) if index is None else index
    index_section = sized(index_bytes, compress(index_bytes, 1))
    facts = {"kind": kind, "size": len(image), "digest": str(Digest(digest_of(image))), **said}
    release = Release(
        format=releases.FORMAT,
        manifest=manifest_of(version="2.0"),
        tree=str(trees.tree_digest(data)),
        size=tree.size,
        entries=len(tree.entries),
        packing=Packing(
            sha256(tree_section).hexdigest(),
            sha256(index_section).hexdigest(),
            PackedImage(**facts) if named else None,  # type: ignore[arg-type]  # what is wrong is wanted
        ),
    )
    envelope = sign(releases.encode(release), (KEY,))
    sections = (envelope, tree_section, index_section)
    flags = IMAGE if flagged else 0
    head = Head(
        len(envelope), len(tree_section), len(index_section), len(image), incompatible=flags
    )
    numbered = (section(number, part) for number, part in enumerate(sections, start=1))
    return b"".join((encode_head(head), *numbered, head.lead, image))


def forge_tree(tree: Tree, **others: object) -> bytes:
    """A bundle of a tree that is right, over contents that may be wrong."""
    return forge(trees.encode(tree), size=tree.size, entries=len(tree.entries), **others)  # type: ignore[arg-type]  # passed on


# ------------------------------------------------------------------------------ before and after

Seen = tuple[str, int, bytes]


def snapshot(*tops: Path, without: tuple[Path, ...] = ()) -> dict[str, Seen]:
    """Everything below `tops`: kind, mode, and content or link target, by path.

    Those of `without` are not looked into: another process may be removing what is there.
    """
    seen: dict[str, Seen] = {}
    pending = list(tops)
    while pending:
        path = pending.pop()
        if path in without or not os.path.lexists(path):
            continue
        mode = path.lstat().st_mode
        kind = stat.filemode(mode)[0]
        data = b""
        if kind == "d":
            pending += path.iterdir()
        elif kind == "l":
            data = os.fsencode(path.readlink())
        elif kind == "-":
            data = path.read_bytes()
        seen[str(path)] = (kind, stat.S_IMODE(mode), data)
    return seen
