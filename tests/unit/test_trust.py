"""Keys, envelopes and keyrings, held against securesystemslib."""

import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.signer._crypto_signer import CryptoSigner
from securesystemslib.signer._key import Key, SSlibKey

from bundles import APP, KEY, OTHER, key_of, manifest_of
from holdall.errors import (
    ChangedKeyError,
    CorruptError,
    DowngradeError,
    HoldallError,
    NotFoundError,
    UnknownKeyError,
    UntrustedError,
    UsageError,
)
from holdall.model import release as releases
from holdall.model.digest import Digest
from holdall.model.release import PAYLOAD_TYPE, Packing, Release, order_of
from holdall.trust import keyring as keyrings
from holdall.trust.envelope import Signed, open_envelope, pre_authentication, sign
from holdall.trust.freshness import SKEW, check_lifetime, check_order
from holdall.trust.keyring import Keyring
from holdall.trust.keys import PublicKey, generate, parse_private, parse_public

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def release(**fields: object) -> Release:
    """A release of nothing."""
    times = {name: str(fields.pop(name)) for name in ("created", "expires") if name in fields}
    names = Packing("0" * 64, "1" * 64)
    return Release(1, manifest_of(**fields), str(Digest(bytes(32))), 0, 0, names, **times)


def by(*keys: PublicKey, **fields: object) -> Signed:
    made = release(**fields)
    return Signed(made, releases.encode(made), keys)


# ------------------------------------------------------------------------------ keys


def known_to_others(public: PublicKey) -> SSlibKey:
    return SSlibKey(public.fingerprint, public.keytype, public.scheme, {"public": public.public})


def test_a_fingerprint_is_securesystemslib_s_key_id() -> None:
    signer = CryptoSigner(KEY.private)
    assert KEY.public.fingerprint == signer.public_key.keyid


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_the_fingerprint_of_a_pem_key_is_securesystemslib_s_key_id(kind: str) -> None:
    private = (
        rsa.generate_private_key(65537, 2048)
        if kind == "rsa"
        else ec.generate_private_key(ec.SECP256R1())
    )
    signer = CryptoSigner(private)
    theirs = signer.public_key
    ours = PublicKey(theirs.keytype, theirs.scheme, theirs.keyval["public"])
    assert ours.fingerprint == theirs.keyid
    signature = bytes.fromhex(signer.sign(b"data").signature)
    assert ours.verifies(signature, b"data")
    assert not ours.verifies(signature, b"date")


def test_a_generated_key_is_read_again() -> None:
    key = generate()
    assert parse_private(key.pem).public == key.public
    assert parse_public(key.public.export()) == key.public


@pytest.mark.parametrize("pem", [b"", b"-----BEGIN PRIVATE KEY-----\n", b"\xff", bytes(1000)])
def test_what_is_no_private_key_is_a_sentence(pem: bytes) -> None:
    with pytest.raises(UsageError):
        parse_private(pem)


@given(st.text(max_size=40), st.text(max_size=40), st.text(max_size=80), st.binary(max_size=80))
def test_any_key_and_signature_are_right_wrong_or_corrupt(
    keytype: str, scheme: str, public: str, signature: bytes
) -> None:
    try:
        assert not PublicKey(keytype, scheme, public).verifies(signature, b"data")
    except CorruptError:
        return


@pytest.mark.parametrize("keytype", ["ed25519", "rsa", "ecdsa", "x"])
@pytest.mark.parametrize("scheme", ["ed25519", "rsassa-pss-sha256", "ecdsa-sha2-nistp256", "x"])
@pytest.mark.parametrize("public", ["", "00" * 32, "-----BEGIN PUBLIC KEY-----", "\n", "é"])
def test_no_kind_of_key_takes_a_signature_of_nothing(
    keytype: str, scheme: str, public: str
) -> None:
    try:
        assert not PublicKey(keytype, scheme, public).verifies(bytes(64), b"data")
    except CorruptError:
        return


@given(st.text(max_size=200))
def test_any_text_is_a_public_key_or_corrupt(text: str) -> None:
    with pytest.raises(CorruptError):
        parse_public(text)


# ------------------------------------------------------------------------------ envelopes


def test_an_envelope_is_verified_by_securesystemslib() -> None:
    payload = releases.encode(release())
    table = json.loads(sign(payload, (KEY, OTHER)))
    theirs = Envelope.from_dict(
        {name: table[name] for name in ("payload", "payloadType", "signatures")}
    )
    keys: list[Key] = [known_to_others(key.public) for key in (KEY, OTHER)]
    assert theirs.verify(keys, 2).keys() == {KEY.public.fingerprint, OTHER.public.fingerprint}
    assert theirs.pae() == pre_authentication(PAYLOAD_TYPE, payload)


def test_an_envelope_by_securesystemslib_is_taken() -> None:
    payload = releases.encode(release())
    made = Envelope(payload, PAYLOAD_TYPE, {})
    made.sign(CryptoSigner(KEY.private))
    table = {**made.to_dict(), "keys": [KEY.public.as_dict()]}
    assert open_envelope(json.dumps(table).encode()).signers == (KEY.public,)


def test_who_signed_is_said_in_order() -> None:
    payload = releases.encode(release())
    signed = open_envelope(sign(payload, (OTHER, KEY)))
    assert signed == Signed(release(), payload, (OTHER.public, KEY.public))


@given(st.binary(max_size=300))
def test_any_bytes_are_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptError):
        open_envelope(data)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=9,
)


@given(_JSON, st.sampled_from(["payload", "payloadType", "signatures", "keys"]))
def test_any_value_in_any_field_is_corrupt(value: object, field: str) -> None:
    table = json.loads(sign(releases.encode(release()), (KEY,)))
    table[field] = value
    with pytest.raises(CorruptError):
        open_envelope(json.dumps(table).encode())


# ------------------------------------------------------------------------------ releases


def test_a_release_has_one_encoding_that_never_changes() -> None:
    data = releases.encode(release(version="1.0"))
    assert releases.parse(data) == release(version="1.0")
    assert data == (
        b'{"entries":0,"format":1,"manifest":{"arch":"x86_64","command":"editor",'
        b'"id":"org.example.Editor","kind":"app","version":"1.0"},"packing":{"index":"'
        + b"1"
        * 64
        + b'",'
        b'"tree":"' + b"0" * 64 + b'"},"size":0,"tree":"sha256-4k:' + b"0" * 64 + b'"}'
    )


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.9", "1.10"),
        ("1.0~rc1", "1.0"),
        ("1.0~rc1", "1.0~rc2"),
        ("1.0", "1.0.1"),
        ("1.0", "1.0a"),
        ("9", "10"),
        ("2026.1", "2026.01.1"),
        ("1.0~~", "1.0~"),
    ],
)
def test_versions_are_ordered_as_people_read_them(older: str, newer: str) -> None:
    assert order_of(0, older) < order_of(0, newer)


def test_a_serial_stands_over_every_version() -> None:
    assert order_of(1, "9") < order_of(2, "1")


@given(st.lists(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+:~-]{0,9}", fullmatch=True), min_size=2))
def test_any_versions_can_be_ordered(versions: list[str]) -> None:
    assert sorted(versions, key=lambda version: order_of(0, version))


# ------------------------------------------------------------------------------ keyrings


def test_nobody_is_trusted_by_an_empty_keyring() -> None:
    with pytest.raises(UnknownKeyError):
        Keyring().judge(by(KEY.public))


@pytest.mark.parametrize("pattern", [APP, "org.example.*", "*"])
def test_a_grant_covers_what_it_says(pattern: str) -> None:
    ring = Keyring().with_grant(KEY.public, (pattern,))
    assert ring.judge(by(KEY.public)) == KEY.public


@pytest.mark.parametrize("pattern", ["org.example.Other", "org.exampl.*", "org.example.Editor.*"])
def test_a_grant_covers_nothing_else(pattern: str) -> None:
    with pytest.raises(UnknownKeyError):
        Keyring().with_grant(KEY.public, (pattern,)).judge(by(KEY.public))


@pytest.mark.parametrize(
    "pattern", ["", "**", "*.example.App", "org.*.App", "org.example.?", "[a]", "../*", "org.*\n"]
)
def test_other_patterns_are_refused(pattern: str) -> None:
    with pytest.raises(UsageError):
        Keyring().with_grant(KEY.public, (pattern,))


def test_an_app_of_one_publisher_is_not_another_s() -> None:
    ring = Keyring().with_grant(KEY.public, (APP,))
    with pytest.raises(ChangedKeyError):
        ring.judge(by(OTHER.public))


def test_one_trusted_signer_is_enough() -> None:
    ring = Keyring().with_grant(KEY.public, (APP,))
    assert ring.judge(by(OTHER.public, KEY.public)) == KEY.public


def test_a_revoked_signer_spoils_all() -> None:
    ring = Keyring().with_grant(KEY.public, ("*",)).without(OTHER.public.fingerprint)
    with pytest.raises(UntrustedError):
        ring.judge(by(KEY.public, OTHER.public))
    with pytest.raises(UntrustedError):
        ring.with_grant(OTHER.public, ("*",))


def test_grants_add_up_and_keep_their_name() -> None:
    ring = Keyring().with_grant(KEY.public, (APP,), "me").with_grant(KEY.public, ("org.other.*",))
    assert [(grant.name, grant.patterns) for grant in ring.grants] == [("me", (APP, "org.other.*"))]


def test_a_keyring_is_read_as_it_was_written() -> None:
    ring = Keyring().with_grant(KEY.public, (APP,), "me").without(OTHER.public.fingerprint)
    assert keyrings.parse(keyrings.encode(ring)) == ring


@given(st.binary(max_size=200))
def test_any_bytes_are_no_keyring(data: bytes) -> None:
    with pytest.raises(CorruptError):
        keyrings.parse(data)


@given(_JSON)
def test_any_json_is_a_keyring_or_corrupt(value: object) -> None:
    with pytest.raises(CorruptError):
        keyrings.parse(json.dumps(value).encode())


def test_a_key_is_found_by_the_beginning_of_its_fingerprint() -> None:
    ring = Keyring()
    for number in range(40):
        ring = ring.with_grant(key_of(number).public, ("*",))
    whole = KEY.public.fingerprint
    assert ring.find(whole).public == KEY.public
    with pytest.raises(NotFoundError):
        ring.find("")
    with pytest.raises(NotFoundError):
        ring.find(whole[::-1])
    with pytest.raises(UsageError):
        ring.find(next(digit for digit in "0123456789abcdef" if _begins(ring, digit) > 1))


def _begins(ring: Keyring, digit: str) -> int:
    return sum(grant.public.fingerprint.startswith(digit) for grant in ring.grants)


# ------------------------------------------------------------------------------ time and order


@pytest.mark.parametrize(
    ("created", "expires", "good"),
    [
        ("", "", True),
        (NOW.isoformat(), "", True),
        ((NOW + SKEW).isoformat(), "", True),
        ((NOW + SKEW + timedelta(seconds=1)).isoformat(), "", False),
        ("", NOW.isoformat(), True),
        ("", (NOW - timedelta(seconds=1)).isoformat(), False),
        ("2026-04-30T23:59:59", "2026-05-01T00:00:01", True),
        ("9999-12-31T23:59:59+00:00", "", False),
        ("", "0001-01-01T00:00:00+00:00", False),
    ],
)
def test_a_release_holds_from_its_making_to_its_end(created: str, expires: str, good: bool) -> None:  # noqa: FBT001 - a table
    made = release(created=created, expires=expires)
    if good:
        check_lifetime(made, NOW)
        return
    with pytest.raises(UntrustedError):
        check_lifetime(made, NOW)


@given(st.text(max_size=30))
def test_any_time_is_one_or_a_named_error(text: str) -> None:
    made = msgspec.structs.replace(release(), created=text)
    try:
        check_lifetime(made, NOW)
    except HoldallError:
        return


def test_the_same_version_again_is_no_downgrade() -> None:
    check_order(release(version="1.0"), order_of(0, "1.0"))


def test_an_older_one_is_a_downgrade() -> None:
    with pytest.raises(DowngradeError):
        check_order(release(version="1.0~rc1"), order_of(0, "1.0"))
