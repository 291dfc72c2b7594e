"""An app that reads its files when it is asked to, so that tests see what it sees, and when.

Must not import holdall.
"""

import json
import random
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from mounted_app import APP, PROGRAM, Person, make_person, write_app

OUTPUT = "data of the app\n"
NOISE = random.Random(1).randbytes(2_000_000)
LOOKER = """\
import json, os, sys
for line in sys.stdin:
    try:
        with open("/app/" + line.strip(), "rb", buffering=0) as file:
            said = sum(len(piece) for piece in iter(lambda: file.read(1 << 16), b""))
    except OSError as error:
        said = os.strerror(error.errno)
    print(json.dumps(said), flush=True)
"""
"""The program, which is the app's file look.py."""


def make_looker(request: pytest.FixtureRequest, who: str, more: Mapping[str, bytes] = {}) -> Person:
    """Somebody with a bundle of the app in small frames, and with one of a second version."""
    person = make_person(request, who)
    files = {"bin/mounted": PROGRAM.encode(), "data": OUTPUT.encode(), **more}
    files |= {"noise": NOISE, "look.py": LOOKER.encode()}
    write_app(person.home / "noisy", APP, files, command="mounted")
    build(person, "noisy", "--frame-size", "64K")
    files["data"] = f"{OUTPUT}more\n".encode()
    write_app(person.home / "two", APP, files, command="mounted", version="2.0")
    build(person, "two", "--frame-size", "64K", "--against", "noisy.holdall")
    build(person, "two", "--frame-size", "64K")
    return person


def build(person: Person, name: str, *options: str) -> None:
    """Build one of the bundles, or with --against the increment between them."""
    target = "two.inc" if "--against" in options else f"{name}.holdall"
    person.cli("build", name, "-o", target, *options, directory=person.home)


class Looker:
    """The app's look.py, which reads a file whenever it is asked to.

    It is started from the `bundle`, or as it is installed.
    """

    def __init__(self, person: Person, bundle: Path | None = None) -> None:
        uid, gid = person.cli.user or (None, None)
        environment = dict(person.cli.environment)
        words: tuple[str | Path, ...] = (person.stub, "-I", "/app/look.py")
        if bundle:
            holdall = (person.cli.python, "-m", "holdall")
            words = (*holdall, "run", bundle, "--command", "/usr/bin/python3", "--", *words[1:])
        else:
            environment["HOLDALL_COMMAND"] = "/usr/bin/python3"
        self.process = subprocess.Popen(
            words,
            env=environment,
            cwd=person.home,
            user=uid,
            group=gid,
            extra_groups=None if uid is None else [],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __call__(self, *words: str) -> object:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{' '.join(words)}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def close(self) -> str:
        """End the app; what it and who showed its files complained of."""
        return self.process.communicate(timeout=60)[1]


@contextmanager
def looking(person: Person, bundle: Path | None = None) -> Iterator[Looker]:
    """The app, looking, for a while."""
    looker = Looker(person, bundle)
    try:
        yield looker
    finally:
        looker.process.kill()
        looker.process.communicate()


def flip(path: Path, at: int) -> None:
    """Change a bit of a file."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))
