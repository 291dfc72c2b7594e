"""Files that say they were packed by a store: nobody takes them but that store."""

import struct
from pathlib import Path

import pytest

from bundles import make_bundle
from holdall.delivery.layout import BLOCK, LOCAL, SKIPPABLE, Head, encode_head, parse_head
from holdall.errors import CorruptError
from hostility import Victim

NOISE = {"a": b"words " * 20_000, "b": bytes(5)}


def disguised(bundle: Path, out: Path) -> Path:
    """A bundle made to look as if a store had packed it; all else in it is the publisher's."""
    data = bundle.read_bytes()
    head = parse_head(data[:52])
    local = Head(*head[:4], incompatible=LOCAL)
    padding = bytes(-(head.sections_end + 8) % BLOCK)
    between = struct.pack("<II", SKIPPABLE + 5, len(padding)) + padding
    out.write_bytes(
        encode_head(local) + data[52 : head.sections_end] + between + data[head.first_frame :]
    )
    return out


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return disguised(make_bundle(tmp_path / "made.holdall", NOISE), tmp_path / "local.holdall")


@pytest.mark.parametrize("command", ["install", "update", "inspect", "repair"])
def test_it_is_refused(victim: Victim, bundle: Path, command: str) -> None:
    assert "was packed by a store, for itself" in victim.refuses(command, bundle).message


@pytest.mark.parametrize("flags", [LOCAL | 1, LOCAL | 2, LOCAL | 8, 8])
def test_flags_that_do_not_go_together_are_refused(flags: int) -> None:
    with pytest.raises(CorruptError):
        parse_head(encode_head(Head(1, 1, 1, 1, incompatible=flags)))
