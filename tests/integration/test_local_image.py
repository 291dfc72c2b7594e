"""Images that are made where an app is installed: the same from the same files, and checked."""

import os
from pathlib import Path

import pytest

from holdall.errors import CorruptError, NoSpaceError, UnsupportedError, UsageError
from holdall.forms import imaging, local_image, seeding
from holdall.forms.folder_source import FolderSource
from holdall.forms.port import NOT_MOUNTED, Choice, Place, Work
from holdall.journeys import bundling
from holdall.model.ref import Ref
from holdall.model.tree import Tree
from holdall.publish.scan import scan
from holdall.system import images
from holdall.system.means import Means
from holdall.system.mounting import KernelImage, ServedImage

KINDS = list(images.KINDS)
REF = Ref("org.example.App", "x86_64", "stable")


class Machine(Means):
    """A machine as a test wants it."""

    def __init__(self, store: Path, **facts: bool) -> None:
        super().__init__(str(store))
        self.__dict__.update(facts)


def root_machine(store: Path) -> Machine:
    return Machine(store, privileged=True, loop=True, kernel_erofs=True, kernel_squashfs=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of an app, with names that programs may stumble over."""
    files = tmp_path / "source"
    write_files(files, range(40))
    return files


def write_files(files: Path, order: "range | list[int]") -> None:
    (files / "deep/er").mkdir(parents=True)
    (files / "empty folder").mkdir()
    for number in order:
        (files / f"deep/{number}.py").write_text(f"print({number})\n" * number)
    (files / "deep/er/*[a]?").write_bytes(b"star")
    (files / "deep/er/\\back -> slash").write_bytes(b"slash")
    (files / "# no comment").write_bytes(os.urandom(0))
    (files / "-dest").write_bytes(b"no option")
    (files / "deep/same").write_text("print(7)\n" * 7)
    (files / "run").write_bytes(b"#!/bin/sh\n" + bytes(300_000))
    (files / "run").chmod(0o755)
    (files / "link").symlink_to("../outside")


def work_of(folder: Path, staged: Path, choice: Choice, means: Means) -> Work:
    staged.mkdir(parents=True)
    tree = scan(str(folder)).tree
    return Work(
        store=str(staged.parent),
        ref=REF,
        digest="0" * 64,
        staged=str(staged),
        layup=seeding.plan(tree),
        source=FolderSource(tree, str(folder)),
        choice=choice,
        means=means,
        meanwhile=lambda: None,
        report=lambda _size: None,
        bundles=bundling,
    )


def laid_down(folder: Path, staged: Path, choice: Choice) -> tuple[Place, Tree]:
    work = work_of(folder, staged, choice, root_machine(staged.parent))
    record = local_image.lay_down(work)
    return Place(str(staged.parent), str(staged), record, bundling), work.tree


def extracted(place: Place, tree: Tree, target: Path) -> Path:
    kind, size = place.record["kind"], place.record["size"]
    paths = [file.path for file in tree.files]
    with Path(f"{place.folder}/image").open("rb") as image:
        images.extract(kind, image.fileno(), 0, size, folder=str(target), paths=paths)
    return target


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_the_image_has_the_files(folder: Path, tmp_path: Path, kind: str, compress: bool) -> None:  # noqa: FBT001 - a parameter
    place, tree = laid_down(folder, tmp_path / "store/one", Choice(image=kind, compress=compress))
    target = extracted(place, tree, tmp_path / "out")
    assert {file.path: (target / file.path).read_bytes() for file in tree.files} == {
        file.path: (folder / file.path).read_bytes() for file in tree.files
    }


@pytest.mark.parametrize("kind", KINDS)
def test_equal_files_make_an_equal_image(folder: Path, tmp_path: Path, kind: str) -> None:
    first, _ = laid_down(folder, tmp_path / "store/one", Choice(image=kind))
    again = tmp_path / "again"
    write_files(again, list(reversed(range(40))))
    for path in (again / "run", again / "deep"):
        path.chmod(0o700)
    os.utime(again / "deep", (5, 5))
    second, _ = laid_down(again, tmp_path / "store/two", Choice(image=kind))
    assert first.record == second.record


@pytest.mark.parametrize("kind", KINDS)
def test_the_listing_is_that_of_the_tree(folder: Path, tmp_path: Path, kind: str) -> None:
    place, tree = laid_down(folder, tmp_path / "store/one", Choice(image=kind))
    with Path(f"{place.folder}/image").open("rb") as image:
        imaging.check_listing(kind, image.fileno(), 0, place.record["size"], tree=tree)


@pytest.mark.parametrize("change", ["add", "drop", "mode", "size", "link", "kind", "folder"])
@pytest.mark.parametrize("kind", KINDS)
def test_another_listing_is_not(folder: Path, tmp_path: Path, kind: str, change: str) -> None:
    tree = scan(str(folder)).tree
    match change:
        case "add":
            (folder / "deep/more").touch()
        case "drop":
            (folder / "deep/3.py").unlink()
        case "mode":
            (folder / "deep/3.py").chmod(0o755)
        case "size":
            (folder / "deep/3.py").write_bytes(b"x")
        case "link":
            (folder / "link").unlink()
            (folder / "link").symlink_to("../inside")
        case "kind":
            (folder / "link").unlink()
            (folder / "link").write_bytes(b"../outside")
        case _:
            (folder / "empty folder").rmdir()
            (folder / "empty folder").touch()
    place, _ = laid_down(folder, tmp_path / "store/one", Choice(image=kind))
    size = place.record["size"]
    with (
        Path(f"{place.folder}/image").open("rb") as image,
        pytest.raises(CorruptError, match="not the files its release names"),
    ):
        imaging.check_listing(kind, image.fileno(), 0, size, tree=tree)


def test_only_the_image_stays(folder: Path, tmp_path: Path) -> None:
    place, _ = laid_down(folder, tmp_path / "store/one", Choice())
    assert sorted(path.name for path in Path(place.folder).rglob("*")) == [
        NOT_MOUNTED,
        "files",
        "image",
    ]


def test_compressing_makes_it_smaller(folder: Path, tmp_path: Path) -> None:
    small, _ = laid_down(folder, tmp_path / "store/one", Choice(image="squashfs"))
    plain, _ = laid_down(folder, tmp_path / "store/two", Choice(image="squashfs", compress=False))
    assert small.record["size"] < plain.record["size"] / 10


def test_a_sound_image_has_no_faults(folder: Path, tmp_path: Path) -> None:
    place, tree = laid_down(folder, tmp_path / "store/one", Choice())
    assert local_image.inspect(place, tree, fast=False) == []


@pytest.mark.parametrize("at", [0, 1024, 3000, -1])
def test_a_flipped_byte_is_found(folder: Path, tmp_path: Path, at: int) -> None:
    place, tree = laid_down(folder, tmp_path / "store/one", Choice())
    image = tmp_path / "store/one/image"
    data = bytearray(image.read_bytes())
    data[at] ^= 1
    image.write_bytes(data)
    assert local_image.inspect(place, tree, fast=True) == [("", "the image image was changed")]


def test_an_image_that_was_cut_short_is_found(folder: Path, tmp_path: Path) -> None:
    place, tree = laid_down(folder, tmp_path / "store/one", Choice())
    os.truncate(f"{place.folder}/image", place.record["size"] - 1)
    assert local_image.inspect(place, tree, fast=False)


def test_an_image_that_is_gone_is_found(folder: Path, tmp_path: Path) -> None:
    place, tree = laid_down(folder, tmp_path / "store/one", Choice())
    Path(f"{place.folder}/image").unlink()
    assert local_image.inspect(place, tree, fast=False) == [("", "the image image is missing")]


def test_what_everybody_can_read_is_made_where_nothing_is_said(
    folder: Path, tmp_path: Path
) -> None:
    place, _ = laid_down(folder, tmp_path / "store/one", Choice())
    assert place.record["kind"] == "squashfs"


def test_root_has_the_kernel_read_it(folder: Path, tmp_path: Path) -> None:
    place, _ = laid_down(folder, tmp_path / "store/one", Choice(image="erofs"))
    mounted = local_image.mount(place, root_machine(tmp_path))
    size = place.record["size"]
    assert mounted == KernelImage("erofs", f"{place.folder}/image", 0, size)


def test_others_have_it_served(folder: Path, tmp_path: Path) -> None:
    place, _ = laid_down(folder, tmp_path / "store/one", Choice(image="squashfs"))
    means = Machine(tmp_path, privileged=False, user_namespaces=True, fuse=True)
    means.kernel_squashfs = means.kernel_erofs = False
    mounted = local_image.mount(place, means)
    assert isinstance(mounted, ServedImage)
    assert mounted.program.endswith("/squashfuse_ll")


def test_others_get_the_kind_that_is_served_here(tmp_path: Path) -> None:
    means = Machine(tmp_path, privileged=False, user_namespaces=True, fuse=True)
    means.kernel_squashfs = means.kernel_erofs = False
    assert imaging.chosen("", means) == "squashfs"


@pytest.fixture
def without_fuse(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path, privileged=False, user_namespaces=True, fuse=False)
    machine.kernel_squashfs = machine.kernel_erofs = False
    return machine


def test_where_nothing_can_read_an_image_none_is_made(
    folder: Path, tmp_path: Path, without_fuse: Machine
) -> None:
    work = work_of(folder, tmp_path / "store/one", Choice(), without_fuse)
    with pytest.raises(UnsupportedError, match="No image can be made and read here"):
        local_image.lay_down(work)


def test_the_table_says_so(without_fuse: Machine) -> None:
    assert local_image.cells(without_fuse)["R2"].holds == "no"


def test_an_unknown_kind_is_refused(folder: Path, tmp_path: Path) -> None:
    work = work_of(folder, tmp_path / "store/one", Choice(image="iso9660"), Means(str(tmp_path)))
    with pytest.raises(UsageError, match="no image of kind 'iso9660'"):
        local_image.lay_down(work)


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_is_told(small_disk: Path, tmp_path: Path, kind: str) -> None:
    large = tmp_path / "large"
    large.mkdir()
    (large / "file").write_bytes(os.urandom(7_000_000))
    work = work_of(large, small_disk / "store/one", Choice(image=kind), root_machine(small_disk))
    with pytest.raises(NoSpaceError, match="Free some space"):
        local_image.lay_down(work)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_image_is_not_read(tmp_path: Path, kind: str) -> None:
    work = tmp_path / "work"
    work.mkdir()
    image = work / "image"
    image.write_bytes(bytes(8192))
    with image.open("rb") as file, pytest.raises(CorruptError, match="cannot be read"):
        images.extract(kind, file.fileno(), 0, 8192, folder=str(work / "out"), paths=["a"])
    assert sorted(path.name for path in work.iterdir()) == ["image"]
