"""Reading as an ordinary user: images are served in user space then, in the app's own namespace.

The user is nobody's: a number without an account, and a store of its own on a disk of its own.
"""

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import reading
from benchmarks.contenders import Verb
from benchmarks.disk import bind
from benchmarks.forms_rounds import Course, Figures, check
from benchmarks.forms_ways import Lodging, Way
from benchmarks.measure import Command, Job, wait_for_quiet
from benchmarks.reading import Reading

# Of the forms, those whose files are read in another way than root's, and one that is not.
_SERVED = ("tree", "image: squashfs, squashfuse", "local-image: squashfs")
_WITH_EROFSFUSE = ("image: erofs, erofsfuse", "local-image: erofs")
USER = 64000
_FUSE = os.makedev(10, 229)


def served(ways: tuple[Way, ...], baseline: str) -> tuple[Way, ...]:
    """Return the ways that are measured for an ordinary user."""
    more = _WITH_EROFSFUSE if shutil.which("erofsfuse") else ()
    return tuple(way for way in ways if way.name in {baseline, *_SERVED, *more})


@contextmanager
def fuse_for_all() -> Iterator[None]:
    """Let everybody open /dev/fuse, as nearly all machines do; in this mount namespace alone.

    Also where it is so already: somebody may change that while it is measured.
    """
    if not Path("/dev/fuse").exists():
        yield
        return
    with tempfile.TemporaryDirectory(prefix="holdall-bench-") as folder:
        device = Path(folder, "fuse")
        os.mknod(device, stat.S_IFCHR | 0o666, _FUSE)
        device.chmod(0o666)
        with bind(device, Path("/dev/fuse")):
            yield


@dataclass(frozen=True, slots=True)
class Guest:
    """An ordinary user who installs the old release, and reads it."""

    course: Course

    def timed(self, way: Way) -> Figures:
        """Install and two readings, in seconds."""
        course, laboratory = self.course, self.course.laboratory
        disks = course.disks[way.system]
        image = disks.blank("life")
        try:
            with disks.remounted(image) as root:
                laboratory.runner.run(way.plan(Verb.PREPARE, course.old, root))
                (root / "home").mkdir()
                laboratory.runner.run((Command.of("chown", "-R", f"{USER}:{USER}", root),))
                wait_for_quiet(laboratory.patience)
                install = as_user(way.plan(Verb.INSTALL, course.old, root), root)
                wall = laboratory.runner.run(install).wall
            with disks.remounted(image) as root:
                (read,) = as_user((self._reader(way, root),), root)
                wait_for_quiet(laboratory.patience)
                words = laboratory.runner.output(read).split()
        finally:
            image.unlink()
        check(course.old, Reading(0, int(words[2]), int(words[3])))
        return {"install": wall, "cold": float(words[0]), "warm": float(words[1])}

    def _reader(self, way: Way, root: Path) -> Command:
        """What reads all files, and prints what that took; holdall's within the app's sandbox."""
        text = Path(reading.__file__).read_text()
        if isinstance(way, Lodging):
            subject, app = way.subject, self.course.old.app_id
            words = ("--command", "python3", "--", "-I", "-c", text, "/app")
            return subject.command(subject.store(root), "run", app, *words)
        folder = way.view(self.course.old, root, root).folder
        return Command.of(sys.executable, "-I", "-c", text, folder)


def as_user(job: Job, root: Path) -> Job:
    """The same job, by that user, who has a home on the disk."""
    become = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--")
    return tuple(
        replace(command, argv=(*become, *command.argv)).within(
            {"HOME": str(root / "home"), "TMPDIR": str(root / "home")}
        )
        for command in job
    )
