"""An app that fakes a sandbox of its own, to be listed as something else: `ps` is not misled."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdall.desktop.processes import mark
from holdall.journeys.host import root_host
from holdall.journeys.running import running_apps

pytestmark = pytest.mark.root

# In namespaces of its own: the mount that names the store, a lock, and the name of bwrap.
FAKE = """\
import fcntl, os, struct, sys
source, kind, folder = sys.argv[1:]
os.makedirs("/run/holdall")
for name in ("lease", "other"):
    os.mkdir("/run/holdall/" + name)
os.system(f"mount -t tmpfs -o size=64k {source} /run/holdall/lease")
release = "/run/holdall/release"
if kind == "pipe":
    os.mkfifo(release)
elif kind == "link":
    os.symlink(folder + "/secret", release)
elif kind == "folder":
    os.mkdir(release)
else:
    open(release, "w").write(open(folder + "/release").read())
lease = open("/run/holdall/lease/lock", "w+")
fcntl.lockf(lease, fcntl.LOCK_SH)
open("/proc/self/comm", "w").write("bwrap")
print("up", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store of nothing."""
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


@contextmanager
def faked(store: Path, kind: str, release: object = None) -> Iterator[int]:
    (store.parent / "release").write_text(release if isinstance(release, str) else "")
    (store.parent / "secret").write_text(release_of("org.example.Secret"))
    script = 'mount -t tmpfs none /run && exec python3 -c "$0" "$@"'
    words = ("unshare", "--mount", "sh", "-c", script, FAKE, mark(str(store)), kind, store.parent)
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"up\n"
        yield process.pid
        process.kill()


def release_of(app: str, arch: object = "x86_64") -> str:
    return json.dumps({"manifest": {"id": app, "arch": arch, "version": "1\u001b[2J"}})


@pytest.mark.parametrize(
    ("kind", "release"),
    [
        ("pipe", None),
        ("link", None),
        ("folder", None),
        ("file", ""),
        ("file", "[" * 100_000),
        ("file", json.dumps({"manifest": []})),
        ("file", release_of("../../etc")),
        ("file", release_of("org.example.Editor", ["x86_64"])),
        ("file", release_of("org.example.Editor", "../..")),
    ],
)
def test_what_is_no_release_is_not_listed(store: Path, kind: str, release: str | None) -> None:
    with faked(store, kind, release):
        assert running_apps(root_host(str(store))) == []


def test_one_that_looks_right_is_listed_as_not_installed(store: Path) -> None:
    with faked(store, "file", release_of("org.example.Editor")) as process:
        (found,) = running_apps(root_host(str(store)))
    assert (found.sandbox, found.ref) == (process, "org.example.Editor/x86_64/stable")
    assert (found.installed, found.note) == (False, "not installed")


def test_one_that_names_another_store_is_not_listed(store: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with faked(tmp_path / "other", "file", release_of("org.example.Editor")):
        assert running_apps(root_host(str(store))) == []
