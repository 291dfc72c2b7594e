"""Launch files of an app that is not installed: they never come back to holdall."""

from pathlib import Path

import msgspec
import pytest

from deployed import APP, app, deploy, tree_of
from holdall.desktop.launcher import launch_files
from holdall.desktop.sandbox import Place
from holdall.model.manifest import Manifest
from surroundings import Finished, run

RUNTIME = "org.example.Base/x86_64/stable"
BWRAP = '#!/bin/sh\nprintf "<%s>" "$@"\n'


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """The files of the runtime, which is installed."""
    fields = {"id": "org.example.Base", "version": "1", "kind": "runtime", "arch": "x86_64"}
    return deploy(tmp_path / "store", msgspec.convert(fields, Manifest)).path / "files"


def started(tmp_path: Path, **environment: str) -> Finished:
    """Its launch file, with a bwrap that says how it is called."""
    manifest = msgspec.convert(app(runtime=RUNTIME), Manifest)
    folder = tmp_path / "made for once"
    folder.mkdir()
    place = Place(str(tmp_path / "store"), str(folder), str(tmp_path / "data"), installed=False)
    for name, data in launch_files(manifest, tree_of({}), place).items():
        (folder / name).write_bytes(data)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/bwrap").write_text(BWRAP)
    (tmp_path / "bin/bwrap").chmod(0o755)
    (tmp_path / "home").mkdir(exist_ok=True)
    given = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "HOME": str(tmp_path / "home")}
    return run(["/bin/sh", folder / "launch"], environment=given | environment)


@pytest.mark.usefixtures("runtime")
def test_it_starts_without_asking_whether_it_must_be_mounted(tmp_path: Path) -> None:
    done = started(tmp_path)
    assert "<--args><3><--args><4>" in done.stdout
    assert (done.stderr, done.returncode) == ("", 0)
    assert "holdall run" not in (tmp_path / "made for once/launch").read_text()


def test_a_runtime_that_is_not_there_any_more_is_told(tmp_path: Path, runtime: Path) -> None:
    (runtime / ".not-mounted").touch()
    done = started(tmp_path, HOLDALL_ENTERED="anything")
    sentence = f"holdall: {RUNTIME} was changed in this moment; start the app again.\n"
    assert (done.stdout, done.stderr, done.returncode) == ("", sentence, 5)


def test_a_runtime_that_is_missing_is_told(tmp_path: Path) -> None:
    done = started(tmp_path)
    assert f"{APP} runs on {RUNTIME}, which is not installed" in done.stderr
    assert done.returncode == 3
