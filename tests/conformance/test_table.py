"""The table that `holdall forms` prints, which the ledger holds against what was measured."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ledger import CASE, CLAIMS, MEASURES, REFUSED_TO
from specimen import Specimen
from stand import UNSUPPORTED, Case
from surroundings import HoldallCli, OrdinaryUser

WIDTH = 100


@pytest.mark.root
@pytest.mark.parametrize("who", ["root", "user"])
def test_the_table_is_claimed_for_root_and_for_users(
    who: str,
    grounds: dict[str, Path],
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    if who == "root":
        cli: HoldallCli = request.getfixturevalue("holdall_cli")
    else:
        user: OrdinaryUser = request.getfixturevalue("ordinary_user")
        cli = user.holdall
    told = {kind: cli.json("--root", point, "forms") for kind, point in grounds.items()}
    claimed = told["ext4"]
    assert isinstance(claimed, dict)
    assert claimed["default"]["form"] == "tree"
    on_btrfs = told["btrfs"]
    assert isinstance(on_btrfs, dict)
    if who == "user":
        # where a user would have it
        (better,) = [column for column in on_btrfs["forms"] if column["form"] == "btrfs"]
        claimed["forms"] = [
            better if column["form"] == "btrfs" else column for column in claimed["forms"]
        ]
    for column in claimed["forms"]:
        assert set(column["cells"]) == set(claimed["requirements"])
        assert all(cell["reason"] for cell in column["cells"].values())
    record_property(CLAIMS, {who: claimed})


def test_the_table_is_no_wider_than_a_terminal(holdall_cli: HoldallCli) -> None:
    for form in ("", "tree"):
        lines = holdall_cli("forms", *form.split()).stdout.splitlines()
        assert max(map(len, lines)) <= WIDTH


@pytest.mark.root
@pytest.mark.parametrize("refused", sorted(REFUSED_TO), ids="-".join)
def test_a_form_that_cannot_be_had_is_refused_in_a_sentence(
    refused: tuple[str, str],
    ordinary_user: OrdinaryUser,
    specimen: Specimen,
    record_property: Callable[[str, object], None],
) -> None:
    form, _ = refused
    cli = ordinary_user.holdall
    words = ("install", "--form", form, *specimen.trust, specimen.old.bundle)
    told = cli(*words, expect=UNSUPPORTED).stderr
    assert told.splitlines()[-1].startswith("holdall: The form")
    assert cli.json("list") == []
    record_property(MEASURES, ["R2"])
    record_property(CASE, [Case(form, "user").form, "user"])
    record_property("grade", {"R2": "no"})
