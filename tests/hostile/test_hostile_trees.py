"""Trees that no builder makes, signed by a key the store trusts: the reader alone refuses them."""

import resource
from pathlib import Path

import msgspec
import pytest

from bundles import RawTree, forge, manifest_of
from hostility import Victim

FOLDER, FILE, PROGRAM, LINK = b"\0", b"\1", b"\2", b"\3"
LONG = "x" * 256
LONG_PATH = "/".join(["d" * 204] * 5)
DEEP = "/".join(["d"] * 129)


def below(path: str) -> list[object]:
    """A path and the folders it needs."""
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]


def folders(*paths: object) -> RawTree:
    return RawTree(paths=list(paths), kinds=FOLDER * len(paths))


def one_file(**fields: object) -> RawTree:
    tree = RawTree(paths=["a"], kinds=FILE, reuse=[0], sizes=[1], digests=bytes(32))
    return msgspec.structs.replace(tree, **fields)


def link(target: object) -> RawTree:
    return RawTree(paths=["link"], kinds=LINK, targets=[target])


NAMES = {
    "absolute": "/etc",
    "parent": "..",
    "parent inside": "a/../b",
    "itself": ".",
    "empty": "",
    "double slash": "a//b",
    "slash at the end": "a/",
    "NUL": "a\0b",
    "newline": "a\nb",
    "escape": "a\x1b[31m",
    "delete": "a\x7f",
    "C1": "a\x9b31m",
    "right-to-left override": "a\u202egnp.exe",
    "Arabic letter mark": "a\u061cb",
    "isolate": "a\u2066b",
    "line separator": "a\u2028b",
    "byte order mark": "\ufeffa",
    "256 bytes": LONG,
    "256 bytes of two each": "ä" * 128,
    "a path of 1026 bytes": f"{LONG_PATH}/dd",
    "129 elements": DEEP,
}

TREES = {
    "out of order": folders("b", "a"),
    "twice": folders("a", "a"),
    "without its folder": folders("a/b"),
    "below a file": one_file(paths=["a", "a/b"], kinds=FILE + FOLDER),
    "below a link": RawTree(paths=["a", "a/b"], kinds=LINK + FOLDER, targets=["/etc"]),
    "unknown kind": RawTree(paths=["a"], kinds=b"\4"),
    "more kinds than paths": RawTree(paths=["a"], kinds=FOLDER * 2),
    "fewer kinds than paths": RawTree(paths=["a", "b"], kinds=FOLDER),
    "a content that comes later": one_file(reuse=[1]),
    "a content that never comes": one_file(reuse=[7]),
    "a content before the first": one_file(reuse=[-1]),
    "a content nobody uses": one_file(sizes=[1, 1], digests=bytes(64)),
    "a content twice": one_file(
        paths=["a", "b"], kinds=FILE * 2, reuse=[0, 0], sizes=[1, 1], digests=bytes(64)
    ),
    "no content": one_file(sizes=[], digests=b""),
    "no use of a content": one_file(reuse=[]),
    "half a digest": one_file(digests=bytes(16)),
    "a size below nothing": one_file(sizes=[-1]),
    "a size of 2^63": one_file(sizes=[2**63]),
    "a size of 2^64 - 1": one_file(sizes=[2**64 - 1]),
    "sizes that add up to 2^63": one_file(
        paths=["a", "b"],
        kinds=FILE * 2,
        reuse=[0, 0],
        sizes=[2**62, 2**62],
        digests=bytes(32) + bytes(31) + b"\1",
    ),
    "a link to nowhere": link(""),
    "a link with NUL": link("a\0b"),
    "a link with newline": link("a\nb"),
    "a link of 4096 bytes": link("x" * 4096),
    "a link without target": RawTree(paths=["link"], kinds=LINK),
    "a target without link": RawTree(paths=["a"], kinds=FOLDER, targets=["b"]),
    "a number for a path": folders(7),
    "bytes for a path": folders(b"a"),
    "a later format": msgspec.structs.replace(folders("a"), format=2),
}

BYTES = {
    "nothing": b"",
    "no msgpack": b"\xc1",
    "no array": msgspec.msgpack.encode({"paths": []}),
    "too few fields": msgspec.msgpack.encode([1, []]),
    "a field too many": folders("a").encoded.replace(b"\x97", b"\x98", 1) + b"\0",
    "something after it": folders("a").encoded + b"\0",
    "a number written longer": b"\x97\xcc\x01" + folders("a").encoded[2:],
    "invalid UTF-8 in a path": folders("aa").encoded.replace(b"\xa2aa", b"\xa2\xff\xfe"),
    "a surrogate in a path": folders("aaa").encoded.replace(b"\xa3aaa", b"\xa3\xed\xa0\x80"),
    "an array of 2^32 paths": b"\x97\x01\xdd\xff\xff\xff\xff",
    "a million arrays in each other": b"\x97\x01" + b"\x91" * 10**6,
}


def refused(victim: Victim, folder: Path, tree: bytes, entries: int = 1) -> None:
    path = folder / "hostile.holdall"
    manifest = manifest_of(version="2.0")
    path.write_bytes(forge(tree, manifest=manifest, entries=entries))
    assert victim.refuses("install", path).kind == "CorruptError"


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_a_name_that_could_mislead_is_refused(victim: Victim, tmp_path: Path, name: str) -> None:
    refused(victim, tmp_path, folders(*below(name)).encoded, len(below(name)))


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES.keys())
def test_a_tree_that_breaks_a_rule_is_refused(
    victim: Victim, tmp_path: Path, tree: RawTree
) -> None:
    refused(victim, tmp_path, tree.encoded, len(tree.paths))


@pytest.mark.parametrize("tree", BYTES.values(), ids=BYTES.keys())
def test_bytes_that_are_no_tree_are_refused(victim: Victim, tmp_path: Path, tree: bytes) -> None:
    refused(victim, tmp_path, tree)


def test_ten_million_entries_are_refused_before_they_take_memory(
    victim: Victim, tmp_path: Path
) -> None:
    count = 10**7
    paths = b"\xdd" + count.to_bytes(4, "big") + b"\xa3abc" * count
    kinds = b"\xc6" + count.to_bytes(4, "big") + bytes(count)
    tree = b"\x97\x01" + paths + kinds + b"\x90\x90\xc4\x00\x90"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in KiB
    refused(victim, tmp_path, tree, count)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 * 2**10


@pytest.mark.parametrize("field", ["size", "entries"])
def test_a_release_that_says_another_size_than_its_tree_is_refused(
    victim: Victim, tmp_path: Path, field: str
) -> None:
    path = tmp_path / "hostile.holdall"
    said = {"size": 0, "entries": 1, field: 2**40}
    path.write_bytes(
        forge(
            folders("a").encoded,
            manifest=manifest_of(version="2.0"),
            size=said["size"],
            entries=said["entries"],
        )
    )
    assert victim.refuses("install", path).kind == "CorruptError"


@pytest.mark.parametrize("target", ["/etc/passwd", "../../../../etc", ".", "link", "-rf", "a b"])
def test_a_link_may_point_anywhere_since_nobody_follows_it(
    victim: Victim, tmp_path: Path, target: str
) -> None:
    path = tmp_path / "links.holdall"
    tree = RawTree(paths=["link", "loop"], kinds=LINK * 2, targets=[target, "loop"])
    path.write_bytes(forge(tree.encoded, manifest=manifest_of(version="2.0"), entries=2))
    victim.accepts("install", path)
    files = next((victim.root / "active").rglob("stable")).resolve() / "files"
    assert str((files / "link").readlink()) == target
    victim.accepts("verify")


@pytest.mark.parametrize(("length", "depth"), [(204, 5), (7, 128)])
def test_the_longest_and_the_deepest_paths_are_installed_checked_and_removed(
    victim: Victim, tmp_path: Path, length: int, depth: int
) -> None:
    paths = below("/".join(["d" * length] * depth))
    path = tmp_path / "deep.holdall"
    manifest = manifest_of(version="2.0")
    path.write_bytes(forge(folders(*paths).encoded, manifest=manifest, entries=len(paths)))
    victim.accepts("install", path)
    victim.accepts("verify")
    victim.accepts("du")
    victim.accepts("remove", "org.example.Editor")
    victim.accepts("gc")
