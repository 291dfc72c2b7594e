"""What brings an older version's files to a newer one's, as a value. Looks at no disk."""

from typing import NamedTuple

from holdall.forms.seeding import Layup, Loan
from holdall.model.tree import Entry, File, Tree


class Changes(NamedTuple):
    """Paths to remove, each after what is below it; and entries to make, each before that."""

    gone: tuple[str, ...]
    made: tuple[Entry, ...]

    def rest(self, layup: Layup) -> Layup:
        """What of a layup of the newer version is still to be laid down."""
        wanted = {entry.path for entry in self.made}
        loans = (
            Loan(
                loan.seed,
                tuple((held, left) for held, files in loan.items if (left := _of(files, wanted))),
            )
            for loan in layup.loans
        )
        fresh = {
            digest: left for digest, files in layup.fresh.items() if (left := _of(files, wanted))
        }
        return Layup(Tree(self.made), tuple(loan for loan in loans if loan.items), fresh)


def between(before: Tree, after: Tree) -> Changes:
    """What differs: an entry that is not the very same is removed and made anew."""
    old = {entry.path: entry for entry in before.entries}
    new = {entry.path: entry for entry in after.entries}
    gone = tuple(path for path in reversed(old) if new.get(path) != old[path])
    return Changes(gone, tuple(entry for path, entry in new.items() if old.get(path) != entry))


def _of(files: tuple[File, ...], wanted: set[str]) -> tuple[File, ...]:
    return tuple(file for file in files if file.path in wanted)
