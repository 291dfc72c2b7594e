"""The system call filter of every sandbox: a small denial list, as a classic BPF program.

It keeps an app from typing into the terminal it was started from (TIOCSTI, TIOCLINUX:
CVE-2017-5226, CVE-2019-10063, CVE-2023-28100), so a program run from a shell can keep job control;
and it closes doors of the kernel that an app has no business at: user namespaces, keyrings, BPF.
What needs a capability is not listed, for the sandbox has none. Pure: a machine's name in, bytes
out.
"""

from typing import NamedTuple

from holdall.system.seccomp import (
    ALLOW,
    AND,
    ARCHITECTURE,
    AUDIT,
    ERROR,
    FIRST,
    JUMP,
    JUMP_AT_LEAST,
    JUMP_EQUAL,
    LOAD,
    NUMBER,
    RETURN,
    SECOND,
    instruction,
)

_EPERM, _ENOSYS = 1, 38
_CLONE_NEWUSER = 0x10000000
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_X32 = 0x40000000
# Passes its flags by pointer, which a filter cannot read; libraries then fall back to clone.
_CLONE3 = 435


class _Convention(NamedTuple):
    """System call numbers of one calling convention."""

    audit: int
    ioctl: int
    clone: int
    unshare: int
    # setns keyctl add_key request_key bpf perf_event_open userfaultfd syslog
    denied: tuple[int, ...]


_X86_64 = _Convention(AUDIT["x86_64"], 16, 56, 272, (308, 250, 248, 249, 321, 298, 323, 103))
_I386 = _Convention(AUDIT["i386"], 54, 120, 310, (346, 288, 286, 287, 357, 336, 374, 103))
_AARCH64 = _Convention(AUDIT["aarch64"], 29, 220, 97, (268, 219, 217, 218, 280, 241, 282, 116))
_CONVENTIONS = {"x86_64": (_X86_64, _I386), "aarch64": (_AARCH64,)}


def filter_for(machine: str) -> bytes | None:
    """The filter for a kernel of `machine` (as ``uname -m`` says it); None for some."""
    conventions = _CONVENTIONS.get(machine)
    if conventions is None:
        return None
    program = [instruction(LOAD, ARCHITECTURE)]
    for convention in conventions:
        body = _checks(convention)
        program.append(instruction(JUMP_EQUAL, convention.audit, 1, 0))
        program.append(instruction(JUMP, len(body)))
        program += body
    program.append(_refuse(_ENOSYS))
    return b"".join(program)


def _checks(numbers: _Convention) -> list[bytes]:
    """The program for one convention; every path through it returns."""
    body = [instruction(LOAD, NUMBER)]
    if numbers is _X86_64:
        body += [instruction(JUMP_AT_LEAST, _X32, 0, 1), _refuse(_ENOSYS)]
    body += [instruction(JUMP_EQUAL, _CLONE3, 0, 1), _refuse(_ENOSYS)]
    for number in numbers.denied:
        body += [instruction(JUMP_EQUAL, number, 0, 1), _refuse(_EPERM)]
    for number in (numbers.clone, numbers.unshare):
        body += [
            instruction(JUMP_EQUAL, number, 0, 5),
            instruction(LOAD, FIRST),
            instruction(AND, _CLONE_NEWUSER),
            instruction(JUMP_EQUAL, _CLONE_NEWUSER, 0, 1),
            _refuse(_EPERM),
            instruction(LOAD, NUMBER),
        ]
    body += [
        instruction(JUMP_EQUAL, numbers.ioctl, 0, 4),
        # the kernel looks at the low 32 bits of the request, and so does this
        instruction(LOAD, SECOND),
        instruction(JUMP_EQUAL, _TIOCSTI, 1, 0),
        instruction(JUMP_EQUAL, _TIOCLINUX, 0, 1),
        _refuse(_EPERM),
        instruction(RETURN, ALLOW),
    ]
    return body


def _refuse(errno: int) -> bytes:
    return instruction(RETURN, ERROR | errno)
