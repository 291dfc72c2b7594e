"""What is shown on the host is the same from every form."""

import pytest

from sample_app import tree_on_disk
from specimen import Specimen
from stand import Stand

pytestmark = pytest.mark.usefixtures("sandbox")


@pytest.mark.measures("N9")
def test_exports_are_those_of_an_ordinary_folder(stand: Stand, specimen: Specimen) -> None:
    host = stand.store.parent / "host"
    shown = []
    for form in ("tree", stand.case.form):
        options = ("--allow-downgrade", "--form", form, *specimen.trust)
        stand.do("--export-to", host, "install", *options, specimen.old.bundle)
        shown.append(tree_on_disk(host))
        stand.do("--export-to", host, "update", specimen.new.bundle)
        shown.append(tree_on_disk(host))
        stand.do("--export-to", host, "remove", specimen.app)
        assert not [path for path in host.rglob("*") if path.is_file()]
    assert shown[:2] == shown[2:]
    assert shown[0] != shown[1]
    names = {path.rpartition("/")[2] for path in shown[0]}
    assert {f"{specimen.app}.desktop", f"{specimen.app}.svg", "probe"} <= names
