"""The grammar of key files: what is not in it is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.desktop import entries
from holdall.errors import UsageError

texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=40)


def test_groups_and_keys_keep_their_order_and_comments_go() -> None:
    parsed = entries.parse(b"# a comment\n[One]\nA = 1\nB[de_DE@euro]=zwei=2\n\n[Two]\nA=\n", "x")
    assert parsed.groups == {"One": {"A": "1", "B[de_DE@euro]": "zwei=2"}, "Two": {"A": ""}}
    assert entries.parse(parsed.encode(), "x") == parsed


@pytest.mark.parametrize(
    "data",
    [
        b"[One]\nA=1\nA=2\n",
        b"[One]\nA=1\n[One]\nB=2\n",
        b"A=1\n[One]\n",
        b"[One]\nno key\n",
        b"[One\nA=1\n",
        b"[One]\nA=\0\n",
        b"[One]\r\nA=1\r\n",
        b"[One]\nA=\x1b[2J\n",
        "[One]\nA=\u202egnp.exe\n".encode(),
        b"[One]\nA=\xff\n",
        b"\xef\xbb\xbf[One]\nA=1\n",
        b"[One]\nA_B=1\n",
        b"[One]\n#" + b"x" * entries.MAX_BYTES,
    ],
)
def test_what_is_not_in_the_grammar_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match=r"^x "):
        entries.parse(data, "x")


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(data: bytes) -> None:
    try:
        parsed = entries.parse(data, "x")
    except UsageError:
        return
    assert entries.parse(parsed.encode(), "x") == parsed


@given(st.lists(texts, max_size=5))
def test_any_words_survive_an_exec_value(words: list[str]) -> None:
    given_words = ["program", *(word.replace("@@", "@") for word in words)]
    value = entries.exec_value(entries.literal(word) for word in given_words)
    found = entries.parse_exec(value, "x")
    assert [word.replace("%%", "%") for word in found] == given_words


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("app %U", ["app", "%U"]),
        ('"an app" "a \\\\"b\\\\" \\\\$c" %%', ["an app", 'a "b" $c', "%%"]),
        ("app  --x=%f ", ["app", "--x=%f"]),
    ],
)
def test_exec_values_are_read_as_the_specification_says(value: str, expected: list[str]) -> None:
    assert entries.parse_exec(value, "x") == expected


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "-x", "%f", "A=b app", "app 'x'", "app $HOME", "app;rm", 'app "x', 'app "x"y'),
        *("app `x`", 'app "%f"', "app \\q", "app @@ x @@", "app --x=@@u", "app a>b"),
    ],
)
def test_exec_values_that_break_the_rules_are_refused(value: str) -> None:
    with pytest.raises(UsageError):
        entries.parse_exec(value, "x")
