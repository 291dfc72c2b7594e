"""Apps that run from their bundle's file, as root and as an ordinary user; nothing is installed."""

import json
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from looking import LOOKER, Looker, flip, looking
from mounted_app import APP, PROGRAM, REF, Person, make_person, write_app
from mounts import eventually, fuse_for_everybody, mounted_below
from surroundings import Finished, Require, run

pytestmark = [pytest.mark.root, pytest.mark.usefixtures("sandbox")]

RUNTIME = "org.example.Base/x86_64/stable"
DATA = "data of the app\n"
NOISE = random.Random(1).randbytes(1_000_000)
TERMINAL = """\
import os, pty, sys
answer, *argv = sys.argv[1:]
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.executable, [sys.executable, "-m", "holdall", *argv])
said = b""
while True:
    try:
        piece = os.read(terminal, 65536)
    except OSError:
        break
    said += piece
    if b"[y/N]" in said and answer:
        os.write(terminal, answer.encode() + b"\\n")
        answer = ""
sys.stdout.buffer.write(said)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
FILES = {
    "bin/mounted": PROGRAM.encode(),
    "data": DATA.encode(),
    "noise": NOISE,
    "look.py": LOOKER.encode(),
}


@pytest.fixture(autouse=True)
def everybodys_fuse(tmp_path: Path) -> Iterator[None]:
    """FUSE for every user."""
    with fuse_for_everybody(tmp_path):
        yield


@pytest.fixture(params=["root", "user"])
def person(request: pytest.FixtureRequest) -> Person:
    """Either of the two, with the bundle one.holdall; their store trusts its key."""
    person = make_person(request, str(request.param))
    make(person, "one")
    return person


@pytest.fixture
def root(request: pytest.FixtureRequest) -> Person:
    """Root alone, for what is the same for everybody."""
    person = make_person(request, "root")
    make(person, "one")
    return person


def make(
    person: Person,
    name: str,
    *options: str,
    files: dict[str, bytes] = FILES,
    store: str = ".local/share/holdall",
    app: str = APP,
    **fields: str,
) -> None:
    """Write an app's source folder and build NAME.holdall of it, signed by the key of a store."""
    given = {"command": "mounted"} if fields.get("kind") != "runtime" else {}
    write_app(person.home / name, app, files, **given, **fields)
    frames = () if {"--image", "--frame-size"} & {*options} else ("--frame-size", "64K")
    root = () if store.startswith(".") else ("--root", store)
    person.cli(
        *root, "build", name, "-o", f"{name}.holdall", *frames, *options, directory=person.home
    )


def run_it(person: Person, *words: str | Path, expect: int | None = 5) -> Finished:
    return person.cli("run", *words, directory=person.home, expect=expect)


def fingerprint(person: Person) -> str:
    (key,) = (row for row in _rows(person.cli.json("key", "list")) if row["own"])
    return str(key["fingerprint"])


def _rows(value: object) -> list[dict[str, object]]:
    assert isinstance(value, list)
    return value


def processes_holding(path: Path) -> list[int]:
    """Whoever has a file open, by its path."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            held = [str(fd.readlink()) for fd in (process / "fd").iterdir()]
        except OSError:
            continue
        if any(one.startswith(str(path)) for one in held):
            found.append(int(process.name))
    return found


def nothing_is_left(person: Person, name: str = "one.holdall") -> bool:
    """No process shows the file, nothing is mounted, and the store has nothing of the app."""
    staged = person.store / "staging"
    return not (
        processes_holding(person.home / name)
        or mounted_below(person.home)
        or (staged.is_dir() and any(staged.iterdir()))
    )


@contextmanager
def looking_into(person: Person, bundle: Path) -> Iterator[Looker]:
    """The app of a bundle, looking, for a while."""
    with looking(person, bundle) as looker:
        assert looker("data") == len(DATA)
        yield looker


def first_frame(bundle: Path) -> int:
    """Where the frames begin: after the head's own lengths and headers."""
    with bundle.open("rb") as file:
        head = file.read(52)
    lengths = [int.from_bytes(head[at : at + 4], "little") for at in (32, 36, 40)]
    return len(head) + sum(8 + length for length in lengths)


# ------------------------------------------------------------------------------- it runs


def test_it_runs_with_arguments_and_status_and_leaves_nothing(person: Person) -> None:
    done = run_it(person, "one.holdall", "--", "one", "two three", "", "--json")
    assert done.stdout == DATA + "<one><two three><><--json>HOLDALL_APP_ID=org.example.Mounted\n"
    assert done.stderr == ""
    assert person.cli.json("list") == []
    assert eventually(lambda: nothing_is_left(person))


def test_another_command_runs_in_its_sandbox(person: Person) -> None:
    done = run_it(person, "./one.holdall", "--command", "cat", "--", "/app/data", expect=0)
    assert done.stdout == DATA


def test_every_file_is_as_it_was_packed_and_read_only(person: Person) -> None:
    command = "find . ! -type d -exec sha256sum {} + | sort"
    words = ("--command", "sh", "--", "-c", f"cd /app && {command}; test ! -w data")
    done = run_it(person, "one.holdall", *words, expect=0)
    there = person.run("sh", "-c", f"cd one/files && {command}")
    assert len(done.stdout.splitlines()) == len(FILES)
    assert done.stdout == there.stdout


def test_its_data_is_what_it_has_when_installed(person: Person) -> None:
    run_it(person, "one.holdall", "--command", "touch", "--", f"{data(person)}/here", expect=0)
    person.cli("install", person.home / "one.holdall")
    run_it(person, APP, "--command", "test", "--", "-e", f"{data(person)}/here", expect=0)


def data(person: Person) -> Path:
    return person.store / f"data/{APP}"


@pytest.mark.parametrize("name", [b"with some spaces.holdall", "süß ✓.holdall".encode(), b"b\xff"])
def test_a_file_may_have_any_name(person: Person, name: bytes) -> None:
    (person.home / "one.holdall").rename(person.home / os.fsdecode(name))
    assert run_it(person, os.fsdecode(name)).stdout.startswith(DATA)


def test_a_file_may_be_one_that_can_only_be_read(person: Person) -> None:
    bundle = person.home / "one.holdall"
    bundle.chmod(0o444)
    os.chown(bundle, 0, 0)
    assert run_it(person, bundle).stdout.startswith(DATA)


@pytest.mark.parametrize("form", ["tree", "live"])
def test_it_runs_on_an_installed_runtime(person: Person, form: str, require: Require) -> None:
    files = {"bin/busybox": require("busybox").read_bytes(), "etc/issue": b"the base\n"}
    folder = write_app(person.home / "base", "org.example.Base", files, kind="runtime")
    for name in ("sh", "cat", "printf", "env", "grep", "sleep"):
        (folder / "files/bin" / name).symlink_to("busybox")
    person.build("base")
    make(person, "on", runtime=RUNTIME)
    missing = run_it(person, "on.holdall", expect=3)
    assert f"{APP} runs on {RUNTIME}, which is not installed" in missing.stderr
    person.install("--form", form, app="base")
    done = run_it(person, "on.holdall")
    assert (done.stdout.startswith(DATA), done.stderr) == (True, "")
    words = ("--command", "cat", "--", "/usr/etc/issue")
    assert run_it(person, "on.holdall", *words, expect=0).stdout == "the base\n"
    assert eventually(lambda: nothing_is_left(person, "on.holdall"))


def test_ps_names_the_runtime_of_what_is_not_installed(root: Person, require: Require) -> None:
    files = {"bin/busybox": require("busybox").read_bytes()}
    folder = write_app(root.home / "base", "org.example.Base", files, kind="runtime")
    (folder / "files/bin/sh").symlink_to("busybox")
    root.build("base")
    root.install(app="base")
    make(root, "on", runtime=RUNTIME)
    words = ("run", "on.holdall", "--command", "/usr/bin/busybox", "--", "cat")
    argv = (root.cli.python, "-m", "holdall", *words)
    with subprocess.Popen(
        argv, env=dict(root.cli.environment), cwd=root.home, stdin=subprocess.PIPE
    ) as process:
        assert eventually(lambda: bool(root.told_by_ps()))
        (row,) = root.told_by_ps()
        root.cli("remove", "org.example.Base")
        (after,) = root.told_by_ps()
        assert process.stdin
        process.stdin.close()
        assert process.wait() == 0
    assert (row["runtime"], row["note"]) == (RUNTIME, "not installed")
    assert after["note"] == "not installed; its runtime: removed"


# ------------------------------------------------------------------------------ whom to trust


def test_an_unknown_key_is_refused_where_nobody_can_be_asked(person: Person) -> None:
    done = person.cli("--root", "new", "run", "one.holdall", directory=person.home, expect=4)
    assert (done.stdout, "which this store does not trust" in done.stderr) == ("", True)
    assert not (person.home / "new").exists()


def test_a_key_that_was_trusted_stays_so(person: Person) -> None:
    words = ("--root", "new", "run", "one.holdall")
    key = fingerprint(person)
    person.cli(*words, "--trust-key", key, directory=person.home, expect=5)
    assert person.cli(*words, directory=person.home, expect=5).stdout.startswith(DATA)
    rows = _rows(person.cli.json("--root", "new", "key", "list", directory=person.home))
    assert [(row["fingerprint"], row["patterns"]) for row in rows] == [(key, [APP])]


def test_a_key_of_somebody_else_is_refused_afterwards(person: Person) -> None:
    words = ("--root", "new", "run")
    key = fingerprint(person)
    person.cli(*words, "one.holdall", "--trust-key", key, directory=person.home, expect=5)
    person.cli("--root", "else", "key", "generate", directory=person.home)
    make(person, "theirs", store="else")
    done = person.cli(*words, "theirs.holdall", directory=person.home, expect=4)
    assert "not by the publisher's key this store knows" in done.stderr


@pytest.mark.parametrize(("answer", "status"), [("n", 4), ("y", 5)])
def test_the_question_is_asked_at_a_terminal(root: Person, answer: str, status: int) -> None:
    words = ("--root", "new", "run", "one.holdall")
    done = root.run(root.cli.python, "-c", TERMINAL, answer, *words)
    assert "Trust it for this app? [y/N]" in done.stdout
    assert (done.returncode, DATA.strip() in done.stdout) == (status, status == 5)
    again = root.cli(*words, directory=root.home, expect=status)
    assert again.stdout.startswith(DATA) == (status == 5)


def test_an_older_release_than_was_installed_is_refused(person: Person) -> None:
    make(person, "two", version="2.0")
    person.cli("install", person.home / "two.holdall")
    person.cli("remove", APP)
    refused = run_it(person, "one.holdall", expect=4)
    assert "is older than a version this store had before" in refused.stderr
    assert run_it(person, "one.holdall", "--allow-downgrade").stdout.startswith(DATA)


def test_a_release_that_only_ran_keeps_no_older_one_out(root: Person) -> None:
    make(root, "two", version="2.0")
    run_it(root, "two.holdall")
    root.cli("install", root.home / "one.holdall")


def test_one_that_expired_is_refused(root: Person) -> None:
    make(root, "old", "--created", "2020-01-01T00:00:00Z", "--expires", "2021-01-01T00:00:00Z")
    assert "expired at 2021-01-01" in run_it(root, "old.holdall", expect=4).stderr


def test_one_that_nobody_signed_must_be_asked_for(root: Person) -> None:
    make(root, "bare", "--unsigned")
    run_it(root, "bare.holdall", expect=4)
    done = run_it(root, "bare.holdall", "--insecure-unsigned")
    assert "is not signed; nobody answers for what it does" in done.stderr


# --------------------------------------------------------------------------------- damage


@pytest.mark.parametrize("part", [0, 17, 33, 45, 0.3, 0.6, 0.8, 0.99])
def test_a_flipped_byte_before_the_frames_is_refused_at_once(person: Person, part: float) -> None:
    bundle = person.home / "one.holdall"
    first = first_frame(bundle)
    flip(bundle, int(part * first if part < 1 else part))
    words = ("--root", "new", "run", "one.holdall", "--trust-key", fingerprint(person))
    done = person.cli(*words, directory=person.home, expect=4)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert not (person.home / "new").exists()
    assert nothing_is_left(person)


def test_a_file_that_is_cut_short_is_refused(root: Person) -> None:
    bundle = root.home / "one.holdall"
    os.truncate(bundle, bundle.stat().st_size - 1)
    assert "cut short" in run_it(root, "one.holdall", expect=4).stderr


def test_a_flipped_byte_in_a_frame_fails_just_what_needs_it(person: Person) -> None:
    bundle = person.home / "one.holdall"
    flip(bundle, first_frame(bundle) + 500_000)
    with looking_into(person, bundle) as looker:
        assert looker("noise") == "Input/output error"
        assert looker("data") == len(DATA)
        complaint = looker.close()
    assert "one.holdall: noise cannot be read at" in complaint
    assert "is not what the publisher signed" in complaint


# -------------------------------------------------------------------------- while it runs


def unlink(bundle: Path) -> None:
    bundle.unlink()


def replace(bundle: Path) -> None:
    bundle.with_suffix(".new").write_bytes(b"something else")
    bundle.with_suffix(".new").rename(bundle)


@pytest.mark.parametrize("change", [unlink, replace])
def test_the_file_may_go_while_it_runs(person: Person, change: Callable[[Path], None]) -> None:
    bundle = person.home / "one.holdall"
    with looking_into(person, bundle) as looker:
        change(bundle)
        assert looker("noise") == len(NOISE)


def test_who_writes_into_the_file_is_found_out(person: Person) -> None:
    bundle = person.home / "one.holdall"
    with looking_into(person, bundle) as looker:
        size = bundle.stat().st_size
        with bundle.open("r+b") as file:
            file.seek(size // 4)
            file.write(bytes(size // 2))
        assert looker("noise") == "Input/output error"
        assert looker("data") == len(DATA)


def test_a_killed_launcher_leaves_nothing(person: Person) -> None:
    with looking_into(person, person.home / "one.holdall") as looker:
        assert not nothing_is_left(person)
        os.kill(looker.process.pid, signal.SIGKILL)
        assert eventually(lambda: nothing_is_left(person))
    assert run_it(person, "one.holdall").stdout.startswith(DATA)


def test_a_killed_server_ends_no_more_than_reading(person: Person) -> None:
    bundle = person.home / "one.holdall"
    with looking_into(person, bundle) as looker:
        (server,) = processes_holding(bundle)
        os.kill(server, signal.SIGKILL)
        assert eventually(lambda: not processes_holding(bundle))
        assert looker("noise") in {
            "Transport endpoint is not connected",
            "Software caused connection abort",
        }


def test_ps_lists_what_runs_uninstalled_each_time_it_does(person: Person) -> None:
    bundle = person.home / "one.holdall"
    with looking_into(person, bundle), looking_into(person, bundle) as second:
        rows = person.told_by_ps()
        assert [(row["ref"], row["version"], row["note"]) for row in rows] == [
            (REF, "1.0", "not installed")
        ] * 2
        assert [bool(row["installed"]) for row in rows] == [False, False]
        assert person.cli.json("list") == []
        assert person.cli.json("--root", person.home / "new", "ps") == []
        second.close()
        assert len(person.told_by_ps()) == 1
    assert eventually(lambda: person.told_by_ps() == [])


def test_the_same_release_may_be_installed_and_removed_meanwhile(person: Person) -> None:
    bundle = person.home / "one.holdall"
    with looking_into(person, bundle) as looker:
        person.cli("install", bundle, "--form", "live")
        assert person.run(person.stub).stdout.startswith(DATA)
        assert [bool(row["installed"]) for row in person.told_by_ps()] == [False]
        person.cli("remove", APP)
        person.cli("gc")
        assert looker("noise") == len(NOISE)


def test_the_server_has_no_rights_and_little_open(person: Person) -> None:
    bundle = person.home / "one.holdall"
    with looking_into(person, bundle):
        (server,) = processes_holding(bundle)
        status = Path(f"/proc/{server}/status").read_text()
        held = {str(fd.readlink()) for fd in Path(f"/proc/{server}/fd").iterdir()}
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    assert {one for one in held if one.startswith("/")} <= {str(bundle), "/dev/fuse", "/dev/null"}


def test_long_frames_are_served_as_they_are_in_bounded_memory(root: Person) -> None:
    text = random.Random(2).randbytes(2**20) * 8
    files = {f"text{number}": bytes([number]) + text for number in range(12)}
    make(root, "long", "--frame-size", "8M", "--level", "1", files={**FILES, **files})
    bundle = root.home / "long.holdall"
    with looking_into(root, bundle) as looker:
        for name in (*files, *reversed(files)):
            assert looker(name) == len(files[name])
        (server,) = processes_holding(bundle)
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{server}/status").read_text().splitlines()
        )
    assert int(status["VmHWM"].split()[0]) < 128_000


# ------------------------------------------------------------------------- what would be run


def test_a_dry_run_says_what_would_be_run_and_changes_nothing(person: Person) -> None:
    words = ("run", "one.holdall", "--trust-key", fingerprint(person), "--dry-run", "--", "a b")
    done = person.cli("--root", "new", *words, directory=person.home)
    assert done.stdout.startswith("bwrap ")
    assert "/app/bin/mounted 'a b'" in done.stdout
    assert not (person.home / "new/state").exists()
    told = json.loads(
        person.cli("--json", "run", "--dry-run", "one.holdall", directory=person.home).stdout
    )
    assert (told["ref"], told["version"], told["file"]) == (REF, "1.0", "one.holdall")
    assert [words[0] for words in told["commands"]] == ["bwrap"]
    assert nothing_is_left(person)


# ---------------------------------------------------------------------- what is no such file


@pytest.mark.parametrize(
    ("word", "status", "sentence"),
    [
        ("gone.holdall", 3, "There is no bundle gone.holdall"),
        ("./gone", 3, "There is no bundle ./gone"),
        ("one", 2, "one is a folder; `holdall build one -o FILE` makes a bundle of it"),
        ("one/holdall.toml", 4, "one/holdall.toml: This is not a holdall bundle"),
        ("pipe.holdall", 2, "pipe.holdall is no regular file"),
        ("inc.holdall", 2, "inc.holdall is an increment, which makes"),
        ("base.holdall", 2, "org.example.Base/x86_64/stable is a runtime"),
        ("image.holdall", 7, "image.holdall has an image"),
        ("-", 2, "save it to a file first"),
        ("https://example.org/one.holdall", 2, "save it to a file first"),
        ("editor", 2, "'editor' is not an app id"),
        (APP, 3, f"{APP} is not installed"),
    ],
)
def test_what_cannot_be_run_gets_a_sentence(
    root: Person, require: Require, word: str, status: int, sentence: str
) -> None:
    if word.startswith("inc"):
        make(root, "two", version="2.0", files={**FILES, "data": b"more\n"})
        against = ("--against", "one.holdall")
        root.cli("build", "two", "-o", word, *against, directory=root.home)
    elif word.startswith("base"):
        make(root, "base", files={"hint": b""}, app="org.example.Base", kind="runtime")
    elif word.startswith("image"):
        require("mksquashfs")
        make(root, "image", "--image", "squashfs")
    elif word.startswith("pipe"):
        os.mkfifo(root.home / word)
    done = run_it(root, word, expect=status)
    assert sentence in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_option_that_was_meant_for_the_app_gets_a_hint(root: Person) -> None:
    told = run_it(root, "one.holdall", "--new-window", expect=2).stderr
    assert "--new-window; write -- before what is for the app." in told


def test_a_file_that_may_not_be_read_says_so(request: pytest.FixtureRequest) -> None:
    person = make_person(request, "user")
    bundle = person.home / "closed.holdall"
    bundle.write_bytes(b"")
    os.chown(bundle, 0, 0)
    bundle.chmod(0o600)
    assert "You may not read the bundle" in run_it(person, bundle, expect=6).stderr


@pytest.mark.parametrize("word", [APP, f"{APP}//stable", REF])
def test_the_name_of_an_app_is_never_taken_for_a_file(root: Person, word: str) -> None:
    root.cli("install", root.home / "one.holdall")
    path = root.home / word
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"not a bundle" * 10)
    assert run_it(root, word).stdout.startswith(DATA)
    assert "is not a holdall bundle" in run_it(root, f"./{word}", expect=4).stderr


def test_a_file_that_is_called_like_an_app_is_hinted_at(root: Person) -> None:
    (root.home / "one.holdall").rename(root.home / APP)
    sentence = f"{APP} is not installed; write ./{APP} to run the file of that name."
    assert sentence in run_it(root, APP, expect=3).stderr
    assert run_it(root, f"./{APP}").stdout.startswith(DATA)


def test_an_installed_app_whose_name_ends_as_files_do_comes_first(root: Person) -> None:
    name = "org.example.holdall"
    make(root, "ending", app=name)
    shutil.copy(root.home / "ending.holdall", root.home / name)
    run_it(root, name, "--command", "cat", "--", "/app/data", expect=0)
    root.cli("install", root.home / name)
    (root.home / name).write_bytes(b"not a bundle")
    assert run_it(root, name).stdout.startswith(DATA)


@pytest.mark.parametrize("option", [("--trust-key", "0" * 64), ("--allow-downgrade",)])
def test_options_of_files_are_refused_with_names(root: Person, option: tuple[str, ...]) -> None:
    assert "go with a bundle's file" in run_it(root, APP, *option, expect=2).stderr
    assert "goes with the name" in run_it(root, "one.holdall", "--version", "1", expect=2).stderr


def test_without_fuse_it_says_so(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    person = make_person(request, "user")
    assert person.cli.user
    uid, gid = person.cli.user
    (tmp_path / "closed").touch(0o600)
    command = 'mount --bind "$1" /dev/fuse && shift && exec "$@"'
    drop = ("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups")
    argv = (*drop, person.cli.python, "-m", "holdall", "run", "app.holdall")
    done = run(
        ["unshare", "--mount", "sh", "-c", command, "sh", tmp_path / "closed", *argv],
        environment=person.cli.environment,
        directory=person.home,
    )
    assert done.returncode == 7
    assert "/dev/fuse may not be opened" in done.stderr
