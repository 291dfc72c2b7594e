"""What is printed: sentences, tables, progress, or JSON.

Text of others is shown with its control characters escaped.
"""

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from holdall.errors import HoldallError
from holdall.journeys.host import Event

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


class Output:
    """Where a command's results go: standard output, as text or as one JSON document.

    The rest to standard error.
    """

    def __init__(self, *, json: bool) -> None:
        self.json = json
        self._progress: _Progress | None = None

    def result(self, value: object, lines: Iterable[str]) -> None:
        """The command's result: `value` for programs, `lines` for people."""
        self.end_progress()
        if self.json:
            import json

            print(_safe_json(json.dumps(value, indent=1, ensure_ascii=False, default=str)))
        else:
            for line in lines:
                print(safe(line))

    def table(
        self, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, empty: str
    ) -> None:
        """Rows as JSON objects, or as a table of the columns (key to heading).

        `empty` is said when there are none.
        """
        lines = [empty] if not rows else [] if self.json else _aligned(rows, columns)
        self.result(list(rows), lines)

    def report(self, event: Event) -> None:
        """Progress on a terminal as a bar, elsewhere as plain lines; loud sentences always."""
        if event.total:
            self._show_progress(event)
        elif event.loud or not self.json:
            self.end_progress()
            print(safe(event.text), file=sys.stderr)

    def end_progress(self) -> None:
        """Finish the bar that is shown, if one is."""
        if self._progress is not None:
            self._progress.end()
            self._progress = None

    def fail(self, error: HoldallError) -> int:
        """Say what went wrong; returns the exit code."""
        self.end_progress()
        if self.json:
            import json

            failure = {
                "error": {
                    "kind": type(error).__name__,
                    "message": str(error),
                    "code": error.exit_code,
                }
            }
            print(_safe_json(json.dumps(failure, ensure_ascii=False)), file=sys.stderr)
        else:
            print(f"holdall: {safe(str(error))}", file=sys.stderr)
        return error.exit_code

    def _show_progress(self, event: Event) -> None:
        if self._progress is None or self._progress.text != event.text:
            self.end_progress()
            interactive = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
            self._progress = (
                _Bar(event.text) if interactive else _Lines(event.text, quiet=self.json)
            )
        self._progress.show(event.done, event.total)


class _Progress:
    """One step's progress."""

    text: str

    def show(self, done: int, total: int) -> None:
        raise AssertionError(done, total)

    def end(self) -> None:
        """Nothing more will come."""


class _Lines(_Progress):
    def __init__(self, text: str, *, quiet: bool) -> None:
        self.text = text
        self._quiet = quiet
        self._said = -1

    def show(self, done: int, total: int) -> None:
        """A line at the start and the end, and at each quarter between."""
        quarter = 4 * done // total
        if quarter > self._said and not self._quiet:
            self._said = quarter
            print(f"{safe(self.text)}: {size_of(done)} of {size_of(total)}", file=sys.stderr)


class _Bar(_Progress):
    """A bar by rich, which starts slowly: only loaded when a step takes a while."""

    def __init__(self, text: str) -> None:
        import time

        self.text = text
        self._clock = time.monotonic
        self._begun = time.monotonic()
        self._bar: Any = None
        self._task: Any = None

    def show(self, done: int, total: int) -> None:
        if self._bar is None:
            if self._clock() - self._begun < 0.3 and done < total:
                return
            if done >= total:
                return
            self._start(total)
        self._bar.update(self._task, completed=done)
        self._bar.refresh()

    def _start(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
        )
        # no thread: forks would inherit its locks
        self._bar = Progress(
            *columns, console=Console(stderr=True), auto_refresh=False, transient=True
        )
        self._bar.start()
        self._task = self._bar.add_task(safe(self.text), total=total)

    def end(self) -> None:
        if self._bar is not None:
            self._bar.stop()


def safe(text: str) -> str:
    """`text` with control and bidirectional characters written as escapes.

    None of them reaches the terminal.
    """
    return _UNSAFE.sub(lambda found: ascii(found[0])[1:-1], text)


def _safe_json(text: str) -> str:
    """The same within JSON, as JSON writes it; newlines there only stand between its values."""
    return _UNSAFE.sub(
        lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text
    )


def size_of(count: int) -> str:
    """A number of bytes as people read it: 1.4 GB; decimal units."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{int(value)} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError


def file_of(size: int) -> str:
    """How large the one file is that has it all, behind other words; "" where none has."""
    return f", in one file of {size_of(size)}" if size else ""


def count_of(number: int, word: str) -> str:
    """So many of what `word` names: 1 file, 2 files."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def asker(out: Output) -> Callable[[str, str], bool]:
    """Asks a person on the terminal whether to trust a key; refuses where nobody is there."""

    def ask(app_id: str, fingerprint: str) -> bool:
        if out.json or not (sys.stdin.isatty() and sys.stderr.isatty()):
            return False
        out.end_progress()
        print(
            f"{safe(app_id)} is signed by a key that is new here:\n  {fingerprint}", file=sys.stderr
        )
        print(
            "Compare it with what the publisher says. Trust it for this app? [y/N] ",
            end="",
            file=sys.stderr,
            flush=True,
        )
        return sys.stdin.readline().strip().lower() in {"y", "yes"}

    return ask


def _aligned(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> list[str]:
    cells = [list(columns.values()), *([safe(str(row[key])) for key in columns] for row in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
