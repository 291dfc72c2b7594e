"""An app made for looking at forms, and a real package turned into one, as bundles.

Each has, beside its files, a program that looks at them from within the sandbox and answers
questions. Must not import holdall: bundles are made by the program as a user meets it.
"""

import hashlib
import random
import stat
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from surroundings import HoldallCli

NOISE = "share/noise"
"""A content that no image compresses, so that it stands in one as it is."""

_MANIFEST = """\
id = "{app}"
version = "{version}"
kind = "app"
command = ["/usr/bin/python3", "-I", "/app/bin/probe"]

[exports]
commands = ["probe"]

[about]
name = "Specimen"
summary = "Looks at its own files"
"""
_ENTRY = """\
[Desktop Entry]
Type=Application
Name=Specimen {version}
Exec=probe %U
Icon={app}
Categories=Utility;
"""
_PROBE = '''\
#!/usr/bin/python3
"""Answers a word a line with a line of JSON, until there are no more."""
import ctypes, errno, hashlib, json, mmap, os, stat, sys

libc = ctypes.CDLL(None, use_errno=True)
held = []


def entries(folder="/app"):
    for item in sorted(os.scandir(folder), key=lambda item: item.name):
        yield item
        if item.is_dir(follow_symlinks=False):
            yield from entries(item.path)


def files():
    return [item.path for item in entries() if item.is_file(follow_symlinks=False)]


def content(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def described(item):
    mode = item.stat(follow_symlinks=False).st_mode
    if stat.S_ISLNK(mode):
        return f"link {os.readlink(item.path)}"
    if stat.S_ISDIR(mode):
        return f"folder {stat.S_IMODE(mode):o}"
    return f"file {stat.S_IMODE(mode):o} {content(item.path)}"


def listing():
    return {item.path[5:]: described(item) for item in entries()}


def version():
    with open("/app/version") as file:
        return file.read().strip()


def hold():
    for path in files()[:200]:
        file = open(path, "rb")
        size = os.fstat(file.fileno()).st_size
        held.append((file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) if size else b""))
    return [file.name[5:] for file, _ in held]


def again():
    for file, mapped in held:
        file.seek(0)
        if file.read() != mapped[:]:
            return "changed"
    return "same"


def read():
    total = 0
    for path in files():
        with open(path, "rb", buffering=0) as file:
            while piece := file.read(1 << 20):
                total += len(piece)
    return total


def cached():
    whole, pages = (ctypes.c_uint64 * 2)(0, 0), {}
    for path in files():
        counts = (ctypes.c_uint64 * 5)()
        with open(path, "rb") as file:
            if libc.syscall(451, file.fileno(), whole, counts, 0):
                if ctypes.get_errno() != errno.EPERM:
                    return os.strerror(ctypes.get_errno())
                continue  # the kernel tells owners only, and an image's files may have none here
            status = os.fstat(file.fileno())
        pages[f"{status.st_dev}:{status.st_ino}"] = counts[0] * mmap.PAGESIZE
    return pages


def faults():
    found = {}
    for path in files():
        try:
            content(path)
        except OSError as error:
            found[path[5:]] = os.strerror(error.errno)
    return found


for word in sys.stdin:
    print(json.dumps(globals()[word.strip()]()), flush=True)
'''


@dataclass(frozen=True)
class Version:
    """One version of an app: its files as they were before they were packed, and bundles of it."""

    app: str
    number: str
    files: Path
    bundles: dict[str, Path] = field(default_factory=dict)

    @property
    def bundle(self) -> Path:
        """The ordinary full bundle."""
        return self.bundles["full"]

    @cached_property
    def listing(self) -> dict[str, str]:
        """What the probe must find, from the source."""
        found = {}
        for path in sorted(self.files.rglob("*")):
            found[str(path.relative_to(self.files))] = _described(path)
        return found

    @cached_property
    def contents(self) -> dict[bytes, int]:
        """The size of every different content by its digest."""
        found = {}
        for path in self.files.rglob("*"):
            if path.is_file() and not path.is_symlink():
                with path.open("rb") as file:
                    found[hashlib.file_digest(file, "sha256").digest()] = path.stat().st_size
        return found


@dataclass(frozen=True, slots=True)
class Specimen:
    """An app's versions, oldest first, and the option that lets a store take them."""

    versions: tuple[Version, ...]
    trust: tuple[str, str]

    @property
    def app(self) -> str:
        return self.versions[0].app

    @property
    def old(self) -> Version:
        return self.versions[0]

    @property
    def new(self) -> Version:
        return self.versions[1]


def _described(path: Path) -> str:
    if path.is_symlink():
        return f"link {path.readlink()}"
    if path.is_dir():
        return "folder 755"
    mode = 0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644
    with path.open("rb") as file:
        return f"file {mode:o} {hashlib.file_digest(file, 'sha256').hexdigest()}"


def fingerprint(holdall: HoldallCli) -> str:
    """Make the publisher's key."""
    key = holdall.json("key", "generate")
    assert isinstance(key, dict)
    return str(key["fingerprint"])


def equip(app: str, number: str, source: Path) -> Version:
    """Give a source folder whose files are there the probe and a manifest."""
    probe = source / "files/bin/probe"
    probe.parent.mkdir(exist_ok=True)
    probe.write_text(_PROBE)
    probe.chmod(0o755)
    (source / "files/version").write_text(f"{number}\n")
    (source / "holdall.toml").write_text(_MANIFEST.format(app=app, version=number))
    return Version(app, number, source / "files")


def pack(version: Version, holdall: HoldallCli, name: str = "full", *options: str | Path) -> Path:
    """Make a bundle beside the source; an increment where the options say against what."""
    source = version.files.parent
    path = source.with_name(f"{source.name}.{name}")
    what = version.bundle if "--against" in options else source
    level = () if {"--against", "--no-compress"} & set(options) else ("--level", "3")
    holdall("build", what, "-o", path, *level, *options, timeout=600)
    version.bundles[name] = path
    return path


def write_made_up(app: str, number: int, source: Path) -> Version:
    """The source folder of a version: one file in ten differs, some come and some go."""
    files = source / "files"
    for path, data in _contents(number).items():
        (files / path).parent.mkdir(parents=True, exist_ok=True)
        (files / path).write_bytes(data)
    (files / "share/run").chmod(0o755)
    (files / "empty folder").mkdir()
    for link, target in (("current", "share"), ("dangling", "../../nowhere"), ("ö", "share/é")):
        (files / link).symlink_to(target)
    for path, text in (
        (f"share/applications/{app}.desktop", _ENTRY.format(app=app, version=number)),
        (f"share/icons/hicolor/scalable/apps/{app}.svg", f"<svg><!-- {number} --></svg>"),
    ):
        (files / path).parent.mkdir(parents=True)
        (files / path).write_text(text)
    return equip(app, f"{number}.0", source)


def _contents(number: int) -> dict[str, bytes]:
    chance = random.Random(1)
    found = {
        NOISE: chance.randbytes(300_000),
        "share/run": b"one content\n",
        "share/same": b"one content\n",
        "share/é": b"",
        "share/page": bytes(range(256)) * 16,
        "share/large": b"".join(b"%d\n" % at for at in range(60_000 + number)),
        "/".join(["deep"] * 40): b"deep\n",
    }
    for at in range(240):
        data = chance.randbytes(chance.randrange(20, 6000)).hex().encode()
        if at % 40 != 30 + number:
            found[f"parts/{at % 7}/{at}"] = data + b"changed\n" * (number if at % 10 == 5 else 0)
    return found
