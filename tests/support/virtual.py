"""A machine of another kernel: Debian's 6.12 under qemu, for what the tests' own kernel lacks.

The kernel comes from bookworm-backports by apt, in a private state so that the host's lists stay as
they are. The guest's disk holds Python and holdall, copied from here. Facts behind the options: no
KVM is needed; ``-cx16`` avoids a fault of qemu 7.2; the clock frequency is given since microvm
cannot measure it.
"""

import lzma
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_SOURCES = """\
Types: deb
URIs: {archive}
Suites: bookworm-backports
Components: main
Signed-By: {keyring}
"""
_MODULES = ("virtio_mmio", "virtio_blk")
_RETRIES = ("-o", "Acquire::Retries=6")
_LIMIT = 200  # seconds
_INIT = """\
#!/bin/busybox sh
B=/bin/busybox
$B mount -t proc p /proc; $B mount -t sysfs s /sys; $B mount -t devtmpfs d /dev
for m in $($B cat /order); do $B insmod /$m; done
for b in /sys/block/vd*; do $B ln -s ${b##*/} /dev/$($B cat $b/serial); done
$B mount -t ext4 /dev/tools /r || $B poweroff -f
for d in proc sys dev; do $B mount --move /$d /r/$d; done
exec $B switch_root /r /bin/busybox sh -c '
    cd /; PYTHONPATH=/python /usr/bin/python3 -I -c "
import sys
sys.path[1:1] = [\\"/python\\"]
exec(open(\\"/job.py\\").read())" 2>&1; echo ENDED $?; sync; poweroff -f'
"""
_PACKAGES = (
    "_cffi_backend*.so backports cffi cryptography holdall msgspec platformdirs rich "
    "securesystemslib shtab markdown_it mdurl pygments typing_extensions.py"
)


@dataclass(frozen=True, slots=True)
class Kernel:
    """An unpacked kernel package."""

    folder: Path

    @property
    def modules(self) -> dict[str, Path]:
        """The module files by name."""
        return {
            path.name.removesuffix(".xz").removesuffix(".ko").replace("-", "_"): path
            for path in self.folder.rglob("*.ko*")
        }

    def image(self, target: Path) -> Path:
        """The kernel without its own decompressor, which is slow when it is emulated."""
        packed = next(self.folder.glob("boot/vmlinuz-*")).read_bytes()
        start = ((packed[0x1F1] or 4) + 1) * 512 + int.from_bytes(packed[0x248:0x24C], "little")
        size = int.from_bytes(packed[0x24C:0x250], "little")
        payload = packed[start : start + size]
        unpack = ["zstd", "-dcq"] if payload[:4] == b"\x28\xb5\x2f\xfd" else ["xz", "-dcq"]
        done = subprocess.run(unpack, input=payload, capture_output=True, check=False)
        assert done.stdout.startswith(b"\x7fELF")
        target.write_bytes(done.stdout)
        return target

    def needed(self, names: Iterable[str]) -> list[tuple[str, bytes]]:
        """Modules and what they need, in the order in which they load."""
        order: list[str] = []

        def add(name: str) -> None:
            if name in order or name not in self.modules:
                return
            depends = re.search(rb"\0depends=([^\0]*)\0", _unpacked(self.modules[name]))
            for other in depends[1].decode().split(",") if depends else ():
                add(other.replace("-", "_"))
            order.append(name)

        for name in names:
            add(name)
        return [(f"{name}.ko", _unpacked(self.modules[name])) for name in order]


def fetch_kernel(folder: Path) -> Kernel:
    """Download and unpack Debian's 6.12 cloud kernel below `folder`."""
    for name in ("lists/partial", "cache/archives/partial", "sources"):
        (folder / name).mkdir(parents=True)
    (folder / "sources/backports.sources").write_text(
        _SOURCES.format(keyring=KEYRING, archive=_archive())
    )
    options = {
        "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": folder / "sources",
        "Dir::State::lists": folder / "lists",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]

    def apt(*argv: str) -> str:
        done = subprocess.run(
            [*argv[:1], *words, *argv[1:]],
            cwd=folder,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            check=True,
        )
        return done.stdout

    apt("apt-get", *_RETRIES, "update", "-q")
    depends = apt("apt-cache", "depends", "linux-image-cloud-amd64")
    found = re.search(r"Depends: (linux-image-\d\S*)", depends)
    assert found, depends
    apt("apt-get", *_RETRIES, "download", "-q", found[1])
    (package,) = folder.glob("linux-image-*.deb")
    subprocess.run(["dpkg-deb", "-x", package, folder / "kernel"], check=True)
    return Kernel(folder / "kernel")


def make_tools(folder: Path, image: Path, extra: Mapping[str, Path]) -> Path:
    """Make the guest's root disk: Python, holdall and what it needs, and `extra` files by name."""
    for name in ("proc", "sys", "dev", "tmp", "mnt", "bin", "usr/bin", "usr/lib", "python"):
        (folder / name).mkdir(parents=True)
    (folder / "lib").symlink_to("usr/lib")
    (folder / "lib64").symlink_to("usr/lib")
    shutil.copy("/bin/busybox", folder / "bin/busybox")
    for name in ("mount", "umount"):
        (folder / "bin" / name).symlink_to("busybox")
    interpreter = Path(sys.executable).resolve()
    shutil.copy(interpreter, folder / "usr/bin/python3")
    library = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(
        library,
        folder / "usr/lib" / library.name,
        symlinks=True,
        ignore=shutil.ignore_patterns("test", "__pycache__", "idlelib", "ensurepip", "config-*"),
    )
    for package in _PACKAGES.split():
        _copy_package(package, folder / "python")
    programs = [interpreter, *library.rglob("*.so"), *(folder / "python").rglob("*.so*")]
    for path in _libraries(programs):
        shutil.copy(path, folder / "usr/lib" / path.name)
    for name, path in extra.items():
        shutil.copy(path, folder / name)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-d", folder, image, "320M"], check=True)
    return image


def boot(
    kernel: Kernel,
    scratch: Path,
    disks: Mapping[str, Path],
    *,
    memory: int = 512,
    modules: Iterable[str] = (),
) -> str:
    """Start the machine with its disks (the first, ``tools``, has the job); what it printed.

    `modules` are those of the kernel that it has besides.
    """
    initramfs = scratch / "initramfs"
    initramfs.write_bytes(_initramfs(kernel, modules))
    argv: list[str | Path] = [
        *("qemu-system-x86_64", "-accel", "tcg", "-cpu", "max,-cx16", "-m", str(memory)),
        *("-M", "microvm,pit=on,pic=on,rtc=on,acpi=on", "-nodefaults", "-no-reboot"),
        *("-nographic", "-serial", "stdio", "-kernel", kernel.image(scratch / "vmlinux")),
        *("-initrd", initramfs, "-append"),
        "console=ttyS0 panic=-1 quiet mitigations=off tsc_early_khz=1000000 random.trust_cpu=on",
    ]
    for name, path in disks.items():
        argv += ["-drive", f"if=none,id={name},format=raw,file={path}"]
        argv += ["-device", f"virtio-blk-device,drive={name},serial={name}"]
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=_LIMIT, check=False
    )
    return done.stdout.decode(errors="replace").replace("\r\n", "\n")


def _copy_package(pattern: str, target: Path) -> None:
    for folder in sys.path:
        for found in Path(folder or ".").glob(pattern) if folder else ():
            if found.is_dir():
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(found, target / found.name, dirs_exist_ok=True, ignore=ignore)
            elif found.suffix:  # not the command of the package's name
                shutil.copy(found, target)


def _libraries(programs: Sequence[Path]) -> set[Path]:
    told = subprocess.run(
        ["ldd", *programs], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        encoding="utf-8", check=False,
    )  # fmt: skip
    named = re.findall(r"(?:=> )?(/\S+\.so\S*) \(0x", told.stdout)
    return {Path(path) for path in named if Path(path).exists()}


def _archive() -> str:
    """Where this machine gets Debian's packages from."""
    told = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(CREATED_BY) $(REPO_URI) $(ORIGIN) $(LABEL)"],
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=True,
    )
    targets = [line.split() for line in told.stdout.splitlines() if line.startswith("Packages ")]
    # before the first update the lists have no label yet; the archive proper is configured first
    labelled = [target for target in targets if target[2:] == ["Debian", "Debian"]]
    return (labelled or targets)[0][1]


def _unpacked(module: Path) -> bytes:
    data = module.read_bytes()
    return lzma.decompress(data) if module.suffix == ".xz" else data


def _initramfs(kernel: Kernel, others: Iterable[str]) -> bytes:
    modules = kernel.needed((*_MODULES, *others))
    folder, program, file = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o755, stat.S_IFREG | 0o644
    entries = [(name, folder, b"") for name in ("bin", "proc", "sys", "dev", "r")]
    entries += [
        ("dev/console", stat.S_IFCHR | 0o600, b""),
        ("bin/busybox", program, Path("/bin/busybox").read_bytes()),
        ("init", program, _INIT.encode()),
        ("order", file, " ".join(name for name, _ in modules).encode()),
        *((name, file, data) for name, data in modules),
        ("TRAILER!!!", 0, b""),
    ]
    return b"".join(_cpio(number, *entry) for number, entry in enumerate(entries))


def _cpio(number: int, name: str, mode: int, data: bytes) -> bytes:
    """An entry of a cpio archive, format newc."""
    device = (5, 1) if name == "dev/console" else (0, 0)
    path = name.encode() + b"\0"
    numbers = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0)
    head = b"070701" + b"".join(b"%08x" % value for value in numbers) + path
    return head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)
