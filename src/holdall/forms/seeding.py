"""What laying a tree down will take: which seed gives each file, and what must be produced.

Plans are values; nothing on the disk is looked at.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, assert_never

from holdall.model.tree import File, Tree
from holdall.store.contents import ContentSource


class Seed(NamedTuple):
    """An older version's files that may be linked: tree, folder, time of completion (ns).

    What cannot be linked (another file system, a mount, a subvolume) is cloned or copied, and what
    is copied is checked. `shares` is whether links will work, as far as is known; with `apart`,
    each file gets an inode of its own even so, by a clone where the file system can.
    """

    tree: Tree
    files: str
    complete: int
    shares: bool = True
    apart: bool = False


class Objects(NamedTuple):
    """Contents that were made and checked beforehand.

    Each is a file named by its digest in a folder that only this process writes to, and goes into
    the tree for good.
    """

    digests: frozenset[bytes]
    files: str


class Loan(NamedTuple):
    """What one seed gives: paths below its folder, each with the files that get its inode."""

    seed: Seed | Objects
    items: tuple[tuple[str, tuple[File, ...]], ...]

    @property
    def size(self) -> int:
        """Its bytes."""
        return sum(files[0].size for _, files in self.items)


class Layup(NamedTuple):
    """What laying a tree down takes: each distinct file linked from a seed or produced.

    `fresh` maps a raw digest to the files that get its bytes. Sizes in bytes.
    """

    tree: Tree
    loans: tuple[Loan, ...]
    fresh: dict[bytes, tuple[File, ...]]

    @property
    def fresh_size(self) -> int:
        """The bytes the source must produce."""
        return sum(files[0].size for files in self.fresh.values())

    @property
    def linked_size(self) -> int:
        """The bytes that are shared with older versions."""
        return sum(
            loan.size for loan in self.loans if isinstance(loan.seed, Seed) and loan.seed.shares
        )


def plan(tree: Tree, seeds: Sequence[Seed | Objects] = ()) -> Layup:
    """Decide for every file of `tree` which seed has it; the first that does, gives it."""
    wanted: dict[tuple[bytes, bool], list[File]] = {}
    for file in tree.files:
        wanted.setdefault((file.digest, file.executable), []).append(file)
    loans = tuple(Loan(seed, _taken(seed, wanted)) for seed in seeds)
    fresh: dict[bytes, tuple[File, ...]] = {}
    for key, files in wanted.items():
        fresh[key[0]] = (*fresh.get(key[0], ()), *files)
    return Layup(tree, loans, fresh)


def _taken(
    seed: Seed | Objects, wanted: dict[tuple[bytes, bool], list[File]]
) -> tuple[tuple[str, tuple[File, ...]], ...]:
    """What a seed gives, taken out of what is wanted."""
    match seed:
        case Seed():
            # one of the other mode will do: it is copied
            held = {(file.digest, not file.executable): file.path for file in seed.tree.files}
            held |= {(file.digest, file.executable): file.path for file in seed.tree.files}
            keys = [key for key in wanted if key in held]
            return tuple((held[key], tuple(wanted.pop(key))) for key in keys)
        case Objects():
            found: dict[str, list[File]] = {}
            for key in [key for key in wanted if key[0] in seed.digests]:
                found.setdefault(key[0].hex(), []).extend(wanted.pop(key))
            return tuple((name, tuple(files)) for name, files in found.items())
        case _:
            assert_never(seed)


def uncovered(fresh: Mapping[bytes, Sequence[File]], source: ContentSource) -> list[str]:
    """The paths of the files whose contents the source does not have, sorted."""
    had = source.available(fresh.keys())
    return sorted(
        file.path for digest, files in fresh.items() if digest not in had for file in files
    )
