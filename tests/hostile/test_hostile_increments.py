"""Increments that lie, that were damaged, or that somebody else signed: nothing comes of them."""

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest

from bundles import APP, FILES, KEY, OTHER, key_of, make_bundle, trusting_store
from holdall.delivery.delta.increment import TreeSection
from holdall.delivery.delta.wire import Index, Kind, Part, Recipe, Slice, Transform, Unit
from holdall.journeys.build import BuildOptions
from holdall.model import statement as statements
from holdall.model import tree as trees
from holdall.store.trust_state import read_keyring, write_keyring
from holdall.system.liblzma import encode_lzma2
from holdall.trust.envelope import open_envelope, sign
from holdall.trust.keys import SigningKey
from hostility import Victim, call, differences, read_refusal
from increments import (
    Pieces,
    Version,
    Versions,
    compress,
    make_increment,
    make_versions,
    read_index,
)
from sample_app import tree_on_disk
from surroundings import HoldallCli

pytestmark = pytest.mark.slow  # hundreds of commands, each of which starts workers

Given = Callable[[Pieces | bytes], Path]
SEED = 20_261_123
CORRUPTIONS = 1000


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Versions:
    return make_versions(tmp_path_factory.mktemp("versions"))


@pytest.fixture(scope="module")
def pieces(versions: Versions) -> Pieces:
    """The increment from 1.0 to 2.0."""
    return Pieces.of(versions.first.read_bytes())


@pytest.fixture
def store(tmp_path: Path, isolated_home: Path, versions: Versions) -> Victim:
    """A store with version 1.0, which trusts KEY, and OTHER for other apps."""
    host = trusting_store(tmp_path / "store")
    ring = read_keyring(host.layout).with_grant(OTHER.public, ("org.example.Other",))
    write_keyring(host.layout, ring)
    made = Victim(tmp_path / "store", isolated_home)
    made.accepts("install", versions.full("1.0"))
    return made


@pytest.fixture
def given(tmp_path: Path) -> Given:
    """Writes an increment."""

    def write(made: Pieces | bytes) -> Path:
        path = tmp_path / "given.holdall"
        path.write_bytes(made if isinstance(made, bytes) else made.bytes)
        return path

    return write


def test_what_these_tests_change_is_fine_as_it_is(
    store: Victim, pieces: Pieces, given: Given
) -> None:
    assert pieces.bytes == given(pieces).read_bytes()
    store.accepts("install", given(pieces.signed(KEY).with_index(lambda index: index)))


# ------------------------------------------------------------------------------ damage


def test_a_cut_increment_changes_nothing(store: Victim, pieces: Pieces, given: Given) -> None:
    data = pieces.bytes
    borders = pieces.borders
    assert borders[-1] == len(data)
    units = [borders[-2] + len(pieces.units) * share // 10 for share in range(1, 10)]
    for length in (*(at + more for at in borders[:-1] for more in (0, 1)), *units, len(data) - 1):
        refusal = store.refuses("install", given(data[:length]))
        assert refusal.kind == "CorruptError", length


def test_an_increment_that_goes_on_is_refused(store: Victim, pieces: Pieces, given: Given) -> None:
    assert "after its end" in store.refuses("install", given(pieces.bytes + b"\0")).message


@pytest.mark.parametrize("part", ["envelope", "tree", "index", "statement", "units"])
def test_a_part_of_zeros_changes_nothing(
    store: Victim, pieces: Pieces, given: Given, part: str
) -> None:
    zeros = replace(pieces, **{part: bytes(len(getattr(pieces, part)))})
    assert store.refuses("install", given(zeros)).kind == "CorruptError"
    if part != "units":
        assert store.refuses("inspect", given(zeros)).kind == "CorruptError"


@pytest.mark.parametrize("part", ["envelope", "tree", "index", "statement", "units"])
def test_parts_of_two_increments_do_not_mix(
    store: Victim, versions: Versions, pieces: Pieces, given: Given, part: str
) -> None:
    other = Pieces.of(versions.either.read_bytes())
    mixed = replace(pieces, **{part: getattr(other, part)})
    assert store.refuses("install", given(mixed)).kind == "CorruptError"


@pytest.mark.integration
@pytest.mark.timeout(900)
def test_a_thousand_corruptions_do_no_harm(
    store: Victim, versions: Versions, pieces: Pieces, given: Given
) -> None:
    """Each gives a named error, or what the publisher meant; over the whole file."""
    data, chance = pieces.bytes, random.Random(SEED)
    before, passed = store.seen(), 0
    for number in range(CORRUPTIONS):
        path = given(corrupted(data, chance, number))
        status, _, complaints = call("--json", "--root", store.root, "install", path)
        if status:
            assert status == 4, (number, complaints)
            read_refusal(complaints)
            assert differences(before, store.seen()) == [], number
            continue
        passed += 1
        assert json.loads(store.accepts("list"))[0]["version"] == "2.0"
        made = Path(json.loads(store.accepts("path", APP))["path"])
        assert tree_on_disk(made) == tree_on_disk(versions.files("2.0"))
        shutil.rmtree(store.root)
        trusting_store(store.root)
        store.accepts("install", versions.full("1.0"))
        before = store.seen()
    # some change nothing, or only flags that a reader ignores
    assert passed < CORRUPTIONS // 50


def corrupted(data: bytes, chance: random.Random, number: int) -> bytes:
    """One of four kinds of damage, somewhere."""
    damaged, at = bytearray(data), chance.randrange(len(data))
    match number % 4:
        case 0:
            damaged[at] ^= 1 << chance.randrange(8)
        case 1:
            damaged[at] = chance.randrange(256)
        case 2:
            length = chance.randrange(1, min(40, len(data) - at + 1))
            damaged[at : at + length] = chance.randbytes(length)
        case _:
            del damaged[at : at + chance.randrange(1, 9)]
    return bytes(damaged)


@pytest.mark.parametrize("given_along", ["2.0", "1.0"])
def test_a_bad_increment_costs_a_download_but_no_update(
    store: Victim, versions: Versions, pieces: Pieces, given: Given, given_along: str
) -> None:
    """With the full bundle beside it a bad unit does no harm; an old bundle cannot help."""
    damaged = bytearray(pieces.bytes)
    damaged[-1] ^= 1
    words = ("--root", store.root, "install", given(bytes(damaged)), versions.full(given_along))
    before = store.seen()
    status, _, complaints = call("--json", *words)
    if given_along == "1.0":
        assert status == 4
        assert differences(before, store.seen()) == []
        return
    assert status == 0
    assert "The full bundle is used instead" in complaints
    made = Path(json.loads(store.accepts("path", APP))["path"])
    assert tree_on_disk(made) == tree_on_disk(versions.files("2.0"))
    store.accepts("verify")


# ------------------------------------------------------------------------------ who signed


def restated(pieces: Pieces, key: SigningKey, **fields: object) -> Pieces:
    """The same with a statement in which some fields are other."""
    return pieces.signed(key, change=lambda it: msgspec.structs.replace(it, **fields))


@pytest.mark.parametrize("keys", [(OTHER,), (key_of(9),), ()], ids=["other", "unknown", "nobody"])
def test_a_statement_must_be_by_the_one_who_signed_the_release(
    store: Victim, pieces: Pieces, given: Given, keys: tuple[SigningKey, ...]
) -> None:
    path = given(pieces.signed(*keys))
    for options in ((), ("--insecure-unsigned",)):
        refusal = store.refuses("install", *options, path)
        assert refusal.kind == "UntrustedError"
        assert "not signed by a key that signed the release" in refusal.message
    assert store.refuses("inspect", path).kind == "UntrustedError"


def test_one_who_adds_a_signature_to_a_release_may_not_speak_for_it(
    store: Victim, pieces: Pieces, given: Given
) -> None:
    payload = open_release(pieces)
    for attacker in (OTHER, key_of(9)):
        both = replace(pieces, envelope=sign(payload, (KEY, attacker)))
        refusal = store.refuses("install", given(both.signed(attacker)))
        assert refusal.kind in {"UnknownKeyError", "ChangedKeyError"}
        fingerprint = attacker.public.fingerprint
        store.refuses("install", "--trust-key", fingerprint, given(both.signed(attacker)))
        assert store.refuses("inspect", given(both.signed(key_of(8)))).kind == "UntrustedError"
    both = replace(pieces, envelope=sign(payload, (KEY, OTHER)))
    store.accepts("install", given(both.signed(KEY, OTHER)))


def open_release(pieces: Pieces) -> bytes:
    return open_envelope(pieces.envelope).payload


def test_a_statement_by_a_revoked_key_is_refused(
    store: Victim, pieces: Pieces, given: Given
) -> None:
    host = trusting_store(store.root)
    ring = read_keyring(host.layout).without(OTHER.public.fingerprint)
    write_keyring(host.layout, ring)
    both = replace(pieces, envelope=sign(open_release(pieces), (KEY, OTHER)))
    assert "revoked" in store.refuses("install", given(both.signed(KEY))).message
    assert "revoked" in store.refuses("install", given(both.signed(OTHER))).message


def test_an_unsigned_increment_is_taken_only_as_an_unsigned_bundle_is(
    store: Victim, versions: Versions, tmp_path: Path
) -> None:
    new = make_bundle(tmp_path / "new", {**FILES, "new": b"new"}, version="4.0", keys=())
    path = make_increment(tmp_path / "unsigned", [versions.full("1.0")], new, keys=())
    assert store.refuses("install", path).kind == "UntrustedError"
    signed = make_increment(tmp_path / "signed", [versions.full("1.0")], new)
    assert store.refuses("install", "--insecure-unsigned", signed).kind == "UntrustedError"
    store.accepts("install", "--insecure-unsigned", path)


def test_a_publisher_who_is_not_known_is_asked_about(
    tmp_path: Path, isolated_home: Path, versions: Versions
) -> None:
    (tmp_path / "strange").mkdir()
    strange = Victim(tmp_path / "strange", isolated_home)
    given = (versions.full("1.0"), versions.first)
    assert strange.refuses("install", *given).kind == "UnknownKeyError"
    strange.refuses("install", "--trust-key", OTHER.public.fingerprint, *given)
    strange.accepts("install", "--trust-key", KEY.public.fingerprint, *given)


def test_every_file_that_is_used_must_be_trusted(
    store: Victim, versions: Versions, tmp_path: Path
) -> None:
    evil = make_bundle(tmp_path / "evil", {"bin/editor": b"evil"}, version="1.5", keys=(OTHER,))
    unsigned = make_bundle(tmp_path / "unsigned", {"bin/editor": b"x"}, version="1.6", keys=())
    for path in (evil, unsigned):
        refusal = store.refuses("install", versions.first, path)
        assert refusal.kind in {"UntrustedError", "ChangedKeyError", "UnknownKeyError"}
    step = make_increment(tmp_path / "step", [versions.full("1.0")], evil, keys=(OTHER,))
    assert store.refuses("install", versions.first, step).kind != "CorruptError"


# ------------------------------------------------------------------------------ what is said


def test_a_statement_of_another_release_is_refused(
    store: Victim, pieces: Pieces, given: Given
) -> None:
    lie = restated(pieces, KEY, release="0" * 64)
    assert "not about the release" in store.refuses("install", given(lie)).message


@pytest.mark.parametrize("field", ["tree", "index"])
def test_sections_that_the_statement_does_not_name_are_refused(
    store: Victim, pieces: Pieces, given: Given, field: str
) -> None:
    lie = restated(pieces, KEY, **{field: "0" * 64})
    assert "signed statement names" in store.refuses("install", given(lie)).message


def test_a_statement_is_no_release_and_a_release_no_statement(
    store: Victim, pieces: Pieces, given: Given
) -> None:
    swapped = replace(pieces, envelope=pieces.statement, statement=pieces.envelope)
    assert "not a holdall release" in store.refuses("install", given(swapped)).message
    twice = replace(pieces, statement=pieces.envelope)
    assert "not a holdall increment" in store.refuses("install", given(twice)).message


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"[" * 50_000,
        b'{"format":1}',
        b'{"format":2,"from":["%b"],"index":"%b","release":"%b","tree":"%b"}' % ((b"0" * 64,) * 4),
        b'{"format":1,"from":[],"index":"%b","release":"%b","tree":"%b"}' % ((b"0" * 64,) * 3),
        b'{"format":1, "from":["%b"],"index":"%b","release":"%b","tree":"%b"}' % ((b"0" * 64,) * 4),
    ],
)
def test_a_statement_that_is_none_is_refused(
    store: Victim, pieces: Pieces, given: Given, payload: bytes
) -> None:
    said = sign(payload, (KEY,), kind=statements.PAYLOAD_TYPE)
    path = given(replace(pieces, statement=said))
    assert store.refuses("install", path).kind == "CorruptError"


def test_an_increment_for_another_app_is_not_used(
    store: Victim, versions: Versions, tmp_path: Path
) -> None:
    """The same files under another name: no app gets at another's."""
    other = make_bundle(
        tmp_path / "other",
        {"bin/editor": b"x"},
        id="org.example.Other",
        version="2.0",
        keys=(KEY,),
    )
    path = make_increment(tmp_path / "step", [versions.full("1.0")], other)
    assert store.refuses("install", path, code=3).kind == "NotFoundError"


def test_an_increment_to_an_older_version_is_refused(
    store: Victim, versions: Versions, tmp_path: Path
) -> None:
    store.accepts("install", versions.full("2.0"))
    back = make_increment(tmp_path / "back", [versions.full("2.0")], versions.full("1.0"))
    store.accepts("remove", APP, "--version", "1.0")
    assert store.refuses("install", back).kind == "DowngradeError"
    store.accepts("install", "--allow-downgrade", back)


@pytest.mark.parametrize("field", ["created", "expires"])
def test_a_release_on_the_way_is_judged_too(
    store: Victim, versions: Versions, tmp_path: Path, field: str
) -> None:
    time = {"created": "2999-01-01T00:00:00Z", "expires": "2001-01-01T00:00:00Z"}[field]
    options = BuildOptions(level=1)._replace(**{field: time})  # type: ignore[arg-type]  # a text
    middle = make_bundle(
        tmp_path / "middle", {**FILES, "middle": b"1"}, version="1.5", options=options
    )
    end = make_bundle(tmp_path / "end", {**FILES, "middle": b"2"}, version="1.6")
    steps = [
        make_increment(tmp_path / "one", [versions.full("1.0")], middle),
        make_increment(tmp_path / "two", [middle], end),
    ]
    assert store.refuses("install", *steps).kind == "UntrustedError"
    if field == "expires":
        # what is only read may be old
        store.accepts("install", middle, steps[1])


# ------------------------------------------------------------------------------ units that lie


def with_units(change: Callable[[Unit], Unit]) -> Callable[[Index], Index]:
    return lambda index: index._replace(units=tuple(map(change, index.units)))


def with_parts(change: Callable[[Part], Part]) -> Callable[[Index], Index]:
    return with_units(lambda unit: unit._replace(parts=tuple(map(change, unit.parts))))


def with_outputs(change: Callable[[Slice], Slice]) -> Callable[[Index], Index]:
    return with_units(lambda unit: unit._replace(outputs=tuple(map(change, unit.outputs))))


def with_bases(number: int) -> Callable[[Index], Index]:
    def change(index: Index) -> Index:
        (recipe,) = index.recipes
        units = {unit: tuple(number for _ in it) for unit, it in recipe.units.items()}
        return index._replace(recipes=(Recipe(units),))

    return change


LIES: dict[str, Callable[[Index], Index]] = {
    "a digest": with_units(lambda unit: unit._replace(sha256=bytes(32))),
    "more bytes": with_units(lambda unit: unit._replace(raw=unit.raw + 1)),
    "fewer bytes": with_units(lambda unit: unit._replace(raw=max(unit.raw - 1, 0))),
    "far more bytes": with_units(lambda unit: unit._replace(raw=16 * 2**20)),
    "too many bytes": with_units(lambda unit: unit._replace(raw=2**63)),
    "another kind": with_units(lambda unit: unit._replace(kind=Kind.LZMA2)),
    "an add stream": with_units(lambda unit: unit._replace(kind=Kind.ADDITION)),
    "no outputs": with_units(lambda unit: unit._replace(outputs=())),
    "outputs of others": with_outputs(lambda it: it._replace(content=it.content + 1)),
    "outputs of nobody": with_outputs(lambda it: it._replace(content=999)),
    "outputs beyond": with_outputs(lambda it: it._replace(offset=2**40, length=5)),
    "outputs between": with_outputs(lambda it: it._replace(offset=4096, length=4096)),
    "parts beyond": with_parts(lambda it: it._replace(offset=2**40, length=1)),
    "long parts": with_parts(lambda it: it._replace(offset=0, length=2**41)),
    "huge parts": with_parts(lambda it: it._replace(offset=2**61, length=2**61)),
    "shorter parts": with_parts(lambda it: it._replace(offset=0, length=1)),
    "programs": with_parts(lambda it: it._replace(transform=Transform.X86_64, map=0)),
    "foreign programs": with_parts(lambda it: it._replace(transform=Transform.AARCH64, map=9)),
    "other bases": with_bases(3),
    "no such bases": with_bases(10**6),
    "fills": with_units(lambda unit: unit._replace(fills=(0, 1, 2))),
    "fills of nobody": with_units(lambda unit: unit._replace(fills=(10**6 - 1,))),
    "no units": lambda index: index._replace(recipes=(Recipe({}),)),
    "maps": lambda index: index._replace(maps=b"\xff" * 40),
    "nothing": lambda _: Index((), b"", (Recipe({}),)),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_signed_lie_in_the_index_does_no_harm(
    store: Victim, pieces: Pieces, given: Given, lie: str
) -> None:
    """Even the publisher is not believed beyond what the release says."""
    path = given(pieces.with_index(LIES[lie]))
    status, _, complaints = call("--json", "--root", store.root, "install", "--dry-run", path)
    assert status in {0, 3, 4}, complaints
    before = store.seen()
    status, _, complaints = call("--json", "--root", store.root, "install", path)
    assert status in {3, 4}, complaints
    read_refusal(complaints)
    assert differences(before, store.seen()) == []


@pytest.mark.parametrize("lie", ["unknown kind", "unknown transform"])
def test_what_this_holdall_is_too_old_for_comes_from_elsewhere(
    store: Victim, versions: Versions, pieces: Pieces, given: Given, lie: str
) -> None:
    changes = {
        "unknown kind": with_units(lambda unit: unit._replace(kind=77)),
        "unknown transform": with_parts(lambda it: it._replace(transform=77)),
    }
    path = given(pieces.with_index(changes[lie]))
    refusal = store.refuses("install", path, code=3)
    assert "too old" in refusal.message
    store.refuses("install", path, versions.full("1.0"), code=3)
    store.accepts("install", path, versions.full("2.0"))
    store.accepts("verify")


def replaced_unit(pieces: Pieces, path: str, data: bytes, versions: Versions) -> Pieces:
    """The same where the content of `path` is made as other bytes, all signed."""
    index = read_index(pieces.index)
    target = Version.of(versions.full("2.0"))
    number = target.number(path)
    units, stored, at = [], [], 0
    recipe = dict(index.recipes[0].units)
    for place, unit in enumerate(index.units):
        old = pieces.units[at : at + unit.stored]
        at += unit.stored
        changed = unit
        if unit.outputs[0].content == number:
            old = compress(data, b"")
            recipe[place] = ()
            changed = unit._replace(
                raw=len(data), stored=len(old), sha256=sha256(old).digest(), parts=()
            )
        units.append(changed)
        stored.append(old)
    made = index._replace(units=tuple(units), recipes=(Recipe(recipe),))
    return replace(pieces, units=b"".join(stored)).with_index(lambda _: made)


def test_what_is_made_must_be_what_the_release_says(
    store: Victim, versions: Versions, pieces: Pieces, given: Given
) -> None:
    size = (versions.files("2.0") / "lib/new.py").stat().st_size
    evil = replaced_unit(pieces, "lib/new.py", b"e" * size, versions)
    refusal = store.refuses("install", given(evil))
    assert "does not make org.example.Editor 2.0 as it was signed" in refusal.message


def test_a_bomb_makes_no_more_than_was_said(
    store: Victim, versions: Versions, pieces: Pieces, given: Given
) -> None:
    bomb = replaced_unit(pieces, "lib/new.py", bytes(15 * 2**20), versions)
    small = bomb.with_index(with_units(lambda unit: unit._replace(raw=min(unit.raw, 2**20))))
    for path in (given(bomb), given(small)):
        assert store.refuses("install", path).kind == "CorruptError"


# ------------------------------------------------------------------------------ trees that lie


def with_skeleton(
    pieces: Pieces, versions: Versions, change: Callable[[list[object]], None]
) -> Pieces:
    """The same with a changed tree, all signed but the release, which names another one."""
    old, new = (Version.of(versions.full(version)) for version in ("1.0", "2.0"))
    bones = msgspec.msgpack.decode(trees.strip(trees.encode(new.tree)).data)
    change(bones)
    data = msgspec.msgpack.encode(bones)
    prefix = trees.strip(trees.encode(old.tree)).data
    section = msgspec.msgpack.decode(pieces.tree, type=TreeSection)
    base = msgspec.structs.replace(
        section.bases[0],
        length=len(data),
        skeleton=encode_lzma2(data, prefix, literal=3, alignment=0),
    )
    tree = msgspec.msgpack.encode(TreeSection(1, [base]))
    return replace(pieces, tree=tree).signed(KEY)


def put(field: int, at: int, value: object) -> Callable[[list[object]], None]:
    def change(bones: list[object]) -> None:
        column = bones[field]
        assert isinstance(column, list)
        column[at] = value

    return change


SKELETONS: dict[str, Callable[[list[object]], None]] = {
    "a path out of it": put(0, 0, "../evil"),
    "an absolute path": put(0, 0, "/evil"),
    "a path with a control character": put(0, 0, "a\x1b[2J"),
    "paths out of order": put(0, 0, "zzz"),
    "a size that is not true": put(3, 0, 2**62),
    "a negative size": put(3, 0, -1),
    "a content that comes later": put(2, 0, 9),
    "no target": put(4, 0, ""),
    "a path too many": lambda bones: bones[0].append("zzzz"),  # type: ignore[attr-defined]  # a list
    "a field too many": lambda bones: bones.append([]),
    "nothing": lambda bones: bones.clear(),
}


@pytest.mark.parametrize("lie", SKELETONS)
def test_a_signed_lie_in_the_tree_does_no_harm(
    store: Victim, versions: Versions, pieces: Pieces, given: Given, lie: str
) -> None:
    path = given(with_skeleton(pieces, versions, SKELETONS[lie]))
    assert store.refuses("install", path).kind == "CorruptError"
    assert call("--root", store.root, "inspect", path)[0] == 4


def with_origins(pieces: Pieces, runs: list[int]) -> Pieces:
    section = msgspec.msgpack.decode(pieces.tree, type=TreeSection)
    base = msgspec.structs.replace(section.bases[0], origins=runs)
    return replace(pieces, tree=msgspec.msgpack.encode(TreeSection(1, [base]))).signed(KEY)


@pytest.mark.parametrize(
    "runs",
    [
        [],
        [1],
        [0, 0],
        [2**62, 0, 0],
        [0, 2**62, 1],
        [0, 1, 1],
        [0, 0, 2**62],
        [-1, 0, 5],
        [0, 0, -1],
        [0, 0, 27],
        [0, 2, 26],
        [0, 0, 1] * 10_000,
        [29, 0, 0],
    ],
)
def test_a_signed_lie_about_origins_does_no_harm(
    store: Victim, pieces: Pieces, given: Given, runs: list[int]
) -> None:
    path = given(with_origins(pieces, runs))
    before = store.seen()
    status, _, complaints = call("--json", "--root", store.root, "install", path)
    assert status in {3, 4}
    read_refusal(complaints)
    assert differences(before, store.seen()) == []


# ------------------------------------------------------------------------------ twice


@pytest.mark.integration
def test_an_increment_that_is_damaged_on_the_second_try_leaves_nothing(
    store: Victim, versions: Versions, holdall_cli: HoldallCli, given: Given
) -> None:
    """What an interrupted command had kept goes when the next one fails."""
    data = versions.first.read_bytes()
    before = store.seen()
    done = holdall_cli(
        *("--root", store.root, "install", "-"),
        typed=data[:-1].decode("utf-8", "surrogateescape"),
        expect=4,
    )
    assert "kept" in done.stderr
    assert (store.root / "partial").exists()
    store_units = bytearray(data)
    store_units[-1] ^= 1
    holdall_cli("--root", store.root, "install", given(bytes(store_units)), expect=4)
    assert differences(before, store.seen()) == []
