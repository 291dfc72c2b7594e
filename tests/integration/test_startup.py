"""Commands that are run often load nothing costly."""

from pathlib import Path

import pytest

from sample_app import Bundles
from surroundings import PYTHON, environment_for, run

COSTLY = {
    "asyncio",
    "cryptography",
    "logging",
    "multiprocessing",
    "rich",
    "securesystemslib",
    "subprocess",
    "urllib.request",
}
PROBE = """
import sys
from holdall.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit:
    pass
print(*sys.modules, sep="\\n", file=sys.stderr)
"""


def test_installing_a_full_bundle_loads_nothing_for_increments(
    isolated_home: Path, bundles: Bundles, tmp_path: Path
) -> None:
    store = ("--root", str(tmp_path / "store"))
    words = [*store, "install", *bundles.trust, str(bundles.bundle("1.0"))]
    environment = environment_for(isolated_home)
    finished = run([PYTHON, "-c", PROBE, *words], environment=environment)
    loaded = set(finished.stderr.splitlines())
    assert "Installed" in finished.stdout
    assert not {"numpy", "holdall.delivery.increment", "holdall.journeys.way"} & loaded


@pytest.mark.parametrize(
    "command",
    [["--version"], ["list"], ["path", "org.example.Absent"], ["run", "org.example.Absent"]],
)
def test_a_light_command_loads_no_costly_module(command: list[str], isolated_home: Path) -> None:
    finished = run([PYTHON, "-c", PROBE, *command], environment=environment_for(isolated_home))
    loaded = set(finished.stderr.splitlines())
    assert "holdall.cli.main" in loaded
    assert not COSTLY & loaded


def test_to_run_what_is_installed_nothing_is_loaded_for_files(isolated_home: Path) -> None:
    words = ["run", "org.example.Absent"]
    finished = run([PYTHON, "-c", PROBE, *words], environment=environment_for(isolated_home))
    loaded = set(finished.stderr.splitlines())
    assert "holdall.cli.running" in loaded
    assert not {"msgspec", "holdall.cli.direct", "holdall.trust.envelope"} & loaded


def test_to_run_a_file_nothing_is_loaded_that_it_does_not_take(
    isolated_home: Path, bundles: Bundles, tmp_path: Path
) -> None:
    words = ["--root", str(tmp_path / "store"), "run", str(bundles.bundle("1.0"))]
    finished = run([PYTHON, "-c", PROBE, *words], environment=environment_for(isolated_home))
    loaded = set(finished.stderr.splitlines())
    assert "holdall.journeys.direct" in loaded  # and refused: nobody has trusted the key
    assert not (COSTLY - {"cryptography"}) & loaded
