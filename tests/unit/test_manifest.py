"""The manifest: what people write is read exactly, or refused in a sentence about the field."""

import msgspec
import pytest

from bundles import APP, manifest_of
from holdall.errors import UsageError
from holdall.model.manifest import HOST, Permissions, parse_toml

LEAST = f'id = "{APP}"\nversion = "1.0"\nkind = "app"\ncommand = "editor"\n'


def test_the_least_there_is() -> None:
    manifest = parse_toml(LEAST)
    assert (manifest.branch, manifest.runtime, manifest.argv) == ("stable", HOST, ("editor",))
    assert manifest.permissions == Permissions()
    assert manifest.runtime_ref is None


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ('"editor --new"', ("editor", "--new")),
        ("\"sh -c 'a b'\"", ("sh", "-c", "a b")),
        ('["sh", "-c", "a b"]', ("sh", "-c", "a b")),
        ('"bin/../editor"', None),
        ('"-x"', None),
        ('""', None),
        ('["", "x"]', None),
        ('"editor @@u"', None),
        ('"editor \'x"', None),
    ],
)
def test_a_command_is_a_vector_or_refused(text: str, argv: tuple[str, ...] | None) -> None:
    toml = LEAST.replace('"editor"', text)
    if argv is not None:
        assert parse_toml(toml).argv == argv
        return
    with pytest.raises(UsageError):
        parse_toml(toml)


@pytest.mark.parametrize(
    "filesystem",
    [
        "home",
        "host",
        "~",
        "~/Documents",
        "xdg-download",
        "xdg-music/loud",
        "/srv",
        "home:ro",
        "/a:rw",
    ],
)
def test_folders_can_be_granted(filesystem: str) -> None:
    manifest = manifest_of(permissions={"filesystem": [filesystem]})
    assert manifest.permissions.filesystem == (filesystem,)


@pytest.mark.parametrize(
    "filesystem", ["", "Documents", "../x", "~/../x", "/a/./b", "home:rx", "/a:b", "~user", "/a\n"]
)
def test_other_folders_cannot(filesystem: str) -> None:
    with pytest.raises(UsageError):
        manifest_of(permissions={"filesystem": [filesystem]})


@pytest.mark.parametrize("name", ["org.freedesktop.Notifications", "org.kde.*"])
def test_bus_names_can_be_granted(name: str) -> None:
    assert manifest_of(permissions={"session-bus": [name]}).permissions.session_bus == (name,)


@pytest.mark.parametrize(
    "name", ["*", "org", "org.*.a", "org..a", ".org.a", "org.a b", "a." * 130 + "a"]
)
def test_other_bus_names_cannot(name: str) -> None:
    with pytest.raises(UsageError):
        manifest_of(permissions={"system-bus": [name]})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "service"),
        ("arch", "../x"),
        ("branch", "a/b"),
        ("version", ""),
        ("version", "1 0"),
        ("version", "v" * 129),
        ("runtime", "org.example.Runtime"),
        ("serial", -1),
        ("serial", 2**53 + 1),
        ("environment", {"A B": "c"}),
        ("environment", {"A": "b\n"}),
        ("environment", {"LD_LIBRARY_PATH": ""}),
        ("environment", {"LD_LIBRARY_PATH": "/a:"}),
        ("about", {"name": "a\x1bb"}),
        ("about", {"name": "a\u061cb"}),
        ("about", {"summary": "x" * 4097}),
        ("exports", {"commands": ["a/b"]}),
        ("exports", {"desktop": ["../x.desktop"]}),
        ("exports", {"desktop": [f"a/../{APP}.desktop"]}),
        ("exports", {"desktop": ["share/applications/other.desktop"]}),
    ],
)
def test_values_outside_of_the_rules_are_refused(field: str, value: object) -> None:
    with pytest.raises((UsageError, msgspec.ValidationError)):
        manifest_of(**{field: value})


def test_a_runtime_neither_has_a_runtime_nor_needs_a_command() -> None:
    assert manifest_of(kind="runtime", command=[]).argv == ()
    with pytest.raises(UsageError):
        manifest_of(kind="runtime", command=[], runtime="org.example.Base/x86_64/stable")


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(UsageError, match="`serail`"):
        parse_toml(LEAST + "serail = 1\n")


def test_a_wrong_type_is_named() -> None:
    with pytest.raises(UsageError, match="version"):
        parse_toml(LEAST.replace('"1.0"', "1.0"))
