"""What counts as more permissions, and how it is said."""

import msgspec
import pytest

from holdall.journeys.consent import additional, in_words
from holdall.model.manifest import Permissions


def of(**fields: object) -> Permissions:
    """Permissions as a manifest has them."""
    return msgspec.convert(fields, Permissions)


@pytest.mark.parametrize("name", ["network", "ipc", "x11", "wayland", "pulseaudio", "dri"])
def test_each_switch_is_told_when_it_is_new(name: str) -> None:
    granted = of(**{name: True})
    assert len(additional(of(), granted)) == 1
    assert additional(granted, granted) == ()
    assert additional(granted, of()) == ()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["home"], ["home"]),
        (["home"], ["home:ro"]),
        (["home"], ["~/notes"]),
        (["home"], ["xdg-documents"]),
        (["~/notes"], ["~/notes/sub:ro", "~/notes"]),
        (["host"], ["home", "/srv/data", "/opt", "xdg-music/new"]),
        (["/srv"], ["/srv/data"]),
        (["/srv/"], ["/srv"]),
        (["~/a:ro", "~/b"], ["~/b"]),
    ],
)
def test_what_was_granted_before_is_not_more(old: list[str], new: list[str]) -> None:
    assert additional(of(filesystem=old), of(filesystem=new)) == ()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ([], ["home"], ["read and change your home"]),
        (["home:ro"], ["home"], ["read and change your home"]),
        (["~/notes:ro"], ["~/notes:rw"], ["read and change ~/notes"]),
        (["~/notes"], ["~/notes-2:ro"], ["read ~/notes-2"]),
        (["~/notes/sub"], ["~/notes"], ["read and change ~/notes"]),
        (["/srv"], ["/srv-2"], ["read and change /srv-2"]),
        (["home", "~/a:ro"], ["home"], ["read and change ~/a"]),
        (["home", "~/a:ro"], ["home", "~/a:ro", "~/a"], ["read and change ~/a"]),
        (["~/a:ro", "home"], ["home", "~/a:ro"], []),
        (["home:ro", "~/a"], ["~/a", "home"], ["read and change your home"]),
        ([], ["host:ro"], ["read your home", "read the files of all users"]),
    ],
)
def test_what_is_new_in_files_is_told(old: list[str], new: list[str], words: list[str]) -> None:
    assert list(additional(of(filesystem=old), of(filesystem=new))) == words


def test_names_on_buses_are_told_unless_a_pattern_had_them() -> None:
    old = of(**{"session-bus": ["org.example.*"], "system-bus": ["org.example.Power"]})
    same = of(**{"session-bus": ["org.example.One", "org.example.Two"]})
    assert additional(old, same) == ()
    new = of(**{"session-bus": ["org.examples.One"], "session-bus-own": ["org.example.One"]})
    assert list(additional(old, new)) == [
        "talk to org.examples.One on the session bus",
        "be org.example.One on the session bus",
    ]
    assert list(additional(old, of(**{"system-bus": ["org.example.*"]}))) == [
        "talk to org.example.* on the system bus"
    ]


def test_every_permission_there_is_has_words() -> None:
    """So that a new one cannot slip through an update."""
    for field in msgspec.structs.fields(Permissions):
        value: object = True if field.type is bool else ["org.example.Name"]
        if field.name == "filesystem":
            value = ["home"]
        assert in_words(of(**{field.encode_name: value})), field.name
