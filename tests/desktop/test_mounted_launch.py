"""Launch files of what has to be mounted first: whom they call, and that they do not call twice."""

import os
import sys
from pathlib import Path
from shlex import quote

import msgspec
import pytest

from deployed import APP, Deployed, app, deploy
from holdall.desktop.start import must_be_mounted
from holdall.errors import NotFoundError
from holdall.journeys.host import root_host
from holdall.journeys.mounting import enter
from holdall.model.manifest import Manifest
from holdall.model.ref import Ref
from holdall.store.catalog import Deployment
from surroundings import Finished, run

REF = f"{APP}/x86_64/stable"
RUNTIME = "org.example.Base/x86_64/stable"
SAYS = '#!/bin/sh\nprintf "<%s>" "${0##*/}" "$@"\n'


def program(path: Path, text: str = SAYS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands for the interpreter that installs, and says how it is called."""
    found = program(tmp_path / "an interpreter's/python3")
    monkeypatch.setattr(sys, "executable", str(found))
    return found


def deployed(store: Path, *, runtime: str = "", covered: bool = True) -> Deployed:
    fields = {"runtime": runtime} if runtime else {}
    made = deploy(store, msgspec.convert(app() | fields, Manifest))
    if covered:
        (made.path / "files/.not-mounted").touch()
    return made


def start(made: Deployed, *arguments: str, **environment: str) -> Finished:
    return run([made.stub, *arguments], environment={**os.environ, **environment})


def test_the_interpreter_that_installed_is_called_with_all_it_takes(
    interpreter: Path, tmp_path: Path
) -> None:
    made = deployed(tmp_path / "a store's")
    done = start(made, "a b", "--", "", "$(x)\n", HOLDALL_COMMAND="-an odd one")
    words = ["--root", str(tmp_path / "a store's"), "run", REF, "--version", "a" * 64]
    words += ["--command=-an odd one", "--", "a b", "--", "", "$(x)\n"]
    assert done.stdout == "".join(
        f"<{word}>" for word in ["python3", "-P", "-m", "holdall", *words]
    )
    assert interpreter.exists()


def test_without_the_interpreter_the_command_on_the_path_is_called(
    interpreter: Path, tmp_path: Path
) -> None:
    made = deployed(tmp_path / "store")
    interpreter.unlink()
    program(tmp_path / "bin/holdall")
    done = start(made, "one", PATH=f"{tmp_path}/bin:{os.environ['PATH']}")
    told = f"<holdall><--root><{tmp_path}/store><run><{REF}><--version><{'a' * 64}><--><one>"
    assert done.stdout == told


def test_without_any_holdall_a_sentence_says_so(interpreter: Path, tmp_path: Path) -> None:
    made = deployed(tmp_path / "store")
    interpreter.unlink()
    done = start(made, PATH="/usr/bin:/bin")
    assert (done.stdout, done.returncode) == ("", 7)
    assert done.stderr == (
        f"holdall: {APP} lies in an image, and the holdall that mounts it is gone: put holdall on "
        "the PATH.\n"
    )


@pytest.mark.usefixtures("interpreter")
def test_a_runtime_that_has_to_be_mounted_is_reason_enough(tmp_path: Path) -> None:
    made = deployed(tmp_path, runtime=RUNTIME, covered=False)
    active = tmp_path / "active" / RUNTIME
    (active / "files").mkdir(parents=True)
    (active / "launch.args").touch()
    assert not start(made, HOLDALL_DRY_RUN="1").stdout.startswith("<python3>")
    (active / "files/.not-mounted").touch()
    assert start(made).stdout.startswith("<python3><-P><-m><holdall>")


@pytest.mark.usefixtures("interpreter", "sandbox")
def test_what_lies_in_a_folder_calls_nobody(tmp_path: Path) -> None:
    done = start(deployed(tmp_path / "store", covered=False), "-c", "echo plain")
    assert done.stdout == "plain\n"


@pytest.mark.usefixtures("sandbox")
def test_whoever_has_mounted_is_called_again_a_few_times_only(
    interpreter: Path, tmp_path: Path
) -> None:
    """The version may have been converted meanwhile; or the app has a file of that name itself."""
    made = deployed(tmp_path / "store")
    calls = tmp_path / "calls"
    again = (
        f"HOLDALL_ENTERED={quote(str(made.path))} exec /bin/sh {quote(str(made.path / 'launch'))}"
    )
    program(interpreter, f'#!/bin/sh\necho >>{quote(str(calls))}\n{again} -c "echo done"\n')
    assert start(made).stdout == "done\n"
    assert 1 < len(calls.read_text()) < 10


@pytest.mark.usefixtures("interpreter")
def test_having_mounted_another_version_does_not_count(tmp_path: Path) -> None:
    made = deployed(tmp_path / "store")
    assert start(made, HOLDALL_ENTERED=f"{made.path}x").stdout.startswith("<python3>")


def test_only_a_folder_that_says_so_has_to_be_mounted(tmp_path: Path) -> None:
    assert must_be_mounted(str(deployed(tmp_path / "one").path))
    assert not must_be_mounted(str(deployed(tmp_path / "other", covered=False).path))


def test_what_was_removed_in_this_moment_is_told_in_a_sentence(tmp_path: Path) -> None:
    gone = Deployment(Ref.parse(REF), "a" * 64, str(tmp_path / "gone"))
    with pytest.raises(NotFoundError, match="was removed in this moment"):
        enter(root_host(str(tmp_path)), gone)
