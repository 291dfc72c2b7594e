"""The ledger of forms finds every claim that no test has measured."""

from typing import Any

import pytest

from forms_page import BEGIN, END, of_this_machine, render, rewritten, written
from ledger import CASE, CLAIMS, GRADE, MEASURES, Ledger

WORDS = {"R2": "read", "N4": "no root", "N7": "checked"}


def column(form: str = "tree", **cells: str) -> dict[str, Any]:
    holds = {"R2": "yes", "N4": "no", "N7": "no"} | cells
    made = {key: {"holds": value, "reason": "so"} for key, value in holds.items()}
    return {"form": form, "summary": "files", "usable": holds["R2"] != "no", "cells": made}


def claimed(*columns: dict[str, Any]) -> dict[str, Any]:
    return {"requirements": WORDS, "forms": list(columns)}


def ledger(root: dict[str, Any], user: dict[str, Any]) -> Ledger:
    """One to which these were claimed, and where R2 was measured."""
    made = Ledger()
    enter(made, {CLAIMS: {"root": claimed(root), "user": claimed(user)}})
    for who in ("root", "user"):
        enter(made, {MEASURES: ["R2"], CASE: [root["form"], who]})
    return made


def enter(kept: Ledger, said: dict[str, Any], outcome: str = "passed") -> None:
    report = pytest.TestReport(
        "tests/conformance/test_it.py::test_that_it_is_so[tree-root]",
        ("test_it.py", 1, ""),
        {},
        outcome,  # type: ignore[arg-type]  # one of pytest's words
        None,
        "call",
        user_properties=list(said.items()),
    )
    kept.enter(report)


def test_what_was_measured_may_be_claimed() -> None:
    assert list(ledger(column(), column()).faults()) == []


def test_a_claim_without_a_test_is_a_fault() -> None:
    (fault,) = ledger(column(N7="partly"), column()).faults()
    assert fault == "tree as root: N7 is claimed, but no test measures it"


def test_a_test_that_failed_measures_nothing() -> None:
    kept = ledger(column(N7="partly"), column())
    enter(kept, {MEASURES: ["N7"], CASE: ["tree", "root"]}, "failed")
    assert len(list(kept.faults())) == 1


def test_a_claim_of_more_than_was_measured_is_a_fault() -> None:
    kept = ledger(column(N7="yes"), column())
    enter(kept, {MEASURES: ["N7"], CASE: ["tree", "root"], GRADE: {"N7": "partly"}})
    enter(kept, {MEASURES: ["N7"], CASE: ["tree", "root"], GRADE: {"N7": "yes"}})
    (fault,) = kept.faults()
    assert fault == "tree as root: N7 is claimed 'yes', but was measured 'partly'"


def test_only_an_ordinary_user_measures_that_no_root_is_needed() -> None:
    kept = ledger(column(N4="yes"), column())
    enter(kept, {MEASURES: ["N4"], CASE: ["tree", "root"]})
    assert len(list(kept.faults())) == 1
    enter(kept, {MEASURES: ["N4"], CASE: ["tree", "user"]})
    assert list(kept.faults()) == []


def test_a_form_that_is_said_to_be_of_no_use_where_it_is_run_is_a_fault() -> None:
    (fault,) = ledger(column(), column(R2="no")).faults()
    assert "tree as user: R2 is claimed no" in fault


def test_a_table_that_was_not_read_as_everybody_is_a_fault() -> None:
    kept = Ledger()
    enter(kept, {CLAIMS: {"root": claimed(column())}, MEASURES: ["R2"], CASE: ["tree", "root"]})
    (fault,) = kept.faults()
    assert "only read as ['root']" in fault


def test_the_page_names_what_measured_a_cell() -> None:
    kept = ledger(column(), column())
    page = rewritten(f"before\n{BEGIN}\n{END}\nafter\n", render(kept.claims, kept.of))
    assert page.startswith("before\n")
    assert page.endswith("after\n")
    assert of_this_machine(written(page))
    assert "| R2 | yes | so | `test_that_it_is_so` |" in page
    assert "| N7 | no | so |  |" in page
