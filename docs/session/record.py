"""Record part of ``scripts/demo`` as it runs now, as the picture in the README.

    .venv/bin/python docs/session/record.py

writes ``docs/session/session.svg``. What it shows is real output of that run.
"""

import io
import os
import pty
import re
import sys
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

HERE = Path(__file__).parent
DEMO = HERE.parent.parent / "scripts/demo"
FIRST = "Install, and run in the sandbox"
AFTER = "And away"
WIDTH = 112


def demo() -> str:
    """Run the demo on a terminal of its own and return what it wrote, colours included."""
    output = io.BytesIO()
    child, terminal = pty.fork()
    if child == 0:
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": str(WIDTH), "LINES": "60"}
        os.execv(DEMO, [str(DEMO)])  # noqa: S606 - no shell is wanted
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # Linux says EIO when the other end is closed.
            break
        if not piece:
            break
        output.write(piece)
    _, status = os.waitpid(child, 0)
    if status != 0:
        sys.exit(output.getvalue().decode(errors="replace"))
    return output.getvalue().decode().replace("\r\n", "\n")


def settled(text: str) -> str:
    """Keep the last state of lines that were redrawn, such as progress bars."""
    lines = []
    for line in text.split("\n"):
        cleared = re.sub(r"\x1b\[\?25[lh]|\x1b\[\d*[AGK]", "", line)
        lines.append(cleared.rsplit("\r", 1)[-1])
    return "\n".join(lines)


def picture(session: str) -> str:
    """Draw the session as an SVG that loads nothing from elsewhere."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(session.strip("\n")), highlight=False)
    loads = re.compile(r"@font-face \{\{.*?\}\}\s*|<!--.*?-->\s*", re.DOTALL)
    code_format = loads.sub("", CONSOLE_SVG_FORMAT)
    return console.export_svg(title="holdall", code_format=code_format, unique_id="session")


def main() -> None:
    """Write the picture."""
    text = settled(demo())
    begin = text.index(FIRST)
    begin = text.rindex("\n", 0, begin) + 1
    end = text.rindex("\n", 0, text.index(AFTER))
    (HERE / "session.svg").write_text(picture(text[begin:end]), encoding="utf-8")


if __name__ == "__main__":
    main()
