"""``forms``: what each installed form gives on this machine."""

import argparse
import textwrap
from collections.abc import Sequence

from holdall.cli.command import Command
from holdall.cli.output import Output
from holdall.journeys.forms import Column, Pick
from holdall.journeys.host import Host

_WIDTH = 100
_LABEL = 39  # a requirement's words, which are wrapped
_CODE = 4


def _forms(arguments: argparse.Namespace, host: Host, out: Output) -> int:
    from holdall.forms.port import REQUIREMENTS
    from holdall.forms.table import FORMS
    from holdall.journeys import forms

    columns = forms.table(host, (arguments.form,) if arguments.form else tuple(FORMS))
    chosen = forms.pick(host)
    value = {
        "store": host.layout.root,
        "default": chosen._asdict(),
        "requirements": dict(REQUIREMENTS),
        "forms": [
            {
                "form": column.form,
                "summary": column.summary,
                "usable": column.usable,
                "cells": {key: cell._asdict() for key, cell in column.cells.items()},
            }
            for column in columns
        ],
    }
    out.result(value, _details(columns[0]) if arguments.form else _matrix(columns, chosen))
    return 0


def _matrix(columns: Sequence[Column], chosen: Pick) -> list[str]:
    """Requirements as lines, forms as columns: what the codes mean stands beside them."""
    from holdall.forms.port import REQUIREMENTS

    heads = [column.form for column in columns]
    lines = [_line("", "", heads, heads)]
    for key, words in REQUIREMENTS.items():
        marks = [column.cells[key].holds for column in columns]
        first, *rest = textwrap.wrap(words, _LABEL - 1)
        lines += [_line(key, first, marks, heads), *(f"{'':{_CODE}}{line}" for line in rest)]
    lines.append("")
    for column in columns:
        if not column.usable:
            reason = column.cells["R2"].reason
            lines += _wrapped(f"{column.form} cannot be used here: {reason}.")
    lines += _wrapped(f"Apps are installed as {chosen.form}: {chosen.reason}.")
    return [*lines, "`holdall forms FORM` gives the reasons."]


def _line(key: str, words: str, cells: Sequence[str], heads: Sequence[str]) -> str:
    marks = "".join(
        f" {cell:<{max(len(head), 6)}}" for cell, head in zip(cells, heads, strict=True)
    )
    return f"{key:<{_CODE}}{words:<{_LABEL}}{marks}".rstrip()


def _details(column: Column) -> list[str]:
    from holdall.forms.port import REQUIREMENTS

    lines = [*_wrapped(f"{column.form}: {column.summary}."), ""]
    for key, cell in column.cells.items():
        lines.append(f"{key}  {cell.holds:<6}  {REQUIREMENTS[key]}")
        lines += _wrapped(f"{cell.reason}.", indent=12)
    return lines


def _wrapped(text: str, *, indent: int = 0) -> list[str]:
    space = " " * indent
    return textwrap.wrap(
        text, _WIDTH, initial_indent=space, subsequent_indent=space, break_on_hyphens=False
    )


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("form", metavar="FORM", nargs="?", help="all about this one, with reasons")


COMMANDS = {"forms": Command(_arguments, _forms)}
