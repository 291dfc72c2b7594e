"""What the rendering of launch files promises: any text is one word, whatever is in it."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall.desktop.script import (
    Below,
    Choice,
    Choose,
    Cut,
    Filled,
    Group,
    Is,
    Item,
    Not,
    Resolve,
    Step,
    UserFolder,
    Variable,
    encoded,
    quoted,
    steps,
    words,
)

SHELLS = [name for name in ("dash", "bash") if shutil.which(name)]
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
VALUE, SOURCE = Variable("value_here"), Variable("SOURCE")


def printed(script: str, environment: Mapping[str, str], shell: str = "dash") -> list[str]:
    """The words a script's ``show`` is called with."""
    text = "show() { for one do printf '%s\\0' \"$one\"; done; }\n" + script
    done = subprocess.run(
        [shell, "-c", encoded(text)],
        env={**environment, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        check=True,
    )
    return done.stdout.decode().split("\0")[:-1]


def after(step: Step, environment: Mapping[str, str]) -> str:
    """What VALUE holds after one step."""
    return printed(f"{steps((step,))}show {words(((VALUE,),))}\n", environment)[0]


@pytest.mark.parametrize("shell", SHELLS)
@given(literal=texts, held=texts, below=texts)
def test_any_text_is_one_word_literal_or_from_a_variable(
    shell: str, literal: str, held: str, below: str
) -> None:
    items: tuple[Item, ...] = (
        (literal,),
        (Variable("HELD"), below),
        Group(Variable("YES"), ((literal, Variable("HELD")), (below,))),
        Group(Variable("NO"), ((literal,),)),
    )
    found = printed(f"show {words(items)}\n", {"HELD": held, "YES": "1"}, shell)
    assert found == [literal, held + below, literal + held, below]


def test_a_word_with_a_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        quoted("a\0b")


@pytest.mark.parametrize(
    ("source", "expected"),
    [(":0", "0"), (":10.1", "10"), ("host:0", ""), ("", ""), (":*.x", "*")],
)
def test_cut_takes_what_stands_between_prefix_and_end(source: str, expected: str) -> None:
    assert after(Cut(VALUE, SOURCE, (":",), "."), {"SOURCE": source}) == expected


@pytest.mark.parametrize(
    ("path", "folder", "expected"),
    [
        ("/a/b", "/a", "yes"),
        ("/a", "/a", "yes"),
        ("/ab", "/a", "no"),
        ("/a", "/a/b", "no"),
        ("/x*y/z", "/x*y", "yes"),
        ("/xxy/z", "/x*y", "no"),
    ],
)
def test_below_compares_whole_names_and_no_patterns(path: str, folder: str, expected: str) -> None:
    below = Below((SOURCE,), (Variable("FOLDER"),))
    chosen = Choose(VALUE, (Choice((below,), ("yes",)), Choice((Not(below),), ("no",))))
    assert after(chosen, {"SOURCE": path, "FOLDER": folder}) == expected


def test_a_choice_is_the_first_that_holds_and_nothing_when_none_does() -> None:
    chosen = Choose(
        VALUE,
        (
            Choice((Filled(SOURCE), Is("d", (SOURCE,))), (SOURCE, "/x")),
            Choice((Filled(SOURCE),), ("2",)),
        ),
    )
    assert after(chosen, {"SOURCE": "/"}) == "//x"
    assert after(chosen, {"SOURCE": "/nowhere"}) == "2"
    assert after(chosen, {"value_here": "of the environment"}) == ""


def test_resolve_follows_links_to_folders_and_refuses_links_to_files(tmp_path: Path) -> None:
    real = tmp_path / "it's $real"
    real.mkdir()
    (real / "file").touch()
    (tmp_path / "link").symlink_to(real)
    (tmp_path / "filelink").symlink_to(real / "file")
    for name, expected in {
        "link": str(real),
        "link/file": str(real / "file"),
        "filelink": "",
        "gone": "",
    }.items():
        assert after(Resolve(VALUE, SOURCE), {"SOURCE": str(tmp_path / name)}) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('XDG_DOWNLOAD_DIR="$HOME/My files"', "/home/u/My files"),
        ('XDG_DOWNLOAD_DIR="/srv/down"', "/srv/down"),
        ('XDG_DOWNLOAD_DIR="$HOME"', ""),
        ('XDG_DOWNLOAD_DIR="$HOME/"', ""),
        ('XDG_DOWNLOAD_DIR="/home/u"', ""),
        ('XDG_DOWNLOAD_DIR="$(touch /tmp/no)"', "/home/u/Downloads"),
        ("touch owned", "/home/u/Downloads"),
        ("", "/home/u/Downloads"),
    ],
)
def test_user_folders_are_read_and_never_run(tmp_path: Path, line: str, expected: str) -> None:
    (tmp_path / "user-dirs.dirs").write_text(f"# made by hand\n{line}\n")
    step = UserFolder(VALUE, "XDG_DOWNLOAD_DIR", (str(tmp_path),), (Variable("HOME"), "/Downloads"))
    assert after(step, {"HOME": "/home/u"}) == expected
