"""The form composefs: what is laid down, what the kernel shows, what is refused and mended."""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from bundles import APP, KEY, Parts, make_bundle, snapshot, trusting_store
from holdall.errors import CorruptError, UnsupportedError
from holdall.forms import composefs, erofs, seeding
from holdall.forms.folder_source import FolderSource
from holdall.forms.port import Choice, Place, Work
from holdall.journeys import bundling
from holdall.journeys.convert import convert
from holdall.journeys.forming import Wanted, place_of
from holdall.journeys.host import Host
from holdall.journeys.install import install
from holdall.journeys.installed import known_tree
from holdall.journeys.repair import repair
from holdall.journeys.verify import verify
from holdall.model.digest import Digest, digest_of
from holdall.model.ref import Ref, RefPattern
from holdall.model.tree import File, Tree
from holdall.publish.scan import scan
from holdall.store.catalog import Deployment
from holdall.system.means import Means
from surroundings import OrdinaryUser
from viewed import reading

pytestmark = pytest.mark.root

IN_COMPOSEFS = Wanted(form="composefs")
FILES: Mapping[str, bytes] = {
    "bin/editor": b"#!/bin/sh\necho hello\n",
    "share/same as the program": b"#!/bin/sh\necho hello\n",
    "share/words": b"one two three\n" * 2000,
    "share/again/words": b"one two three\n" * 2000,
    "share/empty": b"",
    "share/é 字": b"odd",
}
LINKS = {"editor": "bin/editor", "nowhere": "x" * 4000}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "1.holdall", FILES, links=LINKS)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return trusting_store(tmp_path / "store")


@pytest.fixture
def installed(host: Host, bundle: Path) -> Deployment:
    install(str(bundle), host, wanted=IN_COMPOSEFS)
    return active(host)


def active(host: Host) -> Deployment:
    (item,) = [host.catalog.active(ref) for ref in host.catalog.refs()]
    assert item
    return item


def faults(host: Host) -> list[tuple[str, str]]:
    return [fault for found in verify(host) for fault in found.faults]


def object_of(item: Deployment, path: str) -> Path:
    tree = known_tree(item)
    assert tree
    (digest,) = [file.digest for file in tree.files if file.path == path]
    return Path(item.path, "objects", erofs.names(tree)[digest])


def objects(item: Deployment) -> list[Path]:
    return list(Path(item.path, "objects").iterdir())


def damage(path: Path) -> None:
    """Change a byte, and nothing else that could be seen."""
    status, data = path.stat(), path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_the_kernel_shows_what_was_built(host: Host, bundle: Path, installed: Deployment) -> None:
    built = Path(f"{bundle}.d/files")
    with reading(host, installed) as folder:
        seen = snapshot(Path(folder))
    expected = snapshot(built)
    assert {path.removeprefix(folder): what for path, what in seen.items()} == {
        path.removeprefix(str(built)): what for path, what in expected.items()
    }
    assert faults(host) == []


def test_a_deployment_has_each_content_once_and_nothing_of_it_in_its_folder(
    installed: Deployment,
) -> None:
    held = objects(installed)
    assert {path.read_bytes() for path in held} == set(FILES.values())
    assert len(held) == len(set(FILES.values()))
    assert [path.name for path in Path(installed.files).iterdir()] == [".not-mounted"]


def test_the_image_is_what_the_release_names(installed: Deployment) -> None:
    image = Path(installed.path, "meta.erofs").read_bytes()
    digest = str(Digest(digest_of(image)))
    release = msgspec.json.decode(installed.read("release"))
    assert release["metadata-image"] == installed.record["digest"] == digest


def test_versions_and_apps_share_every_content_they_both_have(
    host: Host, tmp_path: Path, installed: Deployment
) -> None:
    files = {**FILES, "share/words": b"other\n"}
    assert installed.form == "composefs"
    newer = make_bundle(tmp_path / "2.holdall", files, links=LINKS, version="2.0")
    install(str(newer), host)
    other = make_bundle(tmp_path / "o.holdall", files, links=LINKS, id="org.example.Other")
    install(str(other), host, wanted=IN_COMPOSEFS)
    inodes = [
        {path.read_bytes(): path.stat().st_ino for path in objects(item)}
        for ref in host.catalog.refs()
        for item in host.catalog.deployments(ref)
    ]
    assert len(inodes) == 3
    for content in {data for found in inodes for data in found}:
        assert len({found[content] for found in inodes if content in found}) == 1


def test_an_app_with_a_pool_of_its_own_shares_nothing(
    host: Host, tmp_path: Path, installed: Deployment
) -> None:
    tree, folder = known_tree(installed), tmp_path / "again"
    assert tree
    folder.mkdir()
    with reading(host, installed) as files:
        record = composefs.lay_down(work_of(host, tree, files, folder, scope="app"))
    assert record["pool"] == "app"
    inodes = [
        {path.stat().st_ino for path in Path(top, "objects").iterdir()}
        for top in (installed.path, folder)
    ]
    assert not inodes[0] & inodes[1]


def work_of(
    host: Host, tree: Tree, files: str, staged: Path, *, image: str = "", scope: str = "store"
) -> Work:
    """What it takes to lay a tree down out of a folder with its files."""
    return Work(
        store=host.layout.root,
        ref=Ref(APP, "x86_64", "stable"),
        digest="0" * 64,
        staged=str(staged),
        layup=seeding.plan(tree),
        source=FolderSource(tree, files),
        choice=Choice(pool=scope),
        means=Means(str(staged)),
        meanwhile=lambda: None,
        report=lambda _size: None,
        bundles=bundling,
        metadata_image=image,
    )


def test_a_tree_that_makes_another_image_than_its_release_names_is_refused(
    host: Host, tmp_path: Path, bundle: Path
) -> None:
    tree, wrong = scan(f"{bundle}.d/files").tree, str(Digest(bytes(32)))
    (tmp_path / "staged").mkdir()
    work = work_of(host, tree, f"{bundle}.d/files", tmp_path / "staged", image=wrong)
    with pytest.raises(CorruptError, match=f"names the metadata image {wrong}, but its tree makes"):
        composefs.lay_down(work)
    assert not Path(host.layout.root, "pool").exists()


def test_a_bundle_that_names_another_image_is_refused_whole(
    host: Host, tmp_path: Path, bundle: Path, installed: Deployment
) -> None:
    wrong = str(Digest(bytes(32)))
    parts = Parts.of(bundle.read_bytes()).signed(
        KEY, change=lambda it: msgspec.structs.replace(it, metadata_image=wrong)
    )
    path = tmp_path / "wrong.holdall"
    path.write_bytes(parts.bytes)
    before = snapshot(Path(host.layout.root))
    with pytest.raises(CorruptError, match="names the metadata image"):
        install(str(path), host)
    assert active(host).digest == installed.digest
    assert snapshot(Path(host.layout.root)) == before


def test_a_release_that_names_no_image_is_laid_down_all_the_same(
    host: Host, tmp_path: Path, bundle: Path
) -> None:
    parts = Parts.of(bundle.read_bytes()).signed(
        KEY, change=lambda it: msgspec.structs.replace(it, metadata_image="")
    )
    path = tmp_path / "old.holdall"
    path.write_bytes(parts.bytes)
    install(str(path), host, wanted=IN_COMPOSEFS)
    assert active(host).record["digest"].startswith("sha256-4k:")
    assert faults(host) == []


@pytest.mark.parametrize("missing", [False, True])
def test_a_changed_image_is_not_mounted_and_mended_from_the_bundle(
    host: Host, bundle: Path, installed: Deployment, *, missing: bool
) -> None:
    image = Path(installed.path, "meta.erofs")
    if missing:
        image.unlink()
    else:
        damage(image)
    ((path, found),) = faults(host)
    assert path == ""
    said = "is missing" if missing else "was changed"
    assert found == f"{image} {said}; `holdall repair` makes it anew from a bundle."
    repair(str(bundle), host)
    assert faults(host) == []


def test_a_changed_image_alone_is_made_anew_of_the_tree(
    host: Host, tmp_path: Path, installed: Deployment
) -> None:
    other = make_bundle(tmp_path / "2.holdall", {"bin/editor": b"#!/bin/true\n"}, version="2.0")
    damage(Path(installed.path, "meta.erofs"))
    (mended,) = repair(str(other), host)
    assert mended.paths == ("its metadata image",)
    assert faults(host) == []


@pytest.mark.parametrize("missing", [False, True])
def test_a_changed_content_is_found_and_mended_in_every_version(
    host: Host, tmp_path: Path, bundle: Path, installed: Deployment, *, missing: bool
) -> None:
    newer = make_bundle(tmp_path / "2.holdall", {**FILES, "new": b"new"}, version="2.0")
    install(str(newer), host)
    for item in (installed, active(host)):
        path = object_of(item, "share/words")
        if missing:
            path.unlink()
        elif item is installed:
            damage(path)
    told = [("share/again/words", "its content was changed")]
    assert [list(found.faults) for found in verify(host)] == [told, told]
    repair(str(bundle), host)
    assert faults(host) == []


def test_what_is_noted_of_the_image_is_held_against_the_tree(installed: Deployment) -> None:
    tree = known_tree(installed)
    assert tree
    record = {**installed.record, "digest": str(Digest(bytes(32)))}
    place = Place("", installed.path, record, bundling)
    told = [("", "what was noted of the metadata image was changed")]
    assert composefs.inspect(place, tree, fast=False) == told


def test_an_ordinary_user_is_told_that_it_takes_root(
    ordinary_user: OrdinaryUser, bundle: Path
) -> None:
    public = ordinary_user.home / "app.holdall"
    public.write_bytes(bundle.read_bytes())
    ordinary_user.give(public)
    done = ordinary_user.holdall(
        *("install", "--trust-key", KEY.public.fingerprint, "--form", "composefs", public),
        expect=None,
    )
    assert "The form composefs cannot be used here: needs root" in done.stderr
    assert "use the form tree or pool" in done.stderr
    assert done.returncode not in {0, 4}


def test_it_is_mounted_for_nobody_without_the_powers_it_takes(
    host: Host, installed: Deployment
) -> None:
    means = Means(host.layout.root)
    vars(means)["privileged"] = False
    with pytest.raises(UnsupportedError, match="`holdall convert` brings it to the form tree"):
        composefs.mount(place_of(host, installed), means)


@pytest.mark.parametrize("form", ["tree", "pool"])
def test_to_another_form_and_back_every_content_keeps_its_inode(
    host: Host, installed: Deployment, form: str
) -> None:
    before = {path.read_bytes(): path.stat().st_ino for path in objects(installed)}
    pattern = RefPattern.parse(APP)
    convert(pattern, host, Wanted(form=form))
    files = Path(active(host).files)
    assert active(host).form == form
    assert {
        path: (files / path).stat().st_ino
        for path in FILES
        if path != "share/same as the program"  # of a mode of its own
    } == {path: before[data] for path, data in FILES.items() if path != "share/same as the program"}
    assert (files / "share/same as the program").read_bytes() == FILES["bin/editor"]
    convert(pattern, host, IN_COMPOSEFS)
    assert {path.read_bytes(): path.stat().st_ino for path in objects(active(host))} == before
    assert faults(host) == []


def test_a_tree_and_its_bundle_make_the_same_image(bundle: Path, installed: Deployment) -> None:
    tree = scan(f"{bundle}.d/files").tree
    assert Path(installed.path, "meta.erofs").read_bytes() == erofs.image(tree)
    assert any(isinstance(entry, File) for entry in tree.entries)
