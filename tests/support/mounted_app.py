"""An app to install in a form that has to be mounted, and somebody to do so.

Must not import holdall.
"""

import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mounts import answering, loops_of, mounted_below, servers_of
from surroundings import Finished, HoldallCli, OrdinaryUser, expected, run

APP = "org.example.Mounted"
IMAGES = [("root", "erofs"), ("root", "squashfs"), ("root", "served"), ("user", "squashfs")]
REF = f"{APP}/x86_64/stable"
PROGRAM = """\
#!/bin/sh
case $1 in
wait) trap 'exit 9' INT; echo up; while [ ! -e ~/end ]; do sleep 0.05; done; cat /app/data;;
*) cat /app/data; printf '<%s>' "$@"; env | grep HOLDALL_; exit 5;;
esac
"""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with holdall, a home, and bundles in it."""

    cli: HoldallCli
    home: Path

    @property
    def store(self) -> Path:
        return self.home / ".local/share/holdall"

    @property
    def stub(self) -> Path:
        return self.store / "run" / REF

    @property
    def deployment(self) -> Path:
        return (self.store / "active" / REF).resolve()

    def run(self, *argv: str | Path, **environment: str) -> Finished:
        return run(
            argv,
            environment={**self.cli.environment, **environment},
            directory=self.home,
            user=self.cli.user,
        )

    def build(self, name: str) -> None:
        self.cli("build", name, "-o", f"{name}.holdall", directory=self.home)

    def install(self, *options: str, app: str = "app") -> None:
        self.cli("install", self.home / f"{app}.holdall", *options, directory=self.home)

    def install_as(self, form: str) -> None:
        """In a plain folder ("tree"), in an image of a kind, or in one that is always "served"."""
        if form == "served":
            self.install("--form", "image", "--image", "squashfs")
        elif form == "tree":
            self.install()
        else:
            self.install("--form", "local-image", "--image", form)

    def told_by_ps(self) -> list[dict[str, str]]:
        rows = self.cli.json("ps")
        assert isinstance(rows, list)
        return rows

    @contextmanager
    def running(self) -> Iterator["subprocess.Popen[str]"]:
        """The app by its stub, once it is up; it ends by itself when ~/end is there.

        Signals are as at a terminal, also where the tests run in the background.
        """
        uid, gid = self.cli.user or (None, None)
        with subprocess.Popen(
            ["env", "--default-signal", self.stub, "wait"],
            env=dict(self.cli.environment),
            user=uid,
            group=gid,
            extra_groups=None if uid is None else [],
            cwd=self.home,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            assert process.stdout is not None
            try:
                assert process.stdout.readline() == "up\n"
                yield process
            finally:
                process.kill()

    def end(self, process: "subprocess.Popen[str]") -> str:
        """Let the app end by itself; what it still said."""
        (self.store / f"data/{APP}/end").touch()
        return process.communicate(timeout=60)[0]

    def nothing_is_left(self) -> bool:
        serving = servers_of(self.home) or answering(self.home)
        return not (serving or loops_of(self.home) or mounted_below(self.home))


def write_app(folder: Path, app_id: str, files: dict[str, bytes], **fields: str) -> Path:
    """A source folder."""
    for name, data in files.items():
        path = folder / "files" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755)
    lines = {"id": app_id, "version": "1.0", "kind": "app"} | fields
    (folder / "holdall.toml").write_text("".join(f'{k} = "{v}"\n' for k, v in lines.items()))
    return folder


def make_person(request: pytest.FixtureRequest, who: str) -> Person:
    """Root, for whom the kernel mounts, or a user, whose images a program serves."""
    if who == "root":
        person = Person(
            request.getfixturevalue("holdall_cli"), request.getfixturevalue("isolated_home")
        )
    else:
        user: OrdinaryUser = request.getfixturevalue("ordinary_user")
        person = Person(user.holdall, user.home)
    files = {"bin/mounted": PROGRAM.encode(), "data": b"data of the app\n"}
    write_app(person.home / "app", APP, files, command="mounted")
    person.cli("key", "generate")
    person.build("app")
    return person


def without_fuse(person: Person, *words: str | Path, expect: int = 0) -> Finished:
    """A command of somebody who may not open /dev/fuse; for root, who can hide it."""
    hidden = person.home / "no fuse"
    if not hidden.exists():
        os.mknod(hidden, stat.S_IFSOCK | 0o666)
    script = 'mount --bind "$1" /dev/fuse && shift && exec "$@"'
    world = ("unshare", "--mount", "/bin/sh", "-c", script, "sh", hidden)
    user, group = map(str, person.cli.user or (0, 0))
    become = ("setpriv", "--reuid", user, "--regid", group, "--clear-groups", "--")
    done = run(
        (*world, *become, person.cli.python, "-m", "holdall", *words),
        environment=person.cli.environment,
        directory=person.home,
    )
    return expected(done, expect)
