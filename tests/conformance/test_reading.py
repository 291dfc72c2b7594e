"""What every form gives an app: its files, as they were packed, by plain system calls."""

import pytest

from specimen import Specimen
from stand import Stand

pytestmark = pytest.mark.usefixtures("sandbox")


@pytest.mark.measures("R1", "R2")
def test_an_app_sees_what_was_packed(stand: Stand, specimen: Specimen) -> None:
    stand.install(specimen.old)
    assert stand.listing() == specimen.old.listing
    packed = stand.cli.json("inspect", specimen.old.bundle)
    assert isinstance(packed, dict)
    facts = stand.facts()
    assert facts["form"] == stand.case.form
    assert facts["release"] == packed["release"]


@pytest.mark.measures("N1")
def test_an_increment_brings_the_next_version(stand: Stand, specimen: Specimen) -> None:
    stand.install(specimen.old)
    stand.update(specimen.new, name="increment")
    assert stand.listing() == specimen.new.listing
    assert stand.facts()["form"] == stand.case.form
    stand.do("verify")
