"""Who signed, what was signed and when: everything but the right answer is refused."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bundles import APP, FILES, KEY, OTHER, Parts, key_of, make_bundle, trusting_store
from holdall.journeys.build import BuildOptions
from holdall.model import release as releases
from holdall.model.release import Release
from holdall.trust.envelope import sign
from holdall.trust.keys import SigningKey
from hostility import Victim
from surroundings import HoldallCli

Edit = Callable[[dict[str, Any]], object]
NEWER = {**FILES, "share/new.txt": b"new\n"}


@pytest.fixture(scope="module")
def update(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """Version 2.0, by the key the store trusts."""
    path = make_bundle(tmp_path_factory.mktemp("update") / "two.holdall", NEWER, version="2.0")
    return Parts.of(path.read_bytes())


@pytest.fixture
def given(tmp_path: Path) -> Callable[[Parts], Path]:
    """Writes parts as a bundle."""

    def write(parts: Parts) -> Path:
        path = tmp_path / "given.holdall"
        path.write_bytes(parts.bytes)
        return path

    return write


Given = Callable[[Parts], Path]


def with_envelope(parts: Parts, envelope: bytes) -> Parts:
    return Parts(envelope, parts.tree, parts.index, parts.frames)


def edited(parts: Parts, edit: Edit) -> Parts:
    table = json.loads(parts.envelope)
    edit(table)
    return with_envelope(parts, json.dumps(table).encode())


def set_sig(length: int) -> Edit:
    def edit(table: dict[str, Any]) -> None:
        whole = base64.b64decode(table["signatures"][0]["sig"])
        table["signatures"][0]["sig"] = base64.b64encode((whole * 2)[:length]).decode()

    return edit


def drop(field: str, inside: str = "") -> Edit:
    return lambda table: (table[inside][0] if inside else table).pop(field)


def put(field: str, value: object, inside: str = "") -> Edit:
    return lambda table: (table[inside][0] if inside else table).update({field: value})


EDITS: dict[str, Edit] = {
    "no signature, but its key": lambda table: table["signatures"].clear(),
    "a signature without its key": lambda table: table["keys"].clear(),
    "a signature twice": lambda table: table["signatures"].append(table["signatures"][0]),
    "a signature and its key twice": lambda table: (
        table["signatures"].append(table["signatures"][0]),
        table["keys"].append(table["keys"][0]),
    ),
    "an empty signature": set_sig(0),
    "a short signature": set_sig(63),
    "a long signature": set_sig(65),
    "a signature twice as long": set_sig(128),
    "another key's name": put("keyid", OTHER.public.fingerprint, "signatures"),
    "another key": lambda table: table["keys"].__setitem__(0, OTHER.public.as_dict()),
    "a key of another kind": put("keytype", "rsa", "keys"),
    "a scheme of another kind": put("scheme", "rsassa-pss-sha256", "keys"),
    "a key that is no hex": put("keyval", {"public": "z" * 64}, "keys"),
    "a key in capitals": put("keyval", {"public": "A" * 64}, "keys"),
    "a key of zeros": put("keyval", {"public": "0" * 64}, "keys"),
    "a short key": put("keyval", {"public": "00"}, "keys"),
    "a key without its bytes": drop("keyval", "keys"),
    "a signature without its bytes": drop("sig", "signatures"),
    "no keys": drop("keys"),
    "no signatures": drop("signatures"),
    "no payload": drop("payload"),
    "an unknown field": put("extra", 1),
    "another type": put("payloadType", "application/vnd.in-toto+json"),
    "a type of a list": put("payloadType", []),
    "a payload that is no Base64": put("payload", "***"),
    "a payload of nothing": put("payload", ""),
    "a payload that is a number": put("payload", 7),
    "signatures that are a word": put("signatures", "all"),
    "a signature that is a number": put("signatures", [7]),
}

ENVELOPES = {
    "nothing": b"",
    "no JSON": b"\xff\xfe",
    "a list": b"[]",
    "nested": b"[" * 200_000,
    "a number of many digits": b"1" * 10_000,
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_an_envelope_that_was_edited_is_refused(
    victim: Victim, update: Parts, given: Given, edit: Edit
) -> None:
    assert victim.refuses("install", given(edited(update, edit))).kind == "CorruptError"


@pytest.mark.parametrize("envelope", ENVELOPES.values(), ids=ENVELOPES.keys())
def test_bytes_that_are_no_envelope_are_refused(
    victim: Victim, update: Parts, given: Given, envelope: bytes
) -> None:
    path = given(with_envelope(update, envelope))
    assert victim.refuses("install", path).kind == "CorruptError"


@pytest.mark.parametrize("field", ["payload", "payloadType", "signatures", "keys"])
def test_a_field_that_occurs_twice_is_refused(
    victim: Victim, update: Parts, given: Given, field: str
) -> None:
    table = json.loads(update.envelope)
    doubled = f'{{"{field}":{json.dumps(table[field])},'.encode() + update.envelope[1:]
    assert json.loads(doubled) == table
    path = given(with_envelope(update, doubled))
    assert victim.refuses("install", path).kind == "CorruptError"


def test_seventeen_signatures_are_refused(victim: Victim, update: Parts, given: Given) -> None:
    keys = tuple(key_of(number) for number in range(1, 18))
    assert victim.refuses("install", given(update.signed(*keys))).kind == "CorruptError"


def test_the_signature_of_another_release_is_refused(
    victim: Victim, update: Parts, given: Given, installed_bundle: Path
) -> None:
    other = json.loads(Parts.of(installed_bundle.read_bytes()).envelope)
    path = given(edited(update, put("signatures", other["signatures"])))
    assert victim.refuses("install", path).kind == "CorruptError"


def test_the_envelope_of_another_release_is_refused(
    victim: Victim, update: Parts, given: Given, installed_bundle: Path
) -> None:
    other = Parts.of(installed_bundle.read_bytes())
    path = given(with_envelope(update, other.envelope))
    assert victim.refuses("install", path).kind == "CorruptError"


def test_one_wrong_signature_spoils_a_right_one(
    victim: Victim, update: Parts, given: Given
) -> None:
    two = update.signed(KEY, OTHER)
    path = given(edited(two, lambda table: table["signatures"][1].update(sig="")))
    assert victim.refuses("install", path).kind == "CorruptError"


# ------------------------------------------------------------------------------ the release itself


def payload(update: Parts, edit: Edit) -> bytes:
    table = json.loads(releases.encode(update.release))
    edit(table)
    return json.dumps(table, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def in_manifest(**fields: object) -> Edit:
    return lambda table: table["manifest"].update(fields)


RELEASES: dict[str, Edit] = {
    "an id with a path": in_manifest(id="../../../etc/cron.d"),
    "an id of two parts": in_manifest(id="org.example"),
    "an id with a slash": in_manifest(id="org.example.A/B"),
    "an id with NUL": in_manifest(id="org.example.A\0"),
    "an id with a dash first": in_manifest(id="-rf.example.App"),
    "an id of 256 bytes": in_manifest(id="org.example." + "a" * 244),
    "an id with a newline": in_manifest(id="org.example.A\n"),
    "an architecture above": in_manifest(arch=".."),
    "an architecture of nothing": in_manifest(arch=""),
    "an architecture with a slash": in_manifest(arch="x86_64/stable"),
    "a branch above": in_manifest(branch=".."),
    "a branch that is hidden": in_manifest(branch=".stable"),
    "a branch with a slash": in_manifest(branch="a/b"),
    "a branch of 65 bytes": in_manifest(branch="b" * 65),
    "a branch with a newline": in_manifest(branch="stable\n"),
    "a version with a slash": in_manifest(version="../1"),
    "a version with an escape": in_manifest(version="1\x1b[2J"),
    "a runtime above": in_manifest(runtime="../../x/y"),
    "a kind nobody knows": in_manifest(kind="service"),
    "a serial below nothing": in_manifest(serial=-1),
    "a serial of 2^63": in_manifest(serial=2**63),
    "a serial that is a word": in_manifest(serial="7"),
    "a command with a dash": in_manifest(command=["--bind", "/", "/"]),
    "a command above": in_manifest(command=["../../bin/sh"]),
    "a command of nothing": in_manifest(command=[]),
    "a command without a name": in_manifest(command=["", "x"]),
    "a command with an open quote": in_manifest(command="sh 'x"),
    "a command with @@": in_manifest(command=["editor", "@@u", "%u", "@@"]),
    "a command with a newline": in_manifest(command=["sh", "-c", "a\nb"]),
    "an empty element in LD_LIBRARY_PATH": in_manifest(
        environment={"LD_LIBRARY_PATH": "/app/lib::/x"}
    ),
    "a variable that is no name": in_manifest(environment={"A=B": "c"}),
    "a description with an escape": in_manifest(about={"summary": "\x1b]0;root\x07"}),
    "a name from the right": in_manifest(about={"name": "\u202eexe.rotide"}),
    "a folder above": in_manifest(permissions={"filesystem": ["~/../../etc"]}),
    "a folder of nothing": in_manifest(permissions={"filesystem": [""]}),
    "a folder with a colon": in_manifest(permissions={"filesystem": ["/a:/b"]}),
    "an unknown permission": in_manifest(permissions={"devices": True}),
    "a bus name with a space": in_manifest(permissions={"session-bus": ["org.a b"]}),
    "every bus name": in_manifest(permissions={"session-bus": ["*"]}),
    "an export above": in_manifest(exports={"desktop": [f"../{APP}.desktop"]}),
    "an absolute export": in_manifest(exports={"desktop": [f"/etc/{APP}.desktop"]}),
    "an export of another app": in_manifest(
        exports={"desktop": ["share/applications/org.example.Other.desktop"]}
    ),
    "an export that is not there": in_manifest(
        exports={"desktop": [f"share/applications/{APP}.desktop"]}
    ),
    "a short command above": in_manifest(exports={"commands": ["../sh"]}),
    "a short command with a dash": in_manifest(exports={"commands": ["-sh"]}),
    "an unknown field": lambda table: table.update(extra=1),
    "an unknown field of the manifest": in_manifest(extra=1),
    "no tree": lambda table: table.pop("tree"),
    "a tree by another digest": lambda table: table.update(tree="sha256:" + "0" * 64),
    "a tree by a digest in capitals": lambda table: table.update(
        tree="sha256-4k:" + table["tree"][10:].upper()
    ),
    "a size below nothing": lambda table: table.update(size=-1),
    "a size of 2^70": lambda table: table.update(size=2**70),
    "a later format": lambda table: table.update(format=2),
    "a time that is none": lambda table: table.update(created="yesterday"),
    "a time with an escape": lambda table: table.update(expires="\x1b[2J"),
    "a default written out": lambda table: table.update(created=""),
    "a default of the manifest written out": in_manifest(serial=0),
}


@pytest.mark.parametrize("edit", RELEASES.values(), ids=RELEASES.keys())
def test_a_release_that_breaks_a_rule_is_refused_though_it_is_signed(
    victim: Victim, update: Parts, given: Given, edit: Edit
) -> None:
    path = given(with_envelope(update, sign(payload(update, edit), (KEY,))))
    assert victim.refuses("install", path).kind == "CorruptError"


def spaced(data: bytes) -> bytes:
    return data.replace(b'":', b'": ', 1)


def doubled(data: bytes) -> bytes:
    return b'{"created":"",' + data[1:]


def escaped(data: bytes) -> bytes:
    return data.replace(b"editor", b"\\u0065ditor", 1)


def shown_and_meant(data: bytes) -> bytes:
    """An id for those who read the first and one for those who read the last."""
    return data.replace(b'"id":', b'"id":"org.example.Other","id":', 1)


@pytest.mark.parametrize("spoil", [spaced, doubled, escaped, shown_and_meant])
def test_a_release_in_another_encoding_is_refused(
    victim: Victim, update: Parts, given: Given, spoil: Callable[[bytes], bytes]
) -> None:
    data = releases.encode(update.release)
    assert spoil(data) != data
    path = given(with_envelope(update, sign(spoil(data), (KEY,))))
    assert victim.refuses("install", path).kind == "CorruptError"


def test_a_release_over_a_mebibyte_is_refused(victim: Victim, update: Parts, given: Given) -> None:
    path = given(with_envelope(update, sign(b" " * (2**20 + 1), (KEY,))))
    assert victim.refuses("install", path).kind == "CorruptError"


# ------------------------------------------------------------------------------ whom to trust


@pytest.mark.parametrize("command", ["install", "update"])
@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_what_nobody_signed_is_refused(
    victim: Victim, update: Parts, given: Given, command: str, more: list[str]
) -> None:
    unsigned = with_envelope(update, sign(releases.encode(update.release), ()))
    assert victim.refuses(command, *more, given(unsigned)).kind == "UntrustedError"


def test_repair_takes_nothing_that_nobody_signed(
    victim: Victim, update: Parts, given: Given
) -> None:
    unsigned = with_envelope(update, sign(releases.encode(update.release), ()))
    assert victim.refuses("repair", given(unsigned)).kind == "UntrustedError"


@pytest.mark.parametrize(
    "more", [[], ["--trust-key", OTHER.public.fingerprint], ["--dry-run"], ["--insecure-unsigned"]]
)
def test_another_key_for_a_known_app_is_refused_whatever_is_said(
    tmp_path: Path, isolated_home: Path, update: Parts, given: Given, more: list[str]
) -> None:
    trusting_store(tmp_path / "store", patterns=(APP,))
    pinned = Victim(tmp_path / "store", isolated_home)
    path = given(update.signed(OTHER))
    assert pinned.refuses("install", *more, path).kind == "ChangedKeyError"


def test_the_publisher_stays_known_when_the_app_is_gone(
    victim: Victim, update: Parts, given: Given
) -> None:
    victim.accepts("remove", APP)
    path = given(update.signed(OTHER))
    assert victim.refuses("install", path).kind == "ChangedKeyError"


def test_the_publisher_stays_known_on_another_branch(victim: Victim, tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "beta.holdall", branch="beta", keys=(OTHER,))
    assert victim.refuses("install", path).kind == "ChangedKeyError"


@pytest.mark.parametrize("said", [[], ["--trust-key", KEY.public.fingerprint]])
def test_an_unknown_key_for_a_new_app_is_refused_without_a_word_for_it(
    victim: Victim, tmp_path: Path, said: list[str]
) -> None:
    path = make_bundle(tmp_path / "new.holdall", keys=(OTHER,), id="org.example.New")
    refusal = victim.refuses("install", *said, path)
    assert OTHER.public.fingerprint in refusal.message


@pytest.mark.parametrize("length", [0, 8, 15])
def test_the_beginning_of_a_fingerprint_is_not_enough(
    victim: Victim, tmp_path: Path, length: int
) -> None:
    path = make_bundle(tmp_path / "new.holdall", keys=(OTHER,), id="org.example.New")
    short = OTHER.public.fingerprint[:length]
    assert victim.refuses("install", "--trust-key", short, path).kind == "UntrustedError"


def test_a_key_trusted_on_first_use_signs_for_that_app_alone(
    victim: Victim, tmp_path: Path
) -> None:
    first = make_bundle(tmp_path / "first.holdall", keys=(OTHER,), id="org.example.First")
    second = make_bundle(tmp_path / "second.holdall", keys=(OTHER,), id="org.example.Second")
    victim.accepts("install", "--trust-key", OTHER.public.fingerprint, first)
    assert victim.refuses("install", second).kind == "UnknownKeyError"


def test_a_key_for_a_namespace_signs_for_no_other(tmp_path: Path, isolated_home: Path) -> None:
    trusting_store(tmp_path / "store", patterns=("org.example.*",))
    narrow = Victim(tmp_path / "store", isolated_home)
    for number, app_id in enumerate(("org.exampleX.App", "org.other.App", "com.org.example.App")):
        path = make_bundle(tmp_path / f"{number}.holdall", id=app_id)
        assert narrow.refuses("install", path).kind == "UnknownKeyError"


def test_a_revoked_key_is_refused_even_beside_a_trusted_one(
    victim: Victim, update: Parts, given: Given
) -> None:
    victim.accepts("key", "revoke", OTHER.public.fingerprint)
    assert victim.refuses("install", given(update.signed(KEY, OTHER))).kind == "UntrustedError"


def test_a_revoked_key_is_never_trusted_again(victim: Victim, update: Parts, given: Given) -> None:
    victim.accepts("key", "revoke", KEY.public.fingerprint)
    path = given(update)
    assert victim.refuses("install", path).kind == "UntrustedError"
    again = victim.refuses("key", "trust", KEY.public.fingerprint, "--from", path, "--app", APP)
    assert again.kind == "UntrustedError"


def test_the_publisher_s_key_is_asked_about_again_when_the_keyring_is_lost(
    victim: Victim, update: Parts, given: Given
) -> None:
    (victim.root / "state/keyring.json").unlink()
    path = given(update)
    assert victim.refuses("install", path).kind == "UnknownKeyError"
    victim.accepts("install", "--trust-key", KEY.public.fingerprint, path)


def test_signing_later_what_was_installed_unsigned_pins_its_publisher(
    victim: Victim, tmp_path: Path
) -> None:
    parts = {
        version: Parts.of(
            make_bundle(
                tmp_path / f"{version}.holdall", id="org.example.New", version=version, keys=()
            ).read_bytes()
        )
        for version in ("1", "2")
    }
    path = tmp_path / "new.holdall"
    path.write_bytes(parts["1"].bytes)
    victim.accepts("install", "--insecure-unsigned", path)
    path.write_bytes(parts["1"].signed(OTHER).bytes)
    victim.accepts("install", "--trust-key", OTHER.public.fingerprint, path)
    path.write_bytes(parts["2"].signed(OTHER).bytes)
    victim.accepts("install", path)


def test_a_keyring_that_cannot_be_read_trusts_nobody(
    victim: Victim, update: Parts, given: Given
) -> None:
    keyring = victim.root / "state/keyring.json"
    for data in (b"", b"{}", b"[]", b"7", b"\xff", b'{"format":2}', b"[" * 200_000):
        keyring.write_bytes(data)
        assert victim.refuses("install", given(update)).kind == "CorruptError"


def test_a_floor_that_cannot_be_read_accepts_nothing(
    victim: Victim, update: Parts, given: Given
) -> None:
    floor = victim.root / "state/floors" / APP / "x86_64/stable"
    for data in (b"", b"{}", b"[]", b"7", b"\xff", b"[" * 200_000):
        floor.write_bytes(data)
        assert victim.refuses("install", given(update)).kind == "CorruptError"


# ------------------------------------------------------------------------------ time and order


def dated(update: Parts, **times: str) -> Parts:
    def change(release: Release) -> Release:
        return msgspec.structs.replace(release, **times)

    return update.signed(KEY, change=change)


NOW = datetime.now(UTC)


@pytest.mark.parametrize(
    "times",
    [
        {"created": (NOW + timedelta(hours=1)).isoformat()},
        {"created": "9999-12-31T23:59:59-23:59"},
        {"expires": (NOW - timedelta(seconds=1)).isoformat()},
        {"expires": "0001-01-01T00:00:00+23:59"},
        {"created": "2020-01-01T00:00:00Z", "expires": "2020-01-02"},
    ],
)
def test_a_clock_outside_of_a_release_s_life_refuses_it(
    victim: Victim, update: Parts, given: Given, times: dict[str, str]
) -> None:
    path = given(dated(update, **times))
    assert victim.refuses("install", path).kind == "UntrustedError"


def test_an_older_version_is_refused(
    victim: Victim, update: Parts, given: Given, installed_bundle: Path
) -> None:
    victim.accepts("install", given(update))
    assert victim.refuses("install", installed_bundle).kind == "DowngradeError"


def test_removing_never_lowers_the_floor(
    victim: Victim, update: Parts, given: Given, installed_bundle: Path
) -> None:
    victim.accepts("install", given(update))
    victim.accepts("remove", APP)
    assert victim.refuses("install", installed_bundle).kind == "DowngradeError"


def test_going_back_never_lowers_the_floor(
    victim: Victim, update: Parts, given: Given, tmp_path: Path
) -> None:
    victim.accepts("install", given(update))
    victim.accepts("rollback", APP)
    between = make_bundle(tmp_path / "between.holdall", NEWER, version="1.5")
    assert victim.refuses("install", between).kind == "DowngradeError"


def test_a_lower_serial_is_older_whatever_its_version_says(victim: Victim, tmp_path: Path) -> None:
    options = BuildOptions(level=1, serial=5)
    victim.accepts("install", make_bundle(tmp_path / "a", version="2.0", options=options))
    path = make_bundle(tmp_path / "b", version="9.0")
    assert victim.refuses("install", path).kind == "DowngradeError"


def test_two_bundles_of_one_version_are_two_releases(victim: Victim, tmp_path: Path) -> None:
    path = make_bundle(tmp_path / "again.holdall", NEWER, version="1.0")
    victim.accepts("install", path)
    told = json.loads(victim.accepts("info", APP))
    assert told["versions"] == ["1.0", "1.0"]


@pytest.mark.integration
@pytest.mark.parametrize("keys", [(), (OTHER,)], ids=["nobody", "another"])
def test_the_program_refuses_what_it_does_not_trust(
    victim: Victim, tmp_path: Path, holdall_cli: HoldallCli, keys: tuple[SigningKey, ...]
) -> None:
    path = make_bundle(tmp_path / "two.holdall", NEWER, version="2.0", keys=keys)
    for command in ("install", "update", "repair"):
        refusal = victim.refuses_as_a_program(holdall_cli, command, path)
        assert refusal.kind in {"UntrustedError", "ChangedKeyError"}
