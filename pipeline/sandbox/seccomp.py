"""A seccomp filter that allows the system calls of a decoder and refuses all others. Linux on x86-64 and ARM64."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import struct

from pipeline.sandbox import libc, system_calls
from pipeline.sandbox.system_calls import MACHINES, Numbers

# linux/seccomp.h, linux/audit.h, asm/unistd.h
SECCOMP, SET_MODE_FILTER, FILTER_FLAG_TSYNC = {"x86_64": 317, "aarch64": 277}, 1, 1
KILL_PROCESS, FAIL, ALLOW = 0x80000000, 0x00050000, 0x7FFF0000  # results of a filter
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32_CALL = 0x40000000  # from this number on, calls of the x32 ABI
# linux/bpf_common.h: load a word; jump if equal, if greater or equal, if any bit is set; return
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
CALL_NUMBER, ARCHITECTURE = 0, 4  # offsets in struct seccomp_data

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
CLONE_THREAD = 0x00010000
# Flags with which glibc and musl create a thread: VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, SETTLS, PARENT_SETTID,
# CHILD_CLEARTID, DETACHED.
THREAD_FLAGS = 0x007D0F00
FCNTL_COMMANDS = (0, 1, 2, 3, 1030)  # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC
PR_SET_NAME, FIOCLEX = 15, 0x5451


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def install(lifeline: int) -> None:
    """Installs the filter in all threads of this process, for good. The descriptor `lifeline` cannot be closed then.

    Raises:
        OSError: the kernel or the machine has no support.
    """
    machine = platform.machine()
    if machine not in MACHINES or struct.calcsize("P") != 8:
        raise OSError(errno.ENOSYS, f"no filter for {machine}")
    code = build_filter(machine, lifeline=lifeline, pid=os.getpid())
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(buffer))
    libc.syscall(SECCOMP[machine], SET_MODE_FILTER, FILTER_FLAG_TSYNC, ctypes.byref(program))


def build_filter(machine: str, *, lifeline: int, pid: int) -> bytes:
    """The BPF program for this machine and process."""
    column = MACHINES.index(machine)
    allow, refuse = _return(ALLOW), _return(FAIL | errno.EPERM)
    rules: list[tuple[Numbers, bytes]] = [(numbers, allow) for numbers in system_calls.ALLOWED.values()]
    rules += [(numbers, _return(FAIL | errno.ENOSYS)) for numbers in system_calls.MISSING.values()]
    rules += _rules_by_argument(lifeline, pid)
    known = [(number, body) for numbers, body in rules if (number := numbers[column]) is not None]
    newer = _instruction(AT_LEAST, system_calls.NEWER, otherwise=1) + _return(FAIL | errno.ENOSYS)
    return b"".join([_prologue(machine), *(_only_for(number, body) for number, body in known), newer, refuse])


def _rules_by_argument(lifeline: int, pid: int) -> list[tuple[Numbers, bytes]]:
    """The calls that are allowed with some arguments only."""
    allow, refuse = _return(ALLOW), _return(FAIL | errno.EPERM)
    calls = system_calls
    own_process = _when(EQUAL, pid, argument=0, then=allow, otherwise=refuse)
    no_other_flag = _when(ANY_BIT, ~THREAD_FLAGS & 0xFFFFFFFF, argument=0, then=refuse, otherwise=allow)
    no_tty = _return(FAIL | errno.ENOTTY)
    return [
        (calls.OPEN, _when(ANY_BIT, WRITES, argument=1, then=refuse, otherwise=allow)),
        (calls.OPENAT, _when(ANY_BIT, WRITES, argument=2, then=refuse, otherwise=allow)),
        (calls.CLOSE, _when(EQUAL, lifeline, argument=0, then=refuse, otherwise=allow)),
        (calls.RECVMSG, _when(EQUAL, 0, argument=0, then=allow, otherwise=refuse)),
        (calls.FCNTL, _any_of(FCNTL_COMMANDS, argument=1)),
        (calls.IOCTL, _when(EQUAL, FIOCLEX, argument=1, then=allow, otherwise=no_tty)),
        # Not even of a file: the file that a child decodes could contain machine code.
        (calls.MMAP, _when(ANY_BIT, mmap.PROT_EXEC, argument=2, then=refuse, otherwise=allow)),
        (calls.MPROTECT, _when(ANY_BIT, mmap.PROT_EXEC, argument=2, then=refuse, otherwise=allow)),
        (calls.KILL, own_process),
        (calls.TGKILL, own_process),
        (calls.PRLIMIT, _when(EQUAL, 0, argument=0, then=allow, otherwise=refuse)),
        (calls.PRCTL, _when(EQUAL, PR_SET_NAME, argument=0, then=allow, otherwise=refuse)),
        (calls.CLONE, _when(ANY_BIT, CLONE_THREAD, argument=0, then=no_other_flag, otherwise=refuse)),
    ]


def _prologue(machine: str) -> bytes:
    """Kills the process for a call of another architecture or ABI; leaves the number of the call in the register."""
    same = _instruction(LOAD, ARCHITECTURE) + _instruction(EQUAL, AUDIT[machine], then=1) + _return(KILL_PROCESS)
    number = _instruction(LOAD, CALL_NUMBER)
    return same + number + _instruction(AT_LEAST, X32_CALL, otherwise=1) + _return(KILL_PROCESS)


def _only_for(number: int, body: bytes) -> bytes:
    """Runs `body` for this system call alone."""
    return _instruction(EQUAL, number, otherwise=len(body) // 8) + body


def _when(test: int, value: int, *, argument: int, then: bytes, otherwise: bytes) -> bytes:
    """Tests the lower half of an argument of the call; both machines are little-endian. The kernel ignores the rest."""
    jump = _instruction(test, value, otherwise=len(then) // 8)
    return _instruction(LOAD, 16 + 8 * argument) + jump + then + otherwise


def _any_of(values: tuple[int, ...], *, argument: int) -> bytes:
    tests = b"".join(_instruction(EQUAL, value, otherwise=1) + _return(ALLOW) for value in values)
    return _instruction(LOAD, 16 + 8 * argument) + tests + _return(FAIL | errno.EPERM)


def _return(result: int) -> bytes:
    return _instruction(RETURN, result)


def _instruction(operation: int, value: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", operation, then, otherwise, value)
