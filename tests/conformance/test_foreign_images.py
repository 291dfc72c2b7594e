"""What a publisher sends is parsed in user space: the kernel mounts only what was made here."""

import hashlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ledger import EVIDENCE
from specimen import Specimen, Version
from stand import Stand
from surroundings import Require, expected, run

pytestmark = pytest.mark.usefixtures("sandbox")

CALLS = "mount,fsopen,fsconfig,fsmount,move_mount,execve,mkdir"
FROM_BLOCKS = {"erofs", "squashfs", "btrfs", "ext4", "xfs", "iso9660"}
IMAGE_READERS = {"unsquashfs", "fsck.erofs", "squashfuse", "squashfuse_ll", "erofsfuse"}
# Calls that were not seen to fail: a line may end before the call does.
MOUNTED = re.compile(r'\bmount\("[^"]*", "[^"]*", "([^"]+)"(?!.* = -1)', re.MULTILINE)
OPENED = re.compile(r'\bfsopen\("([^"]+)"(?!.* = -1)', re.MULTILINE)
STARTED = re.compile(r'\bexecve\("(?:[^"]*/)?([^"/]+)"(?!.* = -1)', re.MULTILINE)
PIECE = 4096


def traced(stand: Stand, strace: Path, *words: str | Path) -> str:
    """The mounts that a command and all it starts make, and the programs."""
    kept = stand.store.parent / "calls"
    options = ("-f", "--seccomp-bpf", "-qq", "-s", "4096", "-e", f"trace={CALLS}")
    finished = run(
        [strace, *options, "-o", kept, stand.cli.python, "-m", "holdall", *stand.options, *words],
        environment=stand.cli.environment,
        user=stand.cli.user,
    )
    expected(finished, 0)
    return kept.read_text(errors="replace")


def file_systems(calls: str) -> set[str]:
    """The file systems that the kernel was let read from blocks or from an image."""
    return {*MOUNTED.findall(calls), *OPENED.findall(calls)} & FROM_BLOCKS


def has_the_publishers(stand: Stand, version: Version) -> bool:
    """Whether a file of the store has the very bytes of the image that the publisher sent.

    An image made here of the same files has the same contents, so the tail is compared: the tables
    that a file system is, which the publisher did not compress.
    """
    tail = version.bundles["squashfs"].read_bytes()[-PIECE:]
    return any(tail in data for data in images(stand))


def images(stand: Stand) -> Iterator[bytes]:
    for deployment in stand.deployments():
        yield from (path.read_bytes() for path in deployment.iterdir() if path.is_file())


@pytest.mark.measures("N6")
def test_the_kernel_parses_no_image_of_a_publisher(
    stand: Stand,
    pictured: Specimen,
    require: Require,
    record_property: Callable[[str, object], None],
) -> None:
    strace = require("strace")
    form = ("--form", stand.case.form, *pictured.trust)
    calls = traced(stand, strace, "install", *form, pictured.old.bundles["squashfs"])
    calls += traced(stand, strace, "verify")
    calls += traced(stand, strace, "run", pictured.app)
    read_by = sorted(set(STARTED.findall(calls)) & IMAGE_READERS)
    parsed = file_systems(calls)
    assert read_by, "the publisher's image was not read in user space"
    kept = has_the_publishers(stand, pictured.old)
    assert kept == (stand.case.form == "image")
    assert not (parsed and kept)
    assert stand.listing() == pictured.old.listing
    record_property(EVIDENCE, {"read by": read_by, "parsed by the kernel": sorted(parsed)})


def test_the_tail_of_a_publishers_image_tells_it_from_others(pictured: Specimen) -> None:
    tails = {
        hashlib.sha256(version.bundles["squashfs"].read_bytes()[-PIECE:]).digest()
        for version in pictured.versions
    }
    assert len(tails) == len(pictured.versions)
