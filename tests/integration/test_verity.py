"""Where a file system has fs-verity the kernel guards every block, and `verify --fast` asks it.

Runs in a machine of its own: the kernels tests run on often have none.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sample_app import VERSIONS, Bundles
from surroundings import PYTHON, HoldallCli, Require, environment_for
from virtual import Kernel, boot, fetch_kernel, make_tools

pytestmark = [pytest.mark.vm, pytest.mark.network, pytest.mark.slow]

TOOLS = r"""
import fcntl, glob, json, os, struct, subprocess, sys, time
from holdall.delivery.zstandard import decompress
from holdall.forms import laying, seeding
from holdall.model import tree
from holdall.store.several import Several

def listed(top):
    # the tree of a deployment
    section = open(f"{top}/tree", "rb").read()
    return tree.parse(decompress(section[8:], int.from_bytes(section[:8], "little")))

def call(*argv):
    subprocess.run(argv, check=True)

def holdall(*argv):
    # what a program has read, its workers too
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.dup2(write, 1)
        sys.path[1:1] = ["/python"]
        from holdall.cli.main import main
        code = main(["--root", "/mnt/store", "--json", *argv])
        sys.stdout.flush()
        io = dict(line.split(": ") for line in open("/proc/self/io").read().splitlines())
        os.write(write, b"\n" + json.dumps([code, int(io["rchar"])]).encode())
        os._exit(0)
    os.close(write)
    *output, last = os.fdopen(read).read().splitlines()
    os.waitpid(pid, 0)
    code, count = json.loads(last)
    return code, count, "\n".join(output)

def measured(path):
    buffer = bytearray(struct.pack("<HH32x", 0, 32))
    fd = os.open(path, os.O_RDONLY)
    try:
        fcntl.ioctl(fd, 0xC0046686, buffer)
    except OSError as error:
        return error.errno
    finally:
        os.close(fd)
    return bytes(buffer[4:])

def damage(content):
    # every copy of a content on the disk gets one byte flipped
    hits = 0
    with open("/dev/data", "r+b", 0) as disk:
        size, at = disk.seek(0, 2), 0
        while at < size:
            disk.seek(at)
            piece = disk.read(1 << 20)
            for start in range(0, len(piece), 4096):
                if piece[start : start + 4096] == content:
                    disk.seek(at + start + 7)
                    disk.write(bytes([content[7] ^ 1]))
                    hits += 1
            at += len(piece)
        os.fsync(disk.fileno())
    return hits

result = {"kernel": os.uname().release}
call("mount", "-t", "ext4", "/dev/data", "/mnt")
trust = open("/trust").read()
"""

JOB = r"""
def faults(answer):
    return {item["version"]: item["faults"] for item in json.loads(answer[2])}

for version in ("1.0", "2.0"):
    code, _, output = holdall("install", "--trust-key", trust, f"/sample-{version}.holdall")
    assert code == 0, output
wrong, files = 0, 0
for top in glob.glob("/mnt/store/deployments/*/*/*/*"):
    for file in listed(top).files:
        files += 1
        wrong += measured(f"{top}/files/{file.path}") != file.digest
result["files"], result["wrong"] = files, wrong
full, fast = holdall("verify"), holdall("verify", "--fast")
result["full"], result["fast"] = [full[1], faults(full)], [fast[1], faults(fast)]
large = glob.glob("/mnt/store/deployments/*/*/*/*/files/large")[0]
try:
    open(large, "r+b")
    result["writable"] = True
except OSError as error:
    result["writable"] = error.errno
block = open(large, "rb").read()[40960:45056]
call("umount", "/mnt")
result["hits"] = damage(block)
call("mount", "-t", "ext4", "/dev/data", "/mnt")
spoiled = holdall("verify")
result["spoiled"] = [spoiled[0], faults(spoiled)]
code, _, output = holdall("repair", "/sample-2.0.holdall", "/sample-1.0.holdall")
result["repaired"] = [code, faults(holdall("verify"))]
(expected,) = (
    file.digest for file in listed(large.removesuffix("/files/large")).files if file.path == "large"
)
result["measured"] = measured(large) == expected
# what an increment made: files named by digest, which get their places as hard links
tree_of_it = listed(large.removesuffix("/files/large"))
os.mkdir("/mnt/made")
for file in tree_of_it.files:
    path = large.removesuffix("large") + file.path
    open(f"/mnt/made/{file.digest.hex()}", "wb").write(open(path, "rb").read())
made = seeding.Objects(frozenset(tree_of_it.contents), "/mnt/made")
laying.lay_down(seeding.plan(tree_of_it, (made,)), Several(()), "/mnt/laid", verity=True)
result["made"] = [
    file.path for file in tree_of_it.files if measured(f"/mnt/laid/{file.path}") != file.digest
]
print("RESULT", json.dumps(result), flush=True)
"""


COMPOSEFS = r"""
from holdall.errors import HoldallError
from holdall.forms import composefs, erofs
from holdall.forms.port import Place
from holdall.journeys import bundling
from holdall.model.digest import digest_of
from holdall.system.means import Means
from holdall.system.mounting import perform

def view(top):
    # mount a deployment; what hindered it
    place = Place("/mnt/store", top, json.load(open(f"{top}/form")), bundling)
    try:
        perform(composefs.mount(place, Means("/mnt/store")), place.files)
    except HoldallError as error:
        return f"{type(error).__name__}: {error}"

def read(path):
    try:
        return digest_of(open(path, "rb").read())
    except OSError as error:
        return error.errno

for version in ("1.0", "2.0"):
    form = () if version == "2.0" else ("--form", "composefs")
    argv = ("install", "--trust-key", trust, *form, f"/sample-{version}.holdall")
    code, _, output = holdall(*argv)
    assert code == 0, output
tops = sorted(glob.glob("/mnt/store/deployments/*/*/*/*"), key=lambda top: os.stat(top).st_ctime)
result["records"] = [json.load(open(f"{top}/form")) for top in tops]
result["cells"] = {key: cell.holds for key, cell in composefs.cells(Means("/mnt/store")).items()}
result["named"] = [json.load(open(f"{top}/release"))["metadata-image"] for top in tops]
result["images"] = ["sha256-4k:" + measured(f"{top}/meta.erofs").hex() for top in tops]
result["contents"], result["read"] = [], []
for top in tops:
    for digest, name in erofs.names(listed(top)).items():
        result["contents"].append(measured(f"{top}/objects/{name}") == digest)
    assert view(top) is None
    for file in listed(top).files:
        result["read"].append(read(f"{top}/files/{file.path}") == file.digest)
    call("umount", f"{top}/files")

top = tops[1]
names = erofs.names(listed(top))
held = {file.path: f"{top}/objects/{names[file.digest]}" for file in listed(top).files}
pages = [path for path in held if path.startswith("lib/")]
same, other, swapped = pages[:3]
data = {path: open(held[path], "rb").read() for path in (same, other, swapped)}
for path in data:
    os.rename(held[path], f"/mnt/{path.replace('/', '-')}")
open(held[same], "wb").write(data[same])  # the same bytes, and no fs-verity
open(held[other], "wb").write(bytes(len(data[other])))
os.link(held["large"], held[swapped])  # fs-verity, and another content
assert view(top) is None
result["swapped"] = [read(f"{top}/files/{path}") for path in (same, other, swapped)]
call("umount", f"{top}/files")
for path in data:
    os.rename(f"/mnt/{path.replace('/', '-')}", held[path])

block = open(held["large"], "rb").read()[40960:45056]
call("umount", "/mnt")
result["hits"] = damage(block)
call("mount", "-t", "ext4", "/dev/data", "/mnt")
assert view(top) is None
result["damaged"] = read(f"{top}/files/large")
result["beside"] = read(f"{top}/files/{same}") == digest_of(data[same])
call("umount", f"{top}/files")
spoiled = json.loads(holdall("verify")[2])
result["spoiled"] = {item["version"]: item["faults"] for item in spoiled}
code, _, output = holdall("repair", "/sample-2.0.holdall", "/sample-1.0.holdall")
found = json.loads(holdall("verify")[2])
result["repaired"] = [code, {item["version"]: item["faults"] for item in found}]

image = open(f"{top}/meta.erofs", "rb").read()
os.rename(f"{top}/meta.erofs", "/mnt/meta.erofs")
open(f"{top}/meta.erofs", "wb").write(image[:-1] + bytes([image[-1] ^ 1]))
result["other image"] = view(top)
os.rename("/mnt/meta.erofs", f"{top}/meta.erofs")
call("umount", "/mnt")
result["image hits"] = damage(image[:4096])
call("mount", "-t", "ext4", "/dev/data", "/mnt")
result["spoiled image"] = view(top)
print("RESULT", json.dumps(result), flush=True)
"""


IMAGE = r"""
from holdall.errors import HoldallError
from holdall.forms import image
from holdall.forms.port import Place
from holdall.journeys import bundling
from holdall.model.digest import digest_of
from holdall.system.means import Means
from holdall.system.mounting import perform

def view(top):
    # mount a deployment; what hindered it
    place = Place("/mnt/store", top, json.load(open(f"{top}/form")), bundling)
    try:
        perform(image.mount(place, Means("/mnt/store")), place.files)
    except HoldallError as error:
        return f"{type(error).__name__}: {error}"

def read(path):
    try:
        return digest_of(open(path, "rb").read())
    except OSError as error:
        return error.errno

options = ("--form", "image", "--allow-kernel-parser", "--trust-key", trust)
code, _, output = holdall("install", *options, "/image.holdall")
assert code == 0, output
(top,) = glob.glob("/mnt/store/deployments/*/*/*/*")
record = result["record"] = json.load(open(f"{top}/form"))
result["measured"] = "sha256-4k:" + measured(f"{top}/bundle").hex()
result["cell"] = image.cells(Means("/mnt/store"))["N7"].holds
assert view(top) is None
result["read"] = [read(f"{top}/files/{file.path}") == file.digest for file in listed(top).files]
block = open(f"{top}/files/large", "rb").read()[40960:45056]
call("umount", f"{top}/files")
fast = holdall("verify", "--fast")
result["fast"] = [fast[0], json.loads(fast[2])[0]["faults"]]

os.rename(f"{top}/bundle", "/mnt/bundle")
data = open("/mnt/bundle", "rb").read()
open(f"{top}/bundle", "wb").write(data)  # the same bytes, and no fs-verity
result["replaced"] = view(top)
os.rename("/mnt/bundle", f"{top}/bundle")

call("umount", "/mnt")
result["hits"] = damage(block)
call("mount", "-t", "ext4", "/dev/data", "/mnt")
assert view(top) is None
result["damaged"] = read(f"{top}/files/large")
file = next(file for file in listed(top).files if file.path.startswith("lib/"))
result["beside"] = read(f"{top}/files/{file.path}") == file.digest
call("umount", f"{top}/files")
spoiled = holdall("verify")
result["spoiled"] = [spoiled[0], json.loads(spoiled[2])[0]["faults"]]
print("RESULT", json.dumps(result), flush=True)
"""


LIVE = r"""
from holdall.errors import HoldallError
from holdall.forms import erofs, live
from holdall.forms.port import Place
from holdall.journeys import bundling
from holdall.model.digest import digest_of
from holdall.system.means import Means
from holdall.system.mounting import perform

def view(top):
    # mount a deployment; what kind of file system that is
    place = Place("/mnt/store", top, json.load(open(f"{top}/form")), bundling)
    perform(live.mount(place, Means("/mnt/store")), place.files)
    kinds = [line.partition(" - ")[2].split()[0] for line in open("/proc/self/mountinfo")]
    return kinds[-1]

def read(path):
    try:
        return digest_of(open(path, "rb").read())
    except OSError as error:
        return error.errno

for version, form in (("1.0", "pool"), ("2.0", "live")):
    argv = ("install", "--trust-key", trust, "--form", form, f"/sample-{version}.holdall")
    code, _, output = holdall(*argv)
    assert code == 0, output
(top,) = {os.path.dirname(path) for path in glob.glob("/mnt/store/deployments/*/*/*/*/bundle")}
record = result["record"] = json.load(open(f"{top}/form"))
result["cells"] = {key: cell.holds for key, cell in live.cells(Means("/mnt/store")).items()}
names = erofs.names(listed(top))
there = set(os.listdir(f"{top}/objects"))
held = {
    file.path: f"{top}/objects/{names[file.digest]}"
    for file in listed(top).files
    if names[file.digest] in there
}
wanted = {file.path: file.digest for file in listed(top).files}
result["contents"] = [measured(held[path]) == wanted[path] for path in held]
result["kind"] = view(top)
result["read"] = [read(f"{top}/files/{path}") == wanted[path] for path in wanted]
call("umount", f"{top}/files")

pages = [path for path in held if path.startswith("lib/")]
same, swapped, beside = pages[:3]
for path in (same, swapped):
    os.rename(held[path], f"/mnt/{path.replace('/', '-')}")
data = open(f"/mnt/{same.replace('/', '-')}", "rb").read()
open(held[same], "wb").write(data)  # the same bytes, and no fs-verity
os.link(held[beside], held[swapped])  # fs-verity, and another content
assert view(top) == result["kind"]
result["swapped"] = [read(f"{top}/files/{path}") for path in (same, swapped)]
result["beside"] = read(f"{top}/files/{beside}") == wanted[beside]
call("umount", f"{top}/files")
result["fast"] = [fault[0] for fault in json.loads(holdall("verify", "--fast")[2])[-1]["faults"]]
print("RESULT", json.dumps(result), flush=True)
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory, require: Require) -> Kernel:
    for program in ("qemu-system-x86_64", "busybox", "mke2fs", "zstd"):
        require(program)
    return fetch_kernel(tmp_path_factory.mktemp("apt"))


def done_there(
    job: str, kernel: Kernel, folder: Path, bundles: Bundles, *modules: str
) -> dict[str, Any]:
    """What a job on a machine whose file system has fs-verity found out."""
    (folder / "job.py").write_text(TOOLS + job)
    (folder / "trust").write_text(bundles.fingerprint)
    extra = {bundles.bundle(version).name: bundles.bundle(version) for version in VERSIONS}
    extra |= {name: folder / name for name in ("job.py", "trust")}
    extra |= {path.name: path for path in folder.glob("*.holdall")}
    tools = make_tools(folder / "tools", folder / "tools.img", extra)
    data = folder / "data.img"
    subprocess.run(
        ["mke2fs", "-q", "-t", "ext4", "-b", "4096", "-O", "verity", data, "96M"], check=True
    )
    printed = boot(kernel, folder, {"tools": tools, "data": data}, modules=modules)
    lines = [line for line in printed.splitlines() if line.startswith("RESULT ")]
    assert lines, printed
    found: dict[str, Any] = json.loads(lines[0].removeprefix("RESULT "))
    return found


def test_the_kernel_measures_what_was_signed_and_finds_a_damaged_block(
    tmp_path: Path, bundles: Bundles, kernel: Kernel
) -> None:
    found = done_there(JOB, kernel, tmp_path, bundles)

    assert found["files"] > 600
    assert found["wrong"] == 0
    assert found["writable"] == 1  # EPERM
    assert found["full"][1] == found["fast"][1] == {"1.0": [], "2.0": []}
    size = sum(path.stat().st_size for path in bundles.files("1.0").rglob("*") if path.is_file())
    assert found["full"][0] - found["fast"][0] > size
    assert found["hits"] > 0
    assert found["spoiled"][0] == 4
    assert found["spoiled"][1]["1.0"] == [["large", "its content was changed"]]
    assert found["repaired"] == [0, {"1.0": [], "2.0": []}]
    assert found["measured"]
    assert found["made"] == []


def test_live_over_a_pool_reads_what_was_signed_or_nothing(
    tmp_path: Path, bundles: Bundles, kernel: Kernel
) -> None:
    found = done_there(LIVE, kernel, tmp_path, bundles, "fuse", "overlay")

    assert found["kind"] == "overlay"
    assert len(found["contents"]) >= found["record"]["objects"] > 300
    assert found["record"]["verity"]
    assert found["cells"]["N7"] == "yes"
    assert all(found["contents"])
    assert all(found["read"])
    assert found["swapped"] == [5, 5]  # EIO
    assert found["beside"]
    assert found["fast"]


def test_composefs_reads_what_was_signed_or_nothing(
    tmp_path: Path, bundles: Bundles, kernel: Kernel
) -> None:
    found = done_there(COMPOSEFS, kernel, tmp_path, bundles, "erofs", "overlay")

    assert [record["form"] for record in found["records"]] == ["composefs"] * 2
    assert all(record["verity"] for record in found["records"])
    assert found["cells"]["R2"] == found["cells"]["N7"] == "yes"
    assert found["named"] == found["images"] == [item["digest"] for item in found["records"]]
    assert len(found["contents"]) > 600
    assert len(found["read"]) > 600
    assert all(found["contents"])
    assert all(found["read"])
    assert found["swapped"] == [5, 5, 5]  # EIO
    assert found["hits"] > 0
    assert found["damaged"] == 5
    assert found["beside"]
    told = [["large", "its content was changed"]]
    assert found["spoiled"] == {"1.0": told, "2.0": told}
    assert found["repaired"] == [0, {"1.0": [], "2.0": []}]
    assert "meta.erofs was changed; `holdall repair` makes it anew" in found["other image"]
    assert found["image hits"] > 0
    assert found["spoiled image"].startswith("CorruptError: The kernel cannot read ")


def test_a_bundle_that_is_kept_is_guarded_whole(
    tmp_path: Path, bundles: Bundles, kernel: Kernel
) -> None:
    holdall = HoldallCli(PYTHON, environment_for(bundles.folder / "home"))
    options = ("--image", "erofs", "--no-compress")
    holdall("build", bundles.folder / "1.0", "-o", tmp_path / "image.holdall", *options)

    found = done_there(IMAGE, kernel, tmp_path, bundles, "erofs", "loop")

    assert (found["record"]["verity"], found["record"]["local"]) == (True, False)
    assert found["measured"] == found["record"]["whole"]
    assert found["cell"] == "yes"
    assert len(found["read"]) > 300
    assert all(found["read"])
    assert found["fast"] == [0, []]
    assert found["replaced"].startswith("CorruptError: ")
    assert found["hits"] > 0
    assert found["damaged"] == 5  # EIO
    assert found["beside"]
    assert found["spoiled"][0] == 4
    assert ["", "the image bundle was changed"] in found["spoiled"][1]
