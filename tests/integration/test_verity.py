"""Where a file system has fs-verity the kernel guards every block, and `verify --fast` asks it.

Runs in a machine of its own: the kernels tests run on often have none.
"""

import json
import subprocess
from pathlib import Path

import pytest

from sample_app import VERSIONS, Bundles
from surroundings import Require
from virtual import boot, fetch_kernel, make_tools

pytestmark = [pytest.mark.vm, pytest.mark.network, pytest.mark.slow]

JOB = r"""
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

def faults(answer):
    return {item["version"]: item["faults"] for item in json.loads(answer[2])}

result = {"kernel": os.uname().release}
call("mount", "-t", "ext4", "/dev/data", "/mnt")
trust = open("/trust").read()
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


def test_the_kernel_measures_what_was_signed_and_finds_a_damaged_block(
    tmp_path: Path, bundles: Bundles, require: Require
) -> None:
    for program in ("qemu-system-x86_64", "busybox", "mke2fs", "zstd"):
        require(program)
    (tmp_path / "job.py").write_text(JOB)
    (tmp_path / "trust").write_text(bundles.fingerprint)
    extra = {bundles.bundle(version).name: bundles.bundle(version) for version in VERSIONS}
    extra |= {name: tmp_path / name for name in ("job.py", "trust")}
    tools = make_tools(tmp_path / "tools", tmp_path / "tools.img", extra)
    data = tmp_path / "data.img"
    subprocess.run(
        ["mke2fs", "-q", "-t", "ext4", "-b", "4096", "-O", "verity", data, "96M"], check=True
    )
    kernel = fetch_kernel(tmp_path / "apt")
    printed = boot(kernel, tmp_path, {"tools": tools, "data": data})
    lines = [line for line in printed.splitlines() if line.startswith("RESULT ")]
    assert lines, printed
    found = json.loads(lines[0].removeprefix("RESULT "))

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
