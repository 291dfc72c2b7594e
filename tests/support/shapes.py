"""Trees of every shape a metadata image has to show, small and made by hand."""

from hashlib import sha256

from hypothesis import strategies as st

from holdall.model.tree import Directory, Entry, File, Symlink, Tree


def content(number: int, size: int = 10) -> tuple[bytes, int]:
    """A digest and a size; nothing has that digest."""
    return sha256(b"%d %d" % (number, size)).digest(), size


def file(path: str, number: int = 0, size: int = 10, *, executable: bool = False) -> File:
    """A file of that content."""
    return File(path, *content(number, size), executable)


def tree(*entries: Entry) -> Tree:
    """A tree of entries in any order."""
    return Tree(tuple(sorted(entries, key=lambda entry: entry.path)))


def _deep(depth: int) -> list[Entry]:
    paths = ["/".join(["abcdefg"] * count) for count in range(1, depth)]
    return [*(Directory(path) for path in paths), file(f"{paths[-1]}/end")]


def _full(size: int) -> list[Entry]:
    """A folder whose entries take `size` bytes: 12 and the name each, "." and ".." among them."""
    rest, lengths = size - 13 - 14, []
    while rest > 400:
        lengths.append(200)
        rest -= 212
    lengths += [rest // 2 - 12, rest - rest // 2 - 12]
    path = f"full {size}"
    names = [f"{number:02}".ljust(length, "n") for number, length in enumerate(lengths)]
    return [Directory(path), *(file(f"{path}/{name}", 5) for name in names)]


SMALL = tree(
    Directory("bin"),
    file("bin/tool", 1, 5000, executable=True),
    Symlink("bin/alias", "tool"),
    file("read me", 2, 4096),
    file("again", 1, 5000),
    file("more", 1, 5000),
    file("nothing", 3, 0),
    Directory("share"),
)

SHAPES: dict[str, Tree] = {
    "empty": tree(),
    "small": SMALL,
    "links about a block": tree(
        *(Symlink(f"link {size}", "x" * size) for size in (1, 4063, 4064, 4065, 4094, 4095)),
        *(file(f"file {number}", number) for number in range(40)),
    ),
    "sizes about every limit": tree(
        *(
            file(f"at {size}", size=size)
            for limit in (2**12, 2**31, 2**32, 2**42, 2**43)
            for size in (limit - 1, limit, limit + 1)
        ),
        file("largest", size=2**62),
    ),
    "empty files": tree(*(file(f"nothing {number}", 7, 0) for number in range(3))),
    "a content in many places": tree(
        *(file(f"{number:05}", 1) for number in range(65537)), file("tool", 1, executable=True)
    ),
    "a folder of many folders": tree(*(Directory(f"{number:05}") for number in range(65534))),
    "a folder of very many": tree(
        Directory("all"), *(file(f"all/{number:06}", number) for number in range(100_000))
    ),
    "folders about a block": tree(
        *(
            entry
            for size in (4031, 4032, 4033, 4063, 4064, 4065, 4095, 4096)
            for entry in _full(size)
        )
    ),
    "names of 255 bytes": tree(
        *(file("n" * 252 + f"{number:03}", number) for number in range(300)),
        Directory("é" * 127),
        file("é" * 127 + "/" + "字" * 85),
    ),
    "a deep path": tree(*_deep(128)),
    "names of all sorts": tree(
        *(file(name, number) for number, name in enumerate(("!", "-", ".a", "..a", "...", "~")))
    ),
}

_NAMES = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Cf", "Zl", "Zp"), exclude_characters="/"),
    min_size=1,
    max_size=60,
).filter(lambda name: name not in {".", ".."})
_FILES = st.builds(
    lambda number, size, executable: file("", number, size, executable=executable),
    st.integers(0, 30),
    st.sampled_from((0, 1, 4096, 4097, 2**32, 2**33 + 1)),
    st.booleans(),
)
_LINKS = st.integers(1, 4095).map(lambda size: Symlink("", "t" * size))
_Node = File | Symlink | dict[str, "_Node"]
_NODES: st.SearchStrategy["_Node"] = st.deferred(lambda: _FILES | _LINKS | _FOLDERS)
_FOLDERS: st.SearchStrategy[dict[str, "_Node"]] = st.dictionaries(_NAMES, _NODES, max_size=12)


def _entries(folder: dict[str, "_Node"], above: str) -> list[Entry]:
    found: list[Entry] = []
    for name, node in folder.items():
        path = f"{above}{name}"
        if isinstance(node, dict):
            found += [Directory(path), *_entries(node, f"{path}/")]
        else:
            found.append(node._replace(path=path))
    return found


TREES = _FOLDERS.map(lambda folder: tree(*_entries(folder, "")))
"""Any trees, of some hundred entries at most."""
