"""A release goes from any form to any other: the same release, without a bundle or a network."""

import itertools
import os
from collections.abc import Iterator, Sequence

import pytest

from specimen import Specimen
from stand import CASES, ROOT, Case, Stand
from surroundings import Require, run

pytestmark = pytest.mark.usefixtures("sandbox")

SAME = ("ref", "release", "signed_by", "versions", "size", "entries", "tree", "created", "version")


def forms_of(who: str) -> list[str]:
    return [case.form for case in CASES if case.who == who]


def round_trip(forms: Sequence[str]) -> Iterator[str]:
    """A way through the forms on which each comes right after each other one, exactly once."""
    left = {form: [other for other in forms if other != form] for form in forms}
    stack, way = [forms[0]], []
    while stack:
        if left[stack[-1]]:
            stack.append(left[stack[-1]].pop())
        else:
            way.append(stack.pop())
    return reversed(way)


def test_a_round_trip_has_every_ordered_pair_once() -> None:
    pairs = list(itertools.pairwise(round_trip("abcd")))
    assert sorted(pairs) == sorted(itertools.permutations("abcd", 2))


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.form == ("btrfs" if case.who != ROOT else "tree")],
    ids=lambda case: case.who,
)
def test_every_form_becomes_every_other(
    case: Case, stand: Stand, specimen: Specimen, require: Require
) -> None:
    """As an ordinary user on btrfs, where there are all forms that one may have."""
    way = list(round_trip(forms_of(case.who)))
    bundle = stand.store.parent / "bundle"
    bundle.write_bytes(specimen.old.bundle.read_bytes())
    bundle.chmod(0o644)
    stand.do("install", "--form", way[0], *specimen.trust, bundle)
    bundle.unlink()
    before, signed = stand.facts(), (stand.deployments()[0] / "envelope").read_bytes()
    failures = {}
    for start, end in itertools.pairwise(way):
        told = convert(stand, specimen.app, end, require)
        if told:
            failures[start, end] = told
            continue
        after = stand.facts()
        assert {name: after[name] for name in SAME} == {name: before[name] for name in SAME}
        assert after["form"] == end
        assert (stand.deployments()[0] / "envelope").read_bytes() == signed
        assert stand.listing() == specimen.old.listing, (start, end)
    assert not failures
    assert '"faults": []' in stand.do("--json", "verify").stdout
    history = stand.json("history", specimen.app)
    assert isinstance(history, list)
    assert history[0]["action"] == "install"
    assert {event["release"] for event in history} == {before["release"]}


def convert(stand: Stand, app: str, form: str, require: Require) -> str:
    """Convert, as root where there is no network at all; returns what went wrong."""
    argv = [stand.cli.python, "-m", "holdall", *stand.options, "convert", app, "--form", form]
    if stand.cli.user is None and os.geteuid() == 0:
        argv = [require("unshare"), "--net", *argv]
    ended = run(argv, environment=stand.cli.environment, user=stand.cli.user)
    return "" if ended.returncode == 0 else ended.stderr
