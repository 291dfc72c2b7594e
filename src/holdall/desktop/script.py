"""The few shapes of shell a launch file is made of, and their one rendering to POSIX sh.

A launch file is a value first: steps that set variables, then words, some of which stand only when
a variable is not empty. Whatever is not a `Variable` is a literal, and is quoted here and nowhere
else. Variables made here are lower case, those of the starter's environment upper case, so nothing
in the environment can stand in for one that a step has set. Knows nothing of sandboxes.
"""

import os
import re
from typing import Literal, NamedTuple, assert_never

# The real path of $1 in $there, by cd, which starts no process; the working directory is kept.
_RESOLVE = """\
resolve() {
there= here=$PWD
if [ -d "$1" ]; then cd -P -- "$1" && there=$PWD
elif [ -e "$1" ] && ! [ -L "$1" ]; then cd -P -- "${1%/*}/" && there=${PWD%/}/${1##*/}
fi 2>/dev/null
cd -- "$here" 2>/dev/null || cd /
}
"""
_IDENTITY = (
    "while read -r key value rest; do case $key in Uid:) uid=$value;;"
    " Gid:) gid=$value; break;; esac; done </proc/self/status"
)
_PLAIN = re.compile(r"[A-Za-z0-9_@%+:,./-][A-Za-z0-9_@%+=:,./-]*")


class Variable(NamedTuple):
    """The text a shell variable holds when the script runs; empty when nothing set it."""

    name: str


Word = tuple[str | Variable, ...]
"""One argument: its parts joined. An empty tuple is the empty text."""


class Group(NamedTuple):
    """Words that stand only when `when` is not empty."""

    when: Variable
    words: tuple[Word, ...]


Item = Word | Group


class Filled(NamedTuple):
    """Whether a variable is not empty."""

    variable: Variable


class Is(NamedTuple):
    """Whether a path exists and is of a kind, by the letter `test` has for it."""

    kind: Literal["d", "e", "f", "r", "L", "S"]
    path: Word


class Below(NamedTuple):
    """Whether a path is `folder` or lies below it, by their texts; any absolute one is below ()."""

    path: Word
    folder: Word


class Not(NamedTuple):
    """Whether a condition does not hold."""

    condition: Filled | Is | Below


Condition = Filled | Is | Below | Not


class Choice(NamedTuple):
    """A word, and what must all hold for it to be chosen."""

    when: tuple[Condition, ...]
    word: Word


class Choose(NamedTuple):
    """Set `variable` to the first choice that holds, else to nothing."""

    variable: Variable
    choices: tuple[Choice, ...]


class Cut(NamedTuple):
    """Set `variable` to what follows `prefix` in `source`, up to `until` when that is not empty.

    Nothing when `source` does not begin with `prefix`.
    """

    variable: Variable
    source: Variable
    prefix: Word
    until: str = ""


class Resolve(NamedTuple):
    """Set `variable` to the path `source` really names, links followed; nothing when it is gone.

    A file must be there under its own name: a link to a file resolves to nothing.
    """

    variable: Variable
    source: Variable


class Identity(NamedTuple):
    """Set `uid` and `gid` to the numbers of the user who runs the script."""


class UserFolder(NamedTuple):
    """Set `variable` to the folder that `key` names in `config`/user-dirs.dirs, else `default`."""

    variable: Variable
    key: str
    config: Word
    default: Word


class MakeFolder(NamedTuple):
    """Make a folder and those `below` it, for this user only, unless it is there.

    In a folder that is there already nothing is made: what is in it may be an app's doing.
    """

    path: Word
    below: tuple[str, ...] = ()


class Require(NamedTuple):
    """End the script with a sentence and a status unless a condition holds."""

    condition: Condition
    sentence: str
    status: int


class RequireProgram(NamedTuple):
    """End the script with status 7 unless a program is found; `when` is not empty."""

    program: str
    package: str
    when: Variable | None = None


Step = Choose | Cut | Resolve | Identity | UserFolder | MakeFolder | Require | RequireProgram


def quoted(text: str) -> str:
    """One word of sh that stands for exactly `text`; a NUL has no such word (ValueError)."""
    if "\0" in text:
        raise ValueError("a word of shell cannot have a NUL in it")
    if _PLAIN.fullmatch(text):
        return text
    return "'" + text.replace("'", "'\\''") + "'"


def encoded(script: str) -> bytes:
    """The bytes of a script whose literals may be file names of any encoding."""
    return os.fsencode(script) if script.isascii() else script.encode("utf-8", "surrogateescape")


def word(parts: Word) -> str:
    """One word of sh."""
    return "".join(_part(part) for part in parts if part) or "''"


def words(items: tuple[Item, ...]) -> str:
    """The items on one line; a group is a conditional expansion, so it costs no process."""
    return " ".join(_item(item) for item in items)


def steps(sequence: tuple[Step, ...]) -> str:
    """The steps as lines of sh, each ended by a newline."""
    needed = _RESOLVE if any(isinstance(one, Resolve) for one in sequence) else ""
    return needed + "".join(f"{step(one)}\n" for one in sequence)


def step(one: Step) -> str:
    """One step as sh; it starts no process unless a folder must be made."""
    match one:
        case Choose():
            text = _choose(one)
        case Cut():
            text = _cut(one)
        case Resolve(variable, source):
            text = f'resolve "${source.name}"; {variable.name}=$there'
        case Identity():
            text = _IDENTITY
        case UserFolder():
            text = _user_folder(one)
        case MakeFolder():
            text = _make_folder(one)
        case Require() | RequireProgram():
            text = _require(one)
        case _:
            assert_never(one)
    return text


def _part(part: str | Variable) -> str:
    return f'"${part.name}"' if isinstance(part, Variable) else quoted(part)


def _item(item: Item) -> str:
    if not isinstance(item, Group):
        return word(item)
    return f"${{{item.when.name}:+{' '.join(word(one) for one in item.words)}}}"


def _complain(sentence: str) -> str:
    return f"printf '%s\\n' {quoted(f'holdall: {sentence}')} >&2"


def _choose(one: Choose) -> str:
    name, text, ended = one.variable.name, "", False
    for choice in one.choices:
        assignment = f"{name}={word(choice.word)}"
        if not choice.when:
            text += f"else {assignment}; " if text else assignment
            ended = True
            break
        tests = " && ".join(_test(condition) for condition in choice.when)
        text += f"{'elif' if text else 'if'} {tests}; then {assignment}; "
    if not text.startswith("if"):
        return text or f"{name}="
    return f"{text}fi" if ended else f"{text}else {name}=; fi"


def _cut(one: Cut) -> str:
    name, source, start = one.variable.name, one.source.name, word(one.prefix)
    ended = f" {name}=${{{name}%%{quoted(one.until)}*}}" if one.until else ""
    return f'case "${source}" in {start}*) {name}=${{{source}#{start}}}{ended};; *) {name}=;; esac'


def _make_folder(one: MakeFolder) -> str:
    folders = " ".join(word((*one.path, below)) for below in ("", *one.below))
    planned = '[ -n "$HOLDALL_DRY_RUN" ]'
    return f"[ -d {word(one.path)} ] || {planned} || mkdir -p -m 700 -- {folders} || exit 6"


def _require(one: Require | RequireProgram) -> str:
    if isinstance(one, Require):
        return f"{_test(one.condition)} || {{ {_complain(one.sentence)}; exit {one.status}; }}"
    asked = f'[ -z "${one.when.name}" ] || ' if one.when else ""
    lack = _complain(f"The program {one.program} is missing: install the package {one.package}.")
    return f"{asked}command -v {one.program} >/dev/null || {{ {lack}; exit 7; }}"


def _test(condition: Condition) -> str:
    match condition:
        case Filled(variable):
            return f'[ -n "${variable.name}" ]'
        case Is(kind, path):
            return f"[ -{kind} {word(path)} ]"
        case Below(path, ()):
            return f"case {word(path)} in /*) ;; *) false;; esac"
        case Below(path, folder):
            return f"case {word(path)}/ in {word((*folder, '/'))}*) ;; *) false;; esac"
        case Not(Below(path, folder)):
            return f"case {word(path)}/ in {word((*folder, '/'))}*) false;; esac"
        case Not(inner):
            return f"! {_test(inner)}"
        case _:
            assert_never(condition)


def _user_folder(one: UserFolder) -> str:
    """user-dirs.dirs is read, never sourced: apps may write there. HOME itself stands for none."""
    name, file = one.variable.name, word((*one.config, "/user-dirs.dirs"))
    return (
        f"{name}={word(one.default)}\n"
        f"[ -r {file} ] && while IFS='=' read -r key value; do case $key in {one.key})\n"
        """value=${value#\\"}; value=${value%\\"}; case $value in\n"""
        f"""'$HOME'|'$HOME/'|"$HOME"|"$HOME/") {name}=;;\n"""
        f"""'$HOME/'*) {name}=$HOME${{value#'$HOME'}};; /*) {name}=$value;;\n"""
        f"esac;; esac; done <{file}"
    )
