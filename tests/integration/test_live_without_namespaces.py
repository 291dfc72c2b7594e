"""The form live where nobody may make a user namespace, or open /dev/fuse: what still goes."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import no_namespaces
from mounted_app import APP, REF, Person, make_person, without_fuse
from mounts import eventually, fuse_for_everybody
from surroundings import Finished, Require, not_here, run

pytestmark = pytest.mark.root

OUTPUT = "data of the app\n"
STUB = f".local/share/holdall/run/{REF}"
LEAVE_BEHIND = """\
import sys
from holdall.system.fuse.fusermount import mounted_by_fusermount
mounted_by_fusermount(sys.argv[1], "left")
"""


class Barred:
    """A person in such a world, with a bwrap that is setuid, as it then has to be."""

    def __init__(self, person: Person) -> None:
        assert person.cli.user is not None
        self.person, self._user = person, person.cli.user[0]
        self.programs = person.home / "programs"
        self.programs.mkdir()
        found = shutil.which("bwrap")
        assert found
        shutil.copy(found, self.programs / "bwrap")
        (self.programs / "bwrap").chmod(0o4755)
        tried = self("bwrap", "--ro-bind", "/", "/", "--unshare-user-try", "true")
        if tried.returncode:
            not_here(f"needs a bwrap that may be setuid: {tried.stderr.strip()}")

    def __call__(self, *argv: str | Path, path: str = "/usr/bin:/bin") -> Finished:
        """Run a command there."""
        environment = {**self.person.cli.environment, "PATH": f"{self.programs}:{path}"}
        world = (sys.executable, "-P", no_namespaces.__file__, str(self._user))
        return run((*world, *argv), environment=environment, directory=self.person.home)

    def holdall(self, *words: str | Path) -> Finished:
        """The command holdall there."""
        return self(self.person.cli.python, "-m", "holdall", *words)

    def shell(self, script: str) -> str:
        """What a script says, in which holdall is a function.

        "mounted" counts what is mounted; "gone" does, too, once that is nothing or stays something.
        """
        holdall = f'holdall() {{ {self.person.cli.python} -m holdall "$@"; }}\n'
        mounted = "mounted() { grep -c fuse.holdall /proc/self/mountinfo; }\n"
        gone = """gone() {
            n=0; while [ "$(mounted)" != 0 ] && [ $n -lt 600 ]; do sleep 0.1; n=$((n+1)); done
            mounted
        }
        """
        done = self("/bin/sh", "-c", holdall + mounted + gone + script)
        return done.stderr + done.stdout


@pytest.fixture(autouse=True)
def everybodys_fuse(tmp_path: Path) -> Iterator[None]:
    """FUSE for every user."""
    with fuse_for_everybody(tmp_path):
        yield


@pytest.fixture
def person(request: pytest.FixtureRequest) -> Person:
    """A user with the app's bundle."""
    return make_person(request, "user")


@pytest.fixture
def live(person: Person) -> Person:
    """The same, with the app installed in the form."""
    person.install("--form", "live")
    return person


@pytest.fixture
def barred(live: Person, require: Require) -> Barred:
    """The same user without user namespaces."""
    require("fusermount3")
    return Barred(live)


def test_it_is_mounted_by_fusermount_and_is_gone_from_there_while_it_runs(barred: Barred) -> None:
    told = barred.shell(
        f"""{STUB} wait >said & app=$!
        until holdall ps | grep -q {APP}; do sleep 0.05; done
        until [ "$(mounted)" = 0 ]; do sleep 0.01; done
        ls -A {barred.person.deployment}/files
        touch .local/share/holdall/data/{APP}/end
        wait $app; cat said"""
    )
    assert told.splitlines() == [".not-mounted", "up", OUTPUT.strip()]
    assert eventually(barred.person.nothing_is_left)


def test_many_start_at_once(barred: Barred) -> None:
    told = barred.shell(f"for one in 1 2 3 4 5 6 7 8; do {STUB} & done; wait; gone")
    assert told.count(OUTPUT) == 8
    assert told.splitlines()[-1] == "0"
    assert eventually(barred.person.nothing_is_left)


def test_what_a_killed_process_left_mounted_is_replaced(barred: Barred) -> None:
    files = barred.person.deployment / "files"
    leave = f"{barred.person.cli.python} -c '{LEAVE_BEHIND}' {files}; mounted; ls {files}"
    told = barred.shell(f"{STUB} >once; gone; {leave}; {STUB}; gone")
    assert told.splitlines()[1:3] == ["0", "1"]
    assert told.splitlines()[-1] == "0"
    assert told.count(OUTPUT) == 1
    assert "Transport endpoint is not connected" in told
    assert eventually(barred.person.nothing_is_left)


def test_what_runs_survives_its_removal(barred: Barred) -> None:
    told = barred.shell(
        f"""{STUB} wait & app=$!
        until holdall ps | grep -q {APP}; do sleep 0.05; done
        holdall remove {APP}; holdall gc; holdall ps
        touch .local/share/holdall/data/{APP}/end
        wait $app; gone"""
    )
    assert "its space returns when that ends" in told
    assert "removed" in told
    assert told.splitlines()[-2:] == [OUTPUT.strip(), "0"]
    assert eventually(lambda: not list((barred.person.store / "trash").iterdir()))
    assert eventually(barred.person.nothing_is_left)


def test_the_form_says_how_it_is_mounted(barred: Barred) -> None:
    told = json.loads(barred.holdall("--json", "forms", "live").stdout)
    cells = told["forms"][0]["cells"]
    assert "fusermount3" in cells["R2"]["reason"]
    assert cells["N5"]["holds"] == "no"


def test_without_fusermount_it_says_what_helps(barred: Barred) -> None:
    for name in ("sh", "cat", "env", "grep"):
        (barred.programs / name).symlink_to(f"/bin/{name}")
    done = barred(barred.person.stub, path="/nowhere")
    assert done.returncode == 7
    assert "have user namespaces allowed" in done.stderr
    assert "install the package fuse3" in done.stderr


@pytest.mark.parametrize("command", ["install", "convert"])
def test_where_it_cannot_be_read_it_is_laid_down_as_a_tree(person: Person, command: str) -> None:
    if command == "convert":
        person.install()
        told = without_fuse(person, "convert", APP, "--form", "live")
    else:
        told = without_fuse(person, "install", person.home / "app.holdall", "--form", "live")
    (said,) = [line for line in told.stderr.splitlines() if "is laid down as tree" in line]
    assert said == (
        f"{APP} is laid down as tree: live cannot be read here (/dev/fuse may not be opened)."
    )
    facts = person.cli.json("info", APP)
    assert isinstance(facts, dict)
    assert facts["form"] == "tree"
    assert person.run(person.stub).stdout.startswith(OUTPUT)


def test_an_update_leaves_the_form_where_it_cannot_be_read(live: Person) -> None:
    (live.home / "app/holdall.toml").write_text(
        (live.home / "app/holdall.toml").read_text().replace('"1.0"', '"2.0"')
    )
    live.build("app")
    told = without_fuse(live, "update", live.home / "app.holdall")
    assert "is laid down as tree" in told.stderr
    assert live.run(live.stub).stdout.startswith(OUTPUT)


def test_all_but_running_goes_without_fuse(live: Person) -> None:
    without_fuse(live, "verify")
    without_fuse(live, "export", APP)
    data = bytearray((live.deployment / "bundle").read_bytes())
    packing = json.loads((live.deployment / "form").read_text())["packing"]
    data[packing[2] + 10] ^= 1
    (live.deployment / "bundle").write_bytes(data)
    assert "its content was changed" in without_fuse(live, "verify", expect=4).stdout
    without_fuse(live, "repair", live.home / "app.holdall")
    without_fuse(live, "verify")
    without_fuse(live, "run", APP, expect=7)
    without_fuse(live, "convert", APP, "--form", "tree")
    assert live.run(live.stub).stdout.startswith(OUTPUT)


def test_root_reads_without_a_mount_as_well(request: pytest.FixtureRequest) -> None:
    person = make_person(request, "root")
    person.install("--form", "live")
    without_fuse(person, "verify")
    without_fuse(person, "convert", APP, "--form", "pool")
