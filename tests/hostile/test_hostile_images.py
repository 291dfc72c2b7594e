"""Bundles with an image that was damaged, or is not what the signed tree says.

Each is refused and changes nothing; but one lie of a publisher's is found by verifying only: other
contents in the image than in the tree, in the form that keeps the image.
"""

import contextlib
import io
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bundles import QUICK, forge_image, make_bundle, write_source
from holdall.delivery.bundle import read_preamble
from holdall.delivery.index import encode as encode_index
from holdall.delivery.layout import BLOCK, MAX_IMAGE, Head, encode_head, parse_head
from holdall.errors import CorruptError
from holdall.model.tree import Tree
from holdall.publish.scan import scan
from holdall.system import images
from hostility import Victim, call
from surroundings import Require

pytestmark = pytest.mark.slow  # hundreds of commands, each of which starts workers

KINDS = list(images.KINDS)
FORMS = [
    pytest.param(("--form", "tree"), id="tree"),
    pytest.param(("--form", "image", "--allow-kernel-parser"), id="image", marks=pytest.mark.root),
]
Form = tuple[str, ...]
NEW = {
    "bin/editor": b"#!/bin/sh\necho hello again\n",
    "share/words.txt": b"one two three four\n" * 20,
    "share/empty": b"",
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest, require: Require) -> str:
    """A kind of image, whose programs are here."""
    for program in ("mkfs.erofs", "mksquashfs", "unsquashfs", "fsck.erofs"):
        require(program)
    return str(request.param)


@pytest.fixture(scope="module")
def bundle(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of version 2.0 with an image."""
    folder = tmp_path_factory.mktemp("image")
    options = QUICK._replace(image=kind)
    return make_bundle(folder / "two.holdall", NEW, version="2.0", options=options)


@dataclass(frozen=True, slots=True)
class Forger:
    """Makes bundles of the app that are signed and wrong."""

    tree: Tree
    kind: str
    folder: Path

    def write(self, image: bytes, **said: object) -> Path:
        """A bundle with any bytes for an image."""
        return write(
            self.folder / "forged",
            forge_image(self.tree, image, **{"kind": self.kind, **said}),  # type: ignore[arg-type]  # what is wrong is wanted
        )

    def lying(self, lie: Callable[[Path], None]) -> Path:
        """A bundle with the image of other files."""
        folder = write_source(self.folder / "lie", NEW) / "files"
        lie(folder)
        return self.write(image_of(folder, self.kind, self.folder / "image"))


@pytest.fixture
def forger(tree: Tree, kind: str, tmp_path: Path) -> Forger:
    return Forger(tree, kind, tmp_path)


@pytest.fixture(scope="module")
def tree(bundle: Path) -> Tree:
    """The tree it was built from."""
    return scan(f"{bundle}.d/files").tree


@pytest.fixture(scope="module")
def image(bundle: Path) -> bytes:
    """Its image."""
    data = bundle.read_bytes()
    return data[parse_head(data).first_frame :]


def image_of(folder: Path, kind: str, target: Path) -> bytes:
    images.make(kind, str(folder), str(target), name=bytes(16), level=1)
    return target.read_bytes()


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("form", FORMS)
def test_it_is_taken_as_it_is(victim: Victim, bundle: Path, form: Form) -> None:
    victim.accepts("install", bundle, *form)
    victim.accepts("verify")


def test_it_begins_at_a_block_and_ends_the_file(bundle: Path) -> None:
    data = bundle.read_bytes()
    head = parse_head(data)
    assert (head.first_frame % BLOCK, head.size) == (0, len(data))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("place", range(8))
def test_a_flipped_byte_in_the_image_is_refused(
    victim: Victim, bundle: Path, tmp_path: Path, form: Form, place: int
) -> None:
    data = bytearray(bundle.read_bytes())
    first = parse_head(bytes(data)).first_frame
    data[first + (len(data) - 1 - first) * place // 7] ^= 0x10
    path = write(tmp_path / "flipped", bytes(data))
    assert victim.refuses("install", path, *form).kind == "CorruptError"


def test_a_flipped_byte_anywhere_before_it_is_refused(
    victim: Victim, bundle: Path, tmp_path: Path
) -> None:
    data = bundle.read_bytes()
    first = parse_head(data).first_frame
    path = tmp_path / "flipped"
    passed = []
    for at in [*range(60), *range(60, first - 8, 97), *range(first - 8, first)]:
        write(path, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        status, _, _ = call("--json", "--root", victim.root, "install", "--dry-run", path)
        if status != 4:
            passed.append(at)
    # compatible and read-only flags are for later formats
    assert set(passed) <= set(range(20, 28))


def test_one_cut_before_its_image_is_refused(bundle: Path) -> None:
    data = bundle.read_bytes()
    first = parse_head(data).first_frame
    for length in [*range(0, first, 53), first - 1]:
        with pytest.raises(CorruptError):
            read_preamble(io.BytesIO(data[:length]))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("missing", [1, 100, 4096])
def test_one_cut_in_its_image_is_refused(
    victim: Victim, bundle: Path, tmp_path: Path, form: Form, missing: int
) -> None:
    path = write(tmp_path / "cut", bundle.read_bytes()[:-missing])
    assert victim.refuses("install", path, *form).kind == "CorruptError"


def test_one_that_goes_on_is_refused(victim: Victim, bundle: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "more", bundle.read_bytes() + b"x")
    assert victim.refuses("install", path).kind == "CorruptError"


@pytest.mark.parametrize("form", FORMS)
def test_what_is_no_image_is_refused(victim: Victim, forger: Forger, form: Form) -> None:
    path = forger.write(bytes(range(256)) * 32)
    assert victim.refuses("install", path, *form).kind == "CorruptError"


@pytest.mark.parametrize("form", FORMS)
def test_an_image_of_another_kind_is_refused(
    victim: Victim, forger: Forger, image: bytes, form: Form
) -> None:
    other = next(name for name in KINDS if name != forger.kind)
    path = forger.write(image, kind=other)
    assert victim.refuses("install", path, *form).kind == "CorruptError"


def _add(files: Path) -> None:
    (files / "share/more").write_bytes(b"")


def _drop(files: Path) -> None:
    (files / "share/empty").unlink()


def _run(files: Path) -> None:
    (files / "share/words.txt").chmod(0o755)


def _setuid(files: Path) -> None:
    (files / "bin/editor").chmod(0o4755)


def _grow(files: Path) -> None:
    (files / "share/words.txt").write_bytes(b"more")


def _link(files: Path) -> None:
    (files / "share/words.txt").unlink()
    (files / "share/words.txt").symlink_to("/etc/passwd")


def _folder_link(files: Path) -> None:
    for path in (files / "share").iterdir():
        path.unlink()
    (files / "share").rmdir()
    (files / "share").symlink_to("/etc")


def _fifo(files: Path) -> None:
    (files / "share/empty").unlink()
    os.mkfifo(files / "share/empty")


def _open_folder(files: Path) -> None:
    (files / "share").chmod(0o777)


LIES = [_add, _drop, _run, _setuid, _grow, _link, _folder_link, _fifo, _open_folder]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__.strip("_"))
def test_an_image_with_other_files_than_its_tree_is_refused(
    victim: Victim, forger: Forger, form: Form, lie: Callable[[Path], None]
) -> None:
    path = forger.lying(lie)
    assert victim.refuses("install", path, *form).kind == "CorruptError"


def _other_words(files: Path) -> None:
    (files / "share/words.txt").write_bytes(NEW["share/words.txt"].replace(b"one", b"eno"))


@pytest.fixture
def lying(forger: Forger) -> Path:
    """A bundle whose image has another content of the same length in a file."""
    return forger.lying(_other_words)


def test_other_contents_than_the_tree_names_are_refused(victim: Victim, lying: Path) -> None:
    assert "share/words.txt" in victim.refuses("install", lying, "--form", "tree").message


@pytest.mark.root
def test_other_contents_in_an_image_that_is_kept_are_found_by_verifying(
    victim: Victim, lying: Path
) -> None:
    victim.accepts("install", lying, "--form", "image", "--allow-kernel-parser")
    status, printed, _ = call("--json", "--root", victim.root, "verify")
    assert (status, "share/words.txt" in printed) == (4, True)


@pytest.mark.root
def test_other_contents_are_no_form_to_convert_from(victim: Victim, lying: Path) -> None:
    victim.accepts("install", lying, "--form", "image", "--allow-kernel-parser")
    assert victim.refuses("convert", "org.example.Editor", "--form", "tree").code == 4


def test_a_flag_without_an_image_in_the_release_is_refused(
    victim: Victim, forger: Forger, image: bytes
) -> None:
    assert "has an image" in victim.refuses("install", forger.write(image, named=False)).message


def test_an_image_in_the_release_without_a_flag_is_refused(
    victim: Victim, forger: Forger, image: bytes
) -> None:
    assert "has no image" in victim.refuses("install", forger.write(image, flagged=False)).message


def test_frames_beside_an_image_are_refused(victim: Victim, forger: Forger, image: bytes) -> None:
    index = encode_index([(1024, 20, bytes(32))], [])
    assert victim.refuses("install", forger.write(image, index=index)).kind == "CorruptError"


@pytest.mark.parametrize("off", [-1, 1])
def test_a_length_that_is_not_the_signed_one_is_refused(
    victim: Victim, forger: Forger, image: bytes, off: int
) -> None:
    path = forger.write(image, size=len(image) + off)
    assert victim.refuses("install", path).kind == "CorruptError"


@pytest.mark.parametrize(
    "said", [{"kind": "iso9660"}, {"size": 0}, {"size": 2**32}, {"digest": "sha256:00"}]
)
def test_an_image_that_cannot_be_is_refused(
    victim: Victim, forger: Forger, image: bytes, said: dict[str, object]
) -> None:
    assert victim.refuses("install", forger.write(image, **said)).kind == "CorruptError"


@pytest.mark.parametrize(
    ("content", "flags"), [(0, 2), (MAX_IMAGE + 1, 2), (2**61, 2), (4096, 3), (2**64 - 1, 2)]
)
def test_a_head_that_cannot_be_is_refused(content: int, flags: int) -> None:
    with pytest.raises(CorruptError):
        parse_head(encode_head(Head(100, 100, 100, content, incompatible=flags)))


def test_what_reads_the_names_in_an_image_survives_anything(
    tmp_path: Path, require: Require
) -> None:
    require("mkfs.erofs")
    folder = write_source(tmp_path / "app", links={"share/link": "words.txt"}) / "files"
    data = image_of(folder, "erofs", tmp_path / "image")
    work = tmp_path / "work"
    limit = 2**16
    with work.open("w+b") as file:
        for at in range(1024, min(len(data), 8192)):
            for flip in (0xFF, 0x01, 0x80):
                changed = bytearray(data)
                changed[at] ^= flip
                os.pwrite(file.fileno(), changed, 0)
                with contextlib.suppress(CorruptError):
                    listed = images.listing("erofs", file.fileno(), 0, len(data), limit=limit)
                    assert all("/../" not in f"/{path}/" for path in listed)


def test_a_name_that_leads_out_of_an_image_is_refused(tmp_path: Path, require: Require) -> None:
    require("mkfs.erofs")
    folder = write_source(tmp_path / "app", {"share_words": b"x"}) / "files"
    data = image_of(folder, "erofs", tmp_path / "image")
    path = write(tmp_path / "work", data.replace(b"share_words", b"share/words"))
    with path.open("rb") as file, pytest.raises(CorruptError, match="no file may have"):
        images.listing("erofs", file.fileno(), 0, len(data), limit=2**16)


def test_a_folder_in_itself_ends(tmp_path: Path, require: Require) -> None:
    require("mkfs.erofs")
    folder = write_source(tmp_path / "app", {"share/words": b"x"}) / "files"
    data = bytearray(image_of(folder, "erofs", tmp_path / "image"))
    (root,) = struct.unpack_from("<H", data, 1024 + 14)
    # share's own number becomes the root's
    entry = data.index(struct.pack("<QHBB", root, 36, 2, 0))
    data[entry + 24 : entry + 32] = struct.pack("<Q", root)
    path = write(tmp_path / "work", bytes(data))
    with path.open("rb") as file, pytest.raises(CorruptError, match=r"more files|no app's image"):
        images.listing("erofs", file.fileno(), 0, len(data), limit=2**16)
