"""Several seeds and several sources: the first that has a content gives it."""

import os
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from holdall.errors import CorruptError, NotFoundError
from holdall.forms import laying, seeding
from holdall.journeys.seeds import places
from holdall.model.digest import digest_of
from holdall.model.ref import Ref
from holdall.model.tree import Directory, Entry, File, Tree
from holdall.store import partial
from holdall.store.contents import Batch, Pieces
from holdall.store.layout import Layout
from holdall.store.several import Several

LATER = 2**62
REF = Ref("org.example.Editor", "x86_64", "stable")


def tree_of(**files: str) -> Tree:
    """A tree of files by name; those that begin with x are executable."""
    entries: list[Entry] = [
        File(name, digest_of(text.encode()), len(text), name.startswith("x"))
        for name, text in files.items()
    ]
    return Tree(tuple(sorted(entries, key=lambda entry: entry.path)))


def written(folder: Path, **files: str) -> seeding.Seed:
    """A version as it lies on the disk."""
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755 if name.startswith("x") else 0o644)
    return seeding.Seed(tree_of(**files), str(folder), LATER)


def made(folder: Path, *texts: str) -> seeding.Objects:
    """Contents made beforehand."""
    folder.mkdir()
    for text in texts:
        (folder / digest_of(text.encode()).hex()).write_text(text)
    return seeding.Objects(frozenset(digest_of(text.encode()) for text in texts), str(folder))


class Memory:
    """A source that has contents in memory, each in a batch of its own."""

    def __init__(self, *texts: str, arrives: bool = False) -> None:
        self.texts = {digest_of(text.encode()): text.encode() for text in texts}
        self.arrives = arrives
        self.asked: list[bytes] = []

    def available(self, wanted: Collection[bytes]) -> set[bytes]:
        return set(wanted) & self.texts.keys()

    def batches(self, wanted: Collection[bytes]) -> list[Batch]:
        self.asked = [digest for digest in self.texts if digest in wanted]
        return [Batch(at, len(self.texts[digest]), 1) for at, digest in enumerate(self.asked)]

    def feed(self, batches: list[Batch]) -> Iterator[int]:
        yield from (batch.number for batch in batches)

    def produce(self, batch: int, wanted: Collection[bytes]) -> Iterator[tuple[bytes, Pieces]]:
        digest = self.asked[batch]
        assert digest in wanted
        yield digest, (self.texts[digest],)


NOTHING = Memory()


# ------------------------------------------------------------------------------ seeds


def test_the_first_seed_that_has_a_file_gives_it(tmp_path: Path) -> None:
    one = written(tmp_path / "one", a="1", b="2")
    two = written(tmp_path / "two", b="2", c="3")
    objects = made(tmp_path / "made", "4", "1")
    tree = tree_of(a="1", b="2", c="3", d="4", e="5")
    layup = seeding.plan(tree, (objects, one, two))
    assert [[path for path, _ in loan.items] for loan in layup.loans] == [
        [digest_of(b"1").hex(), digest_of(b"4").hex()],
        ["b"],
        ["c"],
    ]
    assert [digest_of(b"5")] == list(layup.fresh)
    assert (layup.linked_size, layup.fresh_size) == (2, 1)
    laying.lay_down(layup, Memory("5"), str(tmp_path / "out"))
    assert {path.name: path.read_text() for path in (tmp_path / "out").iterdir()} == {
        name: str(at) for at, name in enumerate("abcde", start=1)
    }
    assert (tmp_path / "out/b").samefile(tmp_path / "one/b")
    assert (tmp_path / "out/c").samefile(tmp_path / "two/c")
    assert (tmp_path / "out/d").samefile(tmp_path / "made" / digest_of(b"4").hex())


def test_an_object_gets_the_mode_its_file_has(tmp_path: Path) -> None:
    objects = made(tmp_path / "made", "plain", "program")
    laying.lay_down(
        seeding.plan(tree_of(a="plain", x="program"), (objects,)), NOTHING, str(tmp_path / "out")
    )
    assert (tmp_path / "out/a").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "out/x").stat().st_mode & 0o777 == 0o755
    assert all(path.stat().st_nlink == 2 for path in (tmp_path / "out").iterdir())


def test_an_object_of_both_modes_has_two_inodes(tmp_path: Path) -> None:
    objects = made(tmp_path / "made", "both")
    tree = tree_of(a="both", b="both", x1="both", x2="both")
    laying.lay_down(seeding.plan(tree, (objects,)), NOTHING, str(tmp_path / "out"))
    out = tmp_path / "out"
    assert (out / "a").samefile(out / "b")
    assert (out / "x1").samefile(out / "x2")
    assert not (out / "a").samefile(out / "x1")
    assert [(out / name).stat().st_mode & 0o777 for name in ("a", "x1")] == [0o644, 0o755]
    assert {path.read_text() for path in out.iterdir()} == {"both"}


def test_an_object_that_was_an_executable_before_is_none_now(tmp_path: Path) -> None:
    objects = made(tmp_path / "made", "plain")
    (tmp_path / "made" / digest_of(b"plain").hex()).chmod(0o755)
    laying.lay_down(seeding.plan(tree_of(a="plain"), (objects,)), NOTHING, str(tmp_path / "out"))
    assert (tmp_path / "out/a").stat().st_mode & 0o777 == 0o644


def test_an_object_that_is_gone_comes_from_the_source(tmp_path: Path) -> None:
    objects = made(tmp_path / "made", "text", "cut")
    (tmp_path / "made" / digest_of(b"text").hex()).unlink()
    (tmp_path / "made" / digest_of(b"cut").hex()).write_text("c")
    layup = seeding.plan(tree_of(a="text", b="cut"), (objects,))
    laying.lay_down(layup, Memory("text", "cut"), str(tmp_path / "out"))
    assert (tmp_path / "out/a").read_text() == "text"
    assert (tmp_path / "out/b").read_text() == "cut"


def test_what_no_source_has_is_named(tmp_path: Path) -> None:
    seed = written(tmp_path / "one", a="1", b="2")
    (tmp_path / "one/a").unlink()
    with pytest.raises(NotFoundError, match="'a' is missing or changed"):
        laying.lay_down(seeding.plan(seed.tree, (seed,)), NOTHING, str(tmp_path / "out"))
    layup = seeding.plan(tree_of(a="1", z="new", y="new"), (seed,))
    assert seeding.uncovered(layup.fresh, NOTHING) == ["y", "z"]
    assert seeding.uncovered(layup.fresh, Memory("new")) == []


def test_a_content_is_located_where_it_looks_untouched(tmp_path: Path) -> None:
    files = {"a": "1", "b": "2", "c": "3", "d": "4", "e": "5", "twin": "1"}
    seed = written(tmp_path / "one", **files)
    (tmp_path / "one/a").unlink()
    (tmp_path / "one/b").write_text("22")
    (tmp_path / "one/c").unlink()
    (tmp_path / "one/c").symlink_to("d")
    os.utime(tmp_path / "one/e", (LATER / 1e9 + 9, LATER / 1e9 + 9))
    found = dict(places(seed, {digest_of(text.encode()) for text in files.values()}))
    assert found == {
        digest_of(b"1"): f"{tmp_path}/one/twin",
        digest_of(b"4"): f"{tmp_path}/one/d",
    }


# ------------------------------------------------------------------------------ sources


def test_each_content_comes_from_the_first_source_that_has_it() -> None:
    one, empty, two = Memory("a", "b"), Memory(), Memory("b", "c", "d")
    several = Several((one, empty, two))
    wanted = [digest_of(text) for text in (b"a", b"b", b"d")]
    assert several.available([*wanted, digest_of(b"z")]) == set(wanted)
    batches = several.batches(wanted)
    assert sorted(batch.number for batch in batches) == [0, 1, 2]
    fed = list(several.feed(batches))
    assert sorted(fed) == [0, 1, 2]
    produced = [it for number in fed for it in several.produce(number, wanted)]
    assert [digest for digest, _ in produced] == wanted
    assert one.asked == wanted[:2]
    assert two.asked == wanted[2:]


def test_contents_that_no_source_has_are_an_error() -> None:
    with pytest.raises(NotFoundError, match="1 contents"):
        Several((Memory("a"),)).batches([digest_of(b"a"), digest_of(b"b")])
    assert Several(()).batches([]) == []


def test_a_tree_is_laid_down_from_several_sources(tmp_path: Path) -> None:
    several = Several((Memory("1"), Memory("1", "2"), Memory("3")))
    laying.lay_down(seeding.plan(tree_of(a="1", b="2", c="3")), several, str(tmp_path / "out"))
    assert {path.read_text() for path in (tmp_path / "out").iterdir()} == {"1", "2", "3"}


def test_sources_together_arrive_when_one_does() -> None:
    assert Several((Memory(), Memory(arrives=True))).arrives
    assert not Several((Memory(), Memory())).arrives


def test_a_tree_may_have_folders_that_no_seed_has(tmp_path: Path) -> None:
    objects = made(tmp_path / "made", "deep")
    entries = (
        Directory("a"),
        Directory("a/b"),
        File("a/b/c", digest_of(b"deep"), 4, executable=False),
    )
    laying.lay_down(seeding.plan(Tree(entries), (objects,)), NOTHING, str(tmp_path / "out"))
    assert (tmp_path / "out/a/b/c").read_text() == "deep"


# ------------------------------------------------------------------------------ what is kept


def test_what_is_kept_of_increments_is_private_and_leaves_nothing(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    one, two = (partial.folder_of(layout, REF, name) for name in (b"one", b"two"))
    assert partial.folder_of(layout, REF, b"one") == one
    assert all(
        path.stat().st_mode & 0o777 == 0o700
        for path in (tmp_path, *tmp_path.rglob("*"))
        if path != tmp_path
    )
    Path(one, "some").write_text("thing")
    partial.drop(one)
    assert Path(two).exists()
    partial.drop(two)
    assert not (tmp_path / "partial").exists()
    partial.drop(two)


def test_what_is_kept_of_a_ref_goes_with_it(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    kept = partial.folder_of(layout, REF._replace(branch="beta"), b"one")
    partial.folder_of(layout, REF, b"one")
    partial.discard(layout, REF)
    assert len(list((tmp_path / "trash").iterdir())) == 1
    assert Path(kept).exists()
    partial.clear(layout)
    assert not (tmp_path / "partial").exists()
    partial.clear(layout)


def test_a_kept_folder_that_is_a_link_is_refused(tmp_path: Path) -> None:
    layout = Layout(str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    folder = Path(partial.folder_of(layout, REF, b"one"))
    folder.rmdir()
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CorruptError):
        partial.folder_of(layout, REF, b"one")
