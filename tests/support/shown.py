"""Bundles shown as a file system within the test's own process: no kernel takes part."""

import os
import stat
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bundles import make_bundle
from holdall.errors import CorruptError, NotFoundError
from holdall.forms import live
from holdall.forms.names import Names
from holdall.forms.port import Place
from holdall.journeys import bundling
from holdall.journeys.arrival import arriving
from holdall.journeys.build import BuildOptions
from holdall.system.fuse import wire
from holdall.system.fuse.answers import Answers
from holdall.system.means import Means
from holdall.system.mounting import Answered

TINY = 64 * 2**10


class Ready(Means):
    """A machine where everything is to be had."""

    privileged = True
    fuse = True


@dataclass
class Kept:
    """A bundle that lies in a folder as the form live keeps it."""

    place: Place
    bundle: Path
    complaints: list[str] = field(default_factory=list)

    def mounted(self) -> Answered:
        """What would be mounted; raises as mounting does."""
        mount = live.mount(self.place, Ready(self.place.store))
        assert isinstance(mount, Answered)
        return mount

    def shown(self) -> Names:
        """The file system; its descriptor stays open to the end of the test process."""
        fd = os.open(self.bundle, os.O_RDONLY)
        shown = self.mounted().serve(fd, self.complaints.append).files
        assert isinstance(shown, Names)
        return shown

    def read(self, names: Names) -> dict[str, bytes | None]:
        """Every file by its path; None for one that cannot be read."""
        found: dict[str, bytes | None] = {}
        for path, inode, mode in walk(names):
            if stat.S_ISREG(mode):
                try:
                    found[path] = b"".join(names.read(inode, 0, 2**40))
                except OSError:
                    found[path] = None
        return found


def keep(
    folder: Path,
    files: Mapping[str, bytes],
    *,
    links: Mapping[str, str] = {},
    frame_size: int = TINY,
) -> Kept:
    """Make a bundle, and have it kept in a folder."""
    options = BuildOptions(level=1, frame_size=frame_size)
    made = make_bundle(folder / "made.holdall", files, links=links, options=options)
    deployment = folder / "deployment"
    deployment.mkdir()
    with arriving(str(made)) as arrival:
        opened = arrival.open()
        source = arrival.source(opened)
        assert not opened.image
        whole = bundling.whole(arrival.preamble, opened, source, None)  # type: ignore[arg-type]  # no image
        whole.copy(str(deployment / "bundle"))
        packing = whole.packing
    before = (deployment / "bundle").read_bytes()[: packing.first]
    record = live.record_of(packing, before, local=False)
    place = Place(str(folder), str(deployment), record, bundling)
    return Kept(place, deployment / "bundle")


def walk(names: Names) -> Iterator[tuple[str, int, int]]:
    """Path, inode and mode of everything there is, as the listings tell."""
    waiting = [("", wire.ROOT)]
    while waiting:
        path, folder = waiting.pop()
        for name, inode, mode in listed(names, folder):
            below = f"{path}/{name}".lstrip("/")
            yield below, inode, mode
            if stat.S_ISDIR(mode):
                waiting.append((below, inode))


def listed(names: Names, folder: int, *, room: int = 4096) -> Iterator[tuple[str, int, int]]:
    """Name, inode and mode of what is in a folder, read in pieces as large as `room`."""
    position = 0
    while data := b"".join(names.listing(folder, position, room, plus=True)):
        at = 0
        while at < len(data):
            inode, mode = (
                struct.unpack_from("=Q", data, at)[0],
                struct.unpack_from("=I", data, at + 40 + 60)[0],
            )
            at += 128
            _, position, length, _ = struct.unpack_from("=QQII", data, at)
            name = data[at + 24 : at + 24 + length].decode()
            at += 24 + length + -length % 8
            if name not in {".", ".."}:
                yield name, inode, mode


def request(opcode: int, inode: int, body: bytes = b"", *, unique: int = 7) -> bytes:
    """A request as the kernel sends it."""
    return struct.pack("=IIQQIIIHH", 40 + len(body), opcode, unique, inode, 0, 0, 0, 0, 0) + body


def answered(answers: Answers, data: bytes) -> tuple[int, bytes]:
    """Error number and body of the answer to a request that has one; it is whole, and for it."""
    pieces = answers.answer(data)
    assert pieces is not None
    whole = b"".join(pieces)
    length, error, unique = struct.unpack_from("=IiQ", whole)
    assert (length, unique) == (len(whole), struct.unpack_from("=Q", data, 8)[0])
    return -error, whole[16:]


REFUSALS = (CorruptError, NotFoundError)
