"""What a bundle's deployment shares with a pool: decided and checked, without any mount."""

import errno
import os
import random
from pathlib import Path

import msgspec
import pytest

from bundles import KEY, Parts, make_bundle, trusting_store
from holdall.delivery.zstandard import compress, sized, unpack
from holdall.errors import CorruptError
from holdall.forms import erofs
from holdall.forms.redirects import Redirects
from holdall.journeys.build import BuildOptions
from holdall.journeys.forming import Wanted
from holdall.journeys.host import Host
from holdall.journeys.install import install
from holdall.journeys.installed import known_tree
from holdall.journeys.settings import change_setting
from holdall.model import tree as trees
from holdall.model.digest import digest_of
from holdall.model.ref import Ref
from holdall.store.catalog import Deployment
from holdall.store.pool import pool_of
from holdall.system.fuse import wire
from holdall.system.fuse.answers import Answers
from holdall.system.means import Means
from shown import answered, keep, request, walk

NOISE = random.Random(4)
SECRET = NOISE.randbytes(70_000)
FILES = {
    "bin/run": b"#!/bin/sh\n",
    "large": NOISE.randbytes(300_000),
    "secret": SECRET,
    "empty": b"",
    **{f"many/{number}": b"x" * number for number in range(1, 50)},
}
ONE, OTHER = "org.example.One", "org.example.Other"
PIECES = BuildOptions(level=1, frame_size=2**16)
METACOPY, REDIRECT = b"overlay.metacopy", b"overlay.redirect"


@pytest.fixture(autouse=True)
def able(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine can: nothing is mounted."""
    for fact in ("fuse", "user_namespaces", "overlay_for_user"):
        monkeypatch.setattr(Means, fact, True)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return trusting_store(tmp_path / "store")


def put(host: Host, app: str, form: str, files: dict[str, bytes] = FILES) -> Deployment:
    path = Path(host.layout.root).parent / app
    install(str(make_bundle(path, files, options=PIECES, id=app)), host, wanted=Wanted(form=form))
    return installed(host, app)


def installed(host: Host, app: str) -> Deployment:
    found = host.catalog.active(Ref(app, "x86_64", "stable"))
    assert found
    return found


def objects(item: Deployment) -> dict[bytes, Path]:
    folder = Path(item.path, "objects")
    return {path.read_bytes(): path for path in folder.iterdir()} if folder.exists() else {}


def pooled(host: Host, data: bytes) -> Path:
    return Path(pool_of(host.layout.root, "store", "").path(digest_of(data), executable=False))


def test_all_but_what_is_empty_is_linked_under_its_short_name(host: Host) -> None:
    put(host, OTHER, "pool")
    item = put(host, ONE, "live")
    held, tree = objects(item), known_tree(item)
    assert tree
    assert set(held) == {data for data in FILES.values() if data}
    names = erofs.names(tree)
    for data, path in held.items():
        assert path.name == names[digest_of(data)]
    assert held[SECRET].samefile(pooled(host, SECRET))


def test_a_pool_of_the_apps_own_gives_nothing_to_others(host: Host) -> None:
    change_setting(host, "pool", "app")
    put(host, OTHER, "pool")
    assert not objects(put(host, ONE, "live"))


def test_a_version_without_objects_is_not_taken_for_one_that_has_them(host: Host) -> None:
    few = {"own": NOISE.randbytes(90_000), "secret": SECRET}
    put(host, OTHER, "pool", {"secret": SECRET})
    assert not objects(put(host, ONE, "live", few))
    path = Path(host.layout.root).parent / "second"
    install(str(make_bundle(path, few, options=PIECES, id=ONE, version="2.0")), host)
    assert installed(host, ONE).version == "2.0"
    assert not objects(installed(host, ONE))


def test_a_kernel_without_such_overlays_gets_none(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Means, "overlay_for_user", False)
    put(host, OTHER, "pool")
    assert not objects(put(host, ONE, "live"))


def test_what_the_pool_has_not_soundly_is_left_to_the_bundle(host: Host) -> None:
    put(host, OTHER, "pool")
    damaged = pooled(host, FILES["large"])
    data = bytearray(damaged.read_bytes())
    data[7] ^= 1
    damaged.write_bytes(data)
    os.utime(damaged, ns=(0, 0))
    held = objects(put(host, ONE, "live"))
    assert SECRET in held
    assert not {FILES["large"], bytes(data)} & held.keys()
    assert not damaged.exists()


def test_nobody_gets_what_he_names_but_cannot_show(host: Host, tmp_path: Path) -> None:
    put(host, OTHER, "pool")
    spy = forged(tmp_path / "spy", wanted=SECRET, shown=NOISE.randbytes(len(SECRET)))
    links = pooled(host, SECRET).stat().st_nlink
    with pytest.raises(CorruptError, match="does not have the digest its release names"):
        install(str(spy), host, wanted=Wanted(form="live"))
    assert host.catalog.active(Ref("org.example.Spy", "x86_64", "stable")) is None
    assert pooled(host, SECRET).stat().st_nlink == links


def forged(path: Path, *, wanted: bytes, shown: bytes) -> Path:
    """A bundle that names one content, and holds another one of its size."""
    make_bundle(path, {"it": shown}, id="org.example.Spy", options=PIECES)
    parts = Parts.of(path.read_bytes())
    tree = unpack(parts.tree).replace(digest_of(shown), digest_of(wanted))
    named = str(trees.tree_digest(tree))
    made = Parts(parts.envelope, sized(tree, compress(tree, 1)), parts.index, parts.frames).signed(
        KEY, change=lambda it: msgspec.structs.replace(it, tree=named, metadata_image="")
    )
    path.write_bytes(made.bytes)
    return path


@pytest.fixture
def shown(tmp_path: Path) -> tuple[Answers, dict[str, int], str]:
    """What answers for a bundle of which one file lies elsewhere; its inodes; that file's name."""
    names = keep(tmp_path, FILES, links={"link": "large"}).shown()
    inodes = {path: inode for path, inode, _ in walk(names)}
    outline = names._outline  # noqa: SLF001 - what it was made of
    short = erofs.short_names(outline.digests)[digest_of(SECRET)]
    value = Redirects(outline, names, [short], verity=False).value
    return Answers(names, value), inodes, short


def attribute(answers: Answers, inode: int, name: bytes, room: int = 256) -> tuple[int, bytes]:
    body = room.to_bytes(4, "little") + bytes(4) + name + b"\0"
    return answered(answers, request(wire.GETXATTR, inode, body))


@pytest.mark.parametrize("kind", [b"user.", b"trusted."])
def test_the_kernel_is_told_where_a_content_lies(
    shown: tuple[Answers, dict[str, int], str], kind: bytes
) -> None:
    answers, inodes, short = shown
    there = inodes["secret"]
    assert attribute(answers, there, kind + METACOPY) == (0, b"")
    assert attribute(answers, there, kind + REDIRECT) == (0, b"/" + short.encode())
    assert attribute(answers, there, kind + REDIRECT, 0) == (0, bytes((4, 0, 0, 0)) + bytes(4))
    assert attribute(answers, there, kind + REDIRECT, 3) == (errno.ERANGE, b"")


@pytest.mark.parametrize("path", ["large", "many", "link", "empty"])
def test_it_is_told_of_nothing_else(shown: tuple[Answers, dict[str, int], str], path: str) -> None:
    answers, inodes, _ = shown
    for name in (METACOPY, REDIRECT):
        assert attribute(answers, inodes[path], b"user." + name) == (errno.ENODATA, b"")
    assert attribute(answers, inodes["secret"], b"user.other") == (errno.ENODATA, b"")
    assert attribute(answers, 10**6, b"user." + METACOPY) == (errno.ESTALE, b"")


def test_with_fs_verity_the_digest_is_told(tmp_path: Path) -> None:
    names = keep(tmp_path, FILES).shown()
    outline = names._outline  # noqa: SLF001 - what it was made of
    short = erofs.short_names(outline.digests)[digest_of(SECRET)]
    redirects = Redirects(outline, names, [short], verity=True)
    (inode,) = [inode for path, inode, _ in walk(names) if path == "secret"]
    told = bytes((0, 36, 0, 1)) + digest_of(SECRET)
    assert redirects.value(inode, b"user.overlay.metacopy") == told


def test_a_name_that_does_not_end_is_refused(
    shown: tuple[Answers, dict[str, int], str],
) -> None:
    answers, inodes, _ = shown
    for body in (b"", bytes(8), bytes(8) + b"user.x", bytes(8) + b"user\0x\0"):
        code, said = answered(answers, request(wire.GETXATTR, inodes["secret"], body))
        assert (code, said) == (errno.EINVAL, b"")


def test_whatever_attribute_is_asked_for_there_is_an_answer(
    shown: tuple[Answers, dict[str, int], str],
) -> None:
    answers, inodes, _ = shown
    source, told = random.Random(11), set()
    for _ in range(1000):
        name = source.choice([b"user.overlay.metacopy", b"user.overlay.redirect"])
        body = bytearray(source.choice([0, 4, 64]).to_bytes(4, "little") + bytes(4) + name + b"\0")
        for _ in range(source.randrange(3)):
            body[source.randrange(len(body))] = source.randrange(256)
        if source.random() < 0.3:
            del body[source.randrange(len(body)) :]
        inode = source.choice([*inodes.values(), inodes["secret"], source.randrange(2**64)])
        told.add(answered(answers, request(wire.GETXATTR, inode, bytes(body)))[0])
    assert told <= {0, errno.ENODATA, errno.EINVAL, errno.ERANGE, errno.ESTALE}
    assert {0, errno.ENODATA, errno.EINVAL} <= told
