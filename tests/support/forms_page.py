"""The table of forms as a page: what is claimed on this kind of machine, and what measured it.

Written between two marks of ``docs/reference/forms.md``. Must not import holdall.
"""

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
_WRITTEN = re.compile(f"{BEGIN}\n(.*){END}", re.DOTALL)
_PROGRAMS = ("btrfs", "mkfs.erofs", "erofsfuse", "mksquashfs", "squashfuse")
WHO = {"root": "root", "user": "an ordinary user"}


class Measured(Protocol):
    """A test's word on one cell."""

    @property
    def test(self) -> str: ...

    @property
    def evidence(self) -> Mapping[str, Any]: ...


class Found(Protocol):
    """What was measured of a cell."""

    def __call__(self, form: str, who: str, requirement: str) -> Sequence[Measured]: ...


def kind_of_machine() -> str:
    """What the table depends on; the store lies on ext4 without fs-verity."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    have = [name for name in _PROGRAMS if shutil.which(name, path=path)]
    lack = [name for name in _PROGRAMS if name not in have]
    kernel = ".".join(os.uname().release.split(".")[:2])
    without = f", without {', '.join(lack)}" if lack else ""
    return f"Linux {kernel}, a store on ext4 without fs-verity, {', '.join(have)}{without}"


def written(page: str) -> str:
    """The part of a page that is written by the suite."""
    found = _WRITTEN.search(page)
    if found is None:
        raise ValueError(f"the page has no {BEGIN}")
    return found[1]


def rewritten(page: str, part: str) -> str:
    """A page with another part."""
    before, _, rest = page.partition(f"{BEGIN}\n")
    return f"{before}{BEGIN}\n{part}{END}{rest.partition(END)[2]}"


def render(claims: Mapping[str, Any], found: Found) -> str:
    """The part for these claims."""
    lines = [f"Measured on: {kind_of_machine()}.", ""]
    for who, claimed in sorted(claims.items()):
        lines += [f"### For {WHO[who]}", "", *_matrix(claimed), ""]
    for form in _forms(claims):
        lines += [*_details(form, claims, found), ""]
    return "\n".join(lines)


def of_this_machine(part: str) -> bool:
    """Whether a part was written on this kind of machine."""
    return part.startswith(f"Measured on: {kind_of_machine()}.\n")


def _forms(claims: Mapping[str, Any]) -> list[str]:
    return [column["form"] for column in claims["root"]["forms"]]


def _matrix(claimed: Mapping[str, Any]) -> Iterator[str]:
    columns = claimed["forms"]
    yield f"| | | {' | '.join(column['form'] for column in columns)} |"
    yield f"|---|---|{'---|' * len(columns)}"
    for key, words in claimed["requirements"].items():
        cells = [column["cells"][key]["holds"] if column["usable"] else "-" for column in columns]
        yield f"| {key} | {words} | {' | '.join(cells)} |"


def _details(form: str, claims: Mapping[str, Any], found: Found) -> Iterator[str]:
    columns = {
        who: column
        for who, claimed in claims.items()
        for column in claimed["forms"]
        if column["form"] == form
    }
    yield f"### {form}"
    yield ""
    yield f"{columns['root']['summary'].capitalize()}."
    yield ""
    for who, column in sorted(columns.items()):
        if not column["usable"]:
            yield f"Not for {WHO[who]}: {column['cells']['R2']['reason']}."
            yield ""
    yield "| | | why | measured by |"
    yield "|---|---|---|---|"
    for key in claims["root"]["requirements"]:
        yield from _rows(form, key, columns, found)


def _rows(form: str, key: str, columns: Mapping[str, Any], found: Found) -> Iterator[str]:
    """A row, or two where root and users differ."""
    said: dict[tuple[str, str, str], list[str]] = {}
    for who, column in sorted(columns.items()):
        if column["usable"]:
            cell = column["cells"][key]
            by = _measured_by(found(form, who, key)) if cell["holds"] != "no" else ""
            said.setdefault((cell["holds"], cell["reason"], by), []).append(who)
    for (holds, reason, by), whom in said.items():
        whose = f" ({', '.join(whom)})" if len(said) > 1 else ""
        yield f"| {key} | {holds}{whose} | {reason.replace('|', chr(92) + '|')} | {by} |"


def _measured_by(measurements: Sequence[Measured]) -> str:
    names = sorted({one.test.rpartition("::")[2] for one in measurements})
    when = sorted({moment for one in measurements for moment in one.evidence.get("found", ())})
    told = f"; found {' and '.join(when)}" if when else ""
    return ", ".join(f"`{name}`" for name in names) + told
