"""Names of apps: the grammar stands before every path that is joined."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.errors import UsageError
from holdall.model.ref import Ref, RefPattern

_ELEMENT = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,20}", fullmatch=True)
IDS = st.lists(_ELEMENT, min_size=3, max_size=6).map(".".join)
WORDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}", fullmatch=True)
REFS = st.builds(Ref, IDS, WORDS, WORDS)


@given(REFS)
def test_what_is_written_is_read(ref: Ref) -> None:
    assert Ref.parse(str(ref)) == ref


@given(REFS)
def test_a_ref_stays_below_the_folder_it_is_joined_to(ref: Ref) -> None:
    assert not {"", ".", ".."} & set(str(ref).split("/"))
    assert re.fullmatch(r"[!-~]+", str(ref))


@given(st.text(max_size=60))
def test_any_text_is_a_ref_as_it_stands_or_is_refused(text: str) -> None:
    try:
        ref = Ref.parse(text)
    except UsageError:
        return
    assert str(ref) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "org.example.App",
        "org.example/x86_64/stable",
        "org.example.App/x86_64",
        "org.example.App/x86_64/stable/more",
        "org..App/x86_64/stable",
        ".org.example.App/x86_64/stable",
        "org.example.App./x86_64/stable",
        "org.example.1App/x86_64/stable",
        "-org.example.App/x86_64/stable",
        "org.example.App/../stable",
        "org.example.App/./stable",
        "org.example.App//stable",
        "org.example.App/x86_64/.hidden",
        "org.example.App/x86_64/-f",
        "org.example.App/x86_64/a b",
        "org.example.App/x86_64/stable\n",
        "org.example.App/x86_64/st\0able",
        "org.exämple.App/x86_64/stable",
        "org.example.App/x86_64/" + "b" * 65,
        "org.example." + "a" * 244 + "/x86_64/stable",
        "../../etc/passwd",
        "*",
    ],
)
def test_what_is_no_ref_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        Ref.parse(text)


def test_an_id_may_have_255_bytes() -> None:
    app_id = "org.example." + "a" * 243
    assert Ref.parse(f"{app_id}/x86_64/stable").id == app_id


@given(REFS)
def test_every_way_to_shorten_a_ref_means_it(ref: Ref) -> None:
    texts = [ref.id, f"{ref.id}/{ref.arch}", f"{ref.id}//{ref.branch}", str(ref)]
    assert all(RefPattern.parse(text).matches(ref) for text in texts)


@given(REFS)
def test_a_pattern_is_read_as_it_is_shown(ref: Ref) -> None:
    for text in (ref.id, f"{ref.id}/{ref.arch}", f"{ref.id}//{ref.branch}", str(ref)):
        pattern = RefPattern.parse(text)
        assert RefPattern.parse(str(pattern)) == pattern


@pytest.mark.parametrize("text", ["", "org", "a.b.c/d/e/f", "a.b.c/../x", "a.b.c//..", "a.b.c/*"])
def test_what_can_name_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        RefPattern.parse(text)
