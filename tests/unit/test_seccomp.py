"""What a filter lets through, asked instruction by instruction."""

import struct

import pytest

from holdall.system.seccomp import ALLOW, AUDIT, ERROR, KILL, reading_only

REFUSED = ERROR | 1


def verdict(program: bytes, number: int, *, machine: str, third: int = 0, fifth: int = 0) -> int:
    """What a classic BPF program of the instructions used here says to a system call."""
    data = struct.pack("=IIQ6Q", number, AUDIT[machine], 0, 0, 0, third, 0, fifth, 0)
    steps = list(struct.iter_unpack("=HBBI", program))
    at = accumulator = 0
    while True:
        code, if_true, if_false, value = steps[at]
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, value)
            case 0x15:
                at += if_true if accumulator == value else if_false
            case 0x45:
                at += if_true if accumulator & value else if_false
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(code)


@pytest.mark.parametrize(
    ("machine", "allowed", "refused"),
    [
        # read pread64 writev futex; open openat socket execve clone ptrace unlinkat kill tgkill,
        # x32's read
        ("x86_64", (0, 17, 20, 202), (2, 257, 41, 59, 56, 101, 263, 62, 234, 0x40000000)),
        # read pread64 writev futex; openat socket execve clone ptrace unlinkat mount kill tgkill
        ("aarch64", (63, 67, 66, 98), (56, 198, 221, 220, 117, 35, 40, 129, 131)),
    ],
)
def test_who_shows_a_bundle_may_read_and_nothing_else(
    machine: str, allowed: tuple[int, ...], refused: tuple[int, ...]
) -> None:
    program = reading_only(machine)
    assert program
    for number in allowed:
        assert verdict(program, number, machine=machine) == ALLOW
    for number in refused:
        assert verdict(program, number, machine=machine) == REFUSED


@pytest.mark.parametrize(("machine", "mmap"), [("x86_64", 9), ("aarch64", 222)])
def test_no_memory_becomes_executable(machine: str, mmap: int) -> None:
    program = reading_only(machine)
    assert program
    assert verdict(program, mmap, machine=machine, third=3) == ALLOW
    assert verdict(program, mmap, machine=machine, third=7) == REFUSED


@pytest.mark.parametrize(("machine", "sendto"), [("x86_64", 44), ("aarch64", 206)])
@pytest.mark.parametrize("address", [1, 2**32, 2**64 - 1])
def test_nothing_is_sent_to_an_address(machine: str, sendto: int, address: int) -> None:
    program = reading_only(machine)
    assert program
    assert verdict(program, sendto, machine=machine) == ALLOW
    assert verdict(program, sendto, machine=machine, fifth=address) == REFUSED


def test_other_conventions_end_the_process() -> None:
    program = reading_only("x86_64")
    assert program
    assert verdict(program, 0, machine="i386") == KILL


def test_other_machines_have_none() -> None:
    assert reading_only("riscv64") is None
