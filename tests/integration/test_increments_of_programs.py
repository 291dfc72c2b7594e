"""Programs as they are published, for both machines: old versions moved, new ones made of them."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from bundles import KEY, QUICK, trusting_store
from holdall.delivery.delta.wire import Transform
from holdall.delivery.differ.files import delta
from holdall.journeys.build import build
from holdall.journeys.host import root_host
from holdall.journeys.incremental import build_increment
from holdall.journeys.install import install
from sample_app import tree_on_disk

pytestmark = [pytest.mark.integration, pytest.mark.network, pytest.mark.slow]

_MACHINES = {"aarch64": Transform.AARCH64, "x86_64": Transform.X86_64}
_VERSIONS = ("5.3.1", "5.3.2")


@pytest.fixture(scope="module", params=_MACHINES)
def machine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def sources(machine: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ...]:
    """Source folders of two versions of lxml for a machine, out of its wheels."""
    top = tmp_path_factory.mktemp(machine)
    return tuple(_source(top / version, machine, version) for version in _VERSIONS)


def _source(folder: Path, machine: str, version: str) -> Path:
    wheels = folder / "wheels"
    argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    argv += ["--only-binary=:all:", "--python-version=3.11", "--implementation=cp", "--abi=cp311"]
    argv += [f"--platform=manylinux_2_{glibc}_{machine}" for glibc in (17, 28)]
    argv += [f"--platform=manylinux2014_{machine}", f"--dest={wheels}", f"lxml=={version}"]
    for attempt in range(3):  # the index may be out of reach for a moment
        if subprocess.run(argv, check=attempt == 2, timeout=100).returncode == 0:
            break
    (wheel,) = wheels.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "files")
    (folder / "holdall.toml").write_text(
        f'id = "org.example.Lxml"\nversion = "{version}"\nbranch = "stable"\nkind = "runtime"\n'
    )
    return folder


def programs(sources: tuple[Path, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
    """The old and the new bytes of every extension module that is in both versions."""
    old, new = (source / "files" for source in sources)
    names = [path.relative_to(new) for path in sorted(new.rglob("*.so"))]
    return [
        (np.fromfile(old / name, np.uint8), np.fromfile(new / name, np.uint8))
        for name in names
        if (old / name).exists() and (old / name).read_bytes() != (new / name).read_bytes()
    ]


def test_moving_addresses_pays(machine: str, sources: tuple[Path, ...]) -> None:
    pairs = programs(sources)
    assert pairs
    old, new = max(pairs, key=lambda pair: len(pair[1]))
    made = delta(old, new, map)
    transforms = {part.transform for piece in made.pieces for part in piece.parts}
    assert transforms == {_MACHINES[machine]}
    assert made.cost < len(new) / 20


def test_an_increment_makes_the_new_version_exactly(
    sources: tuple[Path, ...], tmp_path: Path
) -> None:
    bundles = [tmp_path / f"{source.name}.holdall" for source in sources]
    for source, bundle in zip(sources, bundles, strict=True):
        build(str(source), str(bundle), keys=(KEY,), options=QUICK)
    made = build_increment(str(bundles[1]), str(tmp_path / "inc"), (str(bundles[0]),), keys=(KEY,))
    trusting_store(tmp_path / "store")
    host = root_host(str(tmp_path / "store"))
    install(str(bundles[0]), host)
    install(made.path, host)
    active = host.catalog.active(made.release.ref)
    assert active is not None
    assert tree_on_disk(Path(active.files)) == tree_on_disk(sources[1] / "files")
    assert made.bundle < bundles[1].stat().st_size / 4
