"""Restrictions that a child puts on itself for good before it reads untrusted bytes. Linux only, through libc."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import resource
import signal
import struct
from contextlib import suppress

MAX_OPEN_FILES = 64  # a call that opens more fails with a retryable error

# linux/sched.h, linux/prctl.h, linux/seccomp.h, linux/audit.h
CLONE_THREAD, CLONE_NEWUSER, CLONE_NEWNET = 0x00010000, 0x10000000, 0x40000000
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 22, 38
SECCOMP_MODE_FILTER = 2
KILL, FAIL, ALLOW = 0x80000000, 0x00050000, 0x7FFF0000  # results of a filter
X32_CALL = 0x40000000  # from this number on, calls of the x32 ABI
# linux/bpf_common.h: load a word; jump if equal, if greater or equal, if any bit is set; return
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
CALL_NUMBER, ARCHITECTURE = 0, 4  # offsets in struct seccomp_data
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# Refused system calls, by their numbers on x86_64 and aarch64 (asm/unistd_64.h, asm-generic/unistd.h). None: no such
# call on this machine.
REFUSED: dict[str, tuple[int | None, int | None]] = {
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    "socket": (41, 198), "io_uring_setup": (425, 425),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424),
    "tkill": (200, 130), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "creat": (85, None), "truncate": (76, 45), "mknod": (133, None), "mknodat": (259, 33),
    "unlink": (87, None), "unlinkat": (263, 35), "mkdir": (83, None), "mkdirat": (258, 34), "rmdir": (84, None),
    "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276),
    "link": (86, None), "linkat": (265, 37), "symlink": (88, None), "symlinkat": (266, 36),
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53),
    "chown": (92, None), "lchown": (94, None), "fchown": (93, 55), "fchownat": (260, 54),
    "mount": (165, 40), "umount2": (166, 39), "chroot": (161, 51), "pivot_root": (155, 41),
    "setns": (308, 268), "unshare": (272, 97), "bpf": (321, 280), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "init_module": (175, 105), "finit_module": (313, 273), "reboot": (169, 142), "sethostname": (170, 161),
    "shmget": (29, 194), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180),
}  # fmt: skip
# Calls that are refused or allowed by their arguments, or reported as missing.
CLONE, CLONE3 = (56, 220), (435, 435)
OPEN, OPENAT, OPENAT2 = (2, None), (257, 56), (437, 437)
KILL_CALL, TGKILL, PRLIMIT = (62, 129), (234, 131), (302, 261)

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def restore_signals() -> None:
    """Restores the signals that end this process: the parent may have ignored or blocked them."""
    for number in (signal.SIGIO, signal.SIGXCPU, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def die_with_parent(lifeline: int) -> None:
    """Makes the kernel end this process, however busy it is, when the parent's end of this pipe is closed."""
    # Not PR_SET_PDEATHSIG: it fires when the thread that started this process ends, which the parent may outlive. SIGIO
    # is sent when the last process that holds the other end is gone.
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def leave_network() -> bool:
    """Moves this process into an empty network namespace; False if the kernel refuses."""
    flags = CLONE_NEWNET if os.geteuid() == 0 else CLONE_NEWNET | CLONE_NEWUSER
    return bool(_libc.unshare(flags) == 0)


def limit_resources() -> None:
    """Forbids core dumps and writing to files, and limits open files."""
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, MAX_OPEN_FILES),
    ):
        with suppress(ValueError):  # the inherited limit is lower already
            resource.setrlimit(limit, (value, value))


def refuse_system_calls() -> bool:
    """Installs a seccomp filter against new processes, programs, sockets, signals to others and writes.

    Returns False on a machine or kernel without support.
    """
    machine = platform.machine()
    _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if machine not in AUDIT or struct.calcsize("P") != 8:
        return False
    code = _filter(machine)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(buffer))
    return bool(_libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def _filter(machine: str) -> bytes:
    """The BPF program of the seccomp filter."""
    column = 0 if machine == "x86_64" else 1
    refuse = _instruction(RETURN, FAIL | errno.EPERM)
    absent = _instruction(RETURN, FAIL | errno.ENOSYS)
    allow = _instruction(RETURN, ALLOW)
    own_pid_only = _when(EQUAL, os.getpid(), argument=0, then=allow, otherwise=refuse)
    itself_only = _when(EQUAL, 0, argument=0, then=allow, otherwise=refuse)
    threads_only = _when(ANY_BIT, CLONE_THREAD, argument=0, then=allow, otherwise=refuse)
    rules = [(numbers, refuse) for numbers in REFUSED.values()]
    rules += [(OPEN, _when(ANY_BIT, WRITES, argument=1, then=refuse, otherwise=allow))]
    rules += [(OPENAT, _when(ANY_BIT, WRITES, argument=2, then=refuse, otherwise=allow))]
    rules += [(KILL_CALL, own_pid_only), (TGKILL, own_pid_only), (PRLIMIT, itself_only), (CLONE, threads_only)]
    # Their flags are in memory that a filter cannot read. If they are reported as missing, libc uses the older calls.
    rules += [(CLONE3, absent), (OPENAT2, absent)]
    known = [(numbers[column], body) for numbers, body in rules if numbers[column] is not None]
    return b"".join([_prologue(machine), *(_only_for(number, body) for number, body in known if number), allow])


def _prologue(machine: str) -> bytes:
    """Kills the process for a call of another architecture or ABI; leaves the number of the call in the register."""
    same = _instruction(LOAD, ARCHITECTURE) + _instruction(EQUAL, AUDIT[machine], then=1) + _instruction(RETURN, KILL)
    return (
        same
        + _instruction(LOAD, CALL_NUMBER)
        + _instruction(AT_LEAST, X32_CALL, otherwise=1)
        + _instruction(RETURN, KILL)
    )


def _only_for(number: int, body: bytes) -> bytes:
    """Runs `body` for this system call alone."""
    return _instruction(EQUAL, number, otherwise=len(body) // 8) + body


def _when(test: int, value: int, *, argument: int, then: bytes, otherwise: bytes) -> bytes:
    """Tests the lower half of an argument of the call; both machines are little-endian."""
    return (
        _instruction(LOAD, 16 + 8 * argument) + _instruction(test, value, otherwise=len(then) // 8) + then + otherwise
    )


def _instruction(operation: int, value: int, *, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("=HBBI", operation, then, otherwise, value)
