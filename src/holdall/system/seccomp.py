"""System call filters as classic BPF programs: their instructions, and a list of what is allowed.

Pure: a machine's name in, bytes out. Numbers are those of the Linux UAPI headers (linux/seccomp.h,
linux/audit.h, asm/unistd.h).
"""

import struct
from typing import Final, NamedTuple

LOAD, AND, RETURN = 0x20, 0x54, 0x06
JUMP, JUMP_EQUAL, JUMP_AT_LEAST, JUMP_ANY_BIT = 0x05, 0x15, 0x35, 0x45
NUMBER, ARCHITECTURE, FIRST, SECOND, THIRD, FIFTH = 0, 4, 16, 24, 32, 48
"""Offsets in struct seccomp_data; of arguments, of their low 32 bits."""
ALLOW, ERROR, KILL = 0x7FFF0000, 0x00050000, 0x80000000

AUDIT: Final = {"x86_64": 0xC000003E, "i386": 0x40000003, "aarch64": 0xC00000B7}

_EPERM = 1
_EXECUTABLE = 4  # PROT_EXEC


class _Calls(NamedTuple):
    """Numbers of the calls that a process takes to read what it has open, to compute, and to end.

    `mapping` are those whose third argument says whether memory may be executed. `sending` is the
    one whose fifth is an address, or none: the journal's socket is connected before.
    """

    plain: tuple[int, ...]
    mapping: tuple[int, ...]
    sending: int


# read pread64 write writev close futex madvise brk munmap mremap clock_gettime clock_nanosleep
# gettimeofday sched_yield rt_sigprocmask rt_sigreturn restart_syscall getpid gettid
# getrandom exit exit_group; mmap mprotect; sendto
_X86_64 = _Calls(
    (
        *(7, 0, 17, 1, 20, 3, 202, 28, 12, 11, 25, 228, 230),
        *(96, 24, 14, 15, 219, 39, 186, 318, 60, 231),
    ),
    (9, 10),
    44,
)
_AARCH64 = _Calls(
    (
        *(73, 63, 67, 64, 66, 57, 98, 233, 214, 215, 216, 113, 115),
        *(169, 124, 135, 139, 128, 172, 178, 278, 93, 94),
    ),
    (222, 226),
    206,
)
_CALLS: Final = {"x86_64": _X86_64, "aarch64": _AARCH64}


def instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One instruction; jumps count those that are left out."""
    return struct.pack("=HBBI", code, if_true, if_false, value)


def reading_only(machine: str) -> bytes | None:
    """The filter for a process that needs nothing but what it has open, or None for some machines.

    Nothing can be opened, connected, started or signalled, and nothing sent but where a socket is
    connected to; no memory becomes executable. What is refused fails with EPERM; another calling
    convention than the machine's own ends the process.
    """
    calls = _CALLS.get(machine)
    if calls is None:
        return None
    program = [
        instruction(LOAD, ARCHITECTURE),
        instruction(JUMP_EQUAL, AUDIT[machine], 1, 0),
        instruction(RETURN, KILL),
        instruction(LOAD, NUMBER),
    ]
    for number in calls.plain:
        program += [instruction(JUMP_EQUAL, number, 0, 1), instruction(RETURN, ALLOW)]
    for number in calls.mapping:
        program += [
            instruction(JUMP_EQUAL, number, 0, 4),
            instruction(LOAD, THIRD),
            instruction(JUMP_ANY_BIT, _EXECUTABLE, 0, 1),
            instruction(RETURN, ERROR | _EPERM),
            instruction(RETURN, ALLOW),
        ]
    program += [
        instruction(JUMP_EQUAL, calls.sending, 0, 5),
        instruction(LOAD, FIFTH),
        instruction(JUMP_EQUAL, 0, 0, 3),
        instruction(LOAD, FIFTH + 4),
        instruction(JUMP_EQUAL, 0, 0, 1),
        instruction(RETURN, ALLOW),
    ]
    return b"".join((*program, instruction(RETURN, ERROR | _EPERM)))
