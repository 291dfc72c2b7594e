"""What brings one tree to another: removed paths, made entries, and nothing else."""

from hypothesis import example, given
from hypothesis import strategies as st

from holdall.forms import seeding
from holdall.forms.changing import between
from holdall.model.tree import Directory, Entry, File, Symlink, Tree, encode, parse

NAMES = st.sampled_from(["a", "b", "a.b", "a-"])


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Trees of few names, so that two of them have much in common and much at odds."""
    found: dict[str, Entry] = {}
    folders = [""]
    for _ in range(draw(st.integers(0, 12))):
        above = draw(st.sampled_from(folders))
        path = f"{above}/{draw(NAMES)}" if above else draw(NAMES)
        if path in found:
            continue
        kind = draw(st.integers(0, 2))
        if kind == 0:
            found[path] = Directory(path)
            folders.append(path)
        elif kind == 1:
            number = draw(st.integers(0, 2))
            found[path] = File(path, bytes([number]) * 32, number, draw(st.booleans()))
        else:
            found[path] = Symlink(path, draw(st.sampled_from(["x", "y"])))
    return Tree(tuple(found[path] for path in sorted(found)))


def carried_out(before: Tree, gone: tuple[str, ...], made: tuple[Entry, ...]) -> Tree:
    """What a disk would have, if it minded what a disk minds."""
    disk = {entry.path: entry for entry in before.entries}
    for path in gone:
        assert not any(other.startswith(f"{path}/") for other in disk), "a folder that is not empty"
        del disk[path]
    for entry in made:
        above = entry.path.rpartition("/")[0]
        assert not above or isinstance(disk[above], Directory)
        assert entry.path not in disk
        disk[entry.path] = entry
    return Tree(tuple(disk[path] for path in sorted(disk)))


@given(trees(), trees())
@example(
    Tree((Directory("a"), File("a/b", bytes(32), 0, executable=False))), Tree((Symlink("a", "x"),))
)
def test_changes_bring_one_tree_to_another(before: Tree, after: Tree) -> None:
    assert parse(encode(after)) == after
    changes = between(before, after)
    assert carried_out(before, changes.gone, changes.made) == after


@given(trees(), trees())
def test_what_is_the_same_is_not_touched(before: Tree, after: Tree) -> None:
    changes = between(before, after)
    same = set(before.entries) & set(after.entries)
    assert not same & set(changes.made)
    assert not {entry.path for entry in same} & set(changes.gone)


@given(trees(), trees())
def test_what_is_laid_down_is_what_was_made(before: Tree, after: Tree) -> None:
    changes = between(before, after)
    layup = seeding.plan(after, [seeding.Seed(before, "/seed", 0)])
    rest = changes.rest(layup)
    laid = [file for loan in rest.loans for _, files in loan.items for file in files]
    laid += [file for files in rest.fresh.values() for file in files]
    assert sorted(laid) == [entry for entry in changes.made if isinstance(entry, File)]
    assert rest.tree.entries == changes.made
    assert all(files for loan in rest.loans for _, files in loan.items)
    assert all(rest.fresh.values())


def test_a_version_that_is_the_same_takes_nothing() -> None:
    tree = Tree((Directory("a"), Symlink("a/b", "c")))
    assert between(tree, tree) == ((), ())
