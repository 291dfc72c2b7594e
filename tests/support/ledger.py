"""The ledger of the conformance suite: what was measured of which form, against what it claims.

A pytest plugin for the process that gets all reports: ``-p ledger --ledger FILE``. The run fails
where a form claims on this machine what no test measured, or more than was measured. Loaded as a
module it is only the words that tests and plugin share. Must not import holdall.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from forms_page import of_this_machine, render, rewritten, written

MEASURES, CASE, GRADE, CLAIMS, EVIDENCE = "measures", "case", "grade", "claims", "evidence"
GRADES = ("no", "partly", "yes")
READABLE = "R2"

REFUSED_TO = frozenset({("composefs", "user")})
"""What the kernel lets no ordinary user mount; measured as refused."""

AS_USER = frozenset({"N4"})
"""What only an ordinary user can measure; it holds for root then."""


def is_full() -> bool:
    """Whether all is measured that takes long, too: HOLDALL_CONFORMANCE=full."""
    return os.environ.get("HOLDALL_CONFORMANCE") == "full"


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one test found of one form: how well a requirement is met, and what was seen."""

    test: str
    form: str
    who: str
    requirement: str
    grade: str
    evidence: Mapping[str, Any]


@dataclass(slots=True)
class Ledger:
    """All that a run measured, and what was claimed."""

    measurements: list[Measurement] = field(default_factory=list)
    claims: dict[str, Any] = field(default_factory=dict)

    def enter(self, report: pytest.TestReport) -> None:
        """Take what a test that passed has to say."""
        said: dict[str, Any] = dict(report.user_properties)
        if report.when != "call" or not report.passed:
            return
        if CLAIMS in said:
            self.claims.update(said[CLAIMS])
        form, who = said.get(CASE, ("", ""))
        for requirement in said.get(MEASURES, ()):
            grade = said.get(GRADE, {}).get(requirement, "yes")
            evidence = said.get(EVIDENCE, {})
            test = report.nodeid.partition("[")[0].rpartition("/")[2]
            self.measurements.append(Measurement(test, form, who, requirement, grade, evidence))

    def of(self, form: str, who: str, requirement: str) -> list[Measurement]:
        """What was measured of one cell."""
        return [
            one
            for one in self.measurements
            if (one.form, one.requirement) == (form, requirement)
            and one.who == ("user" if requirement in AS_USER else who)
        ]

    def faults(self) -> Iterator[str]:
        """Each cell that claims what was not measured, or more than was."""
        if set(self.claims) != {"root", "user"}:
            yield f"the table was only read as {sorted(self.claims)}"
        for who, claimed in self.claims.items():
            for column in claimed["forms"]:
                yield from self._faults_of(column, who)

    def _faults_of(self, column: Mapping[str, Any], who: str) -> Iterator[str]:
        form = column["form"]
        refused = (form, who) in REFUSED_TO
        if column["usable"] == refused:
            yield f"{form} as {who}: R2 is claimed {'yes' if refused else 'no'}; it is not so"
        for requirement, cell in column["cells"].items():
            found = self.of(form, who, requirement)
            claim = GRADES.index(cell["holds"])
            held = min((GRADES.index(one.grade) for one in found), default=None)
            if claim and held is None:
                yield f"{form} as {who}: {requirement} is claimed, but no test measures it"
            elif held is not None and claim > held:
                yield (
                    f"{form} as {who}: {requirement} is claimed {cell['holds']!r}, "
                    f"but was measured {GRADES[held]!r}"
                )

    def as_json(self) -> str:
        """The ledger as a file."""
        rows = [
            {name: getattr(one, name) for name in Measurement.__dataclass_fields__}
            for one in sorted(self.measurements, key=lambda one: (one.form, one.who, one.test))
        ]
        return json.dumps({"claims": self.claims, "measurements": rows}, indent=1) + "\n"


_KEPT = pytest.StashKey[Ledger]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Have the run's ledger kept in a file, and checked."""
    group = parser.getgroup("conformance")
    group.addoption("--ledger", metavar="FILE", type=Path, help="write what was measured; check it")
    group.addoption("--forms-page", metavar="PAGE", type=Path, help="check that it is current")
    group.addoption("--write-forms-page", action="store_true", help="make it current instead")


def pytest_configure(config: pytest.Config) -> None:
    """Start a ledger where all reports arrive."""
    if config.getoption("--ledger") and not hasattr(config, "workerinput"):
        config.stash[_KEPT] = Ledger()
        config.pluginmanager.register(_Scribe(config.stash[_KEPT]), "scribe")


class _Scribe:
    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._faults: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._ledger.enter(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        path: Path = session.config.getoption("--ledger")
        path.write_text(self._ledger.as_json())
        self._faults = list(self._ledger.faults())
        page: Path | None = session.config.getoption("--forms-page")
        if page is not None and not self._faults and session.exitstatus == pytest.ExitCode.OK:
            self._keep(page, write=session.config.getoption("--write-forms-page"))
        if self._faults:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _keep(self, page: Path, *, write: bool) -> None:
        text, part = page.read_text(), render(self._ledger.claims, self._ledger.of)
        if write:
            page.write_text(rewritten(text, part))
        elif of_this_machine(written(text)) and written(text) != part:
            self._faults.append(f"{page} is not current; --write-forms-page makes it so")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for fault in self._faults:
            terminalreporter.write_line(f"NOT AS CLAIMED: {fault}", red=True, bold=True)
