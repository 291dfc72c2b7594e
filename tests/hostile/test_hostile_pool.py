"""A publisher who knows the digest of another app's file, but not the file: he gets nothing.

All of it is signed as it should be, by a key that the store trusts for the attacker's own app.
"""

import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest

import servers
from bundles import KEY, OTHER, forge_tree, make_bundle, manifest_of, trusting_store
from holdall.delivery.delta.wire import Index, Recipe
from holdall.delivery.index import Place
from holdall.model.digest import digest_of
from holdall.model.tree import Directory, File, Tree
from holdall.store.pool import pool_of
from hostility import Victim, call
from increments import Pieces, compress, make_increment
from patience import HASTY, clients
from sample_app import tree_on_disk

BANK, THIEF = "org.example.Bank", "org.example.Thief"
SECRET = random.Random(1).randbytes(5000)
LONG_SECRET = random.Random(2).randbytes(200_000)
GUESS = bytes(len(SECRET))
SECRETS = {"share/secret": SECRET, "share/long": LONG_SECRET}
OWN = b"what the attacker has"


@pytest.fixture
def store(tmp_path: Path, isolated_home: Path) -> Victim:
    """A store with the bank's app in the pool, which trusts the thief for his own one."""
    trusting_store(tmp_path / "store", KEY, patterns=(BANK,))
    trusting_store(tmp_path / "store", OTHER, patterns=(THIEF,))
    made = Victim(tmp_path / "store", isolated_home)
    bundle = make_bundle(tmp_path / "bank", SECRETS, id=BANK)
    made.accepts("install", "--form", "pool", bundle)
    return made


@contextmanager
def nothing_gained(store: Victim) -> Iterator[None]:
    """No name is given to the bank's inodes, and the pool keeps its objects."""
    places = [_object(store, data) for data in SECRETS.values()]
    before = [_identity(path) for path in places]
    yield
    assert [_identity(path) for path in places] == before
    assert all(links[1] == 2 for links in before)
    secrets = set(SECRETS.values())
    for folder in store.root.glob(f"deployments/{THIEF}/*/*/*/files"):
        assert not secrets & set(tree_on_disk(folder).values())
    assert not list(store.root.glob("staging/*"))


def _identity(path: Path) -> tuple[int, int]:
    status = path.lstat()
    return status.st_ino, status.st_nlink


def _object(store: Victim, data: bytes) -> Path:
    return Path(pool_of(str(store.root), "store", BANK).path(digest_of(data), executable=False))


def bundle_of(data: bytes, came: bytes, *, placed: bool = True) -> bytes:
    """The thief's bundle: a tree that names the content `data`, over a frame with `came`."""
    tree = Tree(
        (
            Directory("share"),
            File("share/own", digest_of(OWN), len(OWN), executable=False),
            File("share/stolen", digest_of(data), len(data), executable=False),
        )
    )
    start = -(-len(OWN) // 512) * 512
    places = [Place(0, 0, len(OWN))]
    if placed:
        places.append(Place(1, start, len(data)))
    stream = OWN + bytes(start - len(OWN)) + came
    stream += bytes(-len(stream) % 512 + 1024)
    manifest = manifest_of(id=THIEF)
    return forge_tree(tree, stream=stream, places=places, manifest=manifest, keys=(OTHER,))


@pytest.mark.parametrize("data", SECRETS.values(), ids=SECRETS)
def test_what_these_tests_send_is_shared_when_it_is_right(
    store: Victim, tmp_path: Path, data: bytes
) -> None:
    (tmp_path / "thief").write_bytes(bundle_of(data, data))
    store.accepts("install", "--form", "pool", tmp_path / "thief")
    assert _object(store, data).stat().st_nlink == 3


@pytest.mark.parametrize("form", ["pool", "tree"])
@pytest.mark.parametrize("data", SECRETS.values(), ids=SECRETS)
def test_other_bytes_under_a_digest_are_refused(
    store: Victim, tmp_path: Path, data: bytes, form: str
) -> None:
    for number, came in enumerate((bytes(len(data)), data[:-1] + bytes([data[-1] ^ 1]))):
        path = tmp_path / f"thief{number}"
        path.write_bytes(bundle_of(data, came))
        with nothing_gained(store):
            refusal = store.refuses("install", "--form", form, path)
        assert "does not have the digest its release names" in refusal.message


def test_a_content_that_the_bundle_does_not_have_is_refused(store: Victim, tmp_path: Path) -> None:
    path = tmp_path / "thief"
    path.write_bytes(bundle_of(SECRET, b"", placed=False))
    with nothing_gained(store):
        refusal = store.refuses("install", "--form", "pool", path)
    assert "does not fit its tree" in refusal.message


def test_a_part_that_is_never_sent_is_not_taken_from_the_pool(store: Victim) -> None:
    data = bundle_of(LONG_SECRET, random.Random(3).randbytes(len(LONG_SECRET)))
    for fault in (servers.absent, servers.wrong, servers.breaking(50)):
        with servers.serving({"/thief.holdall": data}) as server, clients(HASTY):
            server.fault(fault, after=1)
            with nothing_gained(store):
                before = store.seen()
                words = ("--json", "--root", store.root, "install", "--form", "pool")
                status, _, told = call(*words, f"{server.address}/thief.holdall")
                assert status in {1, 3, 4}, told
                assert server.asked
                assert before == store.seen()


@pytest.fixture
def pieces(store: Victim, tmp_path: Path) -> Pieces:
    """The thief's increment to a version with the secret, as the bank itself could make it."""
    old = make_bundle(tmp_path / "old", {"share/own": OWN}, keys=(OTHER,), id=THIEF)
    new = make_bundle(
        tmp_path / "new",
        {"share/own": OWN, "share/stolen": SECRET},
        keys=(OTHER,),
        id=THIEF,
        version="2.0",
    )
    store.accepts("install", "--form", "pool", old)
    return Pieces.of(make_increment(tmp_path / "inc", [old], new, keys=(OTHER,)).read_bytes())


def test_an_increment_without_the_bytes_is_refused(
    store: Victim, tmp_path: Path, pieces: Pieces
) -> None:
    """It names the content, and has other bytes for it, or none."""

    def lies(index: Index) -> Index:
        unit = index.units[0]._replace(stored=len(guess), sha256=sha256(guess).digest())
        return index._replace(units=(unit,))

    def keeps_silent(index: Index) -> Index:
        return index._replace(units=(), recipes=(Recipe({}),))

    guess = compress(GUESS, b"")
    made = (
        Pieces(pieces.envelope, pieces.tree, pieces.index, pieces.statement, guess).with_index(
            lies, OTHER
        ),
        Pieces(pieces.envelope, pieces.tree, pieces.index, pieces.statement, b"").with_index(
            keeps_silent, OTHER
        ),
    )
    for code, increment in zip((4, 3), made, strict=True):
        path = tmp_path / f"increment{code}"
        path.write_bytes(increment.bytes)
        with nothing_gained(store):
            refusal = store.refuses("install", path, code=code)
        assert refusal.kind == {4: "CorruptError", 3: "NotFoundError"}[code]
    path = tmp_path / "right"
    path.write_bytes(pieces.bytes)
    store.accepts("install", path)
    assert _object(store, SECRET).stat().st_nlink == 3


def test_an_object_put_into_the_pool_by_hand_is_held_against_its_name(
    store: Victim, tmp_path: Path
) -> None:
    """What a program with the user's rights left there under the name of a content."""
    place = _object(store, OWN)
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(b"x" * len(OWN))
    os.utime(place, ns=(0, 0))
    store.accepts(
        "install",
        "--form",
        "pool",
        make_bundle(tmp_path / "b", {"own": OWN}, keys=(OTHER,), id=THIEF),
    )
    files = json.loads(store.accepts("path", THIEF))["path"]
    assert Path(files, "own").read_bytes() == OWN
    assert place.samefile(Path(files, "own"))
