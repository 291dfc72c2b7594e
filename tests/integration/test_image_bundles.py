"""Bundles with an image are read by all that reads bundles: files, streams, addresses, remotes."""

import json
import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import servers
from bundles import APP, forge_image, make_bundle, write_source
from holdall.delivery.layout import parse_head
from holdall.journeys.build import BuildOptions
from holdall.journeys.host import root_host
from holdall.journeys.mirror import MirrorOptions, mirror
from holdall.publish.scan import scan
from holdall.system import images
from hostility import Victim, call
from patience import GENEROUS, HASTY, clients
from shops import Shop, done, fails, join, opened, versions
from surroundings import PYTHON, Require, environment_for

# The server's threads are here when commands fork their workers, which take no lock of theirs.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")

KINDS = ["erofs", "squashfs"]
LARGE = random.Random(1).randbytes(300_000)
FILES = {
    "1.0": {"bin/editor": b"#!/bin/sh\n", "large": LARGE, "same": bytes(90_000)},
    "2.0": {"bin/editor": b"#!/bin/sh\nexit\n", "large": LARGE[::-1], "same": bytes(90_000)},
}
SMALL = BuildOptions(level=1)


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest, require: Require) -> str:
    for program in ("mkfs.erofs", "mksquashfs", "unsquashfs", "fsck.erofs"):
        require(program)
    return str(request.param)


@pytest.fixture(scope="module")
def folder(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles of both versions."""
    folder = tmp_path_factory.mktemp("images")
    for version, files in FILES.items():
        options = SMALL._replace(image=kind)
        make_bundle(folder / f"{version}.holdall", files, version=version, options=options)
    return folder


def as_form(form: str) -> tuple[str, ...]:
    """The options that install in a form, by the kernel where that is a choice."""
    allowed = ("--allow-kernel-parser",) if form == "image" else ()
    return ("--form", form, *allowed)


def installed(victim: Victim) -> dict[str, bytes]:
    (files,) = victim.root.glob("active/*/*/*")
    return {name: (files / "files" / name).read_bytes() for name in FILES["1.0"]}


# ------------------------------------------------------------------------------------ what it is


def test_it_is_the_same_from_the_same_folder(kind: str, folder: Path, tmp_path: Path) -> None:
    options = SMALL._replace(image=kind)
    again = make_bundle(tmp_path / "again", FILES["1.0"], version="1.0", options=options)
    assert again.read_bytes() == (folder / "1.0.holdall").read_bytes()


def test_modes_of_the_source_folder_do_not_show(kind: str, folder: Path, tmp_path: Path) -> None:
    source = shutil.copytree(folder / "1.0.holdall.d", tmp_path / "source")
    (source / "files/large").chmod(0o600)
    (source / "files/bin").chmod(0o700)
    (source / "files/bin/editor").chmod(0o711)
    key = folder.parent / "key"
    call("--root", key, "key", "generate")
    made = []
    for name, place in (("one", source), ("two", folder / "1.0.holdall.d")):
        out = tmp_path / name
        status, _, complaints = call("--root", key, "build", place, "-o", out, "--image", kind)
        assert status == 0, complaints
        made.append(out.read_bytes())
    assert made[0] == made[1]


def test_zstd_and_tar_pass_over_the_image(folder: Path, require: Require) -> None:
    bundle = folder / "1.0.holdall"
    with bundle.open("rb") as file:
        subprocess.run([require("zstd"), "-tq"], stdin=file, check=True)
    listed = subprocess.run(
        [require("tar"), "--zstd", "-tf", bundle], check=True, capture_output=True
    )
    assert listed.stdout == b""


def test_inspect_tells_of_it(store: Victim, folder: Path, kind: str) -> None:
    facts = json.loads(store.accepts("inspect", folder / "1.0.holdall"))
    data = (folder / "1.0.holdall").read_bytes()
    image = facts["image"]
    assert (image["kind"], image["size"]) == (kind, len(data) - parse_head(data).first_frame)


# ------------------------------------------------------------------------------------ reading it


def test_its_files_are_laid_down(store: Victim, folder: Path) -> None:
    store.accepts("install", folder / "1.0.holdall")
    assert installed(store) == FILES["1.0"]


def test_an_update_takes_what_is_new_out_of_it(store: Victim, folder: Path) -> None:
    store.accepts("install", folder / "1.0.holdall")
    (plan,) = done(store, "install", folder / "2.0.holdall")
    assert (installed(store), plan["linked"]) == (FILES["2.0"], 90_000)


def test_nothing_else_is_left_in_the_store(store: Victim, folder: Path) -> None:
    store.accepts("install", folder / "1.0.holdall")
    assert list((store.root / "staging").iterdir()) == []


@pytest.mark.parametrize("form", ["tree", pytest.param("image", marks=pytest.mark.root)])
def test_it_may_come_as_a_stream(store: Victim, folder: Path, form: str) -> None:
    assert piped(store, folder / "1.0.holdall", *as_form(form)) == 0
    store.accepts("verify")


def test_a_damaged_stream_is_refused(store: Victim, folder: Path, tmp_path: Path) -> None:
    data = bytearray((folder / "1.0.holdall").read_bytes())
    data[-5000] ^= 1
    (tmp_path / "bad").write_bytes(data)
    assert piped(store, tmp_path / "bad") == 4


def piped(store: Victim, bundle: Path, *options: str) -> int:
    """The exit code of installing what comes through a pipe."""
    command: list[str | Path] = [
        PYTHON,
        "-m",
        "holdall",
        "--root",
        store.root,
        "install",
        "-",
        *options,
    ]
    with (
        bundle.open("rb") as file,
        subprocess.Popen(["cat"], stdin=file, stdout=subprocess.PIPE) as cat,
    ):
        environment = environment_for(store.home)
        return subprocess.run(
            [*command, *options], check=False, stdin=cat.stdout, env=environment
        ).returncode


def test_repair_takes_contents_out_of_it(store: Victim, folder: Path) -> None:
    store.accepts("install", folder / "1.0.holdall")
    (files,) = store.root.glob("deployments/*/*/*/*/files")
    (files / "large").write_bytes(b"spoiled")
    store.accepts("repair", folder / "1.0.holdall")
    assert installed(store) == FILES["1.0"]


# ------------------------------------------------------------------------------------ increments


@pytest.fixture
def signer(tmp_path: Path, isolated_home: Path, kind: str) -> Victim:
    """A publisher, with both versions as bundles of kinds that differ."""
    publisher = Victim(tmp_path / "publisher", isolated_home)
    publisher.accepts("key", "generate")
    for version, files in FILES.items():
        source = make_bundle(tmp_path / version, files, version=version, options=SMALL)
        options = ("--image", kind) if version == "2.0" else ()
        out = tmp_path / f"{version}.holdall"
        publisher.accepts("build", f"{source}.d", "-o", out, *options)
    return publisher


@pytest.mark.parametrize("both", [False, True], ids=["from it", "from it to another"])
def test_increments_lead_from_it_and_to_it(
    signer: Victim,
    tmp_path: Path,
    kind: str,
    both: bool,  # noqa: FBT001 - a parameter
) -> None:
    changed = LARGE[::-1][:200_000] + b"in between" + LARGE[::-1][200_000:]
    files = {**FILES["2.0"], "large": changed}
    source = make_bundle(tmp_path / "next", files, version="3.0", options=SMALL)
    packing = ("--image", kind) if both else ()
    signer.accepts("build", f"{source}.d", "-o", tmp_path / "3.0.holdall", *packing)
    increment = tmp_path / "increment"
    against = tmp_path / "2.0.holdall"
    signer.accepts("build", tmp_path / "3.0.holdall", "--against", against, "-o", increment)
    signer.accepts("install", against)
    signer.accepts("install", increment)
    assert installed(signer) == files


# ------------------------------------------------------------------------------------ networks


@pytest.fixture
def shop(tmp_path: Path, kind: str) -> Iterator[Shop]:
    """A shop that offers 1.0 with an image; 2.0 is made, too."""
    with clients(GENEROUS), opened(tmp_path) as shop:
        for version, files in FILES.items():
            shop.bundle(version, files=files, options=SMALL._replace(image=kind))
        shop.publish(shop.bundle("1.0"))
        yield shop


@pytest.mark.parametrize("form", ["tree", pytest.param("image", marks=pytest.mark.root)])
def test_it_is_installed_from_a_remote(store: Victim, shop: Shop, form: str) -> None:
    join(store, shop)
    store.accepts("install", APP, *as_form(form))
    store.accepts("verify")
    assert versions(store) == {APP: "1.0"}


def test_what_was_fetched_of_it_is_not_fetched_again(store: Victim, shop: Shop) -> None:
    join(store, shop)
    (name,) = [name for name in shop.server.files if name.startswith("content/")]
    shop.server.fault(servers.stopping(200_000), name)
    with clients(HASTY):
        fails(store, "install", APP, code=1)
    shop.server.heal()
    shop.asked()
    store.accepts("install", APP)
    asked = sum(item.length for item in shop.server.asked if item.name == name)
    assert (versions(store), asked < 150_000) == ({APP: "1.0"}, True)


def test_an_update_from_a_remote_fetches_the_image(store: Victim, shop: Shop) -> None:
    join(store, shop)
    store.accepts("install", APP)
    shop.publish(shop.bundle("2.0"))
    store.accepts("update", APP)
    assert installed(store) == FILES["2.0"]


@pytest.mark.root
def test_an_update_keeps_the_bundle_where_one_was_kept(store: Victim, shop: Shop) -> None:
    join(store, shop)
    store.accepts("install", APP, "--form", "image", "--allow-kernel-parser")
    two = shop.bundle("2.0")
    shop.publish(two)
    (plan,) = done(store, "update", APP)
    (bundle,) = store.root.glob("active/*/*/*/bundle")
    assert bundle.read_bytes() == two.read_bytes()
    assert plan["downloaded"] == two.stat().st_size


def test_a_remote_that_sends_another_image_is_refused(store: Victim, shop: Shop) -> None:
    join(store, shop)
    (name,) = [name for name in shop.server.files if name.startswith("content/")]
    data = bytearray(shop.server.files[name])
    data[-5000] ^= 1
    shop.server.files[name] = bytes(data)
    assert "not what its publisher signed" in fails(store, "install", APP, code=4).message


def test_it_is_installed_from_an_address(store: Victim, shop: Shop) -> None:
    (name,) = [name for name in shop.server.files if name.startswith("content/")]
    store.accepts("install", f"{shop.server.address}/{name}")
    assert installed(store) == FILES["1.0"]


def test_a_mirror_of_it_is_a_remote_too(store: Victim, shop: Shop, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    options = MirrorOptions(root=shop.fingerprint)
    mirror(shop.server.address, str(copy), root_host(str(tmp_path / "m")), options=options)
    store.accepts("remote", "add", "copy", copy, "--root", copy / "root.json")
    store.accepts("install", APP)
    assert installed(store) == FILES["1.0"]


def test_a_repository_takes_no_image_with_other_contents(
    shop: Shop, kind: str, tmp_path: Path
) -> None:
    tree = scan(str(write_source(tmp_path / "said", FILES["2.0"]) / "files")).tree
    lie = write_source(tmp_path / "lie", {**FILES["2.0"], "large": LARGE}) / "files"
    images.make(kind, str(lie), str(tmp_path / "image"), name=bytes(16), level=1)
    path = tmp_path / "lying"
    path.write_bytes(forge_image(tree, (tmp_path / "image").read_bytes(), kind=kind))
    repository = str(shop.station.path)
    status, _, complaints = call("--json", "repo", "add", repository, path)
    assert (status, "signed" in complaints) == (4, True), complaints
