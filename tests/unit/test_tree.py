"""Trees: one exact encoding, read back as it was written."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.errors import CorruptError, UsageError
from holdall.model.digest import digest_of
from holdall.model.tree import (
    Directory,
    Entry,
    File,
    Symlink,
    Tree,
    check_path,
    encode,
    parse,
    tree_digest,
)

SMALL = Tree((
    Directory("bin"),
    File("bin/hello", digest_of(b"hello\n"), 6, executable=True),
    Symlink("bin/sh", "../../usr/bin/sh"),
    Directory("share"),
    File("share/again", digest_of(b"hello\n"), 6, executable=False),
    File("share/empty", digest_of(b""), 0, executable=False),
))  # fmt: skip

_ELEMENT = st.text(
    st.characters(exclude_categories=["C", "Z"], exclude_characters="/"), min_size=1, max_size=8
).filter(lambda text: text not in {".", ".."})
_LEAF = st.one_of(
    st.tuples(st.binary(max_size=4), st.booleans()),
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=9),
)


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Any tree: leaves at drawn paths, and the folders they need."""
    entries: dict[str, Entry] = {}
    for path, leaf in draw(
        st.dictionaries(
            st.lists(_ELEMENT, min_size=1, max_size=4).map("/".join), _LEAF, max_size=12
        )
    ).items():
        above = [path[:at] for at, letter in enumerate(path) if letter == "/"]
        if path in entries or any(
            not isinstance(entries.get(one), Directory | None) for one in above
        ):
            continue
        entries |= {one: Directory(one) for one in above}
        if isinstance(leaf, str):
            entries[path] = Symlink(path, leaf)
        else:
            entries[path] = File(path, digest_of(leaf[0]), len(leaf[0]), leaf[1])
    return Tree(tuple(sorted(entries.values(), key=lambda entry: entry.path)))


@given(trees())
def test_what_is_written_is_read(tree: Tree) -> None:
    data = encode(tree)
    assert parse(data) == tree
    assert encode(parse(data)) == data


@given(trees(), st.data())
def test_any_other_bytes_are_refused_or_another_tree(tree: Tree, data: st.DataObject) -> None:
    encoded = bytearray(encode(tree))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = parse(bytes(encoded))
    except CorruptError:
        return
    assert found != tree
    assert encode(found) == bytes(encoded)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_an_exact_tree(data: bytes) -> None:
    try:
        found = parse(data)
    except CorruptError:
        return
    assert encode(found) == data


def test_the_encoding_never_changes() -> None:
    digests = digest_of(b"hello\n") + digest_of(b"")
    paths = ["bin", "bin/hello", "bin/sh", "share", "share/again", "share/empty"]
    wire = [1, paths, b"\0\2\3\0\1\1", [0, 1, 0], [6, 0], digests, ["../../usr/bin/sh"]]
    assert encode(SMALL) == msgspec.msgpack.encode(wire)
    expected = "78b34b996691e239d69307e8d46cd5cdedbdb0587312aef27cd2c18078787fed"
    assert tree_digest(encode(SMALL)).hex == expected


def test_sizes_and_contents_count_what_they_say() -> None:
    assert SMALL.size == 12
    assert SMALL.contents == {digest_of(b"hello\n"): 6, digest_of(b""): 0}


def test_nothing_is_a_tree_too() -> None:
    assert parse(encode(Tree(()))) == Tree(())


@pytest.mark.parametrize(
    "entries",
    [
        (Directory("b"), Directory("a")),
        (Directory("a"), Directory("a")),
        (Directory("a/b"),),
        (Symlink("a", "/"), Directory("a/b")),
        (Symlink("a", ""),),
        (Symlink("a", "x\ny"),),
        (Symlink("a", "x" * 4096),),
        (Directory("a\ud800"),),
        (Symlink("a", "\udcff"),),
    ],
)
def test_what_is_no_tree_is_not_written(entries: tuple[Entry, ...]) -> None:
    with pytest.raises(UsageError):
        encode(Tree(entries))


@pytest.mark.parametrize(
    "path", ["a", "a b", "ä/ö", "-rf", "a/.hidden", "x" * 255, "a..b", "~", "😀"]
)
def test_plain_names_are_let_through(path: str) -> None:
    check_path(path)


@pytest.mark.parametrize(
    "path", ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a\x1b", "a\u202eb", "x" * 256]
)
def test_other_names_are_refused(path: str) -> None:
    with pytest.raises(UsageError):
        check_path(path)
