"""What increments are measured on: two versions of an app, and the goals for going between them."""

from dataclasses import dataclass, replace

from benchmarks.data import DATASETS, Dataset
from benchmarks.packages import Kind


@dataclass(frozen=True, slots=True)
class Pair:
    """An update. Goals: bytes of the increment, seconds and megabytes of making it."""

    name: str
    title: str
    dataset: Dataset
    size: int | None = None
    build_seconds: float | None = None
    build_megabytes: float | None = None

    @property
    def made_up(self) -> bool:
        return self.dataset.requirement is None


_ANSIBLE = DATASETS["ansible"]
_WEBENGINE = Dataset("webengine", ("6.11.1", "6.11.2"), "PyQt6-WebEngine-Qt6")
# Each as on the day after its release: the update of somebody who follows the releases.
_SPYDER = replace(
    DATASETS["spyder"], versions=("6.1.7", "6.1.8"), days=("2026-08-29", "2026-10-24")
)
_CHROMIUM = Dataset(
    "chromium",
    ("150.0.7871.100-1~deb12u1", "156.0.8078.79-1~deb12u1"),
    "chromium chromium-common",
    kind=Kind.DEBIAN,
)
PAIRS = {
    pair.name: pair
    for pair in (
        Pair("ansible-11.10", "ansible 11.9 → 11.10", _ANSIBLE, 140_000),
        Pair(
            "ansible-11.13",
            "ansible 11.9 → 11.13",
            replace(_ANSIBLE, versions=("11.9.0", "11.13.0")),
            800_000,
        ),
        Pair("pyside6", "PySide6 6.8.1 → 6.8.2", DATASETS["pyside6"], 2_500_000, 300, 2500),
        Pair(
            "spyder",
            "spyder 6.1.7 → 6.1.8, with dependencies",
            _SPYDER,
            8_700_000,
        ),
        Pair("webengine", "Qt6 WebEngine 6.11.1 → 6.11.2", _WEBENGINE, 3_900_000),
        Pair("chromium", "chromium 150 → 156", _CHROMIUM, 75_000_000),
        Pair("sample", "made up", DATASETS["sample"]),
    )
}
