"""Every holdall command that a page shows can be parsed."""

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdall.cli.main import whole_parser

ROOT = Path(__file__).parent.parent.parent
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*/*.md")]
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHOWN = re.compile(r"^\$ (?:sudo )?(?:.*\| )?(holdall .*)$", re.MULTILINE)
# Where the shell goes on, or what follows is the app's own.
END = re.compile(r"\s(?:[|>#&]|2>|-- ).*")


def shown() -> Iterator[tuple[str, str]]:
    """Each command, with the page it stands on."""
    for page in sorted(PAGES):
        for block in CONSOLE.findall(page.read_text(encoding="utf-8")):
            joined = block.replace("\\\n", " ")
            for command in SHOWN.findall(joined):
                yield str(page.relative_to(ROOT)), END.sub("", command)


@pytest.fixture(scope="module")
def parser() -> argparse.ArgumentParser:
    return whole_parser()


@pytest.mark.parametrize(("page", "command"), list(shown()))
def test_a_documented_command_can_be_parsed(
    page: str, command: str, parser: argparse.ArgumentParser
) -> None:
    parsed = parser.parse_args(shlex.split(command)[1:])
    assert parsed.command, page
