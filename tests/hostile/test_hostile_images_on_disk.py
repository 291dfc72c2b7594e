"""Where an installed image should be, something else is: it is found, and nothing waits for it."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from holdall.forms import composefs, imaging
from holdall.forms.port import Place
from holdall.journeys import bundling
from holdall.model.tree import Tree

NOTHING = Tree(())


def fifo(path: Path) -> None:
    os.mkfifo(path)


def missing(path: Path) -> None:
    assert not path.exists()


def nothing_in_it(path: Path) -> None:
    path.touch()


MAKERS = [fifo, missing, nothing_in_it]
Make = Callable[[Path], None]


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("make", MAKERS)
def test_what_is_no_image_is_a_fault(tmp_path: Path, make: Make, *, fast: bool) -> None:
    path = tmp_path / "image"
    make(path)
    record = {"offset": 0, "size": 4096, "digest": "", "whole": ""}
    assert [where for where, _ in imaging.faults(str(path), record, fast=fast)] == [""]


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("make", MAKERS)
def test_what_is_no_metadata_image_is_a_fault(tmp_path: Path, make: Make, *, fast: bool) -> None:
    make(tmp_path / "meta.erofs")
    record = {"form": "composefs", "digest": ""}
    place = Place(str(tmp_path), str(tmp_path), record, bundling)
    assert "" in [where for where, _ in composefs.inspect(place, NOTHING, fast=fast)]
