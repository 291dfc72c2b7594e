"""What runs keeps its version, whatever becomes of it in the store."""

import time
from collections.abc import Callable

import pytest

from specimen import Specimen
from stand import Stand

pytestmark = pytest.mark.usefixtures("sandbox")


def wait_until(what: Callable[[], bool], patience: float = 60) -> None:
    end = time.monotonic() + patience
    while not what():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


@pytest.mark.measures("N3")
def test_what_runs_survives_updates_and_removals(stand: Stand, specimen: Specimen) -> None:
    stand.install(specimen.old)
    with stand.guest() as first:
        held = first("hold")
        assert isinstance(held, list)
        assert held
        stand.update(specimen.new)
        with stand.guest() as second:
            assert first("version") == specimen.old.number
            assert second("version") == specimen.new.number
            stand.do("remove", specimen.app)
            assert stand.json("list") == []
            for app, version in ((first, specimen.old), (second, specimen.new)):
                assert app("listing") == version.listing
                assert app("faults") == {}
            assert first("again") == "same"
            stand.do("gc")
            assert first("again") == "same"
            second.end()
        first.end()
    wait_until(lambda: not list((stand.store / "trash").glob("*")))
    stand.do("gc")
    assert not stand.deployments()
    assert not [name for name in stand.traces()["names"] if name.startswith("pool/")]


@pytest.mark.measures("N3")
def test_what_runs_survives_being_converted_and_installed_anew(
    stand: Stand, specimen: Specimen
) -> None:
    other = "tree" if stand.case.form != "tree" else "pool"
    stand.install(specimen.old)
    with stand.guest() as app:
        app("hold")
        stand.do("convert", specimen.app, "--form", other)
        stand.do("remove", specimen.app)
        stand.install(specimen.old)
        assert app("listing") == specimen.old.listing
        assert app("again") == "same"
        app.end()
    assert stand.listing() == specimen.old.listing
    stand.do("verify")
