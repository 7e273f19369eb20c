"""The system calls that a child may use after its confinement, by their numbers. All others are refused.

Numbers: asm/unistd_64.h for x86_64, asm-generic/unistd.h for aarch64. None: the machine has no such call.
"""

from __future__ import annotations

MACHINES = ("x86_64", "aarch64")  # the columns of the tables

Numbers = tuple[int | None, int | None]

# Allowed with any arguments: they work on memory, on descriptors that the child was given, and on the child itself.
# Paths are opened under the control of Landlock. stat, readlink and access tell whether a path exists: Python's import
# needs them, and no filter can read a path.
ALLOWED: dict[str, Numbers] = {
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "pread64": (17, 67), "lseek": (8, 62),
    "fstat": (5, 80), "newfstatat": (262, 79), "stat": (4, None), "lstat": (6, None), "statx": (332, 291),
    "access": (21, None), "faccessat": (269, 48), "faccessat2": (439, 439),
    "readlink": (89, None), "readlinkat": (267, 78), "getdents64": (217, 61), "getcwd": (79, 17), "dup": (32, 23),
    "fadvise64": (221, 223), "poll": (7, None), "ppoll": (271, 73),
    "munmap": (11, 215), "mremap": (25, 216), "brk": (12, 214), "madvise": (28, 233),
    "futex": (202, 98), "sched_yield": (24, 124), "sched_getaffinity": (204, 123), "membarrier": (324, 283),
    "set_robust_list": (273, 99), "rseq": (334, 293), "getcpu": (309, 168), "restart_syscall": (219, 128),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132),
    "getpid": (39, 172), "gettid": (186, 178), "getppid": (110, 173), "getuid": (102, 174), "geteuid": (107, 175),
    "getgid": (104, 176), "getegid": (108, 177), "uname": (63, 160), "sysinfo": (99, 179), "getrandom": (318, 278),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115), "nanosleep": (35, 101),
    "gettimeofday": (96, 169), "time": (201, None), "times": (100, 153), "getrusage": (98, 165),
    "getrlimit": (97, 163), "exit": (60, 93), "exit_group": (231, 94),
}  # fmt: skip

# Allowed with some arguments: see the rules in seccomp.py.
OPEN, OPENAT = (2, None), (257, 56)
CLOSE, RECVMSG, FCNTL, IOCTL = (3, 57), (47, 212), (72, 25), (16, 29)
MMAP, MPROTECT = (9, 222), (10, 226)
KILL, TGKILL, CLONE = (62, 129), (234, 131), (56, 220)
PRLIMIT, PRCTL = (302, 261), (157, 167)

# Reported as missing, so that libc falls back to a call whose arguments are not in memory that a filter cannot read.
MISSING: dict[str, Numbers] = {"clone3": (435, 435), "openat2": (437, 437)}
NEWER = 440  # from this number on, calls are reported as missing too, as by a kernel that does not have them
