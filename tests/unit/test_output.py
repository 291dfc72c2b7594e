"""What is printed: nothing that others wrote may move the cursor or turn the line around."""

import json

import pytest

from holdall.cli.output import Output, safe, size_of
from holdall.errors import CorruptError
from holdall.journeys.host import Event

HOSTILE = [
    "\x1b]0;root\x07",
    "a\nb",
    "\x9b2J",
    "a\u202eb",
    "a\u061cb",
    "a\u2066b",
    "\u2028",
    "\x7f",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_control_and_direction_characters_are_written_as_escapes(text: str) -> None:
    assert safe(text).isprintable()
    assert safe(text).isascii()


@pytest.mark.parametrize("text", ["plain", "größe", "数据", "😀", "a b"])
def test_other_text_is_shown_as_it_is(text: str) -> None:
    assert safe(text) == text


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_hostile_reaches_the_terminal(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    out = Output(json=False)
    out.result({}, [text])
    out.table([{"a": text}], {"a": "A"}, empty="none")
    out.report(Event(text, loud=True))
    out.report(Event(text, 1, 2))
    out.fail(CorruptError(text))
    printed = "".join(capsys.readouterr())
    assert all(line.isprintable() for line in printed.split("\n"))


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_hostile_reaches_the_terminal_as_json(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    out = Output(json=True)
    out.result({"a": text}, [])
    out.fail(CorruptError(text))
    printed = capsys.readouterr()
    assert all(line.isprintable() for line in (printed.out + printed.err).split("\n"))
    assert json.loads(printed.out) == {"a": text}


def test_a_table_as_json_needs_no_columns(capsys: pytest.CaptureFixture[str]) -> None:
    Output(json=True).table([{"time": 1}], {"when": "WHEN"}, empty="none")
    assert json.loads(capsys.readouterr().out) == [{"time": 1}]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (10**13, "10000.0 GB")],
)
def test_sizes_are_decimal(count: int, text: str) -> None:
    assert size_of(count) == text
