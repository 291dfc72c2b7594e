"""Metadata images: one tree, one image, byte by byte; releases name it."""

from pathlib import Path

import msgspec
import pytest

from bundles import make_bundle, manifest_of
from holdall.errors import CorruptError
from holdall.forms import erofs
from holdall.journeys.inspect import inspect
from holdall.model import release as releases
from holdall.model.digest import Digest, digest_of
from holdall.model.release import Packing, Release
from holdall.publish.scan import scan
from shapes import SHAPES, SMALL, file, tree

GOLDEN = {
    "empty": "5a9b9d08f4d66dc7511b7983352c956e77c420eff41041f642b28ea1ad6613ae",
    "small": "a0e5af662328a36773ac7d90ec59f5e8df33ed793f2b185757e890a6f6c6142c",
    "links about a block": "0a79c68030aa48dd438b396a29771c0b01852829da1d133343ff4519b13f3f87",
    "sizes about every limit": "e620359d36df423fb54599b62c7be9895cea89a716c501649f2473f1aca8daaa",
    "empty files": "73603360b594b5c84254bd9f16c3424dad6f1b1c5e0f767df314126e7d67a5eb",
    "a content in many places": "06e74c41593efd038377fb654813dcd3e6555f29d2d3a6954a8b3b3bcbeeb525",
    "a folder of many folders": "3e4cb7e2efd5d727bccfe77ca53a693efddfe37b1f654a5449fc0b877a2abdaa",
    "a folder of very many": "81305631b31a79c6da98c9d493d657c9ee62125f72f29a13d2773af6fa66d82d",
    "folders about a block": "deed2eefb5c0f1ed7681d2b1975b89e84e713c979e0eaef2ce9e7a4cbc56314c",
    "names of 255 bytes": "83e8fc391bbe087d88a5fa05522eb52bebceb20e72d6bc046d67d5b937ae4e12",
    "a deep path": "6da890cc87dace4cba19ed07346ce13a02304ae0a6ec5fc5321e470158e614eb",
    "names of all sorts": "92d39a47943f23803303c4a8ecd0545c2a42bf5327db8162fb93fd968e96d8dc",
}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_image_of_a_tree_is_what_it_was(shape: str) -> None:
    image = erofs.image(SHAPES[shape])
    assert len(image) % 4096 == 0
    assert digest_of(image).hex() == GOLDEN[shape]


def test_a_content_is_named_by_its_rank_in_three_safe_characters() -> None:
    many = tree(*(file(f"{number}", number) for number in range(5000)))
    names = erofs.names(many)
    ranked = sorted(file.digest for file in many.files)
    assert [names[digest] for digest in ranked] == sorted(names.values())
    assert len(set(names.values())) == 5000
    assert {len(name) for name in names.values()} == {3}
    assert names[ranked[0]] == "+++"
    assert names[ranked[64]] == "+0+"
    assert all(
        name.replace("+", "").replace("_", "a").isalnum() or name == "+++"
        for name in names.values()
    )


def test_the_inode_of_a_file_takes_128_bytes() -> None:
    sizes = [
        len(erofs.image(tree(*(file(f"{n:03}", n) for n in range(count))))) for count in (32, 160)
    ]
    assert sizes[1] - sizes[0] == 128 * 128 + 128 * 15 // 4096 * 4096


def test_an_image_names_the_digest_and_the_place_of_every_content() -> None:
    image, names = erofs.image(SMALL), erofs.names(SMALL)
    inodes = {(item.digest, item.executable) for item in SMALL.files if item.size}
    for digest, name in names.items():
        expected = sum(content == digest for content, _ in inodes)
        assert image.count(b"overlay.metacopy\x00\x24\x00\x01" + digest) == expected
        assert image.count(b"overlay.redirect/" + name.encode()) == expected


def test_more_contents_than_three_characters_name_get_four() -> None:
    many = tree(*(file(f"{number}", number) for number in range(2**18 + 1)))
    names = erofs.names(many)
    assert {len(name) for name in names.values()} == {4}
    assert len(set(names.values())) == 2**18 + 1


def test_a_bundle_names_the_image_of_its_tree(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "editor.holdall")
    tree = scan(f"{bundle}.d/files").tree
    facts = inspect(str(bundle))
    assert facts["metadata_image"] == str(Digest(digest_of(erofs.image(tree))))


def test_a_release_of_before_there_were_images_is_read_as_it_is() -> None:
    old = Release(1, manifest_of(), str(Digest(bytes(32))), 0, 0, Packing("0" * 64, "1" * 64))
    assert b"image" not in releases.encode(old)
    assert releases.parse(releases.encode(old)).metadata_image == ""


@pytest.mark.parametrize("said", ["x", "sha256-4k:", "0" * 64, f"sha256-4k:{'A' * 64}"])
def test_what_is_no_digest_names_no_image(said: str) -> None:
    old = Release(1, manifest_of(), str(Digest(bytes(32))), 0, 0, Packing("0" * 64, "1" * 64))
    odd = releases.encode(msgspec.structs.replace(old, metadata_image=said))
    with pytest.raises(CorruptError, match="is not a digest"):
        releases.parse(odd)
